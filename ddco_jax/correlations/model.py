"""The correlations of a plasma at one age (records), and the laws that give them at every age (models).

A model is a function (age, gamma) -> record, elementwise: the age s since a quench in 1/omega_p, and Gamma.
"""

import dataclasses
from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp

from ddco_jax.correlations.buildup import FIRST_FADING, PairBuildup, PairRate
from ddco_jax.correlations.functions import Elementwise, log_gamma, polynomial, power
from ddco_jax.correlations.hole import Hole, Partners
from ddco_jax.correlations.jumps import COLLISION_JUMP, viscosity_factor
from ddco_jax.correlations.memory import NO_MEMORY, NoMemory, Retardation, StressMemory
from ddco_jax.correlations.microfield import Microfield
from ddco_jax.plasma.arrays import Array


class Aged(eqx.Module):
    """An aged plasma: omega is the kernel itself."""

    def pair_rate(self, speed: Elementwise | float) -> Array:
        """The factor of omega at |u| (v_th)."""
        return jnp.ones_like(speed)

    def in_units(self, plasma_frequency: Elementwise | float) -> "Aged":
        """The same record: it holds no rates to convert."""
        return self


AGED = Aged()


class Uniform(eqx.Module):
    """A plasma in which the kinetic rates of all pairs are multiplied by the same factor."""

    factor: Array
    """>= 0, one number per cell."""

    def pair_rate(self, speed: Elementwise | float) -> Array:
        """The factor of omega at |u| (v_th)."""
        return self.factor * jnp.ones_like(speed)

    def in_units(self, plasma_frequency: Elementwise | float) -> "Uniform":
        """The same record: it holds no rates to convert."""
        return self


class Correlations(eqx.Module):
    """The correlations of a plasma at one age after a quench: the fields are elementwise, one number per cell."""

    pairs: PairRate
    """The build-up of the pair rate."""
    microfield_rate: Array
    """nu >= 0 of the diffusion in the microfield: omega_p from a model, 1/t0 for the operator (`in_units`)."""
    microfield_jump: Array
    """ell^2 of the jumps in the microfield, v_th^2."""
    partners: Partners
    """B(|u|): share of a partner's force gradient that remains as it leaves the correlation hole (`hole`)."""
    pair_jump: Array
    """ell^2 of the jumps in collisions, v_th^2."""
    retardation: Retardation | NoMemory = NO_MEMORY
    """Memory of the stress: rates in omega_p from a model, in 1/t0 for the operator (`in_units`)."""

    def pair_rate(self, speed: Elementwise | float) -> Array:
        """The factor of omega at |u| (v_th)."""
        return viscosity_factor(self.pair_jump) * self.pairs(speed)

    def in_units(self, plasma_frequency: Elementwise | float) -> "Correlations":
        """The same with rates in 1/t0, for omega_p in 1/t0."""
        return dataclasses.replace(
            self,
            microfield_rate=self.microfield_rate * plasma_frequency,
            retardation=self.retardation.in_units(plasma_frequency),
        )


class Mature(eqx.Module):
    """An aged plasma with a memory of the stress: no diffusion in the microfield, no build-up of the pair rate."""

    pair_jump: Array
    """ell^2 of the jumps in collisions, v_th^2."""
    retardation: Retardation | NoMemory
    """Memory of the stress: rates in omega_p from a model, in 1/t0 for the operator (`in_units`)."""

    def pair_rate(self, speed: Elementwise | float) -> Array:
        """The factor of omega at |u| (v_th)."""
        return viscosity_factor(self.pair_jump) * jnp.ones_like(speed)

    def in_units(self, plasma_frequency: Elementwise | float) -> "Mature":
        """The same with rates in 1/t0, for omega_p in 1/t0."""
        return dataclasses.replace(self, retardation=self.retardation.in_units(plasma_frequency))


AGED_AGE = 1e4
"""Age, 1/omega_p, at which every law has reached its limit of an aged plasma."""
Record = Aged | Uniform | Correlations | Mature


def retardation(now: Record) -> Retardation | NoMemory:
    """The memory of the stress in a record; `NO_MEMORY` if it has none."""
    return now.retardation if isinstance(now, Correlations | Mature) else NO_MEMORY


