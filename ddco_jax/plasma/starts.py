"""Initial distributions (E.2) on the velocity grid, as cell averages with exact discrete moments.

Point samples of the double wells err by a per cent in density and would create a spurious field.  Cell averages leave
an excess dv^2/12 in the variance of every normal, which is made narrower by as much: each beam has its own width, not
only their sum the temperature.  A tilt exp(a + b v + c v^2) of each factor, which keeps f positive, removes what is
left of the moments' errors.

Concrete arguments give float64 NumPy arrays, and what cannot be represented raises ValueError.  Arguments traced by
JAX give jax.numpy arrays of their precision, differentiable in both modes, and NaN in place of the error.
"""

import contextlib
from typing import Any

import jax
import jax.numpy as jnp
import jax.scipy.special
import numpy as np
import scipy.special

from ddco_jax.plasma import mixtures
from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.plasma.mixtures import Beam, Normal, Product

NEWTON_STEPS = 50
MOMENT_TOLERANCE = 450
"""Largest error of a moment, in units of the precision: 1e-13 in float64."""
NARROWEST = 0.5
"""Least share of its width that a normal is left with where the grid does not resolve it."""
EXTERIOR = 1e-3
"""Share of a Maxwellian that fills the exterior of the uniform ball."""


def arrays(*values) -> Any:
    """The namespace, jax.numpy where any value is traced and NumPy elsewhere, then the values as its arrays."""
    traced = [a for a in jax.tree.leaves(values) if isinstance(a, jax.core.Tracer)]
    xp: Any = jnp if traced else np
    dtype = jnp.result_type(float, *traced) if traced else np.float64
    return xp, *jax.tree.map(lambda a: xp.asarray(a, dtype), values, is_leaf=lambda a: isinstance(a, list))


def _ndtr(x, xp):
    """Integral of the standard normal density up to x."""
    return (scipy.special.ndtr if xp is np else jax.scipy.special.ndtr)(x)


def _outer(x, y, z):
    """Product (..., nvx, nvy, nvz) of functions of vx, vy and vz."""
    return x[..., :, None, None] * y[..., None, :, None] * z[..., None, None, :]


def normal_cell_average(v: np.ndarray, dv: float, mean, variance, xp):
    """Average of a unit normal density over the cells of width dv at v; `mean`, `variance` (nx,), result (nx, nv)."""
    offset, sigma = xp.asarray(v, mean.dtype) - mean[:, None], xp.sqrt(variance)[:, None]
    distance = xp.abs(offset)  # both cell edges on one side of the mean: differences of small tails stay accurate
    upper, lower = (distance - dv / 2) / sigma, (distance + dv / 2) / sigma
    return (_ndtr(-upper, xp) - _ndtr(-lower, xp)) / dv


@np.errstate(all="ignore")
def tilt(f, basis, cell, target, xp):
    """f (nx, points) times exp(sum_k a_k basis_k), with the sums over points of f basis_k cell equal to target_k.

    basis (K, nx, points); cell, the volume of a velocity cell, a number or (nx, 1); target (K,).  NaN in spatial cells
    where Newton's method does not converge.
    """

    def tilted(a):
        return f * xp.exp((a.T[..., None] * basis).sum(0))

    def residual_and_jacobian(a):
        weighted = tilted(a) * cell
        residual = xp.stack([(b * weighted).sum(-1) for b in basis], -1) - xp.asarray(target, f.dtype)
        return residual, xp.stack([xp.stack([(b * c * weighted).sum(-1) for b in basis], -1) for c in basis], -1)

    tolerance = MOMENT_TOLERANCE * float(xp.finfo(f.dtype).eps)
    root = _root if xp is np else _differentiable_root
    a = root(residual_and_jacobian, xp.zeros((f.shape[0], len(basis)), f.dtype), tolerance)
    found = xp.all(xp.abs(residual_and_jacobian(a)[0]) < tolerance, -1)
    return tilted(a) * xp.where(found, 1.0, xp.nan)[:, None]


def _root(residual_and_jacobian, a, tolerance: float):
    """Newton's method in NumPy from a (nx, K); it ends early where the Jacobian is singular."""
    with contextlib.suppress(np.linalg.LinAlgError):
        for _ in range(NEWTON_STEPS):
            residual, jacobian = residual_and_jacobian(a)
            if np.all(np.abs(residual) < tolerance):
                break
            a = a - np.linalg.solve(jacobian, residual[..., None])[..., 0]
    return a


def _differentiable_root(residual_and_jacobian, a, tolerance: float):
    """Newton's method in JAX from a (nx, K), differentiated by the implicit function theorem."""

    def newton(_, a):
        def go_on(carry):
            _, found, steps = carry
            return ~found & (steps < NEWTON_STEPS)

        def step(carry):
            a, _, steps = carry
            residual, jacobian = residual_and_jacobian(a)
            return a - _solve(jacobian, residual), jnp.all(jnp.abs(residual) < tolerance), steps + 1

        return jax.lax.while_loop(go_on, step, (a, jnp.asarray(False), 0))[0]

    def tangent_solve(linear, y):
        columns = [linear(jnp.broadcast_to(unit, y.shape)) for unit in jnp.eye(y.shape[-1], dtype=y.dtype)]
        return _solve(jnp.stack(columns, -1), y)

    return jax.lax.custom_root(lambda a: residual_and_jacobian(a)[0], a, newton, tangent_solve)


