"""Transport coefficients of kernels against temperature, with those of MD: the paper's Fig. 1."""

from collections.abc import Sequence
from pathlib import Path

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import XAxis
from matplotlib.ticker import LogLocator, NullFormatter
from scipy.interpolate import CubicSpline

from ddco_jax.kernels import chapman_enskog, store
from ddco_jax.md.green_kubo import Transport as Measured
from ddco_jax.plasma.units import PAPER
from ddco_jax.plots.style import FINE, STYLE, Drawing

DENSITIES = (1e21, 1e24)
"""Densities in the paper, 1/m^3."""
KERNELS = ("landau-classical", "landau", "dd-landau", "ddco-paper", "ddco")
SPAN = (0.05, 3.0)
"""Range of Gamma of the curves: that of the training data."""
CURVE_POINTS = 49
LABELS = {"landau-classical": "Landau, classical lnΛ", "landau": "Landau, effective potential"}


def plot_coefficients(
    path: Path,
    names: Sequence[str] = KERNELS,
    densities: Sequence[float] = DENSITIES,
    measured: Sequence[Measured] = (),
) -> Path:
    """Write the figure of `coefficients_figure` to a file."""
    with plt.rc_context(STYLE):
        figure = coefficients_figure(names, densities, measured).figure
        figure.savefig(path)
        plt.close(figure)
    return path


def coefficients_figure(
    names: Sequence[str] = KERNELS, densities: Sequence[float] = DENSITIES, measured: Sequence[Measured] = ()
) -> Drawing:
    """D and eta (SI) against T (eV) for kernels at densities (1/m^3), with Green-Kubo points and error bars.

    MD of one density gives points at all densities, since reduced coefficients depend on Gamma alone.
    """
    gammas = np.geomspace(*SPAN, CURVE_POINTS)
    curves = {
        name: chapman_enskog.transport(store.load_kernel(name), jnp.asarray(gammas), law=store.load_law(name))
        for name in names
    }
    figure, axes = plt.subplots(
        2, len(densities), figsize=(3.5 * len(densities), 5.8), squeeze=False, layout="constrained"
    )
    for column, density in zip(axes.T, densities, strict=True):
        for row, (axis, key) in enumerate(zip(column, ("D_m2_s", "eta_Pa_s"), strict=True)):
            for k, name in enumerate(names):
                _curve(axis, gammas, curves[name], density, key, f"C{k}", LABELS.get(name, name))
            _points(axis, measured, density, row)
            label = ("$D$ (m²/s)", "$\\eta$, kinetic part (Pa s)")[row]
            axis.set(xscale="log", yscale="log", xlabel="$T$ (eV)", ylabel=label)
            _plain(axis.xaxis)
        unit = float(PAPER.coupling_parameter(density / PAPER.density, PAPER.temperature_from_ev(1.0)))
        inverse = lambda value, unit=unit: unit / np.maximum(value, 1e-9)
        above = column[0].secondary_xaxis("top", functions=(inverse, inverse))
        above.set_xlabel("$\\Gamma$")
        _plain(above.xaxis)
        column[0].set_title(_density_text(density))
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3)
    return Drawing(
        figure,
        "Coefficients of self-diffusion and viscosity (kinetic part) of kernels by Chapman-Enskog expansion, and of "
        "MD by Green-Kubo relations, against temperature and coupling parameter.  Landau's operator with the classical "
        "Coulomb logarithm has none where that is negative.",
    )


def _plain(axis: XAxis) -> None:
    """Label a logarithmic axis at 1, 2 and 5 times powers of ten with plain numbers."""
    axis.set_major_locator(LogLocator(10, (1, 2, 5)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def _density_text(density: float) -> str:
    """A density (1/m^3) as a power of ten times a number."""
    number, _, power = f"{density:.2e}".partition("e")
    factor = "" if float(number) == 1 else rf"{float(number):g} \times "
    return f"$n = {factor}10^{{{int(power)}}}$ m$^{{-3}}$"


def _curve(
    axis: Axes, gammas: np.ndarray, found: chapman_enskog.Transport, density: float, key: str, colour: str, label: str
) -> None:
    """Draw the curve of one kernel where its coefficients are positive."""
    known = np.asarray((found.D_star > 0) & (found.eta_star > 0) & jnp.isfinite(found.eta_star))
    rows = [
        chapman_enskog.physical(chapman_enskog.Transport(*(c[i] for c in found)), gammas[i], density)
        for i in np.flatnonzero(known)
    ]
    if len(rows) < 2:
        return
    T, values = (np.log([r[name] for r in rows])[::-1] for name in ("temperature_eV", key))
    fine = np.linspace(T[0], T[-1], FINE)
    axis.plot(np.exp(fine), np.exp(CubicSpline(T, values)(fine)), color=colour, label=label)


def _points(axis: Axes, measured: Sequence[Measured], density: float, row: int) -> None:
    """Draw Green-Kubo coefficients, rescaled to the density at fixed Gamma."""
    if not measured:
        return
    values, errors, temperatures = [], [], []
    for md in measured:
        estimate = md.eta_star_kinetic if row else md.D_star
        unit = chapman_enskog.physical(chapman_enskog.Transport(*(jnp.ones(()),) * 3), md.gamma, density, PAPER)
        scale = unit["eta_Pa_s" if row else "D_m2_s"]
        values.append(estimate.value * scale)
        errors.append(estimate.error * scale)
        temperatures.append(unit["temperature_eV"])
    label = "MD, Green-Kubo"
    axis.errorbar(temperatures, values, errors, fmt="ko", ms=3.5, lw=0.8, capsize=2, label=label, zorder=3)
