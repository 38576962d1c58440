"""One figure of runs and MD: marginals, their differences, temperatures, and errors over time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from scipy.interpolate import make_interp_spline

from ddco_jax.evaluation import compare
from ddco_jax.plasma.units import Scales
from ddco_jax.plots.axes import Axis, AxisUnits, Units
from ddco_jax.plots.distribution import place_text
from ddco_jax.plots.style import FINE, LINES, STYLE, WIDTH, Drawing, Format, legend_above, plot_smooth, reach, save
from ddco_jax.simulation.results import open_result

COLUMNS = 4
NOISE = "±1σ of the MD's counts"
CAPTION = (
    "f(vx) of runs (lines) and of molecular dynamics (points, averages over bins), in the hottest and the coldest cell "
    "at t = 0; their difference, averaged over the same bins, over the maximum of the MD, with the standard deviation "
    "that counting particles gives the MD (band); temperatures along x and y in the hottest cell; error of f(vx, vy) "
    "relative to the MD in the L2 norm, root mean square over cells, with the value that counting gives an exact model "
    "(band)."
)
VISIBLE = 2e-3
"""Share of the largest f of the MD below which panels are cropped."""


def plot_against_md(
    folders: Sequence[Path],
    md: xr.Dataset,
    folder: Path,
    name: str,
    bin_m_s: float = compare.BIN,
    units: AxisUnits = "si",
    formats: Sequence[Format] = ("png",),
) -> list[Path]:
    """Draw f(vx) of one or more runs and of MD, their differences, temperatures and errors over time.

    Writes `folder`/`name` in every format; the axes are in SI or in the code units of the first run, the bins in m/s.
    The cells shown are the hottest and the coldest at t = 0.  Raises ConfigError where runs and MD do not match
    (`compare.compare`).
    """
    first = open_result(folders[0])
    shown, scales = Units.of(first, units), compare.run_scales(first)
    runs = [_Run(folder, md, bin_m_s, scales) for folder in folders]
    md, bin_width = compare.in_scales(md, compare.md_scales(md), scales), bin_m_s / scales.velocity
    times = [t for t in runs[0].times if t > 0] or runs[0].times
    times = [times[round(i)] for i in np.linspace(0, len(times) - 1, min(COLUMNS, len(times)))]
    start = md["temperature"].isel(t=0).mean("replicate").to_numpy()
    cells = list(dict.fromkeys([int(start.argmax()), int(start.argmin())]))
    with plt.rc_context(STYLE):
        figure = plt.figure(figsize=(WIDTH, 2.9 * len(cells) + 2.2), layout="constrained")
        parts: Any = figure.subfigures(2, 1, height_ratios=[2.9 * len(cells), 2.0])
        heights = [2, 1.2] * len(cells)
        axes = parts[0].subplots(2 * len(cells), len(times), squeeze=False, sharey="row", height_ratios=heights)
        for i, cell in enumerate(cells):
            _marginals(axes[2 * i : 2 * i + 2], runs, md, times, cell, bin_width, shown)
        for axis in axes[-1]:
            axis.set_xlabel(_speed(md, shown).label)
        left, right = parts[1].subplots(1, 2)
        _temperatures(left, runs, md, cells[0], shown)
        _errors(right, runs, shown)
        handles, labels = axes[0, 0].get_legend_handles_labels()
        handles += axes[1, 0].get_legend_handles_labels()[0][:1]
        figure.legend(handles, [*labels, NOISE], loc="outside upper center", ncols=min(4, len(labels) + 1))
        return save(Drawing(figure, CAPTION), folder, name, formats)


class _Run:
    """A run with its rows of `compare.compare`, in code units of `scales`."""

    def __init__(self, folder: Path, md: xr.Dataset, bin_m_s: float, scales: Scales) -> None:
        result = open_result(folder)
        own = compare.run_scales(result)
        unit = own.time / scales.time
        self.rows = [row | {"time": row["time"] * unit} for row in compare.compare(folder, md, bin_m_s)]
        self.snapshots = compare.in_scales(result["snapshots"].to_dataset().load(), own, scales)
        quench = " with build-up" if "correlation_age" in self.snapshots else ""
        self.label = Path(result.attrs["kernel"]).name + quench
        self.times = sorted({row["time"] for row in self.rows})

    def at(self, time: float, cell: int) -> xr.Dataset:
        """The snapshot of a cell nearest to a time (t0)."""
        index = int(np.argmin(np.abs(self.snapshots["t"].to_numpy() - time)))
        return self.snapshots.isel(t=index, x=cell)


def _speed(md: xr.Dataset, units: Units) -> Axis:
    """The axis of velocities."""
    return units.axis("vx", np.array([3 * float(md["temperature"].max()) ** 0.5]))


def _marginals(
    axes: np.ndarray,
    runs: Sequence[_Run],
    md: xr.Dataset,
    times: Sequence[float],
    cell: int,
    bin_width: float,
    units: Units,
) -> None:
    """Draw f(vx) in one cell at some times into the first row of axes, the differences from MD into the second."""
    merge = round(bin_width / md.attrs["bin_width"])
    edges, v = compare.bin_edges(md, merge), _speed(md, units)
    centres = (edges[1:] + edges[:-1]) / 2 * v.factor
    particles, indices = compare.particles_in(md, 0, cell), [_nearest(md, time) for time in times]
    line = md["f_vx"].isel(t=indices, x=cell).mean("replicate").to_numpy()
    measured = [compare.merge_bins(one, merge, 1) for one in line]
    f = units.axis("f_vx", np.stack(measured))
    low, high = reach(centres, np.stack(measured), VISIBLE)
    place = place_text(runs[0].snapshots, units, cell)
    for (above, below), time, counted in zip(axes.T, times, measured, strict=True):
        sigma = np.sqrt(counted * counted.sum() / particles) / counted.max()
        above.plot(centres, counted * f.factor, "o", ms=2.5, mfc="none", mew=0.6, color="0.2", label="MD")
        below.fill_between(centres, -sigma, sigma, color="0.82", lw=0, label=NOISE)
        below.axhline(0, color="0.6", lw=0.5)
        for k, run in enumerate(runs):
            snapshot = run.at(time, cell)
            values, speed = snapshot["f_vx"].to_numpy(), snapshot["vx"].to_numpy()
            style: Any = {"color": f"C{k}", "ls": LINES[k % len(LINES)], "label": run.label}
            fine = np.linspace(speed[0], speed[-1], FINE)
            above.plot(fine * v.factor, make_interp_spline(speed, values, k=5)(fine) * f.factor, **style)
            below.plot(
                centres, (compare.rebin(values, speed, edges) - counted) / counted.max(), marker=".", ms=2.5, **style
            )
        above.set_title(", ".join([*([place] if place else []), units.axis("t", md["t"]).text(time)]))
        for axis in (above, below):
            axis.set_xlim(low, high)
        above.tick_params(labelbottom=False)
    axes[0, 0].set_ylim(bottom=0)
    axes[0, 0].set_ylabel(f.label)
    axes[1, 0].set_ylabel("(model − MD)\n/max MD")


def _nearest(md: xr.Dataset, time: float) -> int:
    """Index of the MD's time nearest to one in t0."""
    return int(np.argmin(np.abs(md["t"].to_numpy() - time)))


