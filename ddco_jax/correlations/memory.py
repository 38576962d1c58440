"""Memory of the stress: a new anisotropy of f relaxes slowly at first, whatever its cause.

Particle correlations respond to a change of f with a delay of about 1/omega_p.  Until then collisions do not act on the
new part of f at their kinetic rate.

In a weakly disturbed equilibrium the relaxation has a memory M (projection operators: Mori 1965, Zwanzig):

    d phi/dt = S - nu int M(tau) phi(t - tau) dtau,   int M = 1,

for the anisotropy phi of the stress and a source S.  Y(tau) = 1 - int_0^tau M is the share of an anisotropy of age tau
to which the correlations have not responded yet.  The new part of phi is

    e(t) = int Y(tau) phi'(t - tau) dtau,   d phi/dt = S - nu (phi - e).

Y = (1 + growth tau) exp(-rate tau) fits the stress autocorrelation of molecular dynamics at Gamma = 0.2 ... 3 within
its errors.  With this Y, e follows from two differential equations,

    de/dt = -rate e + h + d phi/dt,   dh/dt = -rate h + growth d phi/dt.

The anisotropy of a cell is the tensor S_ij = delta_ij - T (T^-1)_ij of its temperature tensor T_ij.  For a
bi-Maxwellian, log(f/M) = c.S.c m/2kT + constant, exactly.  The tensor E is the new part of S, as e is of phi.  Its
force E.c m/kT is subtracted from the force that drives the flux.

A quench of the velocities has its own laws (`buildup`, `microfield`), which hold for the f that relaxes from it.  So a
change of f by collisions counts as new only to the extent that the quench is forgotten; all other changes count fully.
"""

import dataclasses

import equinox as eqx
import jax.numpy as jnp

from ddco_jax.correlations.functions import Elementwise, polynomial
from ddco_jax.plasma.arrays import Array, Float, Scalar
from ddco_jax.plasma.moments import stress_anisotropy
from ddco_jax.velocity.cell import Cell

Memory = Float[Array, "nx 3 3 3"]
"""E, h (1/t0) and the last recorded S of every cell (`plasma.state.State.memory`)."""


class Retardation(eqx.Module):
    """The memory at one age; all fields are per cell.  Rates are in omega_p, or in 1/t0 after `in_units`."""

    rate: Array
    """Decay rate of Y, omega_p."""
    growth: Array
    """Coefficient of tau in Y, omega_p; negative where Y falls below 0 before it ends."""
    forgotten: Array
    """Share of the changes by collisions that count as new, 0 (just quenched) ... 1."""
    new: Float[Array, "... 3 3"]
    """E at the beginning of the collisions."""
    seen: Float[Array, "... 3 3"]
    """S at the beginning of the collisions."""

    def force(self, cell: Cell) -> Array:
        """E.c m/kT of one cell, (3, nvx, nvy, nvz), 1/V0, with the change of E by the collisions up to now."""
        S = stress_anisotropy(cell.grid, cell.f)
        new = self.new + self.forgotten * (S - self.seen)
        return jnp.tensordot(new, cell.velocity, 1) / cell.temperature

    def potential(self, cell: Cell) -> Array:
        """c.E.c m/2kT of one cell, (nvx, nvy, nvz); collisions cannot lower the entropy of f plus the mean of this."""
        return jnp.einsum("ixyz,ij,jxyz->xyz", cell.velocity, self.new, cell.velocity) / (2 * cell.temperature)

    def in_units(self, plasma_frequency: Elementwise | float) -> "Retardation":
        """The same with rates in 1/t0, for omega_p in 1/t0."""
        return dataclasses.replace(self, rate=self.rate * plasma_frequency, growth=self.growth * plasma_frequency)

    def aged(self, memory: Memory, dt: Scalar | float) -> Memory:
        """The memory after a time dt (t0) without any new anisotropy."""
        new, rising, seen = _parts(memory)
        decay = jnp.exp(-self.rate * dt)[:, None, None]
        return jnp.stack([decay * (new + dt * rising), decay * rising, seen], axis=1)

    def updated(self, memory: Memory, S: Array, share: Array) -> Memory:
        """The memory after a change of the anisotropy to S (nx, 3, 3), of which the share (nx,) counts as new."""
        new, rising, seen = _parts(memory)
        change = share[:, None, None] * (S - seen)
        return jnp.stack([new + change, rising + self.growth[:, None, None] * change, S], axis=1)

    def beginning(self, memory: Memory) -> "Retardation":
        """The same with E and S from `memory`, at the beginning of the collisions."""
        new, _, seen = _parts(memory)
        return dataclasses.replace(self, new=new, seen=seen)


def _parts(memory: Memory) -> tuple[Array, Array, Array]:
    return memory[:, 0], memory[:, 1], memory[:, 2]


class StressMemory(eqx.Module):
    """The law of the memory: rate and growth at every Gamma."""

    rate: Array
    """(3,): ln rate (omega_p) in powers of ln Gamma."""
    growth: Array
    """(3,): growth/rate in powers of ln Gamma."""

    @classmethod
    def initial(cls) -> "StressMemory":
        """The law at which a fit starts: that of the one-component plasma, to two digits."""
        return cls(jnp.array([0.67, -0.65, 0.08], jnp.float32), jnp.array([-0.52, -0.4, -0.06], jnp.float32))

    def at(self, forgotten: Elementwise, x: Elementwise) -> Retardation:
        """The memory at x = ln Gamma; `forgotten`: 0 (just quenched) ... 1."""
        rate = jnp.exp(polynomial(self.rate, x, forgotten))
        nothing = jnp.zeros((*rate.shape, 3, 3), rate.dtype)
        growth = rate * polynomial(self.growth, x, forgotten)
        return Retardation(rate, growth, forgotten, nothing, nothing)


class NoMemory(eqx.Module):
    """No memory: every anisotropy relaxes at its kinetic rate.  Takes the place of `StressMemory` and `Retardation`."""

    def in_units(self, plasma_frequency: Elementwise | float) -> "NoMemory":
        """The same object: it holds no rates to convert."""
        return self

    def at(self, forgotten: Elementwise, x: Elementwise) -> "NoMemory":
        """The same object, at every Gamma."""
        return self


NO_MEMORY = NoMemory()
