"""Figures of MD: correlation functions and transport coefficients."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, NullFormatter

from ddco_jax.md.green_kubo import Transport, running_integral
from ddco_jax.plasma import ocp
from ddco_jax.plots.style import STYLE, WIDTH, legend_above


def plot_correlations(groups: Sequence[xr.Dataset], path: Path) -> Path:
    """Velocity and stress correlation functions and their running integrals, normalised, one colour per Gamma."""
    with plt.rc_context(STYLE):
        return _save(_correlations(groups), path)


def plot_transport(results: Sequence[Transport], path: Path) -> Path:
    """D* and eta* against Gamma: MD with error bars, Stanton-Murillo and effective-potential curves."""
    with plt.rc_context(STYLE):
        return _save(_transport(results), path)


def _save(figure: Figure, path: Path) -> Path:
    figure.savefig(path)
    plt.close(figure)
    return path


def _correlations(groups: Sequence[xr.Dataset]) -> Figure:
    figure, axes = plt.subplots(2, 2, figsize=(WIDTH + 0.8, 4.8), sharex="row", layout="constrained")
    for colour, data in zip(_colours(len(groups)), groups, strict=True):
        omega = data.attrs["plasma_frequency"]
        t = data["lag"].to_numpy() * omega
        interval = float(data["lag"][1] - data["lag"][0])
        label = f"Γ = {data.attrs['coupling_parameter']:.3g}"
        for row, name in zip(axes, ("vacf", "stress_kk"), strict=True):
            blocks = data[name].to_numpy()
            integral = running_integral(blocks, interval)
            scale, end = blocks[:, 0].mean(), integral[:, -1].mean()
            error = blocks.std(0, ddof=1) / len(blocks) ** 0.5 if len(blocks) > 1 else np.zeros(blocks.shape[1])
            row[0].plot(t, blocks.mean(0) / scale, color=colour, lw=1, label=label)
            row[0].fill_between(
                t, (blocks.mean(0) - error) / scale, (blocks.mean(0) + error) / scale, color=colour, alpha=0.3, lw=0
            )
            spread = integral.std(0, ddof=1) / len(blocks) ** 0.5 if len(blocks) > 1 else np.zeros(blocks.shape[1])
            row[1].plot(t, integral.mean(0) / end, color=colour, lw=1)
            row[1].fill_between(
                t, (integral.mean(0) - spread) / end, (integral.mean(0) + spread) / end, color=colour, alpha=0.3, lw=0
            )
    for row, name in zip(axes, ("velocity", "kinetic stress"), strict=True):
        row[0].set_ylabel(f"{name} autocorrelation,\nover that at $t=0$")
        row[1].set_ylabel("running integral,\nover its end")
        for axis in row:
            axis.set_xscale("log")
            axis.axhline(0, color="0.7", lw=0.6)
            axis.set_xlabel(r"$\omega_p t$")
    band = Patch(color="0.7", label="±1 standard error")
    figure.legend(handles=[*axes[0, 0].get_legend_handles_labels()[0], band], loc="outside right center")
    return figure


def _transport(results: Sequence[Transport]) -> Figure:
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.4), layout="constrained")
    gammas = np.array([r.gamma for r in results])
    span = np.geomspace(gammas.min() / 1.3, gammas.max() * 1.3, 100)
    for axis, i in ((left, 0), (right, 1)):
        axis.plot(span, ocp.stanton_murillo(span)[i], "--", color="C0", lw=1, label="Stanton-Murillo")
        axis.plot(span, ocp.effective_potential(span)[i], "-", color="C1", lw=1, label="effective potential")
    points = [
        (left, "D_star", "ko", "Green-Kubo"),
        (left, "D_star_displacement", "rx", "displacement"),
        (right, "eta_star_kinetic", "ko", "Green-Kubo, kinetic"),
        (right, "eta_star", "ks", "Green-Kubo, total"),
    ]
    for axis, name, style, label in points:
        known = [(r.gamma, getattr(r, name)) for r in results if getattr(r, name) is not None]
        if known:
            x, estimates = zip(*known, strict=True)
            axis.errorbar(
                x,
                [e.value for e in estimates],
                [e.error for e in estimates],
                fmt=style,
                ms=6 if style == "rx" else 3.5,
                lw=0.8,
                capsize=2,
                label=label,
                mfc="none" if style == "ks" else None,
            )
    for axis, label in ((left, r"$D/a^2\omega_p$"), (right, r"$\eta/mna^2\omega_p$")):
        axis.set(xscale="log", yscale="log", xlabel="Γ", ylabel=label)
        for side in (axis.xaxis, axis.yaxis):
            side.set_major_locator(LogLocator(10, (1, 2, 5)))
            side.set_major_formatter("{x:g}")
            side.set_minor_formatter(NullFormatter())
        legend_above(axis, 2)
    return figure


def _colours(n: int) -> np.ndarray:
    from matplotlib import colormaps

    return colormaps["viridis"](np.linspace(0, 0.9, max(n, 1)))
