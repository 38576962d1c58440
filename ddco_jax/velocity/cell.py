"""One spatial cell as input of the collision operator: f with a floor, its moments, the peculiar velocity."""

import dataclasses

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import DTypeLike

from ddco_jax.plasma.arrays import Array, Float, Scalar, VelocityDistribution, VelocityVector
from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.plasma.moments import compute_moments

FLOOR = 1e-20
"""Lower bound on f, relative to the largest f of the cell; smaller values count as zero."""

LARGEST_SLOPE = 8.0
"""Bound on the ratio of kT/m of the cell to the temperature of its `Maxwellian`, which lies in 1/8 ... 8."""


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
        """Cell of the distribution f; the moments are those of f before the floor is applied."""
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
        """The cell with another positive f; the stored moments stay those of this cell."""
        return dataclasses.replace(self, f=f)


def floored(f: VelocityDistribution) -> VelocityDistribution:
    """f of one cell, raised to at least FLOOR times its largest value, so that log f exists."""
    smallest = FLOOR * lax.stop_gradient(jnp.max(f))
    return jnp.maximum(f, jnp.maximum(smallest, jnp.finfo(f.dtype).tiny))


def linear_part(
    f: VelocityDistribution, velocity: VelocityVector, q: VelocityVector
) -> tuple[VelocityVector, Float[Array, "3 1 1 1"], Scalar]:
    """Projection of a force q (3, nvx, nvy, nvz) on {1, v} in the f-weighted scalar product.

    Returns (c, mean, slope).  The projection is mean + slope c, where mean (3, 1, 1, 1) is the f-weighted mean of q,
    and c (3, nvx, nvy, nvz), V0, is the velocity relative to its f-weighted mean.  For q = D- log f the slope is an
    estimate of -m/kT, 1/V0^2.
    """
    share = f / jnp.sum(f)

    def mean(x: VelocityVector) -> Float[Array, "3 1 1 1"]:
        return jnp.sum(share * x, axis=(-3, -2, -1), keepdims=True)

    c = velocity - mean(velocity)
    return c, mean(q), jnp.sum(share * q * c) / jnp.sum(share * c**2)


class Maxwellian(eqx.Module):
    """The local equilibrium of a cell: log M = -|c - centre|^2/(2 temperature) + const.

    If f is a Maxwellian, M equals f, even if the box truncates f and its discrete moments are not those of M.
    """

    centre: Float[Array, "3"]
    """Mean velocity relative to the drift v-bar, (3,), V0."""
    temperature: Scalar
    """kT/m, V0^2."""

    @classmethod
    def of_slope(cls, cell: Cell, centre: Float[Array, "3"], level: Float[Array, "3"], slope: Scalar) -> "Maxwellian":
        """From a linear model of D- log f, level + slope (c - centre); the slope is clipped by LARGEST_SLOPE."""
        steepness = -slope * cell.temperature  # 1 up to the errors of the grid
        steepness = jnp.minimum(jnp.maximum(steepness, 1 / LARGEST_SLOPE), LARGEST_SLOPE)
        temperature = cell.temperature / steepness
        return cls(centre + level * temperature, temperature)

    @classmethod
    def projected(cls, cell: Cell, force: VelocityVector) -> "Maxwellian":
        """From the projection of `force` = D- log f on {1, v} in the f-weighted scalar product."""
        share = cell.f / jnp.sum(cell.f)
        _, mean, slope = linear_part(cell.f, cell.velocity, force)
        return cls.of_slope(cell, jnp.sum(share * cell.velocity, (1, 2, 3)), mean[:, 0, 0, 0], slope)

    @classmethod
    def fitted(cls, cell: Cell) -> "Maxwellian":
        """From a linear fit to the slopes of log f between neighbours, weighted by the harmonic mean of their f.

        These weights bound the influence of each value of f.  In `projected` this influence grows with the ratio of
        neighbouring values.
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
        """c - centre at the points of one axis, V0."""
        return cell.axis(axis) - self.centre[axis]


def offset_speeds(grid: PhaseGrid, dtype: DTypeLike) -> Array:
    """|u| at the non-negative offsets of the velocity grid, (nvx, nvy, nvz), V0."""
    axes = [np.arange(n) * dv for n, dv in zip(grid.nv, grid.dv, strict=True)]
    return jnp.asarray(np.sqrt(sum(u**2 for u in np.meshgrid(*axes, indexing="ij"))), dtype)
