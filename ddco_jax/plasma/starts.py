"""Initial distributions (E.2) as cell averages with exact discrete moments.

Point samples of the double wells err by a per cent in density and would create a spurious field.  Cell averages leave
an excess dv^2/12 in the variance of every normal, which is made narrower by as much: each beam has its own width, not
only their sum the temperature.  What is left of the moments' errors, a tilt exp(a + b v + c v^2) of each factor, which
keeps f positive, removes.
"""

import contextlib
from collections.abc import Callable

import numpy as np
from scipy.special import ndtr

from ddco_jax.plasma.grid import PhaseGrid

NEWTON_STEPS = 50
MOMENT_TOLERANCE = 1e-13
NARROWEST = 0.5
"""Least share of its width that a normal is left with where the grid does not resolve it."""


def normal_cell_average(v: np.ndarray, dv: float, mean, sigma) -> np.ndarray:
    """Average of a unit normal density over the cells of width dv at v; `mean` and `sigma` (nx,), result (nx, nv)."""
    mean, sigma = np.asarray(mean)[:, None], np.asarray(sigma)[:, None]
    distance = np.abs(v - mean)  # both cell edges on one side of the mean: differences of small tails stay accurate
    upper, lower = (distance - dv / 2) / sigma, (distance + dv / 2) / sigma
    return (ndtr(-upper) - ndtr(-lower)) / dv


def tilt(v: np.ndarray, dv: float, marginal: np.ndarray, mean, variance) -> np.ndarray:
    """marginal (nx, nv) times exp(a + b v + c v^2), with exact discrete norm 1, mean and variance.

    Raises ValueError where no such tilt exists on the grid (too few points for the width asked for).
    """
    s = np.sqrt(np.asarray(variance, float))[:, None]
    w = (v[None, :] - np.asarray(mean, float)[:, None]) / s  # offset in thermal units conditions the Newton matrix
    powers = np.stack([w**k for k in range(3)])
    target = np.array([1.0, 0.0, 1.0])
    coefficients = np.zeros((3, marginal.shape[0]))
    with np.errstate(all="ignore"), contextlib.suppress(np.linalg.LinAlgError):
        for _ in range(NEWTON_STEPS):
            g = marginal * np.exp(np.einsum("kx,kxv->xv", coefficients, powers))
            residual = np.einsum("kxv,xv->xk", powers, g) * dv - target
            if np.max(np.abs(residual)) < MOMENT_TOLERANCE:
                return g
            matrix = np.einsum("kxv,lxv,xv->xkl", powers, powers, g) * dv
            coefficients -= np.linalg.solve(matrix, residual[..., None])[..., 0].T
    raise ValueError(
        "the initial distribution is too narrow for the velocity grid: "
        f"smallest thermal width {s.min():.3g} V0, spacing {dv:.3g} V0; raise grid.nv or lower grid.velocity_extent_m_s"
    )


def product(grid: PhaseGrid, density, marginals, means, variances) -> np.ndarray:
    """f (nx, nvx, nvy, nvz) as density(x) times three tilted marginals; means and variances by axis, each (nx,)."""
    factors = [
        tilt(v, dv, marginal, mean, variance)
        for v, dv, marginal, mean, variance in zip(grid.velocities, grid.dv, marginals, means, variances, strict=True)
    ]
    return np.einsum("x,xa,xb,xc->xabc", density, *factors, optimize=True)


def gaussians(grid: PhaseGrid, density, temperature, components: Callable) -> np.ndarray:
    """f as a product over axes of sums of normals.

    `components(axis)` lists (weight, mean, width), the last two in units of the local thermal speed.
    """
    density, temperature = np.broadcast_arrays(*np.atleast_1d(density, temperature))
    thermal = np.sqrt(np.broadcast_to(temperature, grid.nx))
    marginals, means, variances = [], [], []
    for axis, (v, dv) in enumerate(zip(grid.velocities, grid.dv, strict=True)):
        parts = components(axis)
        mean = sum(w * m for w, m, _ in parts)
        second = sum(w * (m**2 + s**2) for w, m, s in parts)
        marginals.append(sum(w * normal_cell_average(v, dv, m * thermal, _width(s * thermal, dv)) for w, m, s in parts))
        means.append(mean * thermal)
        variances.append((second - mean**2) * thermal**2)
    return product(grid, np.broadcast_to(density, grid.nx), marginals, means, variances)


def _width(sigma: np.ndarray, dv: float) -> np.ndarray:
    """Of the normal whose cell averages have the variance sigma^2."""
    return np.sqrt(np.maximum(sigma**2 - dv**2 / 12, (NARROWEST * sigma) ** 2))


