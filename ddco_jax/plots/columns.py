"""MD and runs in columns: f on the vx-vy and the x-vx plane, and the differences (the paper's Figs. 2-5, C.8)."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from ddco_jax.evaluation import compare
from ddco_jax.plots.axes import Axis, AxisUnits, Units
from ddco_jax.plots.style import WIDTH, Drawing, image, reach
from ddco_jax.simulation.results import open_result

SEEN = 1e-2
"""Share of the largest f of the MD below which panels are cropped."""
BESIDE, LARGEST = 1.3, 1.25
"""Width of what is beside the panels, and the largest width of a panel, inches."""
BOTH = (
    "Upper rows: f, all panels with one colour scale.  Lower rows: difference of the column from MD, over the largest "
    "f of the MD in the row, all with one colour scale; the number is the relative L2 error in excess of the noise, "
    "which the number of particles gives the MD.  All are averages over the same velocity bins."
)


@dataclasses.dataclass(frozen=True)
class Columns:
    """MD and runs of the same start on the velocity bins of their comparison, in code units of the first run."""

    md: xr.Dataset
    runs: Sequence[xr.Dataset]
    """Snapshots."""
    labels: Sequence[str]
    """Of the runs."""
    errors: Sequence[Mapping[tuple[float, int, str], tuple[float, float]]]
    """Excess and noise of each run by time (rounded to 1e-6 t0), cell and quantity, of `compare.compare`."""
    merge: int
    """Bins of the MD in one of the comparison."""
    units: Units

    @classmethod
    def of(cls, md: xr.Dataset, folders: Mapping[str, Path], units: AxisUnits = "si") -> "Columns":
        """Read runs by label.  Raises ConfigError where one does not match the MD (`compare.compare`)."""
        results = [open_result(folder) for folder in folders.values()]
        scales = compare.run_scales(results[0])
        runs, errors = [], []
        for result, folder in zip(results, folders.values(), strict=True):
            own = compare.run_scales(result)
            runs.append(compare.in_scales(result["snapshots"].to_dataset().load(), own, scales))
            unit = own.time / scales.time
            rows = compare.compare(folder, md)
            place = lambda r, unit=unit: (round(r["time"] * unit, 6), r["cell"], r["quantity"])
            errors.append({place(r): (r["excess"], r["noise"]) for r in rows})
        md = compare.in_scales(md, compare.md_scales(md), scales)
        merge = round(compare.BIN / scales.velocity / md.attrs["bin_width"])
        return cls(md, runs, list(folders), errors, merge, Units.of(results[0], units))

    @property
    def v(self) -> np.ndarray:
        """Centres of the bins."""
        edges = compare.bin_edges(self.md, self.merge)
        return (edges[1:] + edges[:-1]) / 2

    def plane(self, time: float, cell: int) -> np.ndarray:
        """f(vx, vy) of a cell: of the MD, then of the runs; (1 + runs, vx, vy)."""
        edges = compare.bin_edges(self.md, self.merge)
        out = [compare.merge_bins(_at(self.md, time, cell)["f_vxvy"].mean("replicate").to_numpy(), self.merge, 2)]
        for run in self.runs:
            now = _at(run, time, cell)
            along = compare.rebin(now["f_vxvy"].to_numpy(), now["vx"].to_numpy(), edges)
            out.append(compare.rebin(along.T, now["vy"].to_numpy(), edges).T)
        return np.stack(out)

    def strip(self, time: float) -> np.ndarray:
        """f(x, vx): of the MD, then of the runs; (1 + runs, x, vx)."""
        edges = compare.bin_edges(self.md, self.merge)
        out = [[compare.merge_bins(one, self.merge, 1) for one in _at(self.md, time)["f_vx"].mean("replicate").values]]
        for run in self.runs:
            now = _at(run, time)
            out.append(list(compare.rebin(now["f_vx"].to_numpy().T, now["vx"].to_numpy(), edges).T))
        return np.array(out)

    def error(self, time: float, cells: Sequence[int], quantity: str) -> tuple[list[float], str]:
        """Excess of each run, root mean square over cells, and the noise of the MD as text."""
        keys = [(round(time, 6), cell, quantity) for cell in cells]
        squares = [np.mean([np.square(run[key]) for key in keys], axis=0) for run in self.errors]
        return [float(one[0]) ** 0.5 for one in squares], f"noise {100 * float(squares[0][1]) ** 0.5:.1f} %"

    def place(self, cell: int) -> str:
        """The centre of a cell as text."""
        x = self.runs[0]["x"]
        return self.units.axis("x", x).text(float(x[cell]))

    def temperature(self, time: float, cell: int) -> str:
        """The temperature of the MD in a cell as text."""
        degrees = self.md["temperature"].mean("replicate")
        return self.units.axis("temperature", degrees).text(float(_at(degrees, time, cell)))


def _at(data: Any, time: float, *cell: int) -> Any:
    """The snapshot nearest to a time (t0), and of it one cell."""
    now = data.isel(t=int(np.argmin(np.abs(data["t"].to_numpy() - time))))
    return now.isel(x=cell[0]) if cell else now


def plane_columns(columns: Columns, cells: Sequence[int], time: float) -> Drawing:
    """f on the vx-vy plane in some cells at one time (t0), by cell and column, and the differences from MD."""
    f = np.stack([columns.plane(time, cell) for cell in cells])
    share = np.max(f[:, 0], axis=(1, 2))[:, None, None, None]
    difference = (f[:, 1:] - f[:, :1]) / share
    v = columns.units.axis("vx", np.array([3 * float(columns.md["temperature"].max()) ** 0.5]))
    found = [columns.error(time, [cell], "f_vxvy") for cell in cells]
    rows = [
        f"{columns.place(cell)}\n{columns.temperature(time, cell)}\n{noise}"
        for cell, (_, noise) in zip(cells, found, strict=True)
    ]
    axis, speed = columns.units.axis("f_vxvy", f[:, 0]), columns.v * v.factor
    when = columns.units.axis("t", columns.md["t"]).text(time)
    panels = _Panels(columns.labels, rows, [excess for excess, _ in found], (v, v._replace(symbol="$v_y$")), axis)
    limits = reach(speed, np.moveaxis(f[:, 0], 1, -1), SEEN), reach(speed, f[:, 0], SEEN)
    drawing = panels.draw(speed, speed, f * axis.factor, difference, limits, equal=True)
    return drawing._replace(caption=f"f on the vx-vy plane, integrated over vz, at {when}.  {BOTH}")


def strip_columns(columns: Columns, times: Sequence[float]) -> Drawing:
    """f on the x-vx plane at some times (t0), by time and column, and the differences from MD."""
    f = np.stack([columns.strip(time) for time in times])
    difference = (f[:, 1:] - f[:, :1]) / np.max(f[:, 0], axis=(1, 2))[:, None, None, None]
    x, t = columns.runs[0]["x"], columns.units.axis("t", columns.md["t"])
    place = columns.units.axis("x", x)
    v = columns.units.axis("vx", np.array([3 * float(columns.md["temperature"].max()) ** 0.5]))
    axis, speed = columns.units.axis("f_vx", f[:, 0]), columns.v * v.factor
    found = [columns.error(time, range(len(x)), "f_vx") for time in times]
    rows = [f"{t.text(time)}\n{noise}" for time, (_, noise) in zip(times, found, strict=True)]
    panels = _Panels(columns.labels, rows, [excess for excess, _ in found], (place, v), axis)
    at = x.to_numpy() * place.factor
    half = (at[1] - at[0]) / 2
    limits = (at[0] - half, at[-1] + half), reach(speed, f[:, 0], SEEN)
    drawing = panels.draw(at, speed, f * axis.factor, difference, limits, equal=False)
    return drawing._replace(
        caption=f"f on the x-vx plane, integrated over vy and vz.  {BOTH}  The number is that of f(vx), root mean "
        "square over the cells."
    )


@dataclasses.dataclass(frozen=True)
class _Panels:
    """What is written at the panels."""

    labels: Sequence[str]
    rows: Sequence[str]
    excess: Sequence[Sequence[float]]
    """By row and run."""
    axes: tuple[Axis, Axis]
    f: Axis

    def draw(
        self,
        x: np.ndarray,
        y: np.ndarray,
        f: np.ndarray,
        difference: np.ndarray,
        limits: tuple[tuple[float, float], tuple[float, float]],
        equal: bool,
    ) -> Drawing:
        """Draw f, (row, 1 + run, x, y), in units of the axis, and below each row its differences, (row, run, x, y)."""
        count, columns = len(self.rows), len(self.labels) + 1
        width = min((WIDTH - BESIDE) / columns, LARGEST)
        height = width * (limits[1][1] - limits[1][0]) / (limits[0][1] - limits[0][0]) if equal else 1.0
        figure, axes = plt.subplots(
            2 * count,
            columns,
            figsize=(BESIDE + columns * width, 2 * count * (height + 0.06) + 0.6),
            squeeze=False,
            sharex=True,
            sharey=True,
            layout=ConstrainedLayoutEngine(w_pad=0.01, h_pad=0.01, wspace=0.01, hspace=0.01),
        )
        largest, gap = float(f.max()), float(np.max(np.abs(difference)))
        for row in range(count):
            above, below = axes[2 * row], axes[2 * row + 1]
            for k in range(columns):
                upper = image(above[k], x, y, f[row, k], largest)
                if k:
                    lower = image(below[k], x, y, 100 * difference[row, k - 1], 100 * gap, signed=True)
                    _number(below[k], self.excess[row][k - 1])
            _instead(below[0], self.rows[row])
            above[0].set_ylabel(self.axes[1].label)
        for label, panel in zip(["MD", *self.labels], axes[0], strict=True):
            panel.set_title(label.replace(", ", ",\n"))
        for panel in axes.flat:
            panel.set(xlim=limits[0], ylim=limits[1], aspect="equal" if equal else "auto")
            panel.tick_params(labelsize=6.5, length=2)
        axes[0, 0].xaxis.set_major_locator(MaxNLocator(3 if equal else 4, prune=None if equal else "both"))
        for panel in axes[-1, 1:]:
            panel.set_xlabel(self.axes[0].label)
        bar: dict[str, Any] = {"aspect": 30, "shrink": 0.9, "pad": 0.01}
        half = axes[:count], axes[count:]
        figure.colorbar(upper, ax=half[0], label=self.f.label, **bar)
        figure.colorbar(lower, ax=half[1], label="(column − MD) / max MD of the row (%)", **bar)
        return Drawing(figure, "")


def _number(panel: Axes, value: float) -> None:
    """Write an error into the corner of a panel."""
    panel.text(0.05, 0.94, f"{100 * value:.1f} %", transform=panel.transAxes, fontsize=6.5, va="top")


def _instead(panel: Axes, text: str) -> None:
    """Write what a row shows in place of the difference of MD from MD."""
    panel.text(0.5, 0.42, text, transform=panel.transAxes, fontsize=7, ha="center", va="center")
    panel.set_axis_off()
