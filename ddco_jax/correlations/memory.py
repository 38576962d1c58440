"""Memory of the stress: a new anisotropy of f relaxes slowly at first, whatever made it, since its correlations are old.

In an equilibrium that is weakly disturbed the relaxation has a memory M (projection operators: Mori 1965, Zwanzig):

    d phi/dt = S - nu int M(tau) phi(t - tau) dtau,   int M = 1,

for the anisotropy phi of the stress and a source S.  With the share of an anisotropy of age tau that correlations do not
know yet, Y(tau) = 1 - int_0^tau M, the part of phi that is new is

    e(t) = int Y(tau) phi'(t - tau) dtau,   d phi/dt = S - nu (phi - e).

Y = (1 + growth tau) exp(-rate tau) fits the stress autocorrelation of molecular dynamics at Gamma = 0.2 ... 3 within its
errors; M is then flat for short times, as time reversal asks for.  This Y is that of two numbers,

    de/dt = -rate e + h + d phi/dt,   dh/dt = -rate h + growth d phi/dt.

The anisotropy of a cell is the tensor S_ij = delta_ij - T (T^-1)_ij of its temperature tensor T_ij: of a bi-Maxwellian
log(f/M) = c.S.c m/2kT exactly.  The force of the new part, E.c m/kT, is taken off the force that drives the flux.

A quench of the velocities has laws of its own (`buildup`, `microfield`), which hold for the f that relaxes from it.  So
changes of f by collisions count as new only as far as the quench is forgotten, all others at once.
"""

import equinox as eqx
import jax
import jax.numpy as jnp

from ddco_jax.correlations.functions import Elementwise, polynomial
from ddco_jax.plasma.arrays import Array


class Retardation(eqx.Module):
    """The memory at one age: numbers per cell."""

    rate: Array
    """omega_p."""
    growth: Array
    """0 ... rate, omega_p."""
    forgotten: Array
    """Share of the changes by collisions that count as new, 0 (just quenched) ... 1."""


class StressMemory(eqx.Module):
    """The law of the memory."""

    rate: Array
    """(2,): ln rate (omega_p) in powers of ln Gamma."""
    growth: Array
    """(2,): logit of growth/rate."""

    @classmethod
    def initial(cls) -> "StressMemory":
        """Where a training starts."""
        return cls(jnp.array([0.6, -0.4], jnp.float32), jnp.array([1.0, 0.0], jnp.float32))

    def at(self, forgotten: Elementwise, x: Elementwise) -> Retardation:
        """The memory at x = ln Gamma."""
        rate = jnp.exp(polynomial(self.rate, x, forgotten))
        return Retardation(rate, rate * jax.nn.sigmoid(polynomial(self.growth, x, forgotten)), forgotten)


class NoMemory(eqx.Module):
    """Every anisotropy relaxes as an old one: the law, and what it gives at every age."""

    def at(self, forgotten: Elementwise, x: Elementwise) -> "NoMemory":
        """Itself."""
        return self


NO_MEMORY = NoMemory()