def maxwellian(grid: PhaseGrid, density, temperature) -> np.ndarray:
    """Local Maxwellian; density (n0) and temperature kT/m (V0^2) as numbers or (nx,)."""
    return gaussians(grid, density, temperature, lambda axis: [(1.0, 0.0, 1.0)])


def bimaxwellian(grid: PhaseGrid, density, temperature, anisotropy: float = 0.25) -> np.ndarray:
    """Bi-Maxwellian with Tx/Tperp = anisotropy at mean temperature T; 1/4 is the paper's T/3, 4T/3, 4T/3."""
    along = 3 * anisotropy / (anisotropy + 2)
    across = 3 / (anisotropy + 2)
    return gaussians(grid, density, temperature, lambda axis: [(1.0, 0.0, (across if axis else along) ** 0.5)])


def symmetric_double_well(grid: PhaseGrid, density, temperature) -> np.ndarray:
    """Product over axes of two equal normals at +-b0: b0^2 = 0.8 kT/m, sigma0^2 = 0.2 kT/m."""
    b, s = 0.8**0.5, 0.2**0.5
    return gaussians(grid, density, temperature, lambda axis: [(0.5, b, s), (0.5, -b, s)])


def asymmetric_double_well(grid: PhaseGrid, density, temperature) -> np.ndarray:
    """Product over axes of normals at b1, -b1, widths sigma1, sigma2: squares 0.875, 0.875, 0.05, 0.2 kT/m."""
    b, s1, s2 = 0.875**0.5, 0.05**0.5, 0.2**0.5
    return gaussians(grid, density, temperature, lambda axis: [(0.5, b, s1), (0.5, -b, s2)])


def bump_on_tail(grid: PhaseGrid, density, temperature) -> np.ndarray:
    """A quarter of the particles a cold beam: isotropic normals at 1.5 (variance 0.1) and -0.5 (29/30 kT/m) along x."""
    density = np.asarray(density, float)
    beam = gaussians(grid, 0.25 * density, temperature, lambda axis: [(1.0, 0.0 if axis else 1.5, 0.1**0.5)])
    return beam + gaussians(
        grid, 0.75 * density, temperature, lambda axis: [(1.0, 0.0 if axis else -0.5, (29 / 30) ** 0.5)]
    )


def two_stream(grid: PhaseGrid, density, temperature, drift) -> np.ndarray:
    """Two Maxwellian beams along x at +-drift (V0), each of temperature kT/m."""
    shift = drift / float(np.sqrt(np.max(temperature)))
    return gaussians(
        grid, density, temperature, lambda axis: [(1.0, 0.0, 1.0)] if axis else [(0.5, shift, 1.0), (0.5, -shift, 1.0)]
    )


def bkw(grid: PhaseGrid, density, temperature, time: float, prefactor: float = 1 / 24) -> np.ndarray:
    """The exact BKW solution at `time` (t0) for the kernel prefactor |u|^2 P; cell averages, homogeneous.

    f = n (2 pi K T)^(-3/2) exp(-v^2/2KT) [(5K-3)/2K + (1-K) v^2/(2 K^2 T)], K = 1 - exp(-4 prefactor n t).
    Raises ValueError before the time from which it is positive (K = 3/5).
    """
    n, T = float(density), float(temperature)
    K = 1 - np.exp(-4 * prefactor * n * time)
    if K < 0.6:
        start = -np.log(0.4) / (4 * prefactor * n)
        raise ValueError(f"the BKW solution is positive only from t = {start:.3f} t0 on, got {time:.3f}")
    sigma = np.full(1, (K * T) ** 0.5)
    zeroth, second = [], []
    for v, dv in zip(grid.velocities, grid.dv, strict=True):
        average = normal_cell_average(v, dv, np.zeros(1), sigma)[0]
        edges = np.stack([v - dv / 2, v + dv / 2])
        boundary = edges * np.exp(-(edges**2) / (2 * K * T)) / np.sqrt(2 * np.pi * K * T)
        zeroth.append(average)
        second.append(K * T * (average - (boundary[1] - boundary[0]) / dv))  # cell average of v^2 times the normal
    v_squared = sum(
        np.einsum("a,b,c->abc", *(second[k] if k == axis else zeroth[k] for k in range(3))) for axis in range(3)
    )
    f = (5 * K - 3) / (2 * K) * np.einsum("a,b,c->abc", *zeroth) + (1 - K) / (2 * K**2 * T) * v_squared
    return np.broadcast_to(n * f, grid.shape).copy()


def perturb(grid: PhaseGrid, f: np.ndarray, amplitude: float, mode: int) -> np.ndarray:
    """f (1 + amplitude cos(2 pi mode x/Lx)): a density perturbation."""
    return f * (1 + amplitude * np.cos(2 * np.pi * mode * grid.x / grid.length))[:, None, None, None]
