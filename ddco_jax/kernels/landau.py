"""Isotropic kernels with one radial power: Landau gamma P/|u| and Maxwell molecules kappa |u|^2 P."""

import abc
import math
from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from ddco_jax._types import Array
from ddco_jax.kernels.base import Kernel, Separable, Weights
from ddco_jax.units import PAPER, Scales

Prefactor = float | int | Array | Callable


class IsotropicPower(Kernel):
    """omega = prefactor(rho, T) |u|^power P."""

    prefactor: eqx.AbstractVar[Prefactor]

    @property
    @abc.abstractmethod
    def power(self) -> int:
        """Exponent of |u|."""

    def _value(self, density, temperature):
        return self.prefactor(density, temperature) if callable(self.prefactor) else jnp.asarray(self.prefactor)

    def radial(self, relative_speed, peculiar_speed, peculiar_speed_prime, density, temperature):
        gamma = self._value(density, temperature).astype(relative_speed.dtype)
        return gamma * relative_speed**self.power, 0, 0

    def separable(self, density, temperature) -> Separable:
        gamma = self._value(density, temperature)
        return Separable((None,), {(0, 0): Weights(isotropic=lambda u: gamma.astype(u.dtype) * u**self.power)})


class Landau(IsotropicPower):
    """The Landau kernel omega = gamma P/|u|.

    `prefactor` is gamma (V0^3 L0^3/t0) as a number, or a function of (density, temperature); the default is
    `effective_potential()`.  `DD-Landau` (C.1) is this kernel with a learned prefactor.
    """

    prefactor: Prefactor

    def __init__(self, prefactor: Prefactor | None = None):
        self.prefactor = effective_potential() if prefactor is None else prefactor

    @property
    def power(self) -> int:
        return -1


class MaxwellMolecules(IsotropicPower):
    """omega = kappa |u|^2 P, for which the BKW solution is exact (kappa = 1/24 in REFERENCES)."""

    prefactor: Prefactor = 1 / 24

    @property
    def power(self) -> int:
        return 2


class CoulombLogarithm(eqx.Module):
    """gamma = 2 pi q^4 lnLambda(Gamma), with one of two Coulomb logarithms."""

    scales: Scales = eqx.field(static=True)
    logarithm: Callable = eqx.field(static=True)
    """lnLambda as a function of Gamma."""

    def __call__(self, density, temperature):
        gamma = self.scales.coupling_parameter(density, temperature)
        return self.scales.landau_prefactor(density) * self.logarithm(gamma)


def classical(scales: Scales = PAPER) -> CoulombLogarithm:
    """Prefactor with lnLambda = -ln(sqrt(3) Gamma^1.5), negative above Gamma = 0.693: not an operator there."""
    return CoulombLogarithm(scales, classical_logarithm)


def effective_potential(scales: Scales = PAPER) -> CoulombLogarithm:
    """Prefactor with lnLambda = Xi22/2 of the effective-potential theory, positive at every Gamma."""
    return CoulombLogarithm(scales, effective_logarithm)


def classical_logarithm(gamma):
    """lnLambda = ln(lambda_D/b_min) = -ln(sqrt(3) Gamma^1.5) (App. D)."""
    return -0.5 * math.log(3) - 1.5 * jnp.log(gamma)


_GAMMA = (0.1, 0.2, 0.5, 0.773, 1.0, 2.0, 2.318, 5.0, 10.0)
_XI11 = (2.639, 1.741, 0.836, 0.544, 0.411, 0.178, 0.146, 0.0499, 0.0177)
_XI22 = (6.257, 4.320, 2.203, 1.464, 1.117, 0.487, 0.401, 0.134, 0.0457)
STANTON_MURILLO_11 = (1.4660, -1.7836, 1.4313, -0.55833, 0.061162)
STANTON_MURILLO_22 = (0.85401, -0.22898, -0.60059, 0.80591, -0.30555)


def generalised_logarithm(gamma, order: int):
    """Xi11 (order 1, diffusion) or Xi22 (order 2, viscosity) of the effective-potential theory.

    Between Gamma = 0.1 and 10 a monotone (Fritsch-Carlson) cubic in log-log through the tabulated values,
    continued beyond 10 at its last slope; below 0.1 four times the Stanton-Murillo (2016) integrals, scaled to
    match at 0.1.
    """
    table, coefficients = {1: (_XI11, STANTON_MURILLO_11), 2: (_XI22, STANTON_MURILLO_22)}[order]
    below = gamma < _GAMMA[0]
    middle = jnp.exp(_monotone_cubic(np.log(_GAMMA), np.log(table), jnp.log(jnp.where(below, 1.0, gamma))))
    scale = table[0] / _stanton_murillo(_GAMMA[0], order, coefficients, math.log)
    return jnp.where(below, scale * _stanton_murillo(jnp.where(below, gamma, 0.1), order, coefficients), middle)


def effective_logarithm(gamma):
    """The Coulomb logarithm that gives a Landau operator the viscosity of the effective-potential theory: Xi22/2."""
    return generalised_logarithm(gamma, 2) / 2


def _stanton_murillo(gamma, order: int, coefficients, log=jnp.log):
    """4 K_nn(g) with K_nn = -(n/4) (n-1)! ln sum_k a_k g^k, g = Gamma sqrt(3 Gamma/(1 + 3 Gamma)) < 1."""
    g = gamma * (3 * gamma / (1 + 3 * gamma)) ** 0.5
    series = sum(a * g ** (k + 1) for k, a in enumerate(coefficients))
    return -order * math.factorial(order - 1) * log(series)


def _monotone_cubic(x, y, at):
    """Fritsch-Carlson cubic through (x, y), continued linearly at the last slope."""
    h, secant = np.diff(x), np.diff(y) / np.diff(x)
    w1, w2 = 2 * h[1:] + h[:-1], h[1:] + 2 * h[:-1]
    inner = (w1 + w2) / (w1 / secant[:-1] + w2 / secant[1:])
    slope = np.concatenate([secant[:1], inner, secant[-1:]])
    at = jnp.asarray(at)
    i = jnp.clip(jnp.searchsorted(jnp.asarray(x, at.dtype), at) - 1, 0, len(h) - 1)
    knots, values, steps, slopes = (jnp.asarray(a, at.dtype) for a in (x, y, h, slope))
    t = (at - knots[i]) / steps[i]
    h00, h10, h01, h11 = 2 * t**3 - 3 * t**2 + 1, t**3 - 2 * t**2 + t, 3 * t**2 - 2 * t**3, t**3 - t**2
    inside = h00 * values[i] + h01 * values[i + 1] + steps[i] * (h10 * slopes[i] + h11 * slopes[i + 1])
    return jnp.where(at > knots[-1], values[-1] + slopes[-1] * (at - knots[-1]), inside)
