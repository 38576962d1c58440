"""The collision flux of Eq. (32) by the double sum over velocities, O(N^2): the oracle of the fast operator."""

import jax
import jax.numpy as jnp
from jax import lax

from ddco_jax._types import VelocityDistribution, VelocityVector
from ddco_jax.grid import PhaseGrid
from ddco_jax.kernels import Kernel

ROWS_AT_ONCE = 64
"""Velocities v handled together; the intermediate omega takes 9 N numbers for each."""


def velocity_points(grid: PhaseGrid, dtype):
    """All velocities of the grid, (nvx nvy nvz, 3)."""
    axes = [jnp.asarray(v, dtype) for v in grid.velocities]
    return jnp.stack(jnp.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)


def collision_flux(
    grid: PhaseGrid, kernel: Kernel, f: VelocityDistribution, q: VelocityVector, density, drift, temperature
) -> VelocityVector:
    """p_j = dv^3 sum_j' omega_jj' f_j f_j' (q_j - q_j') for one spatial cell."""
    points = velocity_points(grid, f.dtype)
    f_flat, q_flat = f.reshape(-1), q.reshape(3, -1).T

    @jax.checkpoint
    def row(values):
        v, f_v, q_v = values
        omega = kernel(v, points, drift, density, temperature)
        return f_v * grid.dv3 * jnp.einsum("sij,s,sj->i", omega, f_flat, q_v - q_flat, precision=lax.Precision.HIGHEST)

    p = lax.map(row, (points, f_flat, q_flat), batch_size=ROWS_AT_ONCE)
    return p.T.reshape(q.shape)
