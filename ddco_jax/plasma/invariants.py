"""Conserved quantities and entropy (21) and diagnostics of f, as recorded in the history of a run."""

import equinox as eqx
import jax.numpy as jnp

from ddco_jax.plasma.arrays import Array, Distribution, Float, Scalar
from ddco_jax.plasma.fields import gauss_residual
from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.plasma.line import EVERYWHERE, WHOLE, Line
from ddco_jax.plasma.moments import power_moments
from ddco_jax.plasma.state import State
from ddco_jax.plasma.units import PAPER, Scales


class Invariants(eqx.Module):
    """Totals over phase space at one time, or stacked over many times; `history["mass"]` is `history.mass`."""

    time: Float[Array, "*t"]
    """t0."""
    mass: Float[Array, "*t"]
    """M, n0 L0."""
    momentum: Float[Array, "*t 3"]
    """P, n0 L0 V0."""
    kinetic_energy: Float[Array, "*t"]
    """E_K, n0 L0 V0^2."""
    field_energy: Float[Array, "*t"]
    """E_P, n0 L0 V0^2."""
    total_energy: Float[Array, "*t"]
    """E_K + E_P, n0 L0 V0^2."""
    entropy: Float[Array, "*t"]
    """S = -sum of f log f dx dv^3 over the points with f > 0, n0 L0."""
    gauss_residual: Float[Array, "*t"]
    """max |dE/dx - (rho - mean rho)/lambda^2|, E0/L0."""
    negative_mass: Float[Array, "*t"]
    """Magnitude of the mass of the points with f < 0, n0 L0."""
    velocity_nyquist: Float[Array, "*t 3"]
    """Largest relative amplitude over x of the mode (-1)^j along each velocity axis (`velocity_nyquist`)."""
    velocity_edge: Float[Array, "*t 3"]
    """Largest f at the ends of each velocity axis, relative to its maximum (`velocity_edge`)."""
    evaluations: Float[Array, "*t"]
    """Evaluations of C[f] for one cell, summed over the cells, since the start (`State.tally`)."""
    entropy_limited: Float[Array, "*t"]
    """Evaluations of C[f] for one cell whose flux the entropy limiter has changed, since the start."""
    repaired: Float[Array, "*t"]
    """Collision sub-steps after which negative f was removed or a small loss of entropy corrected, since the start."""
    refused: Float[Array, "*t"]
    """Rejected collision sub-steps, which were repeated with half the length, since the start."""
    unfinished: Float[Array, "*t"]
    """Collision steps of a cell that were not completed within the allowed number of sub-steps, since the start."""

    def __getitem__(self, name: str) -> Array:
        return getattr(self, name)


def compute_invariants(grid: PhaseGrid, state: State, scales: Scales = PAPER) -> Invariants:
    """The invariants of Eq. (21) and the diagnostics of a state."""
    return grid.line.run(lambda _, state: _invariants(grid, state, scales), None, state, result=EVERYWHERE)


def _invariants(grid: PhaseGrid, state: State, scales: Scales) -> Invariants:
    total = grid.line.sum
    m = power_moments(grid, state.f)
    density = m[:, 0, 0, 0]
    momentum = jnp.stack([total(m[:, 1, 0, 0]), total(m[:, 0, 1, 0]), total(m[:, 0, 0, 1])]) * grid.dx
    kinetic = total(m[:, 2, 0, 0] + m[:, 0, 2, 0] + m[:, 0, 0, 2]) / 2 * grid.dx
    field = scales.debye_number**2 / 2 * total(state.electric_field**2) * grid.dx
    volume = grid.dx * grid.dv3
    return Invariants(
        time=state.time,
        mass=total(density) * grid.dx,
        momentum=momentum,
        kinetic_energy=kinetic,
        field_energy=field,
        total_energy=kinetic + field,
        entropy=entropy_density(state.f, grid.line) * volume,
        gauss_residual=gauss_residual(grid, state.electric_field, density, scales),
        negative_mass=total(jnp.maximum(-state.f, 0)) * volume,
        velocity_nyquist=velocity_nyquist(state.f, grid.line),
        velocity_edge=velocity_edge(state.f, grid.line),
        evaluations=state.tally.evaluations,
        entropy_limited=state.tally.limited,
        repaired=state.tally.repaired,
        refused=state.tally.refused,
        unfinished=state.tally.unfinished,
    )


def entropy_density(f: Distribution, line: Line = WHOLE) -> Scalar:
    """-sum of f log f over the points with f > 0; times dx dv^3 this is S of Eq. (21)."""
    positive = f > 0
    return -line.sum(jnp.where(positive, f * jnp.log(jnp.where(positive, f, 1)), 0))


def velocity_nyquist(f: Distribution, line: Line = WHOLE) -> Float[Array, "3"]:
    """max over x of |sum (-1)^j f|/sum f for j along each velocity axis, (3,).

    The central difference D- vanishes on this mode, so M (1 + eps (-1)^j) is a spurious equilibrium; the result is eps
    for it.  For a resolved f the result is exponentially small in (thermal width/dv)^2.
    """
    total = jnp.sum(f, (1, 2, 3))
    amplitudes = []
    for axis in range(3):
        marginal = jnp.sum(f, tuple(a for a in (1, 2, 3) if a != axis + 1))
        sign = 1 - 2 * (jnp.arange(marginal.shape[1]) % 2).astype(f.dtype)
        amplitudes.append(line.max(jnp.abs(jnp.sum(marginal * sign, 1) / total)))
    return jnp.stack(amplitudes)


def velocity_edge(f: Distribution, line: Line = WHOLE) -> Float[Array, "3"]:
    """max over x of the marginal of f along each velocity axis at the two ends, over its largest value, (3,).

    A Maxwellian whose box reaches s thermal speeds has exp(-s^2/2).
    """
    shares = []
    for axis in range(3):
        marginal = jnp.abs(jnp.sum(f, tuple(a for a in (1, 2, 3) if a != axis + 1)))
        shares.append(line.max(jnp.maximum(marginal[:, 0], marginal[:, -1]) / jnp.max(marginal, 1)))
    return jnp.stack(shares)
