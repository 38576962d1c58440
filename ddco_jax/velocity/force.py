"""The force q of Eq. (32) that drives the flux omega f f' (q - q'), in two forms; M is the cell's equilibrium.

Any q conserves mass, momentum and energy.  What is linear in v, as D- log M is, drops out of omega (q - q').

`Log` is the paper's q = D- log f: its entropy production is that of a bracket, non-negative to rounding.

`Ratio` takes the differences of f/M itself, q = (M/f) D-(f/M), whose flux f q is linear in f.  It keeps the accuracy of
high orders where f has steep flanks, of which the logarithm has none, and is as exact at equilibrium.  The production
is non-negative for small deviations; further off the entropy limiter sees to it.  f/M is never formed, but

    q_j = sum_k c_k exp[log(f/M)_{j+k} - log(f/M)_j].

Where f/M changes by more than a factor e from point to point, long stencils can even reverse the force.  There M takes
over what goes beyond the factor: its part of the force is the log form's, of second order.
"""

from typing import ClassVar

import jax.numpy as jnp

from ddco_jax.velocity.cell import Cell, Maxwellian
from ddco_jax.velocity.differences import Changes, Differences, Forces

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

        def rises(axis):
            """log(f/M) at each next point over that at the point before, and the reverse."""
            v = equilibrium.axis(cell, axis)
            fall = (v[1:] ** 2 - v[:-1] ** 2) / (2 * equilibrium.temperature)
            values = jnp.moveaxis(log, axis, 0)
            rise = values[1:] - values[:-1] + fall[:, None, None]
            return rise, -rise

        def changes(axis):
            right, left = (jnp.exp(jnp.minimum(rise, LARGEST_RISE)) for rise in rises(axis))
            ups, downs = [right], [left]
            while len(ups) < differences.reach:
                ups.append(ups[-1][:-1] * right[len(ups) :])
                downs.append(downs[-1][1:] * left[: -len(downs)])
            return Changes([x - 1 for x in ups], [x - 1 for x in downs])

        def beyond(axis):
            right, left = (jnp.maximum(rise - LARGEST_RISE, 0) for rise in rises(axis))
            zero = jnp.zeros_like(right[:1])
            rest = jnp.concatenate([right, zero]) - jnp.concatenate([zero, left])
            return jnp.moveaxis(rest, 0, axis) / cell.grid.dv[axis]

        q = differences.of_changes(changes)
        return jnp.concatenate([q[:3] + jnp.stack([beyond(axis) for axis in range(3)]), q[3:]])


FORCES: dict[str, type[Log] | type[Ratio]] = {"log": Log, "ratio": Ratio}
"""The forms by name."""
