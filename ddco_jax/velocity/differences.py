"""The discrete velocity gradient D- of Eq. (32), the curvature, and their duals.

D- is the central difference, closed at the edges of the box by the second-order one-sided formula
(-3, 4, -1)/2dv.  It is exact on quadratics up to the edge, so D-(|v|^2/2) = v, and with D+ its negative
transpose the collision operator conserves mass, momentum and energy to rounding whatever f does there.

The forward and the backward difference, closed by quadratic extrapolation, are D- + R and D- - R with the curvature
R h = (h_{j+1} - 2 h_j + h_{j-1})/2dv.  Either conserves as exactly as D-, since R(|v|^2/2) is a constant, and
unlike D- sees the grid's Nyquist mode.

The fourth-order D- is the five-point difference, closed by the central one beside the edge and at the edge as above:
exact on quadratics everywhere, so it conserves as exactly.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from ddco_jax.plasma.arrays import VelocityDistribution, VelocityVector
from ddco_jax.plasma.grid import PhaseGrid


class Forces(NamedTuple):
    """Thermodynamic forces of a functional derivative h, or the fluxes that they drive, each (3, nvx, nvy, nvz).

    The mean over forward and backward differences of the flux omega (q - q') leaves, besides the central
    flux p of q = D- h, only the diagonal part omega_aa (R_a h - R_a h') along each axis a.
    """

    gradient: VelocityVector
    """q = D- h, or its flux."""
    curvature: VelocityVector | None
    """R h, or its flux; None for central differences."""


def _difference(h, axis: int, dv: float, order: int = 2):
    """Central difference of h along one axis, one-sided and second order at both ends."""

    def at(start, stop):
        return lax.slice_in_dim(h, start, stop, axis=axis)

    n = h.shape[axis]
    first = -3 * at(0, 1) + 4 * at(1, 2) - at(2, 3)
    last = 3 * at(n - 1, n) - 4 * at(n - 2, n - 1) + at(n - 3, n - 2)
    inner = at(2, n) - at(0, n - 2)
    if order == 4:
        far = at(4, n) - at(0, n - 4)  # (8 inner - far)/6 at all points but those beside the edge
        inner = inner + jnp.pad(2 * at(3, n - 1) - 2 * at(1, n - 3) - far, _beside(h.ndim, axis)) / 6
    return jnp.concatenate([first, inner, last], axis) / (2 * dv)


def _beside(ndim: int, axis: int) -> list[tuple[int, int]]:
    """One point more at both ends of an axis."""
    return [(int(k == axis),) * 2 for k in range(ndim)]


def _second_difference(h, axis: int, dv: float):
    """(h_{j+1} - 2 h_j + h_{j-1})/2dv along one axis, the end values those of their neighbours."""
    n = h.shape[axis]
    low, mid, high = (lax.slice_in_dim(h, k, n - 2 + k, axis=axis) for k in range(3))
    inner = (high - 2 * mid + low) / (2 * dv)
    first, last = (lax.slice_in_dim(inner, k, k + 1, axis=axis) for k in (0, n - 3))
    return jnp.concatenate([first, inner, last], axis)


def gradient(grid: PhaseGrid, h: VelocityDistribution, order: int = 2) -> VelocityVector:
    """D- h of order 2 or 4, the velocity gradient, (3, nvx, nvy, nvz).  Needs order + 1 points on every axis."""
    return jnp.stack([_difference(h, axis, dv, order) for axis, dv in enumerate(grid.dv)])


def curvature(grid: PhaseGrid, h: VelocityDistribution) -> VelocityVector:
    """R h, half the difference of the forward and the backward gradient, (3, nvx, nvy, nvz)."""
    return jnp.stack([_second_difference(h, axis, dv) for axis, dv in enumerate(grid.dv)])


def divergence(grid: PhaseGrid, p: VelocityVector, order: int = 2) -> VelocityDistribution:
    """D+ p = -D-^T p, the velocity divergence of a flux p with none through the edge of the box."""
    return _negative_transpose(functools.partial(gradient, order=order), grid, p)


def curvature_divergence(grid: PhaseGrid, p: VelocityVector) -> VelocityDistribution:
    """-R^T p, the dual of `curvature`."""
    return _negative_transpose(curvature, grid, p)


def _negative_transpose(difference, grid: PhaseGrid, p: VelocityVector) -> VelocityDistribution:
    like = jax.ShapeDtypeStruct(p.shape[1:], p.dtype)
    (transposed,) = jax.linear_transpose(lambda h: difference(grid, h), like)(p)
    return -transposed
