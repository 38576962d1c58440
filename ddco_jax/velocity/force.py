"""The force q of Eq. (32) that drives the flux omega f f' (q - q'), in two forms; M is the cell's equilibrium.

Any q conserves mass, momentum and energy.  What is linear in v, as D- log M is, drops out of omega (q - q').

`Log` is the paper's q = D- log f: its entropy production is that of a bracket, non-negative to rounding.

`Ratio` takes the differences of f/M itself, q = (M/f) D-(f/M), whose flux f q is linear in f.  It keeps the accuracy of
high orders where f has steep flanks, of which the logarithm has none, and is as exact at equilibrium.  The production
is non-negative for small deviations; further off the entropy limiter sees to it.  f/M is never formed, but

    q_j = sum_k c_k exp[log(f/M)_{j+k} - log(f/M)_j].

Where f/M rises by more than a factor e from a point to its neighbour, long stencils can even reverse the force.  There
the rise of log(f/M) beyond 1 enters as a one-sided difference towards that neighbour, of first order.
"""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from ddco_jax.plasma.arrays import Array, VelocityDistribution
from ddco_jax.velocity.cell import Cell, Maxwellian
from ddco_jax.velocity.differences import Differences, Forces

LARGEST_RISE = 1.0
"""Of log(f/M) from a point to its neighbour, up to which the ratio form takes f/M itself."""


class Log:
    """q = D- log f."""

    dissipative: ClassVar[bool] = True
    """Whether the pair flux can only raise the entropy."""
    damped: ClassVar[bool] = False
    """Whether the flux damps the Nyquist mode (`Differences.damped`)."""

    @staticmethod
    def equilibrium(cell: Cell, forces: Forces) -> Maxwellian:
        """M of a cell with the forces D- log f."""
        return Maxwellian.projected(cell, forces[:3])

    @staticmethod
    def of(differences: Differences, cell: Cell, equilibrium: Maxwellian) -> Forces:
        """The force, and the roughness where the differences have one."""
        return differences.forces(jnp.log(cell.f))


class Ratio:
    """q = (M/f) D-(f/M)."""

    dissipative: ClassVar[bool] = False
    damped: ClassVar[bool] = True

    @staticmethod
    def equilibrium(cell: Cell, forces: Forces) -> Maxwellian:
        """M of a cell."""
        return Maxwellian.fitted(cell)

    @staticmethod
    def of(differences: Differences, cell: Cell, equilibrium: Maxwellian) -> Forces:
        """The force but for a part linear in v, and the roughness where the differences have one."""
        log = jnp.log(cell.f)
        parts = [_ratio(differences, cell, equilibrium, log, axis) for axis in range(3)]
        q = [gradient for gradient, _ in parts]
        return jnp.stack(q + [roughness for _, roughness in parts] if differences.damped else q)


def _ratio(differences: Differences, cell: Cell, equilibrium: Maxwellian, log: VelocityDistribution, axis: int):
    """(M/f) D-(f/M) along one axis, and the roughness; log is that of f."""
    v = equilibrium.axis(cell, axis)
    n, fall = len(v), jnp.diff(v**2) / (2 * equilibrium.temperature)
    D, R = differences.gradient(axis), differences.roughness(axis)
    q, roughness = jnp.zeros_like(log), jnp.zeros_like(log)
    for side in (1, -1):
        to_next = _on(axis, jnp.pad(fall, (0, 1)) if side > 0 else -jnp.pad(fall, (1, 0)))
        rise = _shifted(log, side, axis) - log + to_next  # of log(f/M) to the next point on this side
        exists = _on(axis, np.arange(n) < n - 1 if side > 0 else np.arange(n) > 0)
        q = q + side / cell.grid.dv[axis] * jnp.where(exists, jnp.maximum(rise - LARGEST_RISE, 0), 0)
        step = jnp.exp(jnp.minimum(rise, LARGEST_RISE))
        reached = step
        for k in range(1, differences.reach + 1):
            change = reached - 1
            q = q + _on(axis, _diagonal(D, side * k, log.dtype)) * change
            roughness = roughness + _on(axis, _diagonal(R, side * k, log.dtype)) * change
            reached = reached * _shifted(step, side * k, axis)
    return q, roughness


def _diagonal(matrix: np.ndarray, k: int, dtype) -> Array:
    """What row j has at column j + k, (n,), zero beyond the ends."""
    ends = (0, min(k, len(matrix))) if k > 0 else (min(-k, len(matrix)), 0)
    return jnp.asarray(np.pad(np.diagonal(matrix, k), ends), dtype)


def _shifted(a: VelocityDistribution, k: int, axis: int) -> VelocityDistribution:
    """a_{j+k} at j along one axis, zero beyond the ends."""
    n = a.shape[axis]
    low, high = min(max(k, 0), n), n - min(max(-k, 0), n)
    kept = jax.lax.slice_in_dim(a, low, max(high, low), axis=axis)
    missing = n - kept.shape[axis]
    return jnp.pad(kept, [((0, missing) if k > 0 else (missing, 0)) if i == axis else (0, 0) for i in range(3)])


def _on(axis: int, values) -> Array:
    """Values at the points of one axis, shaped to broadcast over the others."""
    return jnp.asarray(values).reshape([-1 if i == axis else 1 for i in range(3)])


FORCES: dict[str, type[Log] | type[Ratio]] = {"log": Log, "ratio": Ratio}
"""The forms by name."""
