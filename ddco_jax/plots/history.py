"""Figures over time: conservation, entropy, temperatures."""

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from ddco_jax.plots.axes import Units, in_powers
from ddco_jax.plots.style import WIDTH, Drawing, legend_above, plot_smooth

ROUNDINGS = 64
"""Change of the entropy, in units of its last place, that counts as rounding: it is a sum over all points."""
DECADES = 1.5
"""Powers of ten over which a quantity varies, from which its axis is logarithmic."""
SMALL_RATE = 1e-4
"""Rates of the entropy, over the largest, below which an axis with both signs is linear."""
VISIBLE = 1e-10
"""Smallest field energy that is shown, over the largest."""
SPAN = 0.04
"""Smallest range of temperatures in a panel, over the largest: noise is not magnified to fill it."""
DENSE = 200
"""Number of records from which lines of rounding errors are thin."""
AXIS_STYLES = (("C0", "-"), ("C1", "--"), ("C2", ":"))
"""Colour and line of the axes x, y, z."""


def conservation_figure(history: xr.Dataset, units: Units) -> Drawing:
    """Errors of mass, momentum and energy, and the field energy where there is a field (the paper's Fig. 6)."""
    field = bool(np.any(history["field_energy"] != 0))
    figure, axes = plt.subplots(1, 2 + field, figsize=(WIDTH * (2 + field) / 3, 2.2), layout="constrained")
    time = units.axis("t", history["t"])
    t = history["t"].to_numpy() * time.factor
    values = np.stack([history[name].to_numpy() for name in ("mass", "total_energy")], 1)
    scale = float(np.sqrt(2 * history["kinetic_energy"][0] * history["mass"][0]))
    momentum = history["momentum"].to_numpy()
    thin = 1.2 if len(t) < DENSE else 0.6
    relative, power = in_powers(values / values[0] - 1)
    moved, power_of_momentum = in_powers((momentum - momentum[0]) / scale)
    for k, label in enumerate(("mass $M$", "total energy $W$")):
        axes[0].plot(t, relative[:, k], ("-", "--")[k], lw=thin, label=label)
    for k, (axis, (colour, line)) in enumerate(zip("xyz", AXIS_STYLES, strict=True)):
        axes[1].plot(t, moved[:, k], color=colour, ls=line, lw=thin, label=rf"$\Delta P_{axis}$")
    axes[0].set_ylabel(f"relative change{power}")
    axes[1].set_ylabel(rf"$\Delta P_i\,/\,(2MW_K)^{{1/2}}${power_of_momentum}")
    for panel in axes[:2]:
        legend_above(panel)
    caption = (
        "Relative changes of mass and total energy since t = 0; change of each component of the momentum over "
        "(2 M W_K)^(1/2), with the kinetic energy W_K at t = 0."
    )
    if field:
        _field_energy(axes[2], t, history, units)
        caption += " Energy of the electric field per area."
    for panel in axes:
        panel.set_xlabel(time.label)
        panel.set_xlim(t[0], t[-1] if len(t) > 1 else None)
    for panel in axes[:2]:
        panel.axhline(0, color="0.8", lw=0.6, zorder=0)
    return Drawing(figure, caption)


def _field_energy(panel: Axes, t: np.ndarray, history: xr.Dataset, units: Units) -> None:
    energy = history["field_energy"].to_numpy()
    axis = units.axis("field_energy", energy)
    panel.plot(t, energy * axis.factor, color="C3")
    panel.set_ylabel(axis.label)
    there = energy[energy > VISIBLE * energy.max()]
    if np.log10(there.max() / there.min()) > DECADES:
        panel.set_yscale("log")
        panel.set_ylim(there.min() * axis.factor / 2, 2 * there.max() * axis.factor)


