"""The Landau kernel gamma P/|u| and its Coulomb logarithms; the base class of kernels |u|^power P."""

import abc
from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp

from ddco_jax.kernels.base import Kernel, Separable, Squares, Weights
from ddco_jax.plasma.arrays import Array, Numbers
from ddco_jax.plasma.ocp import classical_logarithm, effective_logarithm
from ddco_jax.plasma.units import PAPER, Scales

Prefactor = float | int | Array | Callable


class IsotropicPower(Kernel):
    """omega = prefactor(rho, T) |u|^power P; the prefactor is a number or a function of (density, temperature)."""

    prefactor: eqx.AbstractVar[Prefactor]

    @property
    @abc.abstractmethod
    def power(self) -> int:
        """Exponent of |u|."""

    def _value(self, density: Numbers, temperature: Numbers) -> Array:
        return self.prefactor(density, temperature) if callable(self.prefactor) else jnp.asarray(self.prefactor)

    def radial(
        self,
        relative_speed: Array,
        peculiar_speed: Array,
        peculiar_speed_prime: Array,
        density: Numbers,
        temperature: Numbers,
    ) -> Squares:
        gamma = self._value(density, temperature).astype(relative_speed.dtype)
        return gamma * relative_speed**self.power, 0, 0

    def separable(self, density: Numbers, temperature: Numbers) -> Separable:
        gamma = self._value(density, temperature)
        return Separable((None,), {(0, 0): Weights(isotropic=lambda u: gamma.astype(u.dtype) * u**self.power)})


class Landau(IsotropicPower):
    """The Landau kernel omega = gamma P/|u|.

    `prefactor` is gamma (V0^3 L0^3/t0) as a number, or a function of (density, temperature); the default is
    `effective_potential()`.  `DD-Landau` (C.1) is this kernel with a learned prefactor.
    """

    prefactor: Prefactor

    def __init__(self, prefactor: Prefactor | None = None) -> None:
        self.prefactor = effective_potential() if prefactor is None else prefactor

    @property
    def power(self) -> int:
        return -1


class CoulombLogarithm(eqx.Module):
    """gamma = 2 pi q^4 lnLambda(Gamma), V0^3 L0^3/t0, as a function of (density, temperature)."""

    scales: Scales = eqx.field(static=True)
    logarithm: Callable = eqx.field(static=True)
    """lnLambda as a function of Gamma."""

    def __call__(self, density: Numbers, temperature: Numbers) -> Array:
        gamma = self.scales.coupling_parameter(density, temperature)
        return self.scales.landau_prefactor(density) * self.logarithm(gamma)


def classical(scales: Scales = PAPER) -> CoulombLogarithm:
    """Landau prefactor with lnLambda = -ln(sqrt(3) Gamma^1.5), which is negative, so unusable, above Gamma = 0.693."""
    return CoulombLogarithm(scales, classical_logarithm)


def effective_potential(scales: Scales = PAPER) -> CoulombLogarithm:
    """Landau prefactor with lnLambda = Xi22/2 of effective-potential theory (`plasma.ocp`), positive at every Gamma."""
    return CoulombLogarithm(scales, effective_logarithm)
