"""The collision flux of Eq. (32) by the double sum over velocities, O(N^2): the reference for the fast operator."""

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike

from ddco_jax.kernels import Kernel
from ddco_jax.plasma.arrays import Array, Float, VelocityDistribution, VelocityVector
from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.velocity.cell import Cell
from ddco_jax.velocity.differences import Forces

ROWS_AT_ONCE = 64
"""Velocities v evaluated together; the intermediate omega takes 9 N numbers for each."""


def velocity_points(grid: PhaseGrid, dtype: DTypeLike) -> Float[Array, "points 3"]:
    """All velocities of the grid, (nvx nvy nvz, 3), V0."""
    axes = [jnp.asarray(v, dtype) for v in grid.velocities]
    return jnp.stack(jnp.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)


def collision_flux(
    cell: Cell, kernel: Kernel, forces: Forces, g: VelocityDistribution, own: Forces
) -> tuple[Forces, VelocityVector]:
    """p_j = dv^3 sum_j' omega_jj' g_j f_j' (own_j - q_j') and A_aa = dv^3 sum_j' omega_aa f_j' of one spatial cell.

    f and its forces q are those of all particles, g and `own` those of the particles whose flux is asked for: the same
    ones, or a tagged population.  Where the forces include the roughness (`velocity.differences`), the fluxes include
    A_aa g times the roughness.
    """
    grid = cell.grid
    points = velocity_points(grid, cell.f.dtype)
    f, q = cell.f.reshape(-1), forces[:3].reshape(3, -1).T

    @jax.checkpoint
    def row(values: tuple[Array, Array, Array]) -> Float[Array, "6"]:
        v, g_v, own_v = values
        omega = kernel(v, points, cell.drift, cell.density, cell.temperature) * (grid.dv3 * f)[:, None, None]
        p = g_v * jnp.einsum("sij,sj->i", omega, own_v - q, precision=lax.Precision.HIGHEST)
        return jnp.concatenate([p, jnp.einsum("sii->i", omega)])

    rows = lax.map(row, (points, g.reshape(-1), own[:3].reshape(3, -1).T), batch_size=ROWS_AT_ONCE).T.reshape(
        6, *cell.f.shape
    )
    p, A = rows[:3], rows[3:]
    return jnp.concatenate([p, g * A[: len(own) - 3] * own[3:]]), A


def diffusion(cell: Cell, kernel: Kernel) -> VelocityVector:
    """Diagonal A_aa(v) = dv^3 sum_v' omega_aa f(v') of the diffusion tensor of one spatial cell, V0^2/t0."""
    points, f = velocity_points(cell.grid, cell.f.dtype), cell.f.reshape(-1)

    def row(v: Float[Array, "3"]) -> Float[Array, "3"]:
        omega = kernel(v, points, cell.drift, cell.density, cell.temperature)
        return jnp.einsum("sii,s->i", omega, f, precision=lax.Precision.HIGHEST) * cell.grid.dv3

    return lax.map(row, points, batch_size=ROWS_AT_ONCE).T.reshape(cell.velocity.shape)
