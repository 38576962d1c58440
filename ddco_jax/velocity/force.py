"""The force q of Eq. (32) that drives the flux omega f f' (q - q'), in two forms; M is the cell's equilibrium.

The flux conserves mass, momentum and energy for any q.  A part of q that is linear in v, such as D- log M, drops out of
omega (q - q').

`Log` is the paper's q = D- log f.  Its entropy production is a dissipative bracket and non-negative to rounding.

`Ratio` uses the differences of f/M itself, q = (M/f) D-(f/M), so that f q is linear in f for given M.  It keeps the
accuracy of the high orders on steep flanks of f, where the logarithm loses it, and is equally exact at equilibrium.
Its entropy production is non-negative for small deviations from M; for larger ones the entropy limiter
(`correlations.entropy`) makes it non-negative.  f/M is never formed; the code evaluates

    q_j = sum_k c_k exp[log(f/M)_{j+k} - log(f/M)_j].

If f/M rises by more than a factor e from a point to its neighbour, long stencils can reverse the sign of the force.
There, the part of the rise of log(f/M) beyond 1 enters as a first-order one-sided difference towards that neighbour.
"""

from typing import ClassVar, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from ddco_jax.plasma.arrays import Array, VelocityDistribution
from ddco_jax.velocity.cell import Cell, Maxwellian
from ddco_jax.velocity.differences import Differences, Forces

Values = TypeVar("Values", Array, np.ndarray)
LARGEST_RISE = 1.0
"""Largest rise of log(f/M) from a point to its neighbour for which the ratio form uses f/M itself."""


class Log:
    """q = D- log f."""

    dissipative: ClassVar[bool] = True
    """Whether the pair flux never lowers the entropy."""
    damped: ClassVar[bool] = False
    """Whether the flux damps the Nyquist mode (`Differences.damped`)."""

    @staticmethod
    def equilibrium(cell: Cell, forces: Forces) -> Maxwellian:
        """M from the projection of the forces D- log f (`Maxwellian.projected`)."""
        return Maxwellian.projected(cell, forces[:3])

    @staticmethod
    def of(differences: Differences, cell: Cell, equilibrium: Maxwellian) -> Forces:
        """D- log f and, if the differences are damped, the roughness of log f, (3 or 6, nvx, nvy, nvz)."""
        return differences.forces(jnp.log(cell.f))


class Ratio:
    """q = (M/f) D-(f/M)."""

    dissipative: ClassVar[bool] = False
    damped: ClassVar[bool] = True

    @staticmethod
    def equilibrium(cell: Cell, forces: Forces) -> Maxwellian:
        """M from a fit to log f (`Maxwellian.fitted`); `forces` are not used."""
        return Maxwellian.fitted(cell)

    @staticmethod
    def of(differences: Differences, cell: Cell, equilibrium: Maxwellian) -> Forces:
        """q up to a part linear in v and, if the differences are damped, the roughness, (3 or 6, nvx, nvy, nvz)."""
        log = jnp.log(cell.f)
        parts = [_ratio(differences, cell, equilibrium, log, axis) for axis in range(3)]
        q = [gradient for gradient, _ in parts]
        return jnp.stack(q + [roughness for _, roughness in parts] if differences.damped else q)


def _ratio(
    differences: Differences, cell: Cell, equilibrium: Maxwellian, log: VelocityDistribution, axis: int
) -> tuple[VelocityDistribution, VelocityDistribution]:
    """(M/f) D-(f/M) along one axis and the roughness, (nvx, nvy, nvz) each; `log` is log f."""
    v = equilibrium.axis(cell, axis)
    n, fall = len(v), jnp.diff(v**2) / (2 * equilibrium.temperature)
    D, R = differences.gradient(axis), differences.roughness(axis)
    q, roughness = jnp.zeros_like(log), jnp.zeros_like(log)
    for side in (1, -1):
        to_next = _on(axis, jnp.pad(fall, (0, 1)) if side > 0 else -jnp.pad(fall, (1, 0)))
        rise = _shifted(log, side, axis) - log + to_next  # rise of log(f/M) to the next point on this side
        exists = _on(axis, np.arange(n) < n - 1 if side > 0 else np.arange(n) > 0)
        q = q + side / cell.grid.dv[axis] * jnp.where(exists, jnp.maximum(rise - LARGEST_RISE, 0), 0)
        step = jnp.exp(jnp.minimum(rise, LARGEST_RISE))
        reached = step
        for k in range(1, differences.reach + 1):
            change = reached - 1
            q = q + _on(axis, _diagonal(D, side * k).astype(log.dtype)) * change
            roughness = roughness + _on(axis, _diagonal(R, side * k).astype(log.dtype)) * change
            reached = reached * _shifted(step, side * k, axis)
    return q, roughness


def _diagonal(matrix: np.ndarray, k: int) -> np.ndarray:
    """Entries (j, j + k) of the matrix for all rows j, (n,); zero if j + k is outside the matrix."""
    ends = (0, min(k, len(matrix))) if k > 0 else (min(-k, len(matrix)), 0)
    return np.pad(np.diagonal(matrix, k), ends)


def _shifted(a: VelocityDistribution, k: int, axis: int) -> VelocityDistribution:
    """a_{j+k} at index j along one axis; zero if j + k is outside the axis."""
    n = a.shape[axis]
    low, high = min(max(k, 0), n), n - min(max(-k, 0), n)
    kept = jax.lax.slice_in_dim(a, low, max(high, low), axis=axis)
    missing = n - kept.shape[axis]
    return jnp.pad(kept, [((0, missing) if k > 0 else (missing, 0)) if i == axis else (0, 0) for i in range(3)])


def _on(axis: int, values: Values) -> Values:
    """Values at the points of one axis, shaped to broadcast over the others."""
    return values.reshape([-1 if i == axis else 1 for i in range(3)])


FORCES: dict[str, type[Log] | type[Ratio]] = {"log": Log, "ratio": Ratio}
"""The forms by name."""
