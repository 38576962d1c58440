"""Positivity and entropy of one cell after a step: what counts as good enough, and the repair of negative f."""

import jax
import jax.numpy as jnp
from jax import lax

from ddco_jax.plasma.arrays import Scalar, VelocityDistribution
from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.plasma.moments import compute_moments

ROUNDINGS = 16
"""Roundings of the sum of |f log f| by which the entropy may fall."""


def tolerance(dtype) -> float:
    """-f/max f that counts as positive."""
    return 1e-6 if jnp.finfo(dtype).eps < 1e-10 else 1e-5


def repair(grid: PhaseGrid, f: VelocityDistribution) -> tuple[VelocityDistribution, Scalar]:
    """f without negative values where it has f < -tolerance max f, and 1 there, else f and 0.

    max(f, 0) is multiplied by 1 + a + b.v + c |v|^2 with the a, b, c that give mass, momentum and energy of f back, to
    rounding.
    """
    needed = jnp.min(f) < -tolerance(f.dtype) * jnp.max(f)
    return lax.cond(needed, lambda: _clipped(grid, f), lambda: f), needed.astype(f.dtype)


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
    """Whether f after a step is positive within `tolerance` and has no less entropy, within the rounding of its sum."""
    (earlier, size), (later, _) = _entropy(before), _entropy(after)
    positive = jnp.min(after) >= -tolerance(after.dtype) * jnp.max(after)
    return positive & (later >= earlier - ROUNDINGS * jnp.finfo(after.dtype).eps * size)


def _entropy(f: VelocityDistribution) -> tuple[Scalar, Scalar]:
    """-sum over f > 0 of f log f, and the sum of its magnitudes; over one axis after the other, for less rounding."""
    positive = f > 0
    terms = jnp.where(positive, f * jnp.log(jnp.where(positive, f, 1)), 0)

    def total(x):
        return jnp.sum(jnp.sum(jnp.sum(x, -1), -1))

    return -total(terms), total(jnp.abs(terms))
