"""Self-diffusion and shear viscosity from equilibrium correlation functions; error bars from the scatter of blocks.

    D = int <v_x(0) v_x(t)> dt,    eta = (V/kT) int <P_xy(0) P_xy(t)> dt

The stress has a kinetic part, m sum v_x v_y/V, and a configurational one; the `kinetic` viscosity is the integral of
the kinetic-kinetic correlation alone, which is what a kinetic equation for f describes.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import xarray as xr

from ddco_jax.settings import ConfigError

WINDOW_VELOCITY, WINDOW_STRESS = 6.0, 4.0
"""Integrals end at the first lag beyond this many correlation times (Sokal's window).

The variance grows with the window.  What is missed is added as an exponential tail: exp(-6) = 0.2 %, exp(-4) = 1.8 %.
"""
PERIODIC = 2.837297
"""Lattice sum of the hydrodynamic self-interaction of a cube (Yeh & Hummer 2004)."""


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A number with its standard error."""

    value: float
    error: float

    def __str__(self) -> str:
        return f"{self.value:.4g} +- {self.error:.2g}"


@dataclasses.dataclass(frozen=True)
class Transport:
    """Reduced coefficients of one plasma: D* in a^2 omega_p, eta* in m n a^2 omega_p."""

    gamma: float
    """Coupling at the nominal temperature; the coefficients are corrected to it from `measured_gamma`."""
    measured_gamma: float
    D_star: Estimate
    """Green-Kubo, corrected for the finite box."""
    D_star_displacement: Estimate
    """The same from the mean-square displacement."""
    eta_star: Estimate | None
    """Total; None without configurational stress."""
    eta_star_kinetic: Estimate
    box_correction: float
    """Added to D* as the correction for periodic images."""
    particles: int
    duration: float
    """Length of all blocks, 1/omega_p."""
    correlation_times: float
    """The same in correlation times of the kinetic stress."""


def running_integral(correlation: np.ndarray, interval: float) -> np.ndarray:
    """Cumulative trapezoidal integral over lags along the last axis."""
    middle = (correlation[..., 1:] + correlation[..., :-1]) / 2 * interval
    return np.concatenate([np.zeros_like(correlation[..., :1]), np.cumsum(middle, axis=-1)], axis=-1)


def window(correlation: np.ndarray, interval: float, times: float) -> int:
    """Index of the first lag beyond `times` correlation times.

    The correlation time is the integral up to that lag over C(0).
    """
    tau = running_integral(correlation, interval) / correlation[0]
    lag = np.arange(len(correlation)) * interval
    beyond = np.flatnonzero((lag >= times * tau) & (lag > 0))
    return int(beyond[0]) if beyond.size else len(correlation) - 1


def block_mean(values: np.ndarray) -> Estimate:
    """Mean over blocks and its standard error."""
    values = np.asarray(values, float)
    if len(values) < 2:
        return Estimate(float(values.mean()), float("nan"))
    return Estimate(float(values.mean()), float(values.std(ddof=1) / len(values) ** 0.5))


def measured_temperature(data: xr.Dataset) -> float:
    """kT/m (V0^2) from the velocities, corrected for the three constraints of zero total momentum."""
    n = data.attrs["particles"]
    return float(data["vacf"].isel(lag=0).mean()) * n / (n - 1)


def transport(data: xr.Dataset) -> Transport:
    """Coefficients of one plasma from its correlation functions (blocks of all replicates along `block`).

    D falls about as Gamma^-2.5/lnLambda, and the temperature of the trajectory is off by a fraction of a per cent.  So
    both coefficients are taken as those at the measured Gamma and multiplied by the ratio of their values at the
    nominal and at the measured Gamma in the effective-potential theory.
    """
    from ddco_jax.plasma import ocp

    attrs = data.attrs
    interval = float(data["lag"][1] - data["lag"][0])
    T, omega = measured_temperature(data), attrs["plasma_frequency"]
    gamma = attrs["coupling_parameter"]
    measured = gamma * attrs["temperature"] / T
    density = attrs["number_density"]
    a = (3 / (4 * np.pi * density)) ** (1 / 3)
    slope = [
        float(x / y) for x, y in zip(ocp.effective_potential(gamma), ocp.effective_potential(measured), strict=True)
    ]
    unit_D, unit_eta = a**2 * omega / slope[0], density * a**2 * omega / slope[1]

    def integral(names: Sequence[str], like: str, times: float, unit: float) -> Estimate:
        end = window(data[like].mean("block").to_numpy(), interval, times)
        total = np.sum([data[name].to_numpy() for name in names], axis=0)
        whole = 1 + np.exp(-times)
        return block_mean(running_integral(total, interval)[:, end] * whole / unit)

    n = attrs["particles"]
    constraint = n / (n - 1)  # the centre of mass does not diffuse
    D = integral(["vacf"], "vacf", WINDOW_VELOCITY, unit_D / constraint)
    slope_D = displacement_slope(data, interval) * constraint
    kinetic = integral(["stress_kk"], "stress_kk", WINDOW_STRESS, unit_eta)
    total = None
    if "stress_pp" in data:
        total = integral(["stress_kk", "stress_kp", "stress_kp", "stress_pp"], "stress_kk", WINDOW_STRESS, unit_eta)
    viscosity = (total or kinetic).value
    edge = (n * 4 * np.pi / 3) ** (1 / 3)  # box in units of a
    box = PERIODIC / (3 * gamma) / (6 * np.pi * viscosity * edge)
    frames = data.sizes["block"] * attrs["block_length"]
    stress = data["stress_kk"].mean("block").to_numpy()
    tau = running_integral(stress, interval)[window(stress, interval, WINDOW_STRESS)] / stress[0]
    D_slope = block_mean(slope_D / unit_D)
    return Transport(
        gamma=gamma,
        measured_gamma=measured,
        D_star=Estimate(D.value + box, D.error),
        D_star_displacement=Estimate(D_slope.value + box, D_slope.error),
        eta_star=total,
        eta_star_kinetic=kinetic,
        box_correction=box,
        particles=int(n),
        duration=float(frames * omega),
        correlation_times=float(frames / tau),
    )


def displacement_slope(data: xr.Dataset, interval: float) -> np.ndarray:
    """D per block, L0^2/t0: half the slope per axis of the mean-square displacement at 6 to 12 correlation times."""
    correlation = data["vacf"].mean("block").to_numpy()
    first = window(correlation, interval, WINDOW_VELOCITY)
    last = min(2 * first, len(correlation) - 1)
    first = min(first, last // 2)
    msd = data["msd"].to_numpy()
    return (msd[:, last] - msd[:, first]) / (6 * (last - first) * interval)


def group(datasets: Sequence[xr.Dataset]) -> list[xr.Dataset]:
    """One dataset per plasma, the blocks of its replicates joined, in order of Gamma.

    Raises ConfigError for files without correlation functions, or of unequal lags.
    """
    groups: dict[tuple, list[xr.Dataset]] = {}
    for data in datasets:
        if "vacf" not in data:
            raise ConfigError("a file holds no correlation functions: make it with [correlations] in `ddco md`")
        key = (round(data.attrs["coupling_parameter"], 6), data.attrs["particles"])
        groups.setdefault(key, []).append(data)
    joined = []
    for key in sorted(groups):
        parts = groups[key]
        if any(p.sizes["lag"] != parts[0].sizes["lag"] or p["lag"][1] != parts[0]["lag"][1] for p in parts):
            raise ConfigError(f"files at Gamma = {key[0]:g} have different lags; analyse them one by one")
        joined.append(xr.concat(parts, "block", data_vars="minimal", coords="minimal", combine_attrs="override"))
    return joined
