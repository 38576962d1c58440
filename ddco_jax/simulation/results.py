"""Results on disk: a Zarr store with nodes `history` and `snapshots`, which can be read at any time during the run.

Every array has room for all rows of the run from the start, so that shapes do not change while others read.  A row is
complete once its time is written, which happens last; times of rows to come are NaN.
"""

import json
import shutil
from collections.abc import Collection, Hashable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

from ddco_jax.plasma.files import complete, sealed, unsealed, write_text
from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.plasma.units import Scales
from ddco_jax.settings import ConfigError, scales_of
from ddco_jax.simulation.quantities import COMPONENTS, CONSTANTS, QUANTITIES, SCALES, code_unit, in_si, si_unit

STORE = "result.zarr"
NODES = ("history", "snapshots")
ROWS_PER_CHUNK = {"history": 1024, "snapshots": 1}


class Store:
    """The store of a run, open for writing."""

    def __init__(self, folder: Path, rows: Mapping[str, int]) -> None:
        """`rows`: how many rows of each node are complete."""
        root = zarr.open_group(str(folder / STORE), mode="r+", use_consolidated=False)
        with zarr.config.set({"array.write_empty_chunks": True}):  # a chunk that is not there is damage
            self._arrays = {node: _rowwise(root, node) for node in NODES}
        self.rows = dict(rows)
        """Complete rows of each node."""

    def names(self, node: str) -> set[str]:
        """The variables of a node that have one row per time."""
        return set(self._arrays[node]) - {"t"}

    def first(self, node: str) -> dict[str, np.ndarray]:
        """The first row of a node, code units."""
        return {name: np.asarray(array[0]) for name, array in self._arrays[node].items()}

    def append(self, node: str, times: np.ndarray, rows: Mapping[str, np.ndarray]) -> None:
        """Append one row per time (t0), code units; variables that the node does not have are left out."""
        arrays, begin, end = self._arrays[node], self.rows[node], self.rows[node] + len(times)
        for name in self.names(node) & set(rows):
            arrays[name][begin:end] = rows[name]
        arrays["t"][begin:end] = times  # last: a row that has a time is complete
        self.rows[node] = end


class Elsewhere(Store):
    """Stands for the store in a process that does not write it: counts the rows."""

    def __init__(self, rows: Mapping[str, int]) -> None:
        self.rows = dict(rows)

    def names(self, node: str) -> set[str]:
        """No variables: process 0 knows them."""
        return set()

    def first(self, node: str) -> dict[str, np.ndarray]:
        """No row."""
        return {}

    def append(self, node: str, times: np.ndarray, rows: Mapping[str, np.ndarray]) -> None:
        """Count the rows."""
        self.rows[node] += len(times)


def create(
    folder: Path,
    grid: PhaseGrid,
    attributes: Mapping[str, Any],
    arrays: Mapping[str, Mapping[str, jax.ShapeDtypeStruct]],
    rows: Mapping[str, int],
) -> Store:
    """Create the store of a run with empty nodes and the attributes of the run; it appears at once, complete.

    `arrays` are those of one row, by node and name, `rows` the numbers of rows of the whole run.
    """
    partial, final = folder / f"{STORE}.part", folder / STORE
    shutil.rmtree(partial, ignore_errors=True)
    root = zarr.open_group(str(partial), mode="w", zarr_format=3)
    root.attrs.update(sealed(attributes))
    for node in NODES:
        group = root.create_group(node)
        double = jax.ShapeDtypeStruct((), np.float64)
        for name, like in {"t": double, **arrays[node]}.items():
            shape = (rows[node], *like.shape)
            _create(group, name, shape, like.dtype, (ROWS_PER_CHUNK[node], *(max(1, n) for n in like.shape)))
        used = {dim for name in arrays[node] for dim in QUANTITIES[name].dims}
        for name in sorted(used & {"x", "vx", "vy", "vz"}):
            values = getattr(grid, name)
            _create(group, name, values.shape, values.dtype, values.shape)[:] = values
    shutil.rmtree(final, ignore_errors=True)
    partial.rename(final)
    return Store(folder, dict.fromkeys(NODES, 0))


