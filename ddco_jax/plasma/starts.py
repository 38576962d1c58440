"""Initial distributions (E.2) on the velocity grid, as cell averages with exact discrete moments.

Point samples of the double wells have density errors of a per cent, which would create a spurious field.  Cell averages
add dv^2/12 to the variance of every normal, so each normal is first narrowed by this amount: then every beam has its
correct width, not only the sum its temperature.  Multiplying each factor by exp(a + b v + c v^2), which keeps f
positive, removes the remaining errors of the moments.

Every function of a grid returns f (nx, nvx, nvy, nvz), n0 V0^-3.  `density` (n0) and `temperature` kT/m (V0^2) are
numbers or (nx,).  Concrete arguments give float64 NumPy arrays; a distribution that the grid cannot represent raises
ValueError.  Arguments traced by JAX give jax.numpy arrays of their precision, differentiable in forward and reverse
mode, with NaN instead of the error.

Examples:
    >>> from ddco_jax import PhaseGrid, initial
    >>> grid = PhaseGrid(1.0, 1, v_max=(2.5, 2.5, 2.5), nv=(12, 12, 12))
    >>> f = initial.bimaxwellian(grid, density=1.0, temperature=0.2, anisotropy=0.25)
    >>> f.shape, round(float(f.sum()) * grid.dv3, 12)
    ((1, 12, 12, 12), 1.0)
"""

import contextlib
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.scipy.special
import numpy as np
import scipy.special

from ddco_jax.plasma import mixtures
from ddco_jax.plasma.arrays import Array
from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.plasma.mixtures import Beam, Normal, Product

Values = np.ndarray | Any
"""Arrays of NumPy, or of JAX where an argument is traced; arguments may also be numbers."""
NEWTON_STEPS = 50
MOMENT_TOLERANCE = 450
"""Largest error of a moment, in units of the machine epsilon: 1e-13 in float64."""
NARROWEST = 0.5
"""Smallest width of a narrowed normal, relative to its original width; applies if the grid does not resolve it."""
RING_REACH = 10.0
"""Thermal speeds beyond the radius of a ring up to which it is integrated."""
EXTERIOR = 1e-3
"""Weight of the Maxwellian that is added to the uniform ball to fill its exterior."""


def arrays(*values: Any) -> Any:
    """The array module, jax.numpy if any value is traced and else NumPy, followed by the values as its arrays."""
    traced = [a for a in jax.tree.leaves(values) if isinstance(a, jax.core.Tracer)]
    xp: Any = jnp if traced else np
    dtype = jnp.result_type(float, *traced) if traced else np.float64
    return xp, *jax.tree.map(lambda a: xp.asarray(a, dtype), values, is_leaf=lambda a: isinstance(a, list))


def _ndtr(x: Values, xp: ModuleType) -> Values:
    """Integral of the standard normal density up to x."""
    return (scipy.special.ndtr if xp is np else jax.scipy.special.ndtr)(x)


def _outer(x: Values, y: Values, z: Values) -> Values:
    """Product (..., nvx, nvy, nvz) of functions of vx, vy and vz."""
    return x[..., :, None, None] * y[..., None, :, None] * z[..., None, None, :]


def normal_cell_average(v: np.ndarray, dv: float, mean: Values, variance: Values, xp: ModuleType) -> Values:
    """Average of a unit normal density over the cells of width dv at v; `mean`, `variance` (nx,), result (nx, nv)."""
    offset, sigma = xp.asarray(v, mean.dtype) - mean[:, None], xp.sqrt(variance)[:, None]
    distance = xp.abs(offset)  # mirrored to the lower tail, where differences of the normal integral stay accurate
    upper, lower = (distance - dv / 2) / sigma, (distance + dv / 2) / sigma
    return (_ndtr(-upper, xp) - _ndtr(-lower, xp)) / dv


