"""The discrete velocity gradient D- of Eq. (32) and its dual, the divergence D+ = -D-^T.

D- is the central difference, closed at the edges of the box by the second-order one-sided formula
(-3, 4, -1)/2dv.  It is exact on quadratics up to the edge, so D-(|v|^2/2) = v, and with D+ its negative
transpose the collision operator conserves mass, momentum and energy to rounding whatever f does there.
"""

import jax
import jax.numpy as jnp
from jax import lax

from ddco_jax._types import VelocityDistribution, VelocityVector
from ddco_jax.grid import PhaseGrid


def _difference(h, axis: int, dv: float):
    """Central difference of h along one axis, one-sided and second order at both ends."""

    def at(start, stop):
        return lax.slice_in_dim(h, start, stop, axis=axis)

    n = h.shape[axis]
    first = -3 * at(0, 1) + 4 * at(1, 2) - at(2, 3)
    last = 3 * at(n - 1, n) - 4 * at(n - 2, n - 1) + at(n - 3, n - 2)
    return jnp.concatenate([first, at(2, n) - at(0, n - 2), last], axis) / (2 * dv)


def gradient(grid: PhaseGrid, h: VelocityDistribution) -> VelocityVector:
    """D- h, the velocity gradient, (3, nvx, nvy, nvz).  Needs three points on every axis."""
    return jnp.stack([_difference(h, axis, dv) for axis, dv in enumerate(grid.dv)])


def divergence(grid: PhaseGrid, p: VelocityVector) -> VelocityDistribution:
    """D+ p = -D-^T p, the velocity divergence of a flux p with none through the edge of the box."""
    like = jax.ShapeDtypeStruct(p.shape[1:], p.dtype)
    (transposed,) = jax.linear_transpose(lambda h: gradient(grid, h), like)(p)
    return -transposed
