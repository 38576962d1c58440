"""The summary of a sweep: conserved quantities and moments of all its runs over the settings that vary."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ddco_jax.plasma.clone import VERSION
from ddco_jax.plasma.files import complete
from ddco_jax.simulation.quantities import COMPONENTS, QUANTITIES
from ddco_jax.simulation.results import NODES, open_result
from ddco_jax.simulation.sweep import Outcome, Sweep

FILE = "summary.nc"
OF_F = ("f_vx", "f_vxvy", "f")
"""Variables of a result that are too large for a summary."""
UNEQUAL = {"t": "time", "x": "position"}
"""Names of the variables that hold times and positions where these differ between runs."""
RESERVED = {*QUANTITIES, "status", "error", "folder", *UNEQUAL.values()}
SAME = 1e-9
"""Largest relative difference of times or positions that count as equal."""

Rows = Mapping[int, xr.Dataset]
"""Datasets of the complete runs, by number."""


def write_summary(sweep: Sweep, outcomes: Sequence[Outcome], out: Path) -> Path:
    """Write the summary of a sweep to `out`/`FILE` and return the path."""
    path = out / FILE
    with complete(path) as partial:
        summarised(sweep, outcomes).to_netcdf(partial, engine="netcdf4")
    return path


def summarised(sweep: Sweep, outcomes: Sequence[Outcome]) -> xr.DataTree:
    """The summary of a sweep, in SI.

    The root has the settings that vary as coordinates, and over them `status`, `error` and `folder` of the runs, every
    variable of the history at t = 0 (`NAME_start`) and at the end, and the moments at the end.  The nodes `history` and
    `snapshots` hold the same over time.  What has different shapes in different runs is left out; a run that is not
    complete has NaN.
    """
    names = _names(list(sweep.axes))
    shape = tuple(len(values) for values in sweep.axes.values())
    coords = {names[key]: _coordinate(names[key], key, values) for key, values in sweep.axes.items()}
    about = {
        "folder": [point.folder.name for point in sweep.points],
        "status": [outcome.status for outcome in outcomes],
        "error": [outcome.error for outcome in outcomes],
    }
    root: dict[str, Any] = {name: (tuple(coords), np.reshape(words, shape)) for name, words in about.items()}
    done = [i for i, outcome in enumerate(outcomes) if outcome.status == "complete"]
    opened = {i: open_result(sweep.points[i].folder, "si") for i in done}
    nodes: dict[str, xr.Dataset] = {}
    for node in NODES:
        rows = {i: result[node].to_dataset().drop_vars(OF_F, errors="ignore").load() for i, result in opened.items()}
        if rows:
            nodes[f"/{node}"] = _stacked(rows, coords, shape)
            last = _stacked({i: data.isel(t=-1) for i, data in rows.items()}, coords, shape)
            if node == "history":
                start = _stacked({i: data.isel(t=0) for i, data in rows.items()}, coords, shape)
                root |= {f"{name}_start": start[name] for name in start.data_vars}
            root |= {str(name): last[name] for name in last.data_vars}
    fixed = {k: v for k, v in sweep.points[0].overrides.items() if k not in sweep.axes}
    attributes = {"config": sweep.source, "set": json.dumps(fixed), "version": VERSION, "units": "si"}
    return xr.DataTree.from_dict({"/": xr.Dataset(root, coords, attributes), **nodes})


def _names(keys: Sequence[str]) -> dict[str, str]:
    """The coordinate of each setting: the last part of its key, or all of it where that is not unique."""
    short = [key.rpartition(".")[2] for key in keys]
    return {key: s if short.count(s) == 1 and s not in RESERVED else key for key, s in zip(keys, short, strict=True)}


def _coordinate(name: str, key: str, values: Sequence[Any]) -> xr.Variable:
    """The values of a setting: numbers, or words; lists are in JSON."""
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    words = [value if isinstance(value, str) else json.dumps(value) for value in values]
    return xr.Variable((name,), np.asarray(values if numbers else words), {"setting": key})


def _stacked(rows: Rows, coords: Mapping[str, xr.Variable], shape: tuple[int, ...]) -> xr.Dataset:
    """The variables that have the same shape in all runs, over the settings that vary; NaN where there is no run.

    Times and positions are coordinates where all runs have the same, else variables over the settings (`UNEQUAL`).
    """
    first = next(iter(rows.values()))
    found: dict[str, Any] = {}
    axes: dict[str, Any] = dict(coords)
    for name, like in first.variables.items():
        if name in COMPONENTS:  # the names of the axes
            axes[name] = like
            continue
        if name not in QUANTITIES or any(name not in row or row[name].shape != like.shape for row in rows.values()):
            continue
        values = np.full((int(np.prod(shape)), *like.shape), np.nan)
        for i, row in rows.items():
            values[i] = row[name]
        only = values[list(rows)]
        if name in UNEQUAL and like.ndim and np.allclose(only, only[0], rtol=SAME, atol=0):
            axes[name] = (name, only[0], like.attrs)
        else:
            dims = (*coords, *like.dims)
            found[UNEQUAL.get(str(name), str(name))] = (dims, values.reshape(*shape, *like.shape), like.attrs)
    return xr.Dataset(found, axes)