Model = Callable[[Elementwise, Elementwise], Record | Elementwise]
"""A function of age (1/omega_p) and Gamma that returns a record; a bare array stands for a `Uniform` factor."""


def as_record(value: Record | Elementwise | None) -> Record:
    """The value as a record: a bare array is the factor of a `Uniform` one, None stands for an aged plasma."""
    if value is None:
        return AGED
    return value if isinstance(value, Record) else Uniform(jnp.asarray(value))


class Markov(eqx.Module):
    """The law without correlations (Markovian): collisions have the rates of the kernel at every age."""

    def __call__(self, age: Elementwise, gamma: Elementwise) -> Aged:
        return AGED


MARKOV = Markov()


class StretchedExponential(eqx.Module):
    """A = 1 - exp(-(s/time)^exponent), from 0 to 1, the same at every Gamma and |u|: for kernels without a learned law.

    The defaults fit molecular dynamics at Gamma = 1.5 (docs/references.md, forward solution at 0.15 eV).
    """

    time: float | Array = 0.45
    """1/omega_p."""
    exponent: float | Array = 1.3

    def __call__(self, age: Elementwise, gamma: Elementwise) -> Uniform:
        return Uniform(-jnp.expm1(-power(age / self.time, self.exponent)))


class StretchedRise(eqx.Module):
    """A = 1 - exp(-(s/tau)^p), from 0 to 1, with tau and p smooth in ln Gamma: the baseline law, fitted to MD."""

    time: Array
    """(3,): ln tau (1/omega_p) in powers of ln Gamma."""
    exponent: Array
    """(2,): ln p in powers of ln Gamma."""

    @classmethod
    def initial(cls) -> "StretchedRise":
        """The law at which a training starts."""
        return cls(jnp.array([-0.8, 0.1, 0.0], jnp.float32), jnp.array([0.25, 0.0], jnp.float32))

    def __call__(self, age: Elementwise, gamma: Elementwise) -> Uniform:
        x = log_gamma(gamma)
        progress = age / jnp.exp(polynomial(self.time, x, age))
        return Uniform(-jnp.expm1(-power(progress, jnp.exp(polynomial(self.exponent, x, age)))))


class Quench(eqx.Module):
    """The learned law of a plasma after a quench: (age, Gamma) -> `Correlations`.

    It consists of the build-up of the pair rate, diffusion in the microfield, the correlation hole, and the memory of
    later changes of the stress.  All parameters are smooth functions of Gamma.
    """

    pairs: PairBuildup
    microfield: Microfield
    hole: Hole
    memory: StressMemory | NoMemory

    @classmethod
    def initial(cls) -> "Quench":
        """The law with the parameters at which a training starts."""
        return cls(PairBuildup.initial(), Microfield.initial(), Hole.initial(), StressMemory.initial())

    @classmethod
    def first(cls) -> "Quench":
        """The law of version 0.1, without a memory of later changes, with parameters at which a training starts."""
        return cls(PairBuildup.initial(FIRST_FADING), Microfield.initial(), Hole.initial(), NO_MEMORY)

    def __call__(self, age: Elementwise, gamma: Elementwise) -> Correlations:
        x = log_gamma(gamma)
        rate, jump = self.microfield.at(age, x)
        return Correlations(
            pairs=self.pairs.at(age, x),
            microfield_rate=rate,
            microfield_jump=jump,
            partners=self.hole.at(age, x),
            pair_jump=COLLISION_JUMP + 0 * age * x,
            retardation=self.memory.at(1 - self.pairs.fading(age) + 0 * x, x),
        )

    def mature(self) -> "Undisturbed":
        """The law of a plasma that was never quenched, or that was quenched long ago."""
        return Undisturbed(self.memory)


class Undisturbed(eqx.Module):
    """The law of an aged plasma: the limit of `Quench` at large age, cheaper to evaluate."""

    memory: StressMemory | NoMemory

    def __call__(self, age: Elementwise, gamma: Elementwise) -> Mature:
        x = log_gamma(gamma)
        return Mature(COLLISION_JUMP + 0 * age * x, self.memory.at(jnp.ones_like(age * x), x))
