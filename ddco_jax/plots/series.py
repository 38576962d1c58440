"""Conservation and entropy of several runs over time, in one figure each (the paper's Figs. 6 and 7)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.lines import Line2D

from ddco_jax.plots.axes import Units
from ddco_jax.plots.history import AXIS_STYLES
from ddco_jax.plots.style import LINES, WIDTH, Drawing, legend_right
from ddco_jax.simulation.results import open_result

ROUNDING = 1e15
"""Relative changes are drawn in units of its inverse."""


def conservation(folders: Mapping[tuple[str, str], Path]) -> Drawing:
    """Relative changes of mass and energy, and the momentum, by start (columns of panels) and scheme (lines)."""
    starts = list(dict.fromkeys(start for start, _ in folders))
    schemes = list(dict.fromkeys(scheme for _, scheme in folders))
    figure, axes = plt.subplots(
        2, len(starts), figsize=(WIDTH, 3.8), squeeze=False, sharex=True, sharey="row", layout="constrained"
    )
    for (start, scheme), folder in folders.items():
        above, below = axes[:, starts.index(start)]
        history, units = _history(folder)
        time = units.axis("t", history["t"])
        t, line = history["t"].to_numpy() * time.factor, LINES[schemes.index(scheme)]
        for name, label, colour in (("mass", "$M$", "C4"), ("total_energy", "$W$", "C5")):
            values = history[name].to_numpy()
            above.plot(t, (values / values[0] - 1) * ROUNDING, color=colour, ls=line, label=label)
        scale = float(np.sqrt(2 * history["kinetic_energy"][0] * history["mass"][0]))
        moved = (history["momentum"] - history["momentum"][0]).to_numpy() / scale * ROUNDING
        for k, (axis, (colour, _)) in enumerate(zip("xyz", AXIS_STYLES, strict=True)):
            below.plot(t, moved[:, k], color=colour, ls=line, label=f"$P_{axis}$")
        above.set_title(name_of(start))
        below.set_xlabel(time.label)
    power = f"$10^{{{-round(np.log10(ROUNDING))}}}$"
    axes[0, 0].set_ylabel(f"relative change ({power})")
    axes[1, 0].set_ylabel(rf"$\Delta P_i\,/\,(2MW_K)^{{1/2}}$ ({power})")
    for row in axes:
        quantities: dict[str, Any] = {}
        for handle, label in zip(*row[0].get_legend_handles_labels(), strict=True):
            quantities.setdefault(label, handle)  # in the line of the first scheme
        row[-1].legend(quantities.values(), quantities, loc="center left", bbox_to_anchor=(1.0, 0.5))
    lines = [Line2D([], [], color="0.3", ls=LINES[k]) for k in range(len(schemes))]
    figure.legend(lines, schemes, loc="outside upper center", ncols=len(schemes))
    return Drawing(
        figure,
        "Relative changes of mass M and total energy W since t = 0; change of the momentum over (2 M W_K)^(1/2), with "
        "the kinetic energy W_K at t = 0.",
    )


def entropy(folders: Mapping[str, Path]) -> Drawing:
    """The growth of the entropy per particle since t = 0, and its rate of change, by start."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 2.4), layout="constrained")
    found = {start: _history(folder) for start, folder in folders.items()}
    units = next(units for _, units in found.values())
    gained = {s: ((h["entropy"] - h["entropy"][0]) / h["mass"][0]).to_numpy() for s, (h, _) in found.items()}
    times = {start: history["t"].to_numpy() for start, (history, _) in found.items()}
    rates = {start: np.diff(values) / np.diff(times[start]) for start, values in gained.items()}
    time = units.axis("t", np.concatenate(list(times.values())))
    factor, per = units.rate(np.concatenate(list(rates.values())))
    for k, (start, t) in enumerate(times.items()):
        style: Any = {"color": f"C{k}", "ls": LINES[k % len(LINES)]}
        left.plot(t * time.factor, gained[start], label=name_of(start), **style)
        right.plot((t[1:] + t[:-1]) / 2 * time.factor, rates[start] * factor, marker=".", **style)
    left.set(xlabel=time.label, ylabel="$[S(t)-S(0)]/Nk$")
    right.set(xlabel=time.label, ylabel=rf"$(\mathrm{{d}}S/\mathrm{{d}}t)/Nk$ ({per})", yscale="log")
    legend_right(figure, left)
    return Drawing(figure, "Entropy per particle since t = 0, in units of k, and its rate of change between records.")


def name_of(start: str) -> str:
    """A start in words."""
    return start.replace("_", " ").replace("bimaxwellian", "bi-Maxwellian").replace("maxwellian", "Maxwellian")


def _history(folder: Path) -> tuple[xr.Dataset, Units]:
    """The history of a run, and the units of its figures."""
    result = open_result(folder)
    return result["history"].to_dataset().load(), Units.of(result, "si")