def _create(
    group: zarr.Group, name: str, shape: tuple[int, ...], dtype: np.dtype, chunks: tuple[int, ...]
) -> zarr.Array:
    quantity = QUANTITIES[name]
    return group.create_array(
        name,
        shape=shape,
        dtype=dtype,
        chunks=chunks,
        compressors=(ZstdCodec(), Crc32cCodec()),
        fill_value=np.nan,
        dimension_names=_dims_of(name),
        attributes={"units": quantity.unit, "long_name": quantity.long_name},
    )


def _dims_of(name: str) -> tuple[str, ...]:
    """The axes of a variable of a result."""
    dims = QUANTITIES[name].dims
    return dims if name in dims else ("t", *dims)  # coordinates do not depend on t


def reopen(folder: Path, kept: Mapping[str, int], rows: Mapping[str, int]) -> Store:
    """Open the store of a run that is resumed, with the first `kept` rows of each node and room for `rows`.

    Later rows were written after the checkpoint.  The store may be of an earlier version, which grew with the run.
    """
    for node in ("", *NODES):
        _forget_consolidated(folder / STORE / node / "zarr.json")
    root = zarr.open_group(str(folder / STORE), mode="r+", use_consolidated=False)
    for node in NODES:
        arrays = _rowwise(root, node)
        arrays["t"][kept[node] :] = np.nan
        for array in arrays.values():
            for count in (kept[node], rows[node]):  # removes the chunks of later rows, which may be damaged
                array.resize((count, *array.shape[1:]))
        arrays["t"][kept[node] :] = np.nan
    return Store(folder, kept)


def _forget_consolidated(file: Path) -> None:
    """Remove a copy of the metadata, made by other programs, that would go on to show the old shapes."""
    metadata = json.loads(file.read_text())
    if metadata.pop("consolidated_metadata", None) is not None:
        write_text(file, json.dumps(metadata, indent=2))


def _rowwise(root: zarr.Group, node: str) -> dict[str, zarr.Array]:
    """The arrays of a node that have one row per time."""
    group = root[node]
    assert isinstance(group, zarr.Group)
    return {name: array for name, array in group.arrays() if _dims(array)[:1] == ("t",)}


def _dims(array: zarr.Array) -> tuple[str | None, ...]:
    return tuple(getattr(array.metadata, "dimension_names", None) or ())


def open_result(folder: str | Path, units: str = "code") -> xr.DataTree:
    """Open the result of a run, finished or not: nodes `history` and `snapshots`, one row per complete time.

    `units` is "code", as stored, or "si"; every variable has attributes `units` and `long_name`.  The attributes of the
    tree hold the scales as numbers (`quantities.SCALES`), the config and what made the result.  Arrays are read when
    they are used.  A running simulation does not add to a tree that is open: open it again.
    Raises FileNotFoundError where the folder holds no result or an old one without rows, ValueError for other units and
    for damage.
    """
    store = Path(folder) / STORE
    if not store.is_dir():
        raise FileNotFoundError(f"{folder} holds no {STORE}")
    if units not in ("code", "si"):
        raise ValueError(f'units must be "code" or "si", got {units!r}')
    root = zarr.open_group(str(store), mode="r", use_consolidated=False)
    if missing := [node for node in NODES if f"{node}/t" not in root]:
        raise FileNotFoundError(f"{folder} holds no {' and no '.join(missing)} yet; wait until the run has stored it")
    attributes = unsealed(dict(root.attrs), f"{store}/zarr.json")
    scales = scales_in(attributes)
    attributes |= scale_attributes(scales) | {"units": units}
    nodes = {f"/{node}": _opened(store, node, scales, units == "si") for node in NODES}
    return xr.DataTree.from_dict({"/": xr.Dataset(attrs=attributes), **nodes})


