"""One figure of runs and MD: marginals, their differences, and errors over time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from ddco_jax.evaluation import compare
from ddco_jax.plasma.units import Scales
from ddco_jax.plots.run import STYLE
from ddco_jax.simulation.results import open_result

COLUMNS = 4
LINES = ("-", "--", "-.", ":")


def plot_against_md(folders: Sequence[Path], md: xr.Dataset, path: Path, bin_m_s: float = compare.BIN) -> Path:
    """Plot marginals f(vx) of one or more runs and of MD, their differences, and the errors over time.

    The axes are in the code units of the first run, the bins in m/s.  The cells shown are the hottest and the coldest
    at t = 0.  Raises ConfigError where runs and MD do not match (`compare.compare`).
    """
    scales = compare.run_scales(open_result(folders[0]))
    runs = [_Run(folder, md, bin_m_s, scales) for folder in folders]
    md, bin_width = compare.in_scales(md, compare.md_scales(md), scales), bin_m_s / scales.velocity
    times = [t for t in runs[0].times if t > 0] or runs[0].times
    times = [times[round(i)] for i in np.linspace(0, len(times) - 1, min(COLUMNS, len(times)))]
    start = md["temperature"].isel(t=0).mean("replicate").to_numpy()
    cells = list(dict.fromkeys([int(start.argmax()), int(start.argmin())]))
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            2 * len(cells) + 1,
            len(times),
            figsize=(1.9 * len(times) + 1.2, 3.0 * len(cells) + 1.9),
            squeeze=False,
            layout="constrained",
            height_ratios=[2, 1] * len(cells) + [1.6],
        )
        for i, cell in enumerate(cells):
            _marginals(axes[2 * i], axes[2 * i + 1], runs, md, times, cell, bin_width)
        for axis in axes[-1]:
            axis.remove()
        bottom = figure.add_subplot(axes[-1, 0].get_gridspec()[-1, :])
        _errors(bottom, runs)
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), fontsize=8)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, bbox_inches="tight")
        plt.close(figure)
    return path


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


def _marginals(
    above: np.ndarray,
    below: np.ndarray,
    runs: Sequence[_Run],
    md: xr.Dataset,
    times: Sequence[float],
    cell: int,
    bin_width: float,
) -> None:
    merge = round(bin_width / md.attrs["bin_width"])
    edges = compare.bin_edges(md, merge)
    centres = (edges[1:] + edges[:-1]) / 2
    particles = compare.particles_in(md, 0, cell)
    for column, time in enumerate(times):
        index = int(np.argmin(np.abs(md["t"].to_numpy() - time)))
        measured = compare.merge_bins(md["f_vx"].isel(t=index, x=cell).mean("replicate").to_numpy(), merge, 1)
        visible = centres[measured > 2e-3 * measured.max()]
        reach = 1.15 * float(np.abs(visible).max())
        sigma = np.sqrt(measured * measured.sum() / particles) / measured.max()
        above[column].plot(centres, measured, "o", ms=2.5, mfc="none", mew=0.6, color="0.2", label="MD")
        below[column].fill_between(centres, -sigma, sigma, color="0.85", lw=0, label="noise of the MD")
        for k, run in enumerate(runs):
            snapshot = run.at(time, cell)
            f, v = snapshot["f_vx"].to_numpy(), snapshot["vx"].to_numpy()
            style = {"color": f"C{k}", "ls": LINES[k % len(LINES)]}
            above[column].plot(centres, compare.rebin(f, v, edges), label=run.label, **style)
            below[column].plot(centres, (compare.rebin(f, v, edges) - measured) / measured.max(), **style)
        name = f", cell {cell}" if md.sizes["x"] > 1 else ""
        above[column].set_title(f"$t$ = {time:.1f} $t_0${name}")
        above[column].tick_params(labelbottom=False)
        for axis in (above[column], below[column]):
            axis.set_xlim(-reach, reach)
        below[column].set_xlabel("$v_x/V_0$")
        if column:
            below[column].sharey(below[0])
    above[0].set_ylabel("$f(v_x)$")
    below[0].set_ylabel("less MD / max")


def _errors(axis: Axes, runs: Sequence[_Run]) -> None:
    """Draw the error of f(vx, vy) over time, root mean square over cells, and the noise of the MD."""
    for k, run in enumerate(runs):
        chosen = [row for row in run.rows if row["quantity"] == "f_vxvy" and row["time"] > 0]
        times = sorted({row["time"] for row in chosen})

        def over_cells(key: str, t: float, chosen: list[dict[str, Any]] = chosen) -> float:
            return np.mean([row[key] ** 2 for row in chosen if row["time"] == t]) ** 0.5

        axis.plot(times, [over_cells("total", t) for t in times], color=f"C{k}", ls=LINES[k % len(LINES)], marker=".")
        if k == 0:
            noise = [over_cells("noise", t) for t in times]
            axis.fill_between(times, 0, noise, color="0.85", lw=0)
            axis.annotate("noise of the MD", (times[0], 0.3 * noise[0]), fontsize=7)
    axis.set_ylim(bottom=0)
    axis.set_xlabel("$t/t_0$")
    axis.set_ylabel("error of $f(v_x, v_y)$")
