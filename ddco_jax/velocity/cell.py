"""One spatial cell as the collision operator sees it: f with a floor, its moments, the peculiar velocity."""

import dataclasses

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax

from ddco_jax.plasma.arrays import Array, Float, Scalar, VelocityDistribution, VelocityVector
from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.plasma.moments import compute_moments

FLOOR = 1e-15
"""Smallest f that counts as different from zero, relative to the largest f of the cell."""


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


def offset_speeds(grid: PhaseGrid, dtype) -> Array:
    """|u| at the non-negative offsets of the velocity grid, (nvx, nvy, nvz), V0."""
    axes = [np.arange(n) * dv for n, dv in zip(grid.nv, grid.dv, strict=True)]
    return jnp.asarray(np.sqrt(sum(u**2 for u in np.meshgrid(*axes, indexing="ij"))), dtype)