@np.errstate(all="ignore")
def tilt(f: Values, basis: Values, cell: Values, target: Values, xp: ModuleType) -> Values:
    """F = f exp(sum_k a_k basis_k), with a_k such that the sum over points of F basis_k cell is target_k.

    f and F are (nx, points), basis (K, nx, points), target (K,) or (nx, K); cell, the volume of a velocity cell, is a
    number or (nx, 1).  NaN in spatial cells where Newton's method does not converge.
    """

    def tilted(a: Values) -> Values:
        return f * xp.exp((a.T[..., None] * basis).sum(0))

    def residual_and_jacobian(a: Values) -> tuple[Any, Any]:
        weighted = tilted(a) * cell
        residual = xp.stack([(b * weighted).sum(-1) for b in basis], -1) - xp.asarray(target, f.dtype)
        return residual, xp.stack([xp.stack([(b * c * weighted).sum(-1) for b in basis], -1) for c in basis], -1)

    tolerance = MOMENT_TOLERANCE * float(xp.finfo(f.dtype).eps)
    root = _root if xp is np else _differentiable_root
    a = root(residual_and_jacobian, xp.zeros((f.shape[0], len(basis)), f.dtype), tolerance)
    found = xp.all(xp.abs(residual_and_jacobian(a)[0]) < tolerance, -1)
    return tilted(a) * xp.where(found, 1.0, xp.nan)[:, None]


def _root(
    residual_and_jacobian: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]], a: np.ndarray, tolerance: float
) -> np.ndarray:
    """Newton's method in NumPy from the initial guess a (nx, K); it stops early if a Jacobian is singular."""
    with contextlib.suppress(np.linalg.LinAlgError):
        for _ in range(NEWTON_STEPS):
            residual, jacobian = residual_and_jacobian(a)
            if np.all(np.abs(residual) < tolerance):
                break
            a = a - np.linalg.solve(jacobian, residual[..., None])[..., 0]
    return a


def _differentiable_root(
    residual_and_jacobian: Callable[[Array], tuple[Array, Array]], a: Array, tolerance: float
) -> Array:
    """Newton's method in JAX from the initial guess a (nx, K), differentiated by the implicit function theorem."""

    def newton(_: Callable[[Array], Array], a: Array) -> Array:
        def go_on(carry: tuple[Array, Array, Any]) -> Array:
            _, found, steps = carry
            return ~found & (steps < NEWTON_STEPS)

        def step(carry: tuple[Array, Array, Any]) -> tuple[Array, Array, Any]:
            a, _, steps = carry
            residual, jacobian = residual_and_jacobian(a)
            return a - _solve(jacobian, residual), jnp.all(jnp.abs(residual) < tolerance), steps + 1

        return jax.lax.while_loop(go_on, step, (a, jnp.asarray(False), 0))[0]

    def tangent_solve(linear: Callable[[Array], Array], y: Array) -> Array:
        columns = [linear(jnp.broadcast_to(unit, y.shape)) for unit in jnp.eye(y.shape[-1], dtype=y.dtype)]
        return _solve(jnp.stack(columns, -1), y)

    return jax.lax.custom_root(lambda a: residual_and_jacobian(a)[0], a, newton, tangent_solve)


def _solve(matrix: Array, y: Array) -> Array:
    """Solutions (nx, K) of linear systems with matrices (nx, K, K) and right-hand sides y (nx, K)."""
    return jnp.linalg.solve(matrix, y[..., None])[..., 0]


def _checked(f: Values, width: Values, dv: float, xp: ModuleType) -> Values:
    """f unchanged; raises ValueError if the grid cannot represent it, where f contains NaN, unless traced."""
    if xp is np and np.isnan(f).any():
        half = f.shape[-1] * dv / 2
        if width.max() > half / 2:
            raise ValueError(
                f"the velocity box is too small for the initial distribution: half extent {half:.3g} V0, thermal width "
                f"up to {width.max():.3g} V0; raise grid.velocity_extent_m_s"
            )
        raise ValueError(
            "the initial distribution is too narrow for the velocity grid: smallest thermal width "
            f"{width.min():.3g} V0, spacing {dv:.3g} V0; raise grid.nv or lower grid.velocity_extent_m_s"
        )
    return f


