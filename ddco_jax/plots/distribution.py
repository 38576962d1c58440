"""Figures of f: on the vx-vy and the x-vx plane, and f(vx); profiles of its moments along x."""

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

from ddco_jax.plots.axes import Axis, Units
from ddco_jax.plots.style import (
    FINE,
    WIDTH,
    Drawing,
    image,
    legend_right,
    plot_periodic,
    plot_smooth,
    reach,
    time_colours,
)

CELLS = "  Cells: the hottest, a middle and the coldest at t = 0; where T is uniform, at 0, 1/4 and 1/2 of the box."
"""What figures of single cells say of their choice."""
SEEN = 2e-3
"""Share of the largest f below which panels in linear colours are cropped."""
UNIFORM = 1e-6
"""Relative differences of temperatures that count as none."""
TAIL = 1e-5
"""Smallest f, over the largest, on logarithmic axes."""


def chosen_times(snapshots: xr.Dataset, count: int) -> list[int]:
    """Indices of at most `count` snapshots, the first and the last included, evenly spaced where there are three."""
    last = snapshots.sizes["t"] - 1
    even = [n for n in range(min(count, last + 1), 2, -1) if last % (n - 1) == 0]
    return sorted({round(i) for i in np.linspace(0, last, even[0] if even else min(count, last + 1))})


def chosen_cells(snapshots: xr.Dataset) -> list[int]:
    """The hottest, a middle and the coldest cell of the start (the paper shows cells 5, 10, 15).

    Where the temperature is uniform: the first cell, and those a quarter and half of the box from it.
    """
    degrees = snapshots["temperature"].isel(t=0).to_numpy()
    order, count = np.argsort(degrees), len(degrees)
    uniform = np.ptp(degrees) < UNIFORM * np.max(degrees)
    cells = (0, count // 4, count // 2) if uniform else (order[-1], order[count // 2], order[0])
    return list(dict.fromkeys(int(cell) for cell in cells))


def plane_figure(snapshots: xr.Dataset, cells: list[int], units: Units) -> Drawing:
    """f on the vx-vy plane, by time and position (the paper's Figs. 2 and 3)."""
    times = chosen_times(snapshots, 3)
    shown = snapshots["f_vxvy"].isel(t=times, x=cells).transpose("t", "x", "vx", "vy").to_numpy()
    vx, vy, f = _velocity(snapshots, "vx", units), _velocity(snapshots, "vy", units), units.axis("f_vxvy", shown)
    x, y = (snapshots[name].to_numpy() * axis.factor for name, axis in (("vx", vx), ("vy", vy)))
    limits = reach(x, np.moveaxis(shown, 2, -1), SEEN), reach(y, shown, SEEN)
    aspect = (limits[1][1] - limits[1][0]) / (limits[0][1] - limits[0][0])
    rows, columns = len(cells), len(times)
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(min(1.9, 2.1 / aspect) * columns + 1.2, (min(1.9 * aspect, 2.1) + 0.15) * rows + 0.4),
        squeeze=False,
        sharex=True,
        sharey=True,
        layout="constrained",
    )
    for row, cell in enumerate(cells):
        for column, i in enumerate(times):
            panel = axes[row, column]
            mesh = image(panel, x, y, shown[column, row] * f.factor, float(shown.max()) * f.factor)
            panel.set(aspect="equal", xlim=limits[0], ylim=limits[1])
            panel.set_title(time_text(snapshots, units, i) if row == 0 else "")
        axes[row, 0].set_ylabel("\n".join([*([place_text(snapshots, units, cell)] * (rows > 1)), vy.label]))
    for panel in axes[-1]:
        panel.set_xlabel(vx.label)
    figure.colorbar(mesh, ax=axes, label=f.label, shrink=0.9 / rows**0.5, aspect=25)
    return Drawing(figure, f"f on the vx-vy plane, integrated over vz; one colour scale.{CELLS}")


def streaming_figure(snapshots: xr.Dataset, units: Units) -> Drawing:
    """f on the x-vx plane (the paper's Figs. 4 and 5)."""
    times = chosen_times(snapshots, 3)
    shown = snapshots["f_vx"].isel(t=times).transpose("t", "x", "vx").to_numpy()
    place, v, f = units.axis("x", snapshots["x"]), _velocity(snapshots, "vx", units), units.axis("f_vx", shown)
    x, vx = snapshots["x"].to_numpy() * place.factor, snapshots["vx"].to_numpy() * v.factor
    figure, axes = plt.subplots(
        1, len(times), figsize=(2.0 * len(times) + 0.9, 2.2), squeeze=False, sharey=True, layout="constrained"
    )
    for panel, values, i in zip(axes[0], shown, times, strict=True):
        mesh = image(panel, x, vx, values * f.factor, float(shown.max()) * f.factor)
        panel.set(xlabel=place.label, ylim=reach(vx, shown, SEEN), title=time_text(snapshots, units, i))
    axes[0, 0].set_ylabel(v.label)
    figure.colorbar(mesh, ax=axes, label=f.label)
    return Drawing(figure, "f on the x-vx plane, integrated over vy and vz; one colour scale.")


