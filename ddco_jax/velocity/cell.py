"""One spatial cell as the collision operator sees it: f with a floor, its moments, the peculiar velocity."""

import dataclasses

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax

from ddco_jax.plasma.arrays import Array, Float, Scalar, VelocityDistribution, VelocityVector
from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.plasma.moments import compute_moments

FLOOR = 1e-20
"""Smallest f that counts as different from zero, relative to the largest f of the cell."""

LARGEST_SLOPE = 8.0
"""Largest ratio, either way, of kT/m to the temperature by which log f slopes, that a `Maxwellian` follows."""


class Cell(eqx.Module):
    """f of one cell with the moments and the peculiar velocity that every term of the flux uses."""

    grid: PhaseGrid = eqx.field(static=True)
    f: VelocityDistribution
    """n0 V0^-3, positive (`floored`)."""
    velocity: VelocityVector
    """c = v - v-bar, V0."""
    density: Scalar
    """rho, n0."""
    drift: Float[Array, "3"]
    """v-bar, V0."""
    temperature: Scalar
    """kT/m, V0^2."""

    @classmethod
    def of(cls, grid: PhaseGrid, f: VelocityDistribution) -> "Cell":
        """The moments are those of f as given, without the floor."""
        density, drift, temperature = compute_moments(grid, f)
        axes = [jnp.asarray(v, f.dtype) - drift[i] for i, v in enumerate(grid.velocities)]
        velocity = jnp.stack(jnp.meshgrid(*axes, indexing="ij"))
        return cls(grid, floored(f), velocity, density, drift, temperature)

    def axis(self, axis: int) -> Float[Array, " points"]:
        """c at the points of one axis, V0."""
        index: list = [0, 0, 0]
        index[axis] = slice(None)
        return self.velocity[axis][tuple(index)]

    def with_f(self, f: VelocityDistribution) -> "Cell":
        """Another positive f with the moments of this cell."""
        return dataclasses.replace(self, f=f)


def floored(f: VelocityDistribution) -> VelocityDistribution:
    """f of one cell, at least FLOOR times its largest value, so that its logarithm exists."""
    smallest = FLOOR * lax.stop_gradient(jnp.max(f))
    return jnp.maximum(f, jnp.maximum(smallest, jnp.finfo(f.dtype).tiny))


def linear_part(f: VelocityDistribution, velocity: VelocityVector, q: VelocityVector):
    """Projection of a force q (3, nvx, nvy, nvz) on {1, v} in the f-weighted product.

    Returns (c, mean q, slope): the projection is mean + slope c, where c is the velocity relative to its f-weighted
    mean.  For q = D- log f the slope is -m/kT as the force sees it.
    """
    share = f / jnp.sum(f)

    def mean(x):
        return jnp.sum(share * x, axis=(-3, -2, -1), keepdims=True)

    c = velocity - mean(velocity)
    return c, mean(q), jnp.sum(share * q * c) / jnp.sum(share * c**2)


class Maxwellian(eqx.Module):
    """The local equilibrium of a cell: log M = -|c - centre|^2/(2 temperature) + const.

    It is f where f is a Maxwellian, also where the box cuts it and its discrete moments are those of no equilibrium.
    """

    centre: Float[Array, "3"]
    """Relative to the drift v-bar, V0."""
    temperature: Scalar
    """kT/m, V0^2."""

    @classmethod
    def of_slope(cls, cell: Cell, centre: Float[Array, "3"], level: Float[Array, "3"], slope: Scalar) -> "Maxwellian":
        """From level + slope (c - centre), what D- log f is on average; slopes far from -m/kT are clipped."""
        steepness = -slope * cell.temperature  # 1 up to the grid's errors
        steepness = jnp.minimum(jnp.maximum(steepness, 1 / LARGEST_SLOPE), LARGEST_SLOPE)
        temperature = cell.temperature / steepness
        return cls(centre + level * temperature, temperature)

    @classmethod
    def projected(cls, cell: Cell, force: VelocityVector) -> "Maxwellian":
        """From the projection of the force D- log f on {1, v} in the f-weighted product."""
        share = cell.f / jnp.sum(cell.f)
        _, mean, slope = linear_part(cell.f, cell.velocity, force)
        return cls.of_slope(cell, jnp.sum(share * cell.velocity, (1, 2, 3)), mean[:, 0, 0, 0], slope)

    @classmethod
    def fitted(cls, cell: Cell) -> "Maxwellian":
        """From a linear fit to the slope of log f between neighbours, weighted by the harmonic mean of their f.

        Such weights bound the influence of every value of f: the projection's grows with the ratio of neighbours.
        """
        sums = []
        for axis in range(3):
            f, c = jnp.moveaxis(cell.f, axis, 0), cell.axis(axis)
            low, high = f[:-1], f[1:]
            weight = low * (high / (low + high))
            risen = jnp.sum(weight * (jnp.log(high) - jnp.log(low)), (1, 2)) / (c[1:] - c[:-1])
            weight, x = jnp.sum(weight, (1, 2)), (c[1:] + c[:-1]) / 2
            centre, level = jnp.sum(weight * x) / jnp.sum(weight), jnp.sum(risen) / jnp.sum(weight)
            spread = jnp.sum(weight * (x - centre) ** 2)
            sums.append((centre, level, jnp.sum(risen * (x - centre)), spread))
        centre, level, covariance, spread = (jnp.stack(values) for values in zip(*sums, strict=True))
        return cls.of_slope(cell, centre, level, jnp.sum(covariance) / jnp.sum(spread))

    def axis(self, cell: Cell, axis: int) -> Float[Array, " points"]:
        """c - centre at the points of one axis."""
        return cell.axis(axis) - self.centre[axis]


def offset_speeds(grid: PhaseGrid, dtype) -> Array:
    """|u| at the non-negative offsets of the velocity grid, (nvx, nvy, nvz), V0."""
    axes = [np.arange(n) * dv for n, dv in zip(grid.nv, grid.dv, strict=True)]
    return jnp.asarray(np.sqrt(sum(u**2 for u in np.meshgrid(*axes, indexing="ij"))), dtype)