def _factor(
    v: np.ndarray, dv: float, normals: tuple[Normal, ...], temperature: Values, drift: Values, xp: ModuleType
) -> Values:
    """Factor of f along one axis, (nx, nv), 1/V0, for a sum of normals in thermal units; temperature, drift (nx,)."""
    thermal = xp.sqrt(temperature)
    mean = sum(w * m for w, m, _ in normals)
    second = sum(w * (m**2 + variance) for w, m, variance in normals)
    average = sum(
        w * normal_cell_average(v, dv, drift + m * thermal, _narrowed(variance * temperature, dv, xp), xp)
        for w, m, variance in normals
    )
    width = xp.sqrt((second - mean**2) * temperature)
    c = (xp.asarray(v, width.dtype) - (drift + mean * thermal)[:, None]) / width[:, None]  # order one: well conditioned
    tilted = tilt(average, xp.stack([c**0, c, c**2]), dv, (1.0, 0.0, 1.0), xp)
    return _checked(tilted, width, dv, xp)


def _narrowed(variance: Values, dv: float, xp: ModuleType) -> Values:
    """Variance of the normal whose cell averages have the given variance."""
    return xp.maximum(variance - dv**2 / 12, NARROWEST**2 * variance)


def product(grid: PhaseGrid, start: Product, density: Values, temperature: Values, drift: Values = 0.0) -> Values:
    """Product of one factor per axis, f (nx, nvx, nvy, nvz), n0 V0^-3; exact density, mean and variance of each axis.

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


def beams(grid: PhaseGrid, start: tuple[Beam, ...], density: Values, temperature: Values) -> Values:
    """Sum of isotropic beams, f (nx, nvx, nvy, nvz), n0 V0^-3; each beam has exact density, mean and variance."""
    _, density, temperature = arrays(density, temperature)
    alone = [Product(*((Normal(1.0, m, beam.variance),) for m in beam.mean)) for beam in start]
    return sum(product(grid, p, beam.weight * density, temperature) for beam, p in zip(start, alone, strict=True))


def maxwellian(grid: PhaseGrid, density: Values, temperature: Values, drift: Values = 0.0) -> Values:
    """Local Maxwellian, f (nx, nvx, nvy, nvz), n0 V0^-3; arguments as in `product`."""
    return product(grid, mixtures.MAXWELLIAN, density, temperature, drift)


def bimaxwellian(
    grid: PhaseGrid, density: Values, temperature: Values, anisotropy: Values = 0.25, drift: Values = 0.0
) -> Values:
    """Bi-Maxwellian with Tx/Tperp = anisotropy at mean temperature T; 1/4 is the paper's T/3, 4T/3, 4T/3.

    Returns f (nx, nvx, nvy, nvz), n0 V0^-3; other arguments as in `product`.
    """
    _, density, temperature, anisotropy, drift = arrays(density, temperature, anisotropy, drift)
    return product(grid, mixtures.bimaxwellian(anisotropy), density, temperature, drift)


def symmetric_double_well(grid: PhaseGrid, density: Values, temperature: Values) -> Values:
    """Two equal normals at +-b0 along each axis: b0^2 = 0.8 kT/m, sigma0^2 = 0.2 kT/m; arguments as in `product`."""
    return product(grid, mixtures.SYMMETRIC_DOUBLE_WELL, density, temperature)


def asymmetric_double_well(grid: PhaseGrid, density: Values, temperature: Values) -> Values:
    """Along each axis a narrow normal above zero and a wide one below (E.2); arguments as in `product`."""
    return product(grid, mixtures.ASYMMETRIC_DOUBLE_WELL, density, temperature)


def two_stream(grid: PhaseGrid, density: Values, temperature: Values, drift: Values) -> Values:
    """Two Maxwellian beams along x at +-drift (V0), each of temperature kT/m.

    If T varies in x, the beam velocities are +-drift sqrt(T(x)/max T).
    """
    xp, density, temperature, drift = arrays(density, temperature, drift)
    return product(grid, mixtures.two_stream(drift / xp.sqrt(xp.max(temperature))), density, temperature)


def bump_on_tail(grid: PhaseGrid, density: Values, temperature: Values) -> Values:
    """A Maxwellian with a cold beam along x, a quarter of the particles; arguments as in `product`."""
    return beams(grid, mixtures.BUMP_ON_TAIL, density, temperature)


def cold_beam(grid: PhaseGrid, density: Values, temperature: Values) -> Values:
    """A Maxwellian with a very narrow beam along x, 30 % of the particles; arguments as in `product`."""
    return beams(grid, mixtures.COLD_BEAM, density, temperature)


def four_beams(grid: PhaseGrid, density: Values, temperature: Values) -> Values:
    """Four equal narrow beams, mean velocities at the corners of a tetrahedron; arguments as in `product`."""
    return beams(grid, mixtures.FOUR_BEAMS, density, temperature)


class Component(NamedTuple):
    """One part of a sum of `components`."""

    fraction: Any
    """Share of the density."""
    temperature: Any
    """kT/m, V0^2, a number or (3,) along vx, vy, vz; of a ring that of its width."""
    drift: Any = 0.0
    """Mean velocity, V0, a number or (3,)."""
    shape: str = "maxwellian"
    """Or "ball", "ring" (in the vx-vy plane), "kappa"."""
    parameter: Any = 0.0
    """The radius of a ring (V0), or kappa > 3/2."""


def components(
    grid: PhaseGrid, density: Values, parts: Sequence[Component], temperature: Values = 1.0, drift: Values = 0.0
) -> Values:
    """Sum of parts, f (nx, nvx, nvy, nvz), n0 V0^-3; each has exact density, drift and variance of each axis.

    `density` (n0) is that of the sum.  `temperature` multiplies those of all parts, and `drift` (V0) is added to their
    mean velocity along x; these three are numbers or (nx,).  Raises ValueError where the grid cannot represent a part.
    """
    numbers = tuple((p.fraction, p.temperature, p.drift, p.parameter) for p in parts)
    xp, density, temperature, drift, numbers = arrays(density, temperature, drift, numbers)
    density, temperature, drift = (xp.broadcast_to(a, (grid.nx,)) for a in (density, temperature, drift))
    total: Any = 0.0
    for part, (fraction, T, mean, parameter) in zip(parts, numbers, strict=True):
        T, mean = (xp.broadcast_to(xp.asarray(a), (3,)) for a in (T, mean))
        mean = mean + xp.stack([drift, 0 * drift, 0 * drift], -1)
        if part.shape == "maxwellian":
            axes = Product(*((Normal(1.0, 0.0, variance),) for variance in T))
            total = total + product(grid, axes, fraction * density, temperature, mean)
        else:
            total = total + _shaped(grid, part.shape, parameter, fraction * density, T * temperature[:, None], mean, xp)
    return total


@np.errstate(all="ignore")
def _shaped(grid: PhaseGrid, shape: str, parameter: Any, density: Any, temperature: Any, drift: Any, xp: Any) -> Any:
    """f of one part that is no product of normals, from point values; density (nx,), temperature and drift (nx, 3)."""
    thermal = xp.sqrt(temperature).T[..., None]
    v = np.stack(np.meshgrid(*grid.velocities, indexing="ij")).reshape(3, 1, -1)
    c = (xp.asarray(v, thermal.dtype) - drift.T[..., None]) / thermal
    square, ones = (c**2).sum(0), xp.ones(grid.nx, thermal.dtype)
    second = xp.stack([ones, ones, ones], -1)
    if shape == "ball":
        s = 0.5 * (xp.asarray(grid.dv, thermal.dtype)[:, None, None] / thermal).max(0)
        f = _ball(xp.sqrt(xp.maximum(square, 1e-18)), s, xp)
    elif shape == "kappa":
        f = (1 + square / (2 * parameter - 3)) ** (-parameter - 1)
    else:
        radius = parameter / thermal[0]
        f = xp.exp(-((xp.sqrt(xp.maximum(c[0] ** 2 + c[1] ** 2, 1e-18)) - radius) ** 2 + c[2] ** 2) / 2)
        in_plane = _ring_variance(radius, xp)
        second = xp.stack([in_plane, in_plane, ones], -1)
    cell = grid.dv3 / thermal.prod(0)
    f = f / (f.sum(-1, keepdims=True) * cell)
    target = xp.concatenate([ones[:, None], xp.zeros((grid.nx, 3), f.dtype), second], -1)
    f = tilt(f, xp.concatenate([xp.ones((1, *f.shape), f.dtype), c, c**2]), cell, target, xp)
    f = _checked(f, thermal, max(grid.dv), xp)
    return (density[:, None] / thermal.prod(0) * f).reshape(grid.shape)


def _ring_variance(radius: Any, xp: Any) -> Any:
    """Half of <p^2> over p exp(-(p - radius)^2/2) dp, (nx,), for radius (nx, 1), both in thermal speeds."""
    t, w = np.polynomial.legendre.leggauss(96)
    p = xp.asarray((t + 1) / 2, radius.dtype) * (radius + RING_REACH)
    weight = xp.asarray(w, radius.dtype) * p * xp.exp(-((p - radius) ** 2) / 2)
    return (p**2 * weight).sum(-1) / weight.sum(-1) / 2


def _ball(r: Any, s: Any, xp: Any) -> Any:
    """The uniform ball of unit variance at speeds r, its edge smoothed over s, with a Maxwellian outside (EXTERIOR)."""
    R = xp.sqrt(5 * (1 - s**2))
    below, above = (R - r) / s, (R + r) / s
    edge = s / (r * (2 * np.pi) ** 0.5) * (xp.exp(-(below**2) / 2) - xp.exp(-(above**2) / 2))
    ball = xp.maximum(_ndtr(below, xp) - _ndtr(-above, xp) - edge, 0.0) / (4 / 3 * np.pi * R**3)
    return ball + EXTERIOR * xp.exp(-(r**2) / 2) / (2 * np.pi) ** 1.5


@np.errstate(all="ignore")
def uniform_ball(grid: PhaseGrid, density: Values, temperature: Values) -> Values:
    """Uniform in |v| < sqrt(5 kT/m), f (nx, nvx, nvy, nvz), n0 V0^-3, with exact density and temperature.

    `density` (n0) and `temperature` kT/m (V0^2) are numbers or (nx,).  The edge is smoothed over half a cell and 1e-3
    of a Maxwellian is added, so that log f is finite and smooth.
    """
    xp, density, temperature = arrays(density, temperature)
    density, temperature = (xp.broadcast_to(a, (grid.nx,)) for a in (density, temperature))
    thermal = xp.sqrt(temperature)[:, None]
    v = np.stack(np.meshgrid(*grid.velocities, indexing="ij")).reshape(3, -1)
    speed = np.maximum(np.sqrt((v**2).sum(0)), 1e-9)
    r, s = xp.asarray(speed, thermal.dtype) / thermal, 0.5 * max(grid.dv) / thermal
    f = _ball(r, s, xp)
    f = _checked(tilt(f, xp.stack([r**0, r**2]), grid.dv3 / thermal**3, (1.0, 3.0), xp), thermal, max(grid.dv), xp)
    return (density[:, None] / thermal**3 * f).reshape(grid.shape)


def bkw(grid: PhaseGrid, density: Values, temperature: Values, time: Values, prefactor: Values = 1 / 24) -> Values:
    """The exact, homogeneous BKW solution at `time` (t0) for the kernel omega = prefactor |u|^2 P; cell averages.

    f = n (2 pi K T)^(-3/2) exp(-v^2/2KT) [(5K-3)/2K + (1-K) v^2/(2 K^2 T)], K = 1 - exp(-4 prefactor n t).
    Raises ValueError if density or temperature is not a single number, and for K < 3/5, where f is negative somewhere.
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


def perturb(grid: PhaseGrid, f: Values, amplitude: Values, mode: int) -> Values:
    """f with a density perturbation, f (1 + amplitude cos(2 pi mode x/Lx)); the same shape and units as f."""
    xp, f, amplitude = arrays(f, amplitude)
    wave = xp.asarray(np.cos(2 * np.pi * mode * grid.x / grid.length), f.dtype)
    return f * (1 + amplitude * wave)[:, None, None, None]