def entropy_figure(history: xr.Dataset, snapshots: xr.Dataset, units: Units) -> Drawing:
    """The growth of the entropy per particle since t = 0, and its rate (the paper's Fig. 7)."""
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH * 0.75, 2.2), layout="constrained")
    time = units.axis("t", history["t"])
    t, mass = history["t"].to_numpy() * time.factor, float(history["mass"][0])
    entropy = history["entropy"].to_numpy() / mass
    gained, power = in_powers(entropy - entropy[0])
    axes[0].plot(t, gained)
    axes[0].set_ylabel(f"$[S(t)-S(0)]/Nk${power}")
    steps = np.diff(history["t"].to_numpy())
    rate, middle = np.diff(entropy) / steps, (t[1:] + t[:-1]) / 2
    factor, per = units.rate(rate)
    axes[1].plot(middle, rate * factor, label="of $S$")
    if "entropy_production" in snapshots and len(snapshots["t"]):
        produced = (snapshots["entropy_production"].mean("x") / snapshots["density"].mean("x")).to_numpy()
        if np.any(produced):
            at = snapshots["t"].to_numpy() * time.factor
            axes[1].plot(at, produced * factor, "o", color="C1", ms=3, mfc="none", label="by $C[f]$")
            legend_above(axes[1])
    axes[1].set_ylabel(rf"$(\mathrm{{d}}S/\mathrm{{d}}t)/Nk$ ({per})")
    rounding = ROUNDINGS * np.finfo(entropy.dtype).eps * np.max(np.abs(entropy)) / np.min(steps, initial=1.0)
    if rate.size and np.all(rate > rounding):
        if np.log10(rate.max() / rate.min()) > DECADES:
            axes[1].set_yscale("log")
            axes[1].set_ylim(bottom=np.min(rate) * factor / 2)
        else:
            axes[1].set_ylim(bottom=-0.02 * np.max(rate) * factor)
    elif (largest := np.max(np.abs(rate), initial=0)) > rounding:  # linear near zero, else logarithmic
        axes[1].set_yscale("symlog", linthresh=max(rounding, SMALL_RATE * largest) * factor)
    for panel in axes:
        panel.set_xlabel(time.label)
    return Drawing(
        figure,
        "Entropy per particle since t = 0, in units of k, and its rate of change between records; circles, the entropy "
        "that the collision operator produces in the snapshots.  An axis with both signs is linear near zero.",
    )


def temperature_figure(snapshots: xr.Dataset, cells: list[int], units: Units) -> Drawing:
    """Temperatures along x, y and z over time in some cells, with their mean."""
    figure, axes = plt.subplots(
        1, len(cells), figsize=(2.35 * len(cells) + 0.6, 2.3), squeeze=False, layout="constrained"
    )
    time, shown = units.axis("t", snapshots["t"]), snapshots["axis_temperature"].isel(x=cells)
    degree = units.axis("temperature", shown)
    place = units.axis("x", snapshots["x"])
    t = snapshots["t"].to_numpy() * time.factor
    for panel, cell in zip(axes[0], cells, strict=True):
        mean = snapshots["temperature"].isel(x=cell).to_numpy() * degree.factor
        plot_smooth(panel, t, mean, time=True, color="0.6", lw=0.9, label="$T$")
        for k, (axis, (colour, line)) in enumerate(zip("xyz", AXIS_STYLES, strict=True)):
            values = snapshots["axis_temperature"].isel(x=cell, axis=k).to_numpy() * degree.factor
            plot_smooth(panel, t, values, time=True, color=colour, ls=line, label=f"$T_{axis}$")
        panel.set_xlabel(time.label)
        low, high = panel.get_ylim()
        if (lacking := SPAN * high - (high - low)) > 0:
            panel.set_ylim(low - lacking / 2, high + lacking / 2)
        if snapshots.sizes["x"] > 1:
            panel.set_title(place.text(float(snapshots["x"][cell])))
    axes[0, 0].set_ylabel(units.axis("temperature", shown, "T_i").label)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right center")
    return Drawing(figure, "Temperatures along x, y and z over time, and their mean T; points are snapshots.")
