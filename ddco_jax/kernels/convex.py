"""Kernels linear in non-negative coefficients, fitted by non-negative least squares: the optimum is global."""

import functools

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from ddco_jax.kernels.base import Kernel, Separable, Squares
from ddco_jax.kernels.landau import effective_potential
from ddco_jax.kernels.separable import KINDS, PositiveSeparable, Term
from ddco_jax.plasma.arrays import Array, Numbers, RadialFunction
from ddco_jax.plasma.units import PAPER, Scales

GAMMA_KNOTS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3.0)
"""Coupling parameters between which coefficients are linear in ln Gamma; beyond them, coefficients are constant."""
WIDTHS = (1.0, 1.7, 3.0, 5.0)
"""Widths of the Gaussians in |u|, v_th."""
FAR = 3.0
"""|u| at which the algebraic radial function of each tensor turns over to Landau's scaling, v_th."""
FACTOR_WIDTHS = (None, 2.0, 1.0)
"""Width of the Gaussian m(|c|) of each product, v_th; None for m = 1."""
RADIAL = len(WIDTHS) + 2
"""Number of radial functions per tensor: the Gaussians, an algebraic function, and Landau's 1/|u| for the isotropic
tensor or a wider algebraic function for the others."""
SHAPE = (len(GAMMA_KNOTS), len(KINDS), len(FACTOR_WIDTHS), RADIAL)
"""Shape of the coefficients: Gamma knot, tensor, factor, radial function."""


def radial_functions(speed: Array, tensor: int) -> list[Array]:
    """The RADIAL fixed functions of speed = |u|/v_th for one tensor (an index of KINDS)."""
    square = speed**2
    functions = [jnp.exp(-square / (2 * width**2)) for width in WIDTHS]
    functions.append((1 + square / FAR**2) ** (-0.5 - (tensor > 0)))
    functions.append(1 / speed if tensor == 0 else (1 + square / (2 * FAR) ** 2) ** -1.5)
    return functions


class Convex(Kernel):
    """omega as a sum of fixed positive semidefinite products, with coefficients (SHAPE) that must not be negative.

    The functions are in thermal units and relative to Landau's prefactor, so similarity in Gamma is exact.
    """

    coefficients: Array
    scales: Scales = eqx.field(static=True, default=PAPER)

    def _weight(self, tensor: int, factor: int, speed: Array, density: Numbers, temperature: Numbers) -> Array:
        density, temperature = jnp.asarray(density, speed.dtype), jnp.asarray(temperature, speed.dtype)
        x = jnp.log(self.scales.coupling_parameter(density, temperature))
        share = hats(x)
        table = self.coefficients[:, tensor, factor].astype(speed.dtype)
        amplitude = jnp.tensordot(share, table, axes=1)
        functions = radial_functions(speed / jnp.sqrt(temperature), tensor)
        prefactor = effective_potential(self.scales)(density, temperature) * temperature ** (-0.5 - (tensor > 0))
        return prefactor * sum(amplitude[..., r] * function for r, function in enumerate(functions))

    def _products(self) -> PositiveSeparable:
        def term(j: int) -> Term:
            isotropic, perpendicular, parallel = (functools.partial(self._weight, i, j) for i in range(len(KINDS)))
            return Term(isotropic, perpendicular, parallel, _factor(FACTOR_WIDTHS[j]))

        return PositiveSeparable(map(term, range(len(FACTOR_WIDTHS))))

    def radial(
        self,
        relative_speed: Array,
        peculiar_speed: Array,
        peculiar_speed_prime: Array,
        density: Numbers,
        temperature: Numbers,
    ) -> Squares:
        speeds = (relative_speed, peculiar_speed, peculiar_speed_prime)
        return self._products().radial(*speeds, density, temperature)

    def separable(self, density: Numbers, temperature: Numbers) -> Separable:
        return self._products().separable(density, temperature)


def hats(log_gamma: ArrayLike) -> Array:
    """Interpolation weights (..., knots) of the Gamma knots: piecewise linear in ln Gamma, constant beyond."""
    x = jnp.asarray(log_gamma)
    knots = jnp.asarray(np.log(GAMMA_KNOTS), x.dtype)
    x = jnp.clip(x, knots[0], knots[-1])[..., None]
    width = jnp.diff(knots)
    rise = jnp.clip((x - knots[:-1]) / width, 0, 1)  # of the hat at the upper end of each interval
    one = jnp.ones_like(x)
    return jnp.concatenate([one, rise], -1) - jnp.concatenate([rise, 0 * one], -1)


def _factor(width: float | None) -> RadialFunction | None:
    if width is None:
        return None
    return lambda speed, density, temperature: jnp.exp(-(speed**2) / (2 * width**2 * temperature))
