"""Positivity and entropy of one cell after a step: acceptance tests and repairs."""

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.linalg import lu_factor, lu_solve
from jax.typing import DTypeLike

from ddco_jax.plasma.arrays import Array, Scalar, VelocityDistribution
from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.plasma.moments import compute_moments
from ddco_jax.velocity.cell import FLOOR

ROUNDINGS = 16
"""Allowed loss of entropy, in rounding errors of the sum of |f log f|."""
ITERATIONS = 6
"""Iterations of Newton's method for the discrete Maxwellian."""


def tolerance(dtype: DTypeLike) -> float:
    """Largest -f/max f that is accepted as positive."""
    return 1e-6 if jnp.finfo(dtype).eps < 1e-10 else 1e-5


def repair(grid: PhaseGrid, f: VelocityDistribution) -> tuple[VelocityDistribution, Scalar]:
    """f without negative values, (nvx, nvy, nvz), and 1 if one of them was below -tolerance max f, else 0.

    max(f, 0) is multiplied by 1 + a + b.v + c |v|^2, with a, b and c such that mass, momentum and energy are those of f
    to rounding.
    """
    least = jnp.min(f)
    positive = lax.cond(least < 0, lambda: _clipped(grid, f), lambda: f)
    return positive, (least < -tolerance(f.dtype) * jnp.max(f)).astype(f.dtype)


def _clipped(grid: PhaseGrid, f: VelocityDistribution) -> VelocityDistribution:
    invariants = _invariants(grid, f)
    kept = jnp.maximum(f, 0).reshape(-1)
    # clipping adds this to the invariants; the factor below removes it
    added = _integrals(invariants, jnp.maximum(-f, 0).reshape(-1))
    return (kept * (1 - _solved(_integrals(invariants * kept, invariants.T), added) @ invariants)).reshape(f.shape)


Potential = VelocityDistribution | Scalar | float
"""Potential (nvx, nvy, nvz) whose f-weighted sum is added to the entropy of f (`correlations.memory`); 0 if none."""


def restore(
    grid: PhaseGrid, before: VelocityDistribution, after: VelocityDistribution, potential: Potential = 0.0
) -> tuple[VelocityDistribution, Scalar]:
    """f after a step, with a small loss of entropy corrected, and 1 if there was such a loss, else 0.

    If f differs from equilibrium only by the error of the differences, even the shortest step can lower the entropy.
    f is then blended with the Maxwellian of the same mass, momentum and energy.  The share of the Maxwellian is the
    loss divided by the entropy gain from f to this Maxwellian, which is enough, because entropy is concave.  A loss
    above `tolerance` times the sum of |f log f| is left as it is, and `acceptable` then rejects the step.
    """
    lost = -_gained(before, after, potential)
    small = (lost > _rounding(before)) & (lost <= tolerance(after.dtype) * _size(before))

    def moved() -> VelocityDistribution:
        equilibrium = _maxwellian(grid, after)
        needed = jnp.where(small, lost, 1)  # under vmap this runs in every cell, also without a loss
        there = _gained(after, equilibrium, potential)  # with a potential this may be less than needed, or negative
        share = jnp.where(there > needed / 2, needed / jnp.maximum(there, needed), 0)
        return after + share * (equilibrium - after)

    return lax.cond(small, moved, lambda: after), small.astype(after.dtype)


def _maxwellian(grid: PhaseGrid, f: VelocityDistribution) -> VelocityDistribution:
    """exp(a + b.v + c |v|^2) with the mass, momentum and energy of f, as sums on the grid, to rounding."""
    invariants, wanted = _invariants(grid, f), f.reshape(-1)
    mass, energy = jnp.sum(wanted), jnp.sum(wanted * invariants[4])
    log = -1.5 * mass / energy * invariants[4]  # first guess: exact for fine spacing and a large box
    log = log + jnp.log(mass / jnp.sum(jnp.exp(log)))

    def newton(log: Array, _: None) -> tuple[Array, None]:
        M = jnp.exp(log)
        missing = _integrals(invariants, wanted - M)
        return log + _solved(_integrals(invariants * M, invariants.T), missing) @ invariants, None

    log, _ = lax.scan(newton, log, None, length=ITERATIONS)
    M = jnp.exp(log)
    rest = _solved(_integrals(invariants * M, invariants.T), _integrals(invariants, wanted - M))
    return (M * (1 + rest @ invariants)).reshape(f.shape)


def _invariants(grid: PhaseGrid, f: VelocityDistribution) -> Array:
    """1, v, |v|^2 at the points of the grid, (5, points), with v relative to the drift, in thermal speeds of f."""
    _, drift, temperature = compute_moments(grid, f)
    unit = jnp.sqrt(jnp.maximum(temperature, min(grid.dv) ** 2))
    axes = [(jnp.asarray(v, f.dtype) - drift[i]) / unit for i, v in enumerate(grid.velocities)]
    x, y, z = jnp.meshgrid(*axes, indexing="ij")
    return jnp.stack([jnp.ones_like(x), x, y, z, x**2 + y**2 + z**2]).reshape(5, -1)


def _integrals(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)


def _solved(matrix: Array, b: Array) -> Array:
    """matrix^-1 b for a positive matrix, (5,); finite even if f occupies too few points for an inverse to exist."""
    square = jnp.diagonal(matrix)
    size = jnp.sqrt(jnp.where(square > 0, square, 1))
    scaled, b = matrix / (size[:, None] * size), b / size
    one = jnp.eye(5, dtype=b.dtype)
    inverse = lu_solve(lu_factor(scaled + 8 * jnp.finfo(b.dtype).eps * one), one)
    x = _integrals(inverse, b)
    for _ in range(2):  # iterative refinement: removes the effect of the shifted diagonal
        x = x + _integrals(inverse, b - _integrals(scaled, x))
    return x / size


def acceptable(before: VelocityDistribution, after: VelocityDistribution, potential: Potential = 0.0) -> jax.Array:
    """Whether f after a step is positive within `tolerance` and its entropy has not fallen by more than rounding.

    The entropy includes the f-weighted sum of `potential`.  Where f is below the floor of `velocity.cell`, or negative,
    log f is the logarithm of the floor, as in the collision flux.
    """
    positive = jnp.min(after) >= -tolerance(after.dtype) * jnp.max(after)
    return positive & (_gained(before, after, potential) >= -_rounding(before))


def _gained(before: VelocityDistribution, after: VelocityDistribution, potential: Potential) -> Scalar:
    """Entropy after minus entropy before, as a sum of differences: its rounding error is less than that of two sums."""
    return jnp.sum(_f_log_f(before, before) - _f_log_f(after, before) + potential * (after - before))


def _f_log_f(f: VelocityDistribution, before: VelocityDistribution) -> VelocityDistribution:
    """f log f at each point; where f is below the floor of `before`, the logarithm is that of the floor."""
    return f * jnp.log(jnp.maximum(f, jnp.maximum(FLOOR * jnp.max(before), jnp.finfo(f.dtype).tiny)))


def _size(f: VelocityDistribution) -> Scalar:
    """The sum of |f log f|."""
    return jnp.sum(jnp.abs(_f_log_f(f, f)))


def _rounding(f: VelocityDistribution) -> Scalar:
    """Rounding error allowed in the sum of the entropy."""
    return ROUNDINGS * jnp.finfo(f.dtype).eps * _size(f)
