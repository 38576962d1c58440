"""The collision flux of Eq. (32) by the double sum over velocities, O(N^2): the oracle of the fast operator."""

import jax
import jax.numpy as jnp
from jax import lax

from ddco_jax.kernels import Kernel
from ddco_jax.plasma.arrays import VelocityDistribution
from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.velocity.differences import Forces

ROWS_AT_ONCE = 64
"""Velocities v handled together; the intermediate omega takes 9 N numbers for each."""


def velocity_points(grid: PhaseGrid, dtype):
    """All velocities of the grid, (nvx nvy nvz, 3)."""
    axes = [jnp.asarray(v, dtype) for v in grid.velocities]
    return jnp.stack(jnp.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)


def collision_flux(
    grid: PhaseGrid, kernel: Kernel, f: VelocityDistribution, forces: Forces, density, drift, temperature
) -> Forces:
    """p_j = dv^3 sum_j' omega_jj' f_j f_j' (q_j - q_j') for one spatial cell, and its curvature part (see `Forces`)."""
    points = velocity_points(grid, f.dtype)
    f_flat, flat = f.reshape(-1), jax.tree.map(lambda q: q.reshape(3, -1).T, forces)

    @jax.checkpoint
    def row(values):
        v, f_v, at_v = values
        omega = kernel(v, points, drift, density, temperature) * (f_v * grid.dv3 * f_flat)[:, None, None]
        p = jnp.einsum("sij,sj->i", omega, at_v.gradient - flat.gradient, precision=lax.Precision.HIGHEST)
        if flat.curvature is None:
            return Forces(p, None)
        return Forces(p, jnp.einsum("sii,si->i", omega, at_v.curvature - flat.curvature))

    p = lax.map(row, (points, f_flat, flat), batch_size=ROWS_AT_ONCE)
    return jax.tree.map(lambda flux: flux.T.reshape(3, *f.shape), p)
