"""Build-up of the pair rate: how the collisions of pairs rise from zero after a quench, overshoot and settle.

Collisions of a pair build up with the distance |u| s that it has travelled since the quench.  The rise is that of free
streaming past a correlation hole.  The pair rate passes its kinetic value after about 1.5/omega_p and rings before it
settles.  Slow pairs, whose collisions take longest, lag behind.  A free decay with a memory, dC/dt = -int M(t') C(t-t')
dt', is faster than the rate nu of its Green-Kubo coefficient, 1/nu = int C dt.  The relative excess, about nu times the
memory time, is the lead.  Lead and lag fade (`Fading`), so that an aged plasma has the transport coefficients of the
kernel.
"""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp

from ddco_jax.correlations.functions import Elementwise, polynomial, power
from ddco_jax.plasma.arrays import Array

THERMAL = 6.0
"""Mean square relative speed <|u|^2>, v_th^2; the same for any distribution of temperature T."""
LARGEST_RINGING = 0.9
"""Upper bound on the relative amplitude of the ringing; it keeps A positive."""
LONGEST_RINGING = 25.0
"""Longest lifetime of the ringing, 1/omega_p: longer than the quenches in the data."""


@dataclasses.dataclass(frozen=True)
class Fading:
    """exp[-(s/time)^power]: influence of the quench that remains at age s (1/omega_p), from 1 to 0."""

    time: float
    """1/omega_p."""
    power: int

    def __call__(self, age: Elementwise) -> Elementwise:
        return jnp.exp(-((age / self.time) ** self.power))


FADING = Fading(5.0, 2)
"""A compromise.  Stress autocorrelations of molecular dynamics (Gamma = 0.2 ... 3) are fitted best by 3 ... 4/omega_p,
the decay of anisotropy in quenches by 6 and more.  The other parameters were trained with FIRST_FADING
(docs/tried.md)."""
FIRST_FADING = Fading(20.0, 1)
"""The fading of version 0.1.  It takes longer than the quenches in the data, which therefore do not determine it."""


class PairRate(eqx.Module):
    """A(|u|) at one age: the factor of omega for pairs of relative speed |u| (v_th).  A >= 0.

    A = level [1 - deficit/(1 + (|u|/width)^2)] [1 - (1 + (w x)^p)^(-2/p)], where
    w^2 = (|u|^2 + u0^2)/(6 + u0^2).
    """

    level: Array
    """Factor of the ringing plus the lead, >= 0."""
    deficit: Array
    """Relative reduction of A for pairs at rest, 0 ... 1."""
    width: Array
    """|u| below which pairs count as slow, v_th."""
    progress: Array
    """x = s/tau of the rise of pairs of thermal |u|."""
    exponent: Array
    """p of the rise; the power 2 in A is that of free streaming."""
    slowest: Array
    """u0 (v_th): pairs at rest rise like pairs of |u| = u0."""

    def __call__(self, speed: Elementwise | float) -> Array:
        """A at speeds that broadcast with the fields."""
        lag = 1 / (1 + (speed / self.width) ** 2)
        relative = jnp.sqrt((speed**2 + self.slowest**2) / (THERMAL + self.slowest**2))
        rise = 1 - (1 + power(relative * self.progress, self.exponent)) ** (-2 / self.exponent)
        return self.level * (1 - self.deficit * lag) * rise


class Rise(eqx.Module):
    """The law of the last factor of A, which rises from 0 to 1 with the distance |u| s."""

    time: Array
    """(3,): ln tau (1/omega_p) in powers of ln Gamma."""
    exponent: Array
    """(2,): ln p in powers of ln Gamma."""
    slowest: Array
    """(1,): ln(u0/v_th)."""


class Ringing(eqx.Module):
    """1 + b exp(-s/theta) sin(w s - phi): the pair rate oscillates once correlations have built up."""

    amplitude: Array
    """(2,): logit of b/LARGEST_RINGING in powers of ln Gamma."""
    lifetime: Array
    """(2,): ln theta (1/omega_p) in powers of ln Gamma."""
    frequency: Array
    """(2,): ln w (omega_p) in powers of ln Gamma."""
    phase: Array
    """(2,): phi in powers of ln Gamma."""

    def at(self, age: Elementwise, x: Elementwise) -> Elementwise:
        """The factor at an age (1/omega_p) and x = ln Gamma."""
        b = LARGEST_RINGING * jax.nn.sigmoid(polynomial(self.amplitude, x, age))
        theta = jnp.minimum(jnp.exp(polynomial(self.lifetime, x, age)), LONGEST_RINGING)
        phase = jnp.exp(polynomial(self.frequency, x, age)) * age - polynomial(self.phase, x, age)
        return 1 + b * jnp.exp(-age / theta) * jnp.sin(phase)


class Lead(eqx.Module):
    """a Gamma/(1 + b Gamma): excess of a free decay over an aged plasma; like collisions, zero at weak coupling."""

    rate: Array
    """ln a."""
    saturation: Array
    """ln b."""

    def at(self, age: Elementwise, x: Elementwise) -> Elementwise:
        """The lead at x = ln Gamma, before it fades."""
        gamma = jnp.exp(x)
        rate, saturation = (jnp.exp(k.astype(age.dtype)) for k in (self.rate, self.saturation))
        return rate * gamma / (1 + saturation * gamma)


class SlowPairs(eqx.Module):
    """The law of the lag of slow pairs: its size, and the speed below which pairs lag."""

    deficit: Array
    """(2,): logit of the deficit in powers of ln Gamma."""
    width: Array
    """(2,): ln(width/v_th) in powers of ln Gamma."""


class PairBuildup(eqx.Module):
    """The law of A(|u|; s, Gamma): rise, ringing, lead and the lag of slow pairs."""

    rise: Rise
    ringing: Ringing
    lead: Lead
    slow_pairs: SlowPairs
    fading: Fading = eqx.field(static=True, default=FADING)
    """The fading of lead and lag."""

    @classmethod
    def initial(cls, fading: Fading = FADING) -> "PairBuildup":
        """The law at which a training starts."""
        rise = Rise(*map(_array, ((0.0, 0.4, 0.0), (1.0, 0.2), (-1.0,))))
        ringing = Ringing(*map(_array, ((-1.0, 0.5), (0.7, 0.0), (0.6, 0.0), (1.2, 0.0))))
        slow = SlowPairs(_array((-1.0, 0.0)), _array((0.3, 0.0)))
        return cls(rise, ringing, Lead(_array(-1.0), _array(0.0)), slow, fading)

    def at(self, age: Elementwise, x: Elementwise) -> PairRate:
        """A at an age (1/omega_p) and x = ln Gamma."""
        remaining = self.fading(age)
        return PairRate(
            level=self.ringing.at(age, x) + remaining * self.lead.at(age, x),
            deficit=remaining * jax.nn.sigmoid(polynomial(self.slow_pairs.deficit, x, age)),
            width=jnp.exp(polynomial(self.slow_pairs.width, x, age)),
            progress=age / jnp.exp(polynomial(self.rise.time, x, age)),
            exponent=jnp.exp(polynomial(self.rise.exponent, x, age)),
            slowest=jnp.exp(polynomial(self.rise.slowest, x, age)),
        )


def _array(values: float | tuple[float, ...]) -> Array:
    return jnp.asarray(values, jnp.float32)