def _solve(matrix, y):
    """Solutions (nx, K) for matrices (nx, K, K)."""
    return jnp.linalg.solve(matrix, y[..., None])[..., 0]


def _checked(f, width, dv: float, xp):
    """f; raises ValueError where it has NaN, unless traced."""
    if xp is np and np.isnan(f).any():
        raise ValueError(
            "the initial distribution is too narrow for the velocity grid: smallest thermal width "
            f"{width.min():.3g} V0, spacing {dv:.3g} V0; raise grid.nv or lower grid.velocity_extent_m_s"
        )
    return f


def _factor(v: np.ndarray, dv: float, normals: tuple[Normal, ...], temperature, drift, xp):
    """The factor of f along one axis, (nx, nv), from a sum of normals in thermal units; temperature, drift (nx,)."""
    thermal = xp.sqrt(temperature)
    mean = sum(w * m for w, m, _ in normals)
    second = sum(w * (m**2 + variance) for w, m, variance in normals)
    average = sum(
        w * normal_cell_average(v, dv, drift + m * thermal, _narrowed(variance * temperature, dv, xp), xp)
        for w, m, variance in normals
    )
    width = xp.sqrt((second - mean**2) * temperature)
    c = (xp.asarray(v, width.dtype) - (drift + mean * thermal)[:, None]) / width[:, None]  # of order one: conditioning
    tilted = tilt(average, xp.stack([c**0, c, c**2]), dv, (1.0, 0.0, 1.0), xp)
    return _checked(tilted, width, dv, xp)


def _narrowed(variance, dv: float, xp):
    """Variance of the normal whose cell averages have the given variance."""
    return xp.maximum(variance - dv**2 / 12, NARROWEST**2 * variance)


def product(grid: PhaseGrid, start: Product, density, temperature, drift=0.0):
    """f (nx, nvx, nvy, nvz) of independent axes, with exact density, mean and variance of each axis.

    `density` (n0) and `temperature` kT/m (V0^2) are numbers or (nx,), `drift` (V0) a number along x, (3,) or (nx, 3).
    """
    xp, start, density, temperature, drift = arrays(start, density, temperature, drift)
    density, temperature = (xp.broadcast_to(a, (grid.nx,)) for a in (density, temperature))
    drift = xp.asarray(drift)
    if drift.ndim == 0:
        drift = xp.stack([drift, 0 * drift, 0 * drift])
    drift = xp.broadcast_to(drift, (grid.nx, 3))
    axes = zip(grid.velocities, grid.dv, start, strict=True)
    factors = [_factor(*axis, temperature, drift[:, k], xp) for k, axis in enumerate(axes)]
    return density[:, None, None, None] * _outer(*factors)


def beams(grid: PhaseGrid, start: tuple[Beam, ...], density, temperature):
    """f (nx, nvx, nvy, nvz) of a sum of isotropic beams, each with exact density, mean and variance."""
    _, density, temperature = arrays(density, temperature)
    alone = [Product(*((Normal(1.0, m, beam.variance),) for m in beam.mean)) for beam in start]
    return sum(product(grid, p, beam.weight * density, temperature) for beam, p in zip(start, alone, strict=True))


def maxwellian(grid: PhaseGrid, density, temperature, drift=0.0):
    """Local Maxwellian; density (n0) and temperature kT/m (V0^2) as numbers or (nx,), drift as in `product`."""
    return product(grid, mixtures.MAXWELLIAN, density, temperature, drift)


def bimaxwellian(grid: PhaseGrid, density, temperature, anisotropy=0.25, drift=0.0):
    """Bi-Maxwellian with Tx/Tperp = anisotropy at mean temperature T; 1/4 is the paper's T/3, 4T/3, 4T/3."""
    _, density, temperature, anisotropy, drift = arrays(density, temperature, anisotropy, drift)
    return product(grid, mixtures.bimaxwellian(anisotropy), density, temperature, drift)


def symmetric_double_well(grid: PhaseGrid, density, temperature):
    """Product over axes of two equal normals at +-b0: b0^2 = 0.8 kT/m, sigma0^2 = 0.2 kT/m."""
    return product(grid, mixtures.SYMMETRIC_DOUBLE_WELL, density, temperature)


def asymmetric_double_well(grid: PhaseGrid, density, temperature):
    """Product over axes of two unlike normals: a narrow one above zero, a wider one below."""
    return product(grid, mixtures.ASYMMETRIC_DOUBLE_WELL, density, temperature)


