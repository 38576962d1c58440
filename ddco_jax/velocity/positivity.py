"""Positivity and entropy of one cell after a step: what counts as good enough, and what is repaired."""

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.linalg import lu_factor, lu_solve

from ddco_jax.plasma.arrays import Array, Scalar, VelocityDistribution
from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.plasma.moments import compute_moments
from ddco_jax.velocity.cell import FLOOR

ROUNDINGS = 16
"""Roundings of the sum of |f log f| by which the entropy may fall."""
ITERATIONS = 6
"""Of Newton's method for the discrete Maxwellian."""


def tolerance(dtype) -> float:
    """-f/max f that counts as positive."""
    return 1e-6 if jnp.finfo(dtype).eps < 1e-10 else 1e-5


def repair(grid: PhaseGrid, f: VelocityDistribution) -> tuple[VelocityDistribution, Scalar]:
    """f without its negative values, and 1 where one of them was below -tolerance max f, else 0.

    max(f, 0) is multiplied by 1 + a + b.v + c |v|^2 with the a, b, c that give mass, momentum and energy of f back, to
    rounding.
    """
    least = jnp.min(f)
    positive = lax.cond(least < 0, lambda: _clipped(grid, f), lambda: f)
    return positive, (least < -tolerance(f.dtype) * jnp.max(f)).astype(f.dtype)


def _clipped(grid: PhaseGrid, f: VelocityDistribution) -> VelocityDistribution:
    invariants = _invariants(grid, f)
    kept = jnp.maximum(f, 0).reshape(-1)
    # what clipping has added to the invariants, taken away again
    added = _integrals(invariants, jnp.maximum(-f, 0).reshape(-1))
    return (kept * (1 - _solved(_integrals(invariants * kept, invariants.T), added) @ invariants)).reshape(f.shape)


Potential = VelocityDistribution | Scalar | float
"""What the mean of is added to the entropy of f (`correlations.memory`); a number where there is none."""


def restore(
    grid: PhaseGrid, before: VelocityDistribution, after: VelocityDistribution, potential: Potential = 0.0
) -> tuple[VelocityDistribution, Scalar]:
    """f after a step with a small loss of entropy made good, and 1 where there was one, else 0.

    Where f is at equilibrium but for the error of the differences, no step is so short that its entropy grows.  There f
    moves towards the Maxwellian of its own mass, momentum and energy by the share that makes the loss good, at most:
    entropy is concave.  A loss above `tolerance` of the sum of |f log f| stays, for the step to be refused.
    """
    lost = -_gained(before, after, potential)
    small = (lost > _rounding(before)) & (lost <= tolerance(after.dtype) * _size(before))

    def moved():
        equilibrium = _maxwellian(grid, after)
        needed = jnp.where(small, lost, 1)  # under vmap this runs in every cell
        there = _gained(after, equilibrium, potential)  # with a potential it may be less than needed, or negative
        share = jnp.where(there > needed / 2, needed / jnp.maximum(there, needed), 0)
        return after + share * (equilibrium - after)

    return lax.cond(small, moved, lambda: after), small.astype(after.dtype)


def _maxwellian(grid: PhaseGrid, f: VelocityDistribution) -> VelocityDistribution:
    """exp(a + b.v + c |v|^2) with the mass, momentum and energy of f, those of the sums on the grid, to rounding."""
    invariants, wanted = _invariants(grid, f), f.reshape(-1)
    mass, energy = jnp.sum(wanted), jnp.sum(wanted * invariants[4])
    log = -1.5 * mass / energy * invariants[4]  # f's but for the spacing of the points and the edge of the box
    log = log + jnp.log(mass / jnp.sum(jnp.exp(log)))

    def newton(log, _):
        M = jnp.exp(log)
        missing = _integrals(invariants, wanted - M)
        return log + _solved(_integrals(invariants * M, invariants.T), missing) @ invariants, None

    log, _ = lax.scan(newton, log, None, length=ITERATIONS)
    M = jnp.exp(log)
    rest = _solved(_integrals(invariants * M, invariants.T), _integrals(invariants, wanted - M))
    return (M * (1 + rest @ invariants)).reshape(f.shape)


def _invariants(grid: PhaseGrid, f: VelocityDistribution) -> Array:
    """1, v, |v|^2 at the points of the grid, (5, points), with v relative to the drift and in thermal speeds."""
    _, drift, temperature = compute_moments(grid, f)
    unit = jnp.sqrt(jnp.maximum(temperature, min(grid.dv) ** 2))
    axes = [(jnp.asarray(v, f.dtype) - drift[i]) / unit for i, v in enumerate(grid.velocities)]
    x, y, z = jnp.meshgrid(*axes, indexing="ij")
    return jnp.stack([jnp.ones_like(x), x, y, z, x**2 + y**2 + z**2]).reshape(5, -1)


def _integrals(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)


def _solved(matrix: Array, b: Array) -> Array:
    """matrix^-1 b of a positive matrix, (5,): finite too where f is on so few points that there is no inverse."""
    square = jnp.diagonal(matrix)
    size = jnp.sqrt(jnp.where(square > 0, square, 1))
    scaled, b = matrix / (size[:, None] * size), b / size
    factors = lu_factor(scaled + 8 * jnp.finfo(b.dtype).eps * jnp.eye(5, dtype=b.dtype))
    x = jnp.zeros_like(b)
    for _ in range(3):  # takes back what was added to the diagonal
        x = x + lu_solve(factors, b - jnp.matmul(scaled, x, precision=lax.Precision.HIGHEST))
    return x / size


def acceptable(before: VelocityDistribution, after: VelocityDistribution, potential: Potential = 0.0) -> jax.Array:
    """Whether f after a step is positive within `tolerance` and has no less entropy, within the rounding of its sum.

    Below the floor of `velocity.cell`, and below zero, log f counts as that of the floor, as in the collision flux.
    """
    positive = jnp.min(after) >= -tolerance(after.dtype) * jnp.max(after)
    return positive & (_gained(before, after, potential) >= -_rounding(before))


def _gained(before: VelocityDistribution, after: VelocityDistribution, potential: Potential) -> Scalar:
    """Entropy of f after less that before, as the sum of the differences, which rounds less than that of the sums."""
    return jnp.sum(_f_log_f(before, before) - _f_log_f(after, before) + potential * (after - before))


def _f_log_f(f: VelocityDistribution, before: VelocityDistribution) -> VelocityDistribution:
    """f log f, with the logarithm of the floor of `before` where f is below it."""
    return f * jnp.log(jnp.maximum(f, jnp.maximum(FLOOR * jnp.max(before), jnp.finfo(f.dtype).tiny)))


def _size(f: VelocityDistribution) -> Scalar:
    """The sum of |f log f|."""
    return jnp.sum(jnp.abs(_f_log_f(f, f)))


def _rounding(f: VelocityDistribution) -> Scalar:
    """Of the entropy's sum."""
    return ROUNDINGS * jnp.finfo(f.dtype).eps * _size(f)