def _opened(store: Path, node: str, scales: Scales, si: bool) -> xr.Dataset:
    """A node with its complete rows; its arrays may have different numbers of rows."""
    found, attributes = xr.backends.ZarrStore.open_group(str(store), "r", group=node, consolidated=False).load()
    _require_all(store, node, found)
    known_first = [name for name in QUANTITIES if name in found]
    variables: dict[Hashable, xr.Variable] = {name: found[name] for name in dict.fromkeys([*known_first, *found])}
    count = complete_rows(np.asarray(variables["t"]))
    count = min(count, *(len(v) for v in variables.values() if v.dims[:1] == ("t",)))
    present = {dim for variable in variables.values() for dim in variable.dims}
    variables |= {axis: xr.Variable((axis,), ["x", "y", "z"]) for axis in COMPONENTS if axis in present}
    for name, variable in variables.items():
        if variable.dims[:1] == ("t",):
            variables[name] = variable = variable[:count]
        if (known := str(name)) in QUANTITIES:
            if (dims := _dims_of(known)) != variable.dims:
                raise ValueError(f"{store}/{node}/{known}/zarr.json: axes {variable.dims} in place of {dims}")
            unit = si_unit(known) if si else code_unit(known)
            variable.attrs = {"units": unit, "long_name": QUANTITIES[known].long_name}
            if si and known not in COMPONENTS:
                variable.attrs["scale_factor"] = in_si(known, scales)
    dataset = xr.Dataset(variables, attrs=dict(attributes))
    # decoding multiplies with scale_factor when an array is read
    return (xr.decode_cf(dataset, decode_times=False) if si else dataset).drop_encoding()


def require_all(folder: Path) -> None:
    """Raise ConfigError where the store of a run holds a folder that is no array of it, or has a damaged zarr.json."""
    root = zarr.open_group(str(folder / STORE), mode="r", use_consolidated=False)
    for node in NODES:
        group = root[node]
        assert isinstance(group, zarr.Group)
        _require_all(folder / STORE, node, set(group.array_keys()))


def _require_all(store: Path, node: str, found: Collection[str]) -> None:
    # an array whose zarr.json is damaged is left out when a group is read
    if lost := sorted(path.name for path in (store / node).iterdir() if path.is_dir() and path.name not in found):
        place = f"{store}/{node}/{lost[0]}"
        raise ConfigError(f"{place}/zarr.json: damaged or missing; if it is not of the run, remove the folder {place}")


def complete_rows(times: np.ndarray) -> int:
    """Number of rows at the beginning whose times are written: finite and increasing."""
    written = np.isfinite(times)
    written[1:] &= np.diff(times) > 0
    return len(times) if written.all() else int(np.argmin(written))


def export_netcdf(folder: Path, file: Path, units: str = "code") -> None:
    """Write the result of a run to a new netCDF file, completely or not at all.

    Raises FileNotFoundError without a result, FileExistsError where the file exists.
    """
    result = open_result(folder, units)
    if file.exists():
        raise FileExistsError(f"--netcdf {file}: the file exists; choose another")
    with complete(file) as partial:
        result.to_netcdf(partial, engine="netcdf4")


def scale_attributes(scales: Scales) -> dict[str, float]:
    """The scales, and the constants of their conversion to SI, as attributes of a result."""
    return {attribute: float(getattr(scales, name)) for name, attribute in SCALES.items()} | CONSTANTS


def scales_in(attributes: Mapping[Any, Any]) -> Scales:
    """The scales of a result; those of a result of an earlier version follow from its config."""
    names = ("length", "velocity", "mass", "charge", "density")
    if all(SCALES[name] in attributes for name in names):
        return Scales(**{name: attributes[SCALES[name]] for name in names})
    return scales_of(json.loads(attributes["config"]))