def two_stream(grid: PhaseGrid, density, temperature, drift):
    """Two Maxwellian beams along x at +-drift (V0), each of temperature kT/m.

    Where T(x) varies, the beams move at drift where it is largest, elsewhere in proportion to the thermal speed.
    """
    xp, density, temperature, drift = arrays(density, temperature, drift)
    return product(grid, mixtures.two_stream(drift / xp.sqrt(xp.max(temperature))), density, temperature)


def bump_on_tail(grid: PhaseGrid, density, temperature):
    """A quarter of the particles a cold beam along x."""
    return beams(grid, mixtures.BUMP_ON_TAIL, density, temperature)


def cold_beam(grid: PhaseGrid, density, temperature):
    """Three tenths of the particles a narrow beam along x."""
    return beams(grid, mixtures.COLD_BEAM, density, temperature)


def four_beams(grid: PhaseGrid, density, temperature):
    """Four equal narrow beams on the corners of a tetrahedron."""
    return beams(grid, mixtures.FOUR_BEAMS, density, temperature)


@np.errstate(all="ignore")
def uniform_ball(grid: PhaseGrid, density, temperature):
    """Uniform in |v| < sqrt(5 kT/m), with exact density and temperature.

    The edge is smoothed over half a cell and the exterior filled with 1e-3 of a Maxwellian: a discontinuity has no
    logarithm to differentiate.
    """
    xp, density, temperature = arrays(density, temperature)
    density, temperature = (xp.broadcast_to(a, (grid.nx,)) for a in (density, temperature))
    thermal = xp.sqrt(temperature)[:, None]
    v = np.stack(np.meshgrid(*grid.velocities, indexing="ij")).reshape(3, -1)
    speed = np.maximum(np.sqrt((v**2).sum(0)), 1e-9)
    r, s = xp.asarray(speed, thermal.dtype) / thermal, 0.5 * max(grid.dv) / thermal
    R = xp.sqrt(5 * (1 - s**2))
    below, above = (R - r) / s, (R + r) / s
    edge = s / (r * (2 * np.pi) ** 0.5) * (xp.exp(-(below**2) / 2) - xp.exp(-(above**2) / 2))
    ball = xp.maximum(_ndtr(below, xp) - _ndtr(-above, xp) - edge, 0.0) / (4 / 3 * np.pi * R**3)
    f = ball + EXTERIOR * xp.exp(-(r**2) / 2) / (2 * np.pi) ** 1.5
    f = _checked(tilt(f, xp.stack([r**0, r**2]), grid.dv3 / thermal**3, (1.0, 3.0), xp), thermal, max(grid.dv), xp)
    return (density[:, None] / thermal**3 * f).reshape(grid.shape)


def bkw(grid: PhaseGrid, density, temperature, time, prefactor=1 / 24):
    """The exact BKW solution at `time` (t0) for the kernel prefactor |u|^2 P; cell averages, homogeneous.

    f = n (2 pi K T)^(-3/2) exp(-v^2/2KT) [(5K-3)/2K + (1-K) v^2/(2 K^2 T)], K = 1 - exp(-4 prefactor n t).
    Raises ValueError before the time from which it is positive (K = 3/5).
    """
    xp, n, T, time, prefactor = arrays(density, temperature, time, prefactor)
    if n.size != 1 or T.size != 1:
        raise ValueError("the BKW solution is homogeneous: density and temperature must be numbers")
    n, T = n.reshape(()), T.reshape(())
    K = 1 - xp.exp(-4 * prefactor * n * time)
    if xp is np and K < 0.6:
        start = -np.log(0.4) / (4 * prefactor * n)
        raise ValueError(f"the BKW solution is positive only from t = {start:.3f} t0 on, got {time:.3f}")
    zeroth, second = [], []
    for v, dv in zip(grid.velocities, grid.dv, strict=True):
        average = normal_cell_average(v, dv, 0 * T[None], (K * T)[None], xp)[0]
        edges = xp.asarray(np.stack([v - dv / 2, v + dv / 2]), T.dtype)
        boundary = edges * xp.exp(-(edges**2) / (2 * K * T)) / xp.sqrt(2 * np.pi * K * T)
        zeroth.append(average)
        second.append(K * T * (average - (boundary[1] - boundary[0]) / dv))  # cell average of v^2 times the normal
    v_squared = sum(_outer(*(second[k] if k == axis else zeroth[k] for k in range(3))) for axis in range(3))
    f = (5 * K - 3) / (2 * K) * _outer(*zeroth) + (1 - K) / (2 * K**2 * T) * v_squared
    return xp.full((grid.nx, 1, 1, 1), n * xp.where(K < 0.6, xp.nan, 1.0)) * f


def perturb(grid: PhaseGrid, f, amplitude, mode: int):
    """f (1 + amplitude cos(2 pi mode x/Lx)): a density perturbation."""
    xp, f, amplitude = arrays(f, amplitude)
    wave = xp.asarray(np.cos(2 * np.pi * mode * grid.x / grid.length), f.dtype)
    return f * (1 + amplitude * wave)[:, None, None, None]
