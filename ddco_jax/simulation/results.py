"""Results on disk: an xarray DataTree in a Zarr store, appended to during the run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

from ddco_jax.plasma.grid import PhaseGrid

STORE = "result.zarr"

UNITS = {
    "t": "t0",
    "x": "L0",
    "vx": "V0",
    "vy": "V0",
    "vz": "V0",
    "mass": "n0 L0",
    "momentum": "n0 L0 V0",
    "kinetic_energy": "m0 n0 L0 V0^2",
    "field_energy": "m0 n0 L0 V0^2",
    "total_energy": "m0 n0 L0 V0^2",
    "entropy": "n0 L0",
    "gauss_residual": "E0/L0",
    "negative_mass": "n0 L0",
    "velocity_nyquist": "1",
    "evaluations": "1",
    "entropy_limited": "1",
    "repaired": "1",
    "refused": "1",
    "unfinished": "1",
    "density": "n0",
    "drift_x": "V0",
    "temperature": "V0^2",
    "electric_field": "E0",
    "correlation_age": "1/omega_p",
    "f_vx": "n0/V0",
    "f_vxvy": "n0/V0^2",
    "f": "n0/V0^3",
}
"""Code unit of every variable."""

SNAPSHOT_DIMS = {
    "density": ("x",),
    "drift_x": ("x",),
    "temperature": ("x",),
    "electric_field": ("x",),
    "correlation_age": ("x",),
    "f_vx": ("x", "vx"),
    "f_vxvy": ("x", "vx", "vy"),
    "f": ("x", "vx", "vy", "vz"),
}
HISTORY_CHUNK = 1024
"""Rows of the history per Zarr chunk."""


def create(folder: Path, attributes: Mapping[str, Any]) -> None:
    """Create an empty store with the attributes of the run (config, version, kernel)."""
    group = zarr.open_group(str(folder / STORE), mode="w", zarr_format=3)
    group.attrs.update(dict(attributes))


def append_history(folder: Path, rows: Mapping[str, np.ndarray]) -> None:
    """Append rows of the history; `rows` has `time` and the invariants, one row per recorded step."""
    data = {}
    for name, values in rows.items():
        if name != "time":
            dims = ("t",) if values.ndim == 1 else ("t", "axis")
            data[name] = (dims, values, {"units": UNITS[name]})
    coords = {"t": ("t", rows["time"], {"units": UNITS["t"]})}
    _append(folder, "history", xr.Dataset(data, coords), HISTORY_CHUNK)


def append_snapshot(folder: Path, grid: PhaseGrid, time: float, fields: Mapping[str, np.ndarray]) -> None:
    """Append one snapshot at `time` (t0); `fields` are arrays in code units by name (SNAPSHOT_DIMS)."""
    data = {
        name: (("t", *SNAPSHOT_DIMS[name]), np.asarray(values)[None], {"units": UNITS[name]})
        for name, values in fields.items()
    }
    axes = {"x": grid.x, "vx": grid.vx, "vy": grid.vy} | ({"vz": grid.vz} if "f" in fields else {})
    coords = {name: (name, values, {"units": UNITS[name]}) for name, values in axes.items()}
    _append(folder, "snapshots", xr.Dataset(data, {"t": ("t", [time], {"units": UNITS["t"]}), **coords}), 1)


def _append(folder: Path, group: str, dataset: xr.Dataset, chunk: int) -> None:
    store = str(folder / STORE)
    if rows_stored(folder, group):
        dataset = dataset.drop_vars([v for v in dataset.variables if "t" not in dataset[v].dims])
        dataset.to_zarr(store, group=group, append_dim="t", consolidated=False, write_empty_chunks=True)
    else:
        encoding: dict[Any, dict[str, Any]] = {}
        for name, variable in dataset.variables.items():
            encoding[name] = {"compressors": (ZstdCodec(), Crc32cCodec())}
            if "t" in variable.dims:
                encoding[name] |= {"chunks": (chunk, *variable.shape[1:])}
        options: dict[str, Any] = {"consolidated": False, "zarr_format": 3, "write_empty_chunks": True}
        dataset.to_zarr(store, group=group, mode="w", encoding=encoding, **options)


def rows_stored(folder: Path, group: str) -> int:
    """Number of rows of a node, 0 where it does not exist."""
    root = zarr.open_group(str(folder / STORE), mode="r")
    times = root.get(f"{group}/t")
    return int(times.shape[0]) if isinstance(times, zarr.Array) else 0


def truncate(folder: Path, rows: Mapping[str, int]) -> None:
    """Keep the given number of rows of each node; later ones were written after the last checkpoint."""
    root = zarr.open_group(str(folder / STORE), mode="r+")
    for group, count in rows.items():
        node = root.get(group)
        if not isinstance(node, zarr.Group):
            continue
        for _, array in node.arrays():
            names = getattr(array.metadata, "dimension_names", None) or ("",)
            if names[0] == "t":
                array.resize((count, *array.shape[1:]))


def open_result(folder: str | Path) -> xr.DataTree:
    """Open the result of a run: nodes `history` and `snapshots` in code units, each variable with attribute `units`.

    Raises FileNotFoundError where the folder holds no result, or a run has not stored its start yet.
    """
    store = Path(folder) / STORE
    if not store.is_dir():
        raise FileNotFoundError(f"{folder} holds no {STORE}")
    result = xr.open_datatree(str(store), engine="zarr", consolidated=False)
    nodes = {node: result.children.get(node, xr.DataTree()) for node in ("history", "snapshots")}
    if missing := [name for name, node in nodes.items() if "t" not in node.coords or not node.sizes["t"]]:
        raise FileNotFoundError(f"{folder} holds no {' and no '.join(missing)} yet; wait until the run has stored it")
    return result
