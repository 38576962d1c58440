"""What all figures share: sizes and fonts, colours, smooth lines through points, cropping, files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.interpolate import Akima1DInterpolator, CubicSpline, make_interp_spline

from ddco_jax.plasma.files import write_text

STYLE: Any = {
    "figure.dpi": 150,
    "savefig.dpi": 250,
    "savefig.bbox": "tight",
    "pdf.fonttype": 42,
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 7,
    "legend.handlelength": 1.6,
    "lines.linewidth": 1.2,
    "lines.markersize": 2.6,
    "axes.formatter.limits": (-3, 4),
    "axes.formatter.use_mathtext": True,
}
CMAP = "viridis"
DIFFERENCES = "RdBu_r"
"""Colours of differences."""
LINES = ("-", "--", "-.", ":")
WIDTH = 7.0
"""Width of a figure over two columns of a journal, inches."""
Format = Literal["png", "pdf", "svg"]
CAPTIONS = "captions.txt"
"""File beside figures with a line for each."""
SEEN_POINTS = 64
"""Largest number of points in a panel that are shown on their line."""
FINE = 500
"""Points of a smooth line."""


class Drawing(NamedTuple):
    """A figure and its caption."""

    figure: Figure
    caption: str


def time_colours(count: int) -> list[Any]:
    """A colour for each of some times; the last one is dark enough on white."""
    return [plt.get_cmap(CMAP)(value) for value in np.linspace(0, 0.88, count)]


def plot_smooth(
    axis: Axes,
    x: np.ndarray,
    y: np.ndarray,
    *,
    log: bool = False,
    time: bool = False,
    points: bool = True,
    **style: Any,
) -> None:
    """Draw a smooth line through the points of a coarse grid, and the `points` where they are few.

    A quintic spline; one without overshoot (Akima's) where x is `time` and, of log y, where `log`.  Points that are not
    finite, and those without a logarithm, are left out, and the line has a gap there.
    """
    label, colour = style.pop("label", None), style.pop("color")
    kept = np.flatnonzero(np.isfinite(y) & ((y > 0) | (not log)))
    gaps = np.diff(kept) > 1
    x, y = x[kept], y[kept]
    marker = "o" if points and len(x) <= SEEN_POINTS else ""
    if len(x) < 3:
        axis.plot(x, y, color=colour, marker=marker or "o", label=label, **style)
        return
    fine, values = np.linspace(x[0], x[-1], FINE), np.log(y) if log else y
    if log or time:
        spline = Akima1DInterpolator(x, values, method="makima")
    else:
        spline = make_interp_spline(x, values, k=3 if len(x) < 6 else 5)
    curve = np.where(gaps[np.clip(np.searchsorted(x, fine) - 1, 0, len(gaps) - 1)], np.nan, spline(fine))
    axis.plot(fine, np.exp(curve) if log else curve, color=colour, **style)
    axis.plot(x, y, ls="", marker=marker, color=colour, mew=0)
    axis.plot([], [], color=colour, marker=marker, label=label, **style)


def plot_periodic(axis: Axes, x: np.ndarray, y: np.ndarray, *, label: str, color: Any) -> None:
    """Draw cell values (nx,) of a periodic box with a smooth line through them, from 0 to its length."""
    step = x[1] - x[0]
    length = step * len(x)
    curve = CubicSpline(np.append(x, x[0] + length), np.append(y, y[0]), bc_type="periodic")
    fine = np.linspace(x[0] - step / 2, x[0] - step / 2 + length, FINE)
    marker = "o" if len(x) <= SEEN_POINTS else ""
    axis.plot(fine, curve(x[0] + (fine - x[0]) % length), color=color)
    axis.plot(x, y, ls="", marker=marker, color=color, mew=0)
    axis.plot([], [], color=color, marker=marker, label=label)
    axis.set_xlim(fine[0], fine[-1])
    if not np.any(y):
        axis.set_ylim(-1, 1)


def reach(v: np.ndarray, f: np.ndarray, share: float) -> tuple[float, float]:
    """The range of v, (n,), in which f, (..., n), is above a share of its maximum, and one point more on each side."""
    there = np.flatnonzero(np.any((f > share * np.max(f)).reshape(-1, len(v)), 0))
    if not there.size:
        return float(v[0]), float(v[-1])
    return float(v[max(there[0] - 1, 0)]), float(v[min(there[-1] + 1, len(v) - 1)])


def image(axis: Axes, x: np.ndarray, y: np.ndarray, f: np.ndarray, largest: float, signed: bool = False) -> Any:
    """Draw f, (x, y), of evenly spaced points as colours from 0 to `largest`, smoothed between the points.

    Where f is `signed`, as differences are, the colours go from -`largest` to `largest`, white at 0.
    """
    dx, dy = x[1] - x[0], y[1] - y[0]
    extent = (x[0] - dx / 2, x[-1] + dx / 2, y[0] - dy / 2, y[-1] + dy / 2)
    colours: Any = {"vmin": -largest if signed else 0, "vmax": largest, "cmap": DIFFERENCES if signed else CMAP}
    # through the points; "bicubic" is a smoothing spline, which lowers maxima
    return axis.imshow(f.T, origin="lower", extent=extent, interpolation="catrom", aspect="auto", **colours)


def legend_above(axis: Axes, columns: int = 4, **handles: Any) -> None:
    """The legend of a panel, of all that has a label or of the given `handles`, above it."""
    place: Any = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "ncols": columns}
    axis.legend(**place, **handles, columnspacing=1.0, borderpad=0.2, handletextpad=0.4)


def legend_right(figure: Figure, axis: Axes, title: str = "") -> None:
    """The legend of a panel, for all panels, at the right of the figure."""
    figure.legend(*axis.get_legend_handles_labels(), loc="outside right center", title=title, title_fontsize=7)


def save(drawing: Drawing, folder: Path, name: str, formats: Sequence[Format]) -> list[Path]:
    """Write a figure in every format, put its caption into the folder's `CAPTIONS`, and close it."""
    paths = [folder / f"{name}.{kind}" for kind in formats]
    folder.mkdir(parents=True, exist_ok=True)
    for path in paths:
        drawing.figure.savefig(path)
    plt.close(drawing.figure)
    captions = folder / CAPTIONS
    lines = captions.read_text().splitlines() if captions.is_file() else []
    others = [line for line in lines if not line.startswith(f"{name}: ")]
    write_text(captions, "\n".join([*others, f"{name}: {drawing.caption}"]) + "\n")
    return paths