def _temperatures(axis: Axes, runs: Sequence[_Run], md: xr.Dataset, cell: int, units: Units) -> None:
    """Draw the temperatures along x and y of one cell over time."""
    time, degrees = units.axis("t", md["t"]), md["temperature_axis"].isel(x=cell).mean("replicate")
    scale = units.axis("temperature", degrees, "T_i")
    for k, (name, mark) in enumerate((("x", "o"), ("y", "s"))):
        marked: Any = {"ms": 2.8, "mfc": "none", "mew": 0.6, "color": "0.2", "ls": ""}
        axis.plot(md["t"] * time.factor, degrees.isel(axis=k) * scale.factor, mark, label=f"MD, $T_{name}$", **marked)
    for k, run in enumerate(runs):
        if "axis_temperature" not in run.snapshots:  # of version 0.1
            continue
        values = run.snapshots["axis_temperature"].isel(x=cell).to_numpy() * scale.factor
        for i in range(2):
            style: Any = {"color": f"C{k}", "ls": LINES[k % len(LINES)], "points": False}
            plot_smooth(axis, run.snapshots["t"].to_numpy() * time.factor, values[:, i], time=True, **style)
    axis.set_xlabel(time.label)
    axis.set_ylabel(scale.label)
    legend_above(axis, title=place_text(runs[0].snapshots, units, cell) or None)


def _errors(axis: Axes, runs: Sequence[_Run], units: Units) -> None:
    """Draw the error of f(vx, vy) over time, root mean square over cells, and the noise of the MD."""
    factor = units.axis("t", np.array(runs[0].times))
    for k, run in enumerate(runs):
        chosen = [row for row in run.rows if row["quantity"] == "f_vxvy" and row["time"] > 0]
        times = np.array(sorted({row["time"] for row in chosen}))

        def over_cells(key: str, times: np.ndarray = times, chosen: list[dict[str, Any]] = chosen) -> list[float]:
            return [np.mean([row[key] ** 2 for row in chosen if row["time"] == t]) ** 0.5 for t in times]

        at = times * factor.factor
        axis.plot(at, over_cells("total"), color=f"C{k}", ls=LINES[k % len(LINES)], marker=".", label=run.label)
        if k == 0:
            band = axis.fill_between(at, 0, over_cells("noise"), color="0.82", lw=0, label="expected of an exact model")
    axis.set_ylim(bottom=0)
    axis.set_xlabel(factor.label)
    axis.set_ylabel("relative $L_2$ error\nof $f(v_x,v_y)$")
    legend_above(axis, handles=[band])
