"""Positivity and entropy of one cell after a step: what counts as good enough, and the repair of negative f."""

import jax
import jax.numpy as jnp
from jax import lax

from ddco_jax.plasma.arrays import Scalar, VelocityDistribution
from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.plasma.moments import compute_moments
from ddco_jax.velocity.cell import FLOOR

ROUNDINGS = 16
"""Roundings of the sum of |f log f| by which the entropy may fall."""


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
    _, drift, temperature = compute_moments(grid, f)
    thermal = jnp.sqrt(temperature)
    axes = [(jnp.asarray(v, f.dtype) - drift[i]) / thermal for i, v in enumerate(grid.velocities)]
    x, y, z = jnp.meshgrid(*axes, indexing="ij")
    basis = jnp.stack([jnp.ones_like(x), x, y, z, x**2 + y**2 + z**2]).reshape(5, -1)
    kept = jnp.maximum(f, 0).reshape(-1)
    matrix = jnp.matmul(basis * kept, basis.T, precision=lax.Precision.HIGHEST)
    # what clipping has added to the invariants, taken away again
    added = jnp.matmul(basis, jnp.maximum(-f, 0).reshape(-1), precision=lax.Precision.HIGHEST)
    return (kept * (1 - jnp.linalg.solve(matrix, added) @ basis)).reshape(f.shape)


def acceptable(before: VelocityDistribution, after: VelocityDistribution) -> jax.Array:
    """Whether f after a step is positive within `tolerance` and has no less entropy, within the rounding of its sum.

    Below the floor of `velocity.cell`, and below zero, log f counts as that of the floor, as in the collision flux.
    """
    floor = jnp.maximum(FLOOR * jnp.max(before), jnp.finfo(before.dtype).tiny)
    earlier, later = (f * jnp.log(jnp.maximum(f, floor)) for f in (before, after))
    positive = jnp.min(after) >= -tolerance(after.dtype) * jnp.max(after)
    # the sum of the differences, which rounds less than the difference of the sums
    return positive & (jnp.sum(earlier - later) >= -ROUNDINGS * jnp.finfo(after.dtype).eps * jnp.sum(jnp.abs(earlier)))
