"""The MD dataset: one netCDF-4 file that opens in xarray, in code units, described in data/md/README.md.

Histogram densities are stored as integer counts, velocities of particles as scaled integers; xarray converts both back
on reading.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ddco_jax.md.statistics import POWERS, Bins
from ddco_jax.md.test_functions import TEST_FUNCTIONS, VERSION
from ddco_jax.plasma.files import complete
from ddco_jax.settings import ConfigError

FORMAT = "ddco_jax MD dataset, version 1"
VELOCITY_QUANTUM = 1 / 256
"""Rounding of stored particle velocities, in thermal speeds."""
FILL = {16: -(2**15), 32: -(2**31)}
"""Integers that mark a missing value, by number of bits; no value is ever missing."""
SMALL = 2**14
"""Bytes below which compression costs more than it saves."""
LARGE = 2**28
"""Bytes above which a variable is cut into chunks of one time."""
PER_CELL = ("density", "temperature", "potential_energy")
ATTRIBUTES = ("coupling_parameter", "density", "length", "particles", "plasma_frequency", "start", "temperature")
STATISTICS = (*ATTRIBUTES, "bin_width", "t", "x", *PER_CELL[:2], "temperature_axis", "drift", "thermal_speed")
CORRELATIONS = (*ATTRIBUTES, "number_density", "block_length", "lag", "vacf", "msd", "stress_kk")
"""What every dataset holds, of snapshots and of correlation functions."""
DIMS: dict[str, tuple[str, ...]] = {
    **{name: ("t", "x") for name in PER_CELL},
    "drift": ("t", "x", "axis"),
    "temperature_axis": ("t", "x", "axis"),
    "moment": ("t", "x", "order"),
    "f_vx": ("t", "x", "vx"),
    "f_vy": ("t", "x", "vy"),
    "f_vz": ("t", "x", "vz"),
    "f_vxvy": ("t", "x", "vx", "vy"),
    "psi": ("t", "psi_index"),
    "psi_error": ("t", "psi_index"),
    "psi_rate": ("t_mid", "psi_index"),
    "psi_rate_error": ("t_mid", "psi_index"),
    "psi_rate_covariance": ("psi_index", "psi_index_2"),
    "total_energy": ("t",),
    "velocity": ("t_kept", "particle", "axis"),
    "position_x": ("t_kept", "particle"),
}
"""Dimensions after `replicate`."""
UNITS = {
    "t": "t0",
    "t_mid": "t0",
    "t_kept": "t0",
    "x": "L0",
    "vx": "V0",
    "vy": "V0",
    "vz": "V0",
    "density": "n0",
    "drift": "V0",
    "temperature": "V0^2",
    "temperature_axis": "V0^2",
    "potential_energy": "m0 V0^2 per particle, background included",
    "total_energy": "m0 V0^2 per particle",
    "moment": "thermal_speed^order",
    "f_vx": "n0/V0",
    "f_vy": "n0/V0",
    "f_vz": "n0/V0",
    "f_vxvy": "n0/V0^2",
    "psi": "1",
    "psi_error": "1",
    "psi_rate": "1/t0",
    "psi_rate_error": "1/t0",
    "psi_rate_covariance": "1/t0^2",
    "velocity": "V0",
    "position_x": "L0",
    "thermal_speed": "V0",
}


def replicate_dataset(
    rows: Sequence[Mapping[str, np.ndarray]],
    times: np.ndarray,
    *,
    length: float,
    thermal_speed: np.ndarray,
    bins: Bins,
    kept: tuple[np.ndarray, np.ndarray, np.ndarray] | None,
    total_energy: np.ndarray | None = None,
) -> xr.Dataset:
    """The dataset of one replicate, from the statistics of its snapshots at `times` (t0).

    `length` is Lx (L0) and `thermal_speed` (cells,) the unit of c (V0).  `kept` holds the times (t0), positions x
    (times, particles), L0, and velocities (times, particles, 3), V0, of a subset.
    """
    data: dict[str, np.ndarray] = {}
    for name in DIMS:
        if name in rows[0]:
            data[name] = np.stack([row[name] for row in rows])
    coords: dict[str, Any] = {
        "t": times,
        "x": (np.arange(len(thermal_speed)) + 0.5) * length / len(thermal_speed),
        "axis": ["x", "y", "z"],
        "vx": bins.centres,
        "vy": bins.centres,
        "vz": bins.centres,
        "thermal_speed": ("x", thermal_speed),
        **{f"power_{axis}": ("order", POWERS[:, a]) for a, axis in enumerate("xyz")},
    }
    if "psi" in data:
        coords |= {"psi_name": ("psi_index", TEST_FUNCTIONS.names)}
    if "psi" in data and len(rows) > 1:
        interval = np.diff(times)
        data["psi_rate"] = np.stack([row["psi_change"] for row in rows[1:]]) / interval[:, None]
        coords |= {"t_mid": (times[1:] + times[:-1]) / 2}
        if "psi_change_covariance" in rows[1]:  # known where particles are followed
            covariance = np.stack([row["psi_change_covariance"] for row in rows[1:]])
            data["psi_rate_error"] = np.sqrt(np.einsum("tkk->tk", covariance)) / interval[:, None]
            data["psi_rate_covariance"] = (covariance / interval[:, None, None] ** 2).mean(0)
    if kept is not None:
        coords["t_kept"], position, data["velocity"] = kept
        if len(thermal_speed) > 1:
            data["position_x"] = position
    if total_energy is not None:
        data["total_energy"] = total_energy
    dataset = xr.Dataset({k: (DIMS[k], v) for k, v in data.items()}, coords)
    for label, variable in dataset.variables.items():
        if label in UNITS:
            variable.attrs["units"] = UNITS[str(label)]
    return dataset


def combine(replicates: Sequence[xr.Dataset], attributes: Mapping[str, Any]) -> xr.Dataset:
    """All replicates along a new leading dimension, with the attributes of the run."""
    dataset = xr.concat(replicates, "replicate", coords="minimal", compat="override", join="override")
    dataset = dataset.transpose("replicate", ...)
    dataset.attrs = {"format": FORMAT, "test_functions_version": VERSION, **attributes}
    return dataset


def write(dataset: xr.Dataset, path: Path) -> None:
    """Write a dataset as netCDF-4 with checksums, complete or not at all."""
    encoding = checksums(dataset)
    for name, variable in dataset.variables.items():
        if variable.dtype.kind != "f" or variable.ndim == 0:
            continue
        compressed = encoding.setdefault(str(name), {})
        if variable.nbytes > SMALL:  # few chunks: many cost more in bookkeeping than they save
            chunk = variable.shape if variable.nbytes < LARGE else (1, 1, *variable.shape[2:])
            compressed |= {"zlib": True, "complevel": 1, "shuffle": True, "chunksizes": chunk}
        if name in ("f_vx", "f_vy", "f_vz", "f_vxvy"):
            compressed |= {"dtype": "int32", "scale_factor": _count_unit(dataset, str(name)), "_FillValue": FILL[32]}
        elif name == "velocity":
            quantum = float(dataset["thermal_speed"].max()) * VELOCITY_QUANTUM
            compressed |= {"dtype": "int16", "scale_factor": quantum, "_FillValue": FILL[16]}
        elif name == "position_x":
            compressed |= {"dtype": "int32", "scale_factor": dataset.attrs["length"] / 2**16, "_FillValue": FILL[32]}
        elif name in ("psi_error", "psi_rate_error", "psi_rate_covariance"):
            compressed |= {"dtype": "float32"}
    with complete(path) as partial:
        dataset.to_netcdf(partial, engine="netcdf4", encoding=encoding)


def checksums(dataset: xr.Dataset) -> dict[str, dict[str, Any]]:
    """The encoding with which HDF5 checks numbers when it reads them; single numbers and strings have no checksum."""
    arrays = {str(name): v for name, v in dataset.variables.items() if v.dtype.kind in "fiu" and v.size and v.ndim}
    return {name: {"fletcher32": True} for name in arrays}


def _count_unit(dataset: xr.Dataset, name: str) -> float:
    """The histogram density of one particle in one bin."""
    width = dataset.attrs["bin_width"] ** (2 if name == "f_vxvy" else 1)
    return dataset.attrs["density"] * dataset.sizes["x"] / (dataset.attrs["particles"] * draws(dataset)) / width


def draws(dataset: xr.Dataset) -> int:
    """Number of velocity draws that are averaged in each replicate."""
    return int(dataset.attrs.get("draws_per_replicate", 1))


def join_draws(dataset: xr.Dataset, groups: int) -> xr.Dataset:
    """Average the replicates of a dataset in `groups` groups of equal size; each group becomes one replicate.

    The scatter between the groups still measures the statistical noise.  Remaining replicates are dropped.
    """
    each = dataset.sizes["replicate"] // groups
    joined = dataset.isel(replicate=slice(each * groups)).coarsen(replicate=each).mean(keep_attrs=True)
    joined.attrs = dataset.attrs | {"draws_per_replicate": each * draws(dataset)}
    return joined


def open_dataset(path: str | Path) -> xr.Dataset:
    """An MD dataset, read into memory.  Raises ConfigError where the file is missing or no MD dataset."""
    path = Path(path)
    if path.is_dir():
        raise ConfigError(f"{path}: a folder, not an MD file (netCDF); `ddco plot RUN --with OTHER` shows two runs")
    if not path.is_file():
        raise ConfigError(f"{path}: no such file")
    try:
        with xr.open_dataset(path, engine="netcdf4") as dataset:
            dataset.load()
    except (OSError, ValueError, RuntimeError, AttributeError, KeyError) as error:  # as damage may be
        raise ConfigError(f"{path}: not a netCDF-4 file ({' '.join(str(error).split())[:80]})") from None
    if not str(dataset.attrs.get("format", "")).startswith("ddco_jax MD"):
        raise ConfigError(f"{path}: not an MD dataset; make one with `ddco md` or `ddco import-md`")
    needed = CORRELATIONS if "lag" in dataset.dims else STATISTICS
    if missing := [name for name in needed if name not in dataset.variables and name not in dataset.attrs]:
        raise ConfigError(f"{path}: {', '.join(missing)} missing; make the file again")
    for name, variable in dataset.variables.items():
        if variable.dtype.kind == "f" and not np.isfinite(variable.to_numpy()).all():
            raise ConfigError(f"{path}: {name} holds values that are not finite; make the file again")
    return dataset


def metadata(config_json: str, **values: str | int | float | list[float] | dict[str, Any]) -> dict[str, Any]:
    """Attributes that netCDF can hold: numbers and strings, with dictionaries as JSON."""
    flat = {k: json.dumps(v) if isinstance(v, dict) else v for k, v in values.items()}
    return {"config": config_json, **flat}
