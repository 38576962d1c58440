"""All figures of a run, like the paper's Figs. 2-7, and their captions."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import xarray as xr

from ddco_jax.plots.axes import AxisUnits, Units
from ddco_jax.plots.distribution import chosen_cells, marginal_figure, plane_figure, profile_figure, streaming_figure
from ddco_jax.plots.history import conservation_figure, entropy_figure, temperature_figure
from ddco_jax.plots.style import STYLE, Drawing, Format, save
from ddco_jax.simulation.recovery import require_whole
from ddco_jax.simulation.results import open_result

FOLDER = "figures"
"""Subfolder of a run that holds its figures."""


def plot_run(folder: Path, units: AxisUnits = "si", formats: Sequence[Format] = ("png",)) -> list[Path]:
    """Write all figures of the run in `folder`, and their captions, to its `figures`; returns the paths of the figures.

    `units` of the axes: "si", with prefixes and electron-volts, or "code".
    Raises FileNotFoundError without a run, or where it has no snapshot yet.
    """
    result, snapshots = opened(folder)
    history, shown = result["history"].to_dataset().load(), Units.of(result, units)
    with plt.rc_context(STYLE):
        drawings = _drawings(history, snapshots, shown)
        return [path for name in drawings for path in save(drawings[name], Path(folder) / FOLDER, name, formats)]


def opened(folder: Path) -> tuple[xr.DataTree, xr.Dataset]:
    """The result of a run and its snapshots, in code units and in memory.

    Raises FileNotFoundError without a run, or where it has no snapshot yet.
    """
    result = open_result(folder)
    require_whole(folder)
    snapshots = result["snapshots"].to_dataset().load()
    if not snapshots.sizes["t"]:
        raise FileNotFoundError(f"{folder} holds no snapshot yet; wait for the run, or `ddco resume` it")
    return result, snapshots


def _drawings(history: xr.Dataset, snapshots: xr.Dataset, units: Units) -> dict[str, Drawing]:
    """The figures by name."""
    cells = chosen_cells(snapshots)
    drawings = {
        "conservation": conservation_figure(history, units),
        "entropy": entropy_figure(history, snapshots, units),
        "vx_vy": plane_figure(snapshots, cells, units),
        "marginal": marginal_figure(snapshots, cells, units),
    }
    if "axis_temperature" in snapshots:  # not in results of version 0.1
        drawings["temperature"] = temperature_figure(snapshots, cells, units)
    if snapshots.sizes["x"] > 1:
        drawings["x_vx"] = streaming_figure(snapshots, units)
        drawings["profiles"] = profile_figure(snapshots, units)
    return drawings
