"""The brackets of the metriplectic structure: the Poisson bracket (4) and the dissipative bracket (7), as diagnostics.

A functional is a function (f, E) -> number.  The two brackets define the whole model: dA/dt = {A, H} + (A, S)+.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ddco_jax.collisions import CollisionOperator
from ddco_jax.correlations import AGED, Record, as_record
from ddco_jax.plasma.arrays import Array, Distribution, Profile, Scalar
from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.plasma.invariants import entropy_density
from ddco_jax.plasma.units import PAPER, Scales
from ddco_jax.velocity.differences import Differences

Functional = Callable[[Array, Array], Array]


class Derivatives(NamedTuple):
    """The functional derivatives of a functional A."""

    f: Distribution
    """dA/df, per phase-space volume."""
    electric_field: Profile
    """dA/dE, per length."""


def hamiltonian(grid: PhaseGrid, scales: Scales = PAPER) -> Functional:
    """The energy H = int v^2/2 f dx dv + lambda^2/2 int E^2 dx as a functional, n0 L0 V0^2."""
    vx, vy, vz = (jnp.asarray(v) for v in grid.velocities)
    energy = (vx[:, None, None] ** 2 + vy[None, :, None] ** 2 + vz[None, None, :] ** 2) / 2

    def H(f: Distribution, E: Profile) -> Scalar:
        kinetic = jnp.sum(f * energy.astype(f.dtype)[None]) * grid.dx * grid.dv3
        return kinetic + scales.debye_number**2 / 2 * jnp.sum(E**2) * grid.dx

    return H


def entropy(grid: PhaseGrid) -> Functional:
    """The entropy S = -int f log f dx dv (5) as a functional, n0 L0."""
    return lambda f, E: entropy_density(f) * grid.dx * grid.dv3


def derivatives(grid: PhaseGrid, functional: Functional, f: Distribution, electric_field: Profile) -> Derivatives:
    """dA/df and dA/dE by automatic differentiation."""
    by_f, by_field = jax.grad(functional, argnums=(0, 1))(f, electric_field)
    return Derivatives(by_f / (grid.dx * grid.dv3), by_field / grid.dx)


def poisson_bracket(grid: PhaseGrid, f: Distribution, F: Derivatives, G: Derivatives, scales: Scales = PAPER) -> Scalar:
    """{F, G} of Eq. (4), with central differences in x and D- in vx.

    Antisymmetric to rounding; {A, S} = 0 to second order in the spacings.
    """

    def along_x(a: Distribution) -> Distribution:
        return (jnp.roll(a, -1, 0) - jnp.roll(a, 1, 0)) / (2 * grid.dx)

    def along_vx(a: Distribution) -> Distribution:
        return jax.vmap(lambda cell: Differences(grid, 2).forces(cell)[0])(a)

    F_v, G_v = along_vx(F.f), along_vx(G.f)
    transport = along_x(F.f) * G_v - F_v * along_x(G.f)
    field = F_v * G.electric_field[:, None, None, None] - G_v * F.electric_field[:, None, None, None]
    return jnp.sum(f * (transport + field / scales.debye_number**2)) * grid.dx * grid.dv3


def dissipative_bracket(
    op: CollisionOperator, f: Distribution, A: Distribution, B: Distribution, now: Record | Profile | None = AGED
) -> Scalar:
    """(A, B)+ of Eq. (7) from dA/df and dB/df, with the pair rate and the microfield of `now` (as in C[f]).

    Symmetric, non-negative for A = B, and zero if A or B is mass, momentum or energy, all to rounding.  In the log form
    (A, S)+ = int dA/df C[f], except for the velocity jumps after a quench.  In the ratio form, which is more accurate,
    C[f] does not follow from this bracket.
    """
    cells = jax.lax.map(lambda values: op.dissipation(*values), (f, A, B, as_record(now)))
    return jnp.sum(cells) * op.grid.dx
