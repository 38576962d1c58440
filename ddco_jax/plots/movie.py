"""A movie of f on the x-vx and the vx-vy plane."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.animation import FFMpegWriter, FuncAnimation, PillowWriter
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from ddco_jax.plots.axes import AxisUnits, Units
from ddco_jax.plots.distribution import SEEN, chosen_cells, place_text, time_text
from ddco_jax.plots.run import FOLDER, opened
from ddco_jax.plots.style import STYLE, image, reach

SECONDS = 8.0
"""Length at which a movie aims, s."""
RATES = (2, 20)
"""Slowest and fastest number of snapshots per second."""
DPI = 120


def plot_movie(folder: Path, units: AxisUnits = "si") -> Path:
    """Write a movie of the snapshots of a run to its `figures`: f(x, vx) and, in the hottest cell at t = 0, f(vx, vy).

    It is MP4 where the program `ffmpeg` is found, else GIF.  One colour scale per panel holds for all times.
    Raises FileNotFoundError without a run, or where it has no snapshot yet.
    """
    result, snapshots = opened(folder)
    rate = int(np.clip(round(snapshots.sizes["t"] / SECONDS), *RATES))
    ffmpeg = FFMpegWriter.isAvailable()
    writer = FFMpegWriter(fps=rate) if ffmpeg else PillowWriter(fps=rate)
    path = Path(folder) / FOLDER / ("movie.mp4" if ffmpeg else "movie.gif")
    path.parent.mkdir(exist_ok=True)
    with plt.rc_context(STYLE | {"savefig.bbox": None}):
        figure, draw = _panels(snapshots, Units.of(result, units))
        FuncAnimation(figure, draw, frames=snapshots.sizes["t"]).save(path, writer, dpi=DPI)
        plt.close(figure)
    return path


def _panels(snapshots: xr.Dataset, units: Units) -> tuple[Figure, Callable[[int], list[Artist]]]:
    """The figure, and the function that draws the snapshot of an index into it."""
    cell = chosen_cells(snapshots)[0]
    panels = [("f_vxvy", "vx", "vy", snapshots["f_vxvy"].isel(x=cell))]
    if snapshots.sizes["x"] > 1:
        panels.insert(0, ("f_vx", "x", "vx", snapshots["f_vx"]))
    layout: Any = ConstrainedLayoutEngine(wspace=0.08)
    figure, axes = plt.subplots(1, len(panels), figsize=(3.6 * len(panels), 2.9), squeeze=False, layout=layout)
    images = []
    for panel, (name, across, up, values) in zip(axes[0], panels, strict=True):
        f = values.transpose("t", across, up).to_numpy()
        scale = units.axis(name, f)
        x, y = (units.axis(n, snapshots["vx" if n == "vy" else n]) for n in (across, up))
        one, two = snapshots[across].to_numpy() * x.factor, snapshots[up].to_numpy() * y.factor
        mesh = image(panel, one, two, f[0] * scale.factor, float(f.max()) * scale.factor)
        panel.set(xlabel=x.label, ylabel=y.label, ylim=reach(two, f, SEEN))
        if name == "f_vxvy":
            panel.set(aspect="equal", xlim=reach(one, f.swapaxes(1, 2), SEEN), title=place_text(snapshots, units, cell))
        figure.colorbar(mesh, ax=panel, label=scale.label)
        images.append((mesh, f * scale.factor))
    title = figure.suptitle("0")

    def draw(index: int) -> list[Artist]:
        for mesh, f in images:
            mesh.set_data(f[index].T)
        title.set_text(time_text(snapshots, units, index))
        return []

    return figure, draw
