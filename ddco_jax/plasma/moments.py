"""Velocity moments of f: density, drift, temperature (below Eq. 7), stress, heat flux and the current of Eq. (25).

Sums run axis by axis as small matrix products.  This reads f once and keeps the rounding error of a sum over millions
of points at a few units in the last place.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax

from ddco_jax.plasma.arrays import Array, Float, Profile, VectorProfile
from ddco_jax.plasma.grid import PhaseGrid

COLDEST = 1e-4
"""Temperature added to every axis by `stress_anisotropy`, relative to the mean: colder axes are not resolved."""

FIRST, SQUARES = ((1, 0, 0), (0, 1, 0), (0, 0, 1)), ((2, 0, 0), (0, 2, 0), (0, 0, 2))
"""Powers (a, b, c) of the momentum and of the energy along each axis (`power_moments`)."""


class Moments(NamedTuple):
    """Local moments of f, code units."""

    density: Profile
    """rho(x), n0."""
    drift: VectorProfile
    """v-bar(x), V0."""
    temperature: Profile
    """kT/m = <|v - v-bar|^2>/3, V0^2 (the paper's "T" is 3/2 of this)."""


def power_moments(grid: PhaseGrid, f: Float[Array, "*batch nvx nvy nvz"]) -> Float[Array, "*batch 3 3 3"]:
    """Integrals of vx^a vy^b vz^c f dv for a, b, c = 0, 1, 2 in entry [..., a, b, c], n0 V0^(a+b+c)."""
    powers = [jnp.asarray([v**0, v, v**2], f.dtype) for v in grid.velocities]
    moments = f
    for power in powers:  # contracts the first velocity axis and appends its powers: x, y, z again at the end
        axis = moments.ndim - 3
        moments = lax.dot_general(moments, power, (((axis,), (1,)), ((), ())), precision=lax.Precision.HIGHEST)
    return moments * grid.dv3


def compute_moments(grid: PhaseGrid, f: Float[Array, "*batch nvx nvy nvz"]) -> Moments:
    """Density (n0), drift velocity (V0) and temperature kT/m (V0^2) of every cell of f, by the sums of Eq. (32)."""
    m = _selected(power_moments(grid, f), (0, 0, 0), *FIRST, *SQUARES)
    density, drift = m[..., 0], m[..., 1:4] / m[..., :1]
    mean_square = jnp.sum(m[..., 4:], -1) / density
    return Moments(density, drift, (mean_square - jnp.sum(drift**2, -1)) / 3)


def _selected(moments: Float[Array, "*batch 3 3 3"], *powers: tuple[int, int, int]) -> Float[Array, "*batch n"]:
    """Some of the `power_moments`, by (a, b, c)."""
    places = [9 * a + 3 * b + c for a, b, c in powers]
    chosen = jnp.asarray(np.eye(27)[:, places], moments.dtype)
    return jnp.matmul(moments.reshape(*moments.shape[:-3], 27), chosen, precision="highest")


class HigherMoments(NamedTuple):
    """Local moments of f of second and third order, with c = v - v-bar; code units."""

    axis_temperature: VectorProfile
    """<c_i^2>(x), V0^2."""
    stress: Float[Array, "*batch 3 3"]
    """Pressure tensor rho <c_i c_j>, m0 n0 V0^2; the viscous stress is its traceless part."""
    heat_flux: VectorProfile
    """rho <c_i |c|^2>/2, m0 n0 V0^3."""


def higher_moments(grid: PhaseGrid, f: Float[Array, "nx nvx nvy nvz"]) -> HigherMoments:
    """Temperature of each axis, pressure tensor and heat flux of every cell of f."""
    density, drift, _ = compute_moments(grid, f)
    powers = []
    for axis, v in enumerate(grid.velocities):
        c = jnp.asarray(v, f.dtype) - drift[:, axis, None]
        powers.append(jnp.stack([c**0, c, c**2, c**3], 1))
    m = jnp.einsum("xijk,xai,xbj,xck->xabc", f, *powers, precision=lax.Precision.HIGHEST) * grid.dv3
    one = np.eye(3, dtype=int)
    stress = jnp.stack([jnp.stack([m[:, *(i + j)] for j in one], -1) for i in one], -2)
    heat_flux = jnp.stack([sum(m[:, *(i + 2 * j)] for j in one) for i in one], -1) / 2
    return HigherMoments(jnp.diagonal(stress, axis1=-2, axis2=-1) / density[:, None], stress, heat_flux)


def stress_anisotropy(grid: PhaseGrid, f: Float[Array, "*batch nvx nvy nvz"]) -> Float[Array, "*batch 3 3"]:
    """S_ij = delta_ij - T (T^-1)_ij of every cell, with T_ij = <c_i c_j> and T a third of its trace; dimensionless.

    For a bi-Maxwellian, c.S.c/2T is log(f/M) up to a constant, with M the Maxwellian of the same temperature.
    COLDEST T is added to the temperature of every axis, so that S is finite if f occupies a single point of an axis.
    """
    second = [(2, 0, 0), (1, 1, 0), (1, 0, 1), (1, 1, 0), (0, 2, 0), (0, 1, 1), (1, 0, 1), (0, 1, 1), (0, 0, 2)]
    m = _selected(power_moments(grid, f), (0, 0, 0), *FIRST, *second)
    m = m[..., 1:] / m[..., :1]
    mean, square = m[..., :3], m[..., 3:].reshape(*m.shape[:-1], 3, 3)
    tensor = square - mean[..., :, None] * mean[..., None, :]
    temperature = jnp.trace(tensor, axis1=-2, axis2=-1)[..., None, None] / 3
    one = jnp.eye(3, dtype=f.dtype)
    return one - (1 + COLDEST) * _inverse(tensor / temperature + COLDEST * one)


def _inverse(A: Float[Array, "*batch 3 3"]) -> Float[Array, "*batch 3 3"]:
    """Inverse of symmetric matrices by cofactors, which compiles faster than a general solution."""
    A = jnp.concatenate([A, A[..., :2, :]], -2)
    A = jnp.concatenate([A, A[..., :2]], -1)  # indices modulo 3
    cofactors = A[..., 1:4, 1:4] * A[..., 2:5, 2:5] - A[..., 1:4, 2:5] * A[..., 2:5, 1:4]
    return cofactors / jnp.sum(A[..., :1, :3] * cofactors[..., :1, :], -1, keepdims=True)


def face_density(grid: PhaseGrid, faces: Float[Array, "*batch inner nvy nvz"]) -> Float[Array, "*batch"]:
    """Density of the face values V of f along vx (`vlasov.v_flux`), n0.

    The force on the plasma is E times this sum.  A field computed from it therefore conserves momentum exactly, even if
    the edge of the velocity box truncates f.
    """
    return jnp.sum(faces, (-3, -2, -1)) * grid.dv3


def face_current(grid: PhaseGrid, faces: Float[Array, "*batch inner nvy nvz"]) -> Float[Array, "*batch"]:
    """Current J = sum of v_{j+1/2} V_{j+1/2} over the inner faces, n0 V0.

    The work of the velocity flux (27) is E times this sum.  Ampere's law with this current therefore conserves energy
    exactly, even if f is nonzero at the edge of the velocity box.
    """
    return jnp.sum(jnp.sum(faces, (-2, -1)) * jnp.asarray(grid.vx_faces, faces.dtype), -1) * grid.dv3
