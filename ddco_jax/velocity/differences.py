"""The discrete velocity gradient D- of Eq. (32), in three forms, and the divergence D+ dual to each.

D- is the central difference, closed at the edges of the box by the second-order one-sided formula
(-3, 4, -1)/2dv.  It is exact on quadratics up to the edge, so D-(|v|^2/2) = v.  With D+ its negative transpose the
collision operator conserves mass, momentum and energy to rounding whatever f does at the edge.

The fourth-order D- is the five-point difference, closed by the central one beside the edge and at the edge as above.
It is exact on quadratics everywhere, so it conserves as exactly.

The forward and the backward difference, closed by quadratic extrapolation, are D- + R and D- - R with the curvature
R h = (h_{j+1} - 2 h_j + h_{j-1})/2dv.  Either conserves as exactly as D-, since R(|v|^2/2) is a constant, and
unlike D- sees the grid's Nyquist mode.  The mean over both of the flux omega (q - q') leaves, besides the central
flux p of q = D- h, only the diagonal part omega_aa (R_a h - R_a h') along each axis a.
"""

import abc
import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax import lax

from ddco_jax.plasma.arrays import Array, Float, VelocityDistribution, VelocityVector
from ddco_jax.plasma.grid import PhaseGrid

Forces = Float[Array, "components nvx nvy nvz"]
"""Thermodynamic forces of a functional derivative h, or the fluxes that they drive: the gradient q = D- h along x, y,
z, followed by the curvature R h along x, y, z where a scheme has one."""


@dataclasses.dataclass(frozen=True)
class Differences(abc.ABC):
    """A velocity-difference scheme on one grid: forces of h, and the divergence of the fluxes they drive."""

    grid: PhaseGrid

    least_points: ClassVar[int]
    """Fewest points of a velocity axis."""
    largest_eigenvalue: ClassVar[float]
    """Of -D+ D- dv^2 along one axis: sets the stability limit of explicit steps."""

    def __post_init__(self) -> None:
        if min(self.grid.nv) < self.least_points:
            needed = f"at least {self.least_points} points per velocity axis"
            raise ValueError(f"the collision operator needs {needed}, got nv={self.grid.nv}")

    @abc.abstractmethod
    def forces(self, h: VelocityDistribution) -> Forces:
        """The thermodynamic forces of a functional derivative h of one cell."""

    def divergence(self, fluxes: Forces) -> VelocityDistribution:
        """Negative transpose of `forces`, applied to fluxes: no flux leaves the box."""
        like = jax.ShapeDtypeStruct(fluxes.shape[1:], fluxes.dtype)
        (transposed,) = jax.linear_transpose(self.forces, like)(fluxes)
        return -transposed


class Central(Differences):
    """The paper's central difference, second order."""

    least_points: ClassVar[int] = 3
    largest_eigenvalue: ClassVar[float] = 1.0  # max of sin^2 k

    def forces(self, h: VelocityDistribution) -> Forces:
        return gradient(self.grid, h)


class Fourth(Differences):
    """The five-point difference, fourth order."""

    least_points: ClassVar[int] = 5
    largest_eigenvalue: ClassVar[float] = 1.3722**2  # max of [(8 sin k - sin 2k)/6]^2

    def forces(self, h: VelocityDistribution) -> Forces:
        return gradient(self.grid, h, 4)


class Compact(Differences):
    """The mean over forward and backward differences, second order; damps the Nyquist mode."""

    least_points: ClassVar[int] = 3
    largest_eigenvalue: ClassVar[float] = 4.0  # max of (2 sin k/2)^2

    def forces(self, h: VelocityDistribution) -> Forces:
        return jnp.concatenate([gradient(self.grid, h), curvature(self.grid, h)])


DIFFERENCES: dict[str, type[Differences]] = {"central": Central, "fourth": Fourth, "compact": Compact}
"""The schemes by name."""


def gradient(grid: PhaseGrid, h: VelocityDistribution, order: int = 2) -> VelocityVector:
    """D- h of order 2 or 4, (3, nvx, nvy, nvz)."""
    return jnp.stack([_difference(h, axis, dv, order) for axis, dv in enumerate(grid.dv)])


def curvature(grid: PhaseGrid, h: VelocityDistribution) -> VelocityVector:
    """R h, half the difference of the forward and the backward gradient, (3, nvx, nvy, nvz)."""
    return jnp.stack([_second_difference(h, axis, dv) for axis, dv in enumerate(grid.dv)])


def _difference(h, axis: int, dv: float, order: int):
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
