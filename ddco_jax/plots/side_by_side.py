"""One figure of several runs: f(vx) at some times, temperatures and entropy over time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

from ddco_jax.evaluation.compare import in_scales, run_scales
from ddco_jax.plots.axes import AxisUnits, Units
from ddco_jax.plots.distribution import SEEN, chosen_cells, chosen_times, place_text
from ddco_jax.plots.run import FOLDER, opened
from ddco_jax.plots.style import LINES, STYLE, WIDTH, Drawing, Format, legend_right, plot_smooth, reach, save

NAME = "side_by_side"
"""Name of the figure's file."""


def plot_side_by_side(
    folders: Sequence[Path], units: AxisUnits = "si", formats: Sequence[Format] = ("png",)
) -> list[Path]:
    """Draw f(vx), temperatures and entropy of runs, the first of which has the folder of the figure; returns its paths.

    The cell is the hottest of the first run at t = 0; of the others, the cell nearest to its position.  Times are those
    of the first run; of the others, the snapshots nearest to them.
    Raises FileNotFoundError without a run, or where one has no snapshot yet.
    """
    first = opened(folders[0])[0]
    shown, scales = Units.of(first, units), run_scales(first)
    runs = []
    for folder in folders:
        result, snapshots = opened(folder)
        own = run_scales(result)
        history = result["history"].to_dataset().load()
        gained = (history["entropy"] - history["entropy"][0]) / history["mass"][0]
        gained = gained.assign_coords(t=history["t"] * (own.time / scales.time))
        converted = in_scales(snapshots, own, scales)
        if "axis_temperature" in converted:  # kT/m: another species at the same speeds has another temperature
            converted["axis_temperature"] = converted["axis_temperature"] * (own.mass / scales.mass)
        runs.append((converted, gained))
    kernels = [Path(opened(folder)[0].attrs["kernel"]).name for folder in folders]
    labels = [k if kernels.count(k) == 1 else f"{Path(f).name} ({k})" for k, f in zip(kernels, folders, strict=True)]
    with plt.rc_context(STYLE):
        drawing = _drawing([s for s, _ in runs], [g for _, g in runs], labels, shown)
        return save(drawing, Path(folders[0]) / FOLDER, NAME, formats)


def _drawing(
    runs: Sequence[xr.Dataset], gained: Sequence[xr.DataArray], labels: Sequence[str], units: Units
) -> Drawing:
    first = runs[0]
    cell, indices = chosen_cells(first)[0], chosen_times(first, 3)
    cells = [run.isel(x=_nearest(run["x"], first["x"][cell])) for run in runs]
    v, f = units.axis("vx", first["vx"]), units.axis("f_vx", cells[0]["f_vx"])
    time, degree = units.axis("t", first["t"]), units.axis("temperature", first["temperature"], "T_i")
    figure = plt.figure(figsize=(WIDTH, 4.4), layout="constrained")
    parts: Any = figure.subfigures(2, 1)
    above = parts[0].subplots(1, len(indices), squeeze=False, sharey=True)[0]
    heat, order = parts[1].subplots(1, 2)
    low, high = reach(first["vx"].to_numpy(), cells[0]["f_vx"].to_numpy(), SEEN)
    for k, (run, entropy, label) in enumerate(zip(cells, gained, labels, strict=True)):
        style: Any = {"color": f"C{k}", "ls": LINES[k % len(LINES)]}
        for panel, i in zip(above, indices, strict=True):
            now = run.isel(t=_nearest(run["t"], first["t"][i]))
            values = now["f_vx"].to_numpy() * f.factor
            plot_smooth(panel, run["vx"].to_numpy() * v.factor, values, points=False, label=label, **style)
        t = run["t"].to_numpy() * time.factor
        for axis in range(2 if "axis_temperature" in run else 0):  # not in results of version 0.1
            values = run["axis_temperature"].isel(axis=axis).to_numpy() * degree.factor
            plot_smooth(heat, t, values, time=True, lw=(1.4, 0.7)[axis], **style)
        order.plot(entropy["t"] * time.factor, entropy, **style)
    for panel, i in zip(above, indices, strict=True):
        panel.set(xlim=(low * v.factor, high * v.factor), xlabel=v.label, title=time.text(float(first["t"][i])))
    above[0].set_ylabel(f.label)
    above[0].set_ylim(bottom=0)
    for panel, label in ((heat, degree.label), (order, "$[S(t)-S(0)]/Nk$")):
        panel.set(xlabel=time.label, ylabel=label)
    legend_right(figure, above[0])
    place = place_text(first, units, cell)
    return Drawing(
        figure,
        f"f(vx) of the runs{f' at {place}' if place else ''}, their temperatures there along x (thick) and y (thin), "
        "and the entropy per particle of all cells since t = 0, in units of k.",
    )


def _nearest(places: xr.DataArray, place: xr.DataArray) -> int:
    """Index of the time or position nearest to one."""
    return int(np.argmin(np.abs(places.to_numpy() - float(place))))