def marginal_figure(snapshots: xr.Dataset, cells: list[int], units: Units) -> Drawing:
    """f(vx) over time, linear and logarithmic, with the Maxwellian of the last state."""
    times = chosen_times(snapshots, 5)
    shown = snapshots["f_vx"].isel(t=times, x=cells).transpose("t", "x", "vx").to_numpy()
    v, f, largest = _velocity(snapshots, "vx", units), units.axis("f_vx", shown), float(shown.max())
    low, high = reach(snapshots["vx"].to_numpy(), shown, TAIL)
    kept = (snapshots["vx"] >= low) & (snapshots["vx"] <= high)
    speed, shown = snapshots["vx"].to_numpy()[kept], shown[..., kept]
    fine = np.linspace(low, high, FINE)
    figure, axes = plt.subplots(
        2,
        len(cells),
        figsize=(2.0 * len(cells) + 1.4, 3.6),
        squeeze=False,
        sharex=True,
        sharey="row",
        layout="constrained",
    )
    for column, cell in enumerate(cells):
        maxwellian = _maxwellian(snapshots.isel(t=-1, x=cell), fine) * f.factor
        for panel, log in zip(axes[:, column], (False, True), strict=True):
            for k, (i, colour) in enumerate(zip(times, time_colours(len(times)), strict=True)):
                values = np.where(shown[k, column] > TAIL * largest / 100 if log else True, shown[k, column], np.nan)
                label = time_text(snapshots, units, i)
                plot_smooth(panel, speed * v.factor, values * f.factor, log=log, color=colour, label=label)
            panel.plot(fine * v.factor, maxwellian, "k:", lw=0.9, label="Maxwellian")
        axes[0, column].set_title(place_text(snapshots, units, cell))
        axes[1, column].set(yscale="log", xlabel=v.label)
    axes[0, 0].set_xlim(*(edge * v.factor for edge in reach(speed, shown, SEEN)))
    axes[1, 0].set_xlim(low * v.factor, high * v.factor)
    axes[0, 0].set_ylim(bottom=min(0, 1.1 * float(shown.min()) * f.factor))
    axes[1, 0].set_ylim(TAIL * largest * f.factor, 2 * largest * f.factor)
    for panel in axes[:, 0]:
        panel.set_ylabel(f.label)
    legend_right(figure, axes[0, 0])
    return Drawing(
        figure,
        "f(vx), linear and logarithmic; dotted, the Maxwellian of density, drift and temperature at the last time.  "
        f"Points are those of the grid where it is coarse, lines splines through them.{CELLS}",
    )


def profile_figure(snapshots: xr.Dataset, units: Units) -> Drawing:
    """Density, drift, field and the three temperatures along x."""
    times = chosen_times(snapshots, 5)
    place, time = units.axis("x", snapshots["x"]), units.axis("t", snapshots["t"])
    names = ["density", "drift_x"] + ["electric_field"] * bool(np.any(snapshots["electric_field"] != 0))
    above = [(snapshots[name], units.axis(name, snapshots[name])) for name in names]
    if "axis_temperature" in snapshots:
        degrees = snapshots["axis_temperature"]
        below = [(degrees.isel(axis=k), units.axis("temperature", degrees, f"T_{a}")) for k, a in enumerate("xyz")]
    else:
        below = [(snapshots["temperature"], units.axis("temperature", snapshots["temperature"]))]
    figure, axes = plt.subplots(2, 3, figsize=(WIDTH + 0.9, 3.7), sharex=True, layout="constrained")
    x = snapshots["x"].to_numpy() * place.factor
    for row, drawn in zip(axes, (above, below), strict=True):
        for panel in row[len(drawn) :]:
            panel.remove()
        for panel, (values, axis) in zip(row, drawn, strict=False):
            for i, colour in zip(times, time_colours(len(times)), strict=True):
                label = time.text(float(snapshots["t"][i]))
                plot_periodic(panel, x, values.isel(t=i).to_numpy() * axis.factor, label=label, color=colour)
            panel.set_ylabel(axis.label)
            panel.set_xlabel(place.label if panel in axes[1] else "")
    lows, highs = zip(*(panel.get_ylim() for panel in axes[1, : len(below)]), strict=True)
    for panel in axes[1, : len(below)]:
        panel.set_ylim(min(lows), max(highs))
    legend_right(figure, axes[0, 0])
    return Drawing(
        figure,
        "Profiles along x; the scale of the temperatures is shared.  Points are cells, lines periodic cubic splines "
        "through them.",
    )


def _velocity(snapshots: xr.Dataset, name: str, units: Units) -> Axis:
    """The axis of a velocity; all components have one unit."""
    return units.axis(name, snapshots["vx"])


def time_text(snapshots: xr.Dataset, units: Units, index: int) -> str:
    """The time of a snapshot, "t = ..."."""
    return units.axis("t", snapshots["t"]).text(float(snapshots["t"][index]))


def place_text(snapshots: xr.Dataset, units: Units, cell: int) -> str:
    """The centre of a cell, "x = ..."; "" of a homogeneous plasma."""
    if snapshots.sizes["x"] == 1:
        return ""
    return units.axis("x", snapshots["x"]).text(float(snapshots["x"][cell]))


def _maxwellian(state: xr.Dataset, speed: np.ndarray) -> np.ndarray:
    """f(vx) of the Maxwellian with density, drift and temperature of one cell, at speeds in code units."""
    n, u, T = (float(state[name]) for name in ("density", "drift_x", "temperature"))
    return n * np.exp(-((speed - u) ** 2) / (2 * T)) / np.sqrt(2 * np.pi * T)
