"""The classical one-component plasma: reference formulas in its one parameter, Gamma, with which MD is compared.

Reduced units: lengths a = (3/4 pi n)^(1/3), times 1/omega_p; D* = D/(a^2 omega_p), eta* = eta/(m n a^2 omega_p).
"""

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from ddco_jax.plasma.arrays import Array, Numbers

_A1, _A2 = -0.907347, 0.62849
_A3 = -math.sqrt(3) / 2 - _A1 / math.sqrt(_A2)
_B1, _B2, _B3, _B4 = 0.0045, 170.0, -8.4e-5, 0.0037


def excess_energy(gamma: Any) -> Any:
    """u_ex = U_ex/NkT, including the background (Potekhin & Chabrier 2000, Eq. 16; +-0.001 in the liquid)."""
    g = np.asarray(gamma, float)
    classical = g**1.5 * (_A1 / np.sqrt(_A2 + g) + _A3 / (1 + g))
    return classical + _B1 * g**2 / (_B2 + g) + _B3 * g**2 / (_B4 + g**2)


def excess_pressure(gamma: Any) -> Any:
    """P_ex/nkT = u_ex/3: the virial theorem of the 1/r interaction with its background."""
    return excess_energy(gamma) / 3


def classical_logarithm(gamma: ArrayLike) -> Array:
    """lnLambda = ln(lambda_D/b_min) = -ln(sqrt(3) Gamma^1.5) (App. D)."""
    return -0.5 * math.log(3) - 1.5 * jnp.log(gamma)


_GAMMA = (0.1, 0.2, 0.5, 0.773, 1.0, 2.0, 2.318, 5.0, 10.0)
_XI11 = (2.639, 1.741, 0.836, 0.544, 0.411, 0.178, 0.146, 0.0499, 0.0177)
_XI22 = (6.257, 4.320, 2.203, 1.464, 1.117, 0.487, 0.401, 0.134, 0.0457)
STANTON_MURILLO_11 = (1.4660, -1.7836, 1.4313, -0.55833, 0.061162)
STANTON_MURILLO_22 = (0.85401, -0.22898, -0.60059, 0.80591, -0.30555)


def generalised_logarithm(gamma: Any, order: int) -> Array:
    """Xi11 (order 1, diffusion) or Xi22 (order 2, viscosity) of the effective-potential theory.

    Between Gamma = 0.1 and 10 this is a monotone (Fritsch-Carlson) cubic in log-log through the tabulated values,
    continued beyond 10 at its last slope; below 0.1 it is four times the Stanton-Murillo (2016) integrals, scaled to
    match at 0.1.
    """
    table, coefficients = {1: (_XI11, STANTON_MURILLO_11), 2: (_XI22, STANTON_MURILLO_22)}[order]
    below = gamma < _GAMMA[0]
    middle = jnp.exp(_monotone_cubic(np.log(_GAMMA), np.log(table), jnp.log(jnp.where(below, 1.0, gamma))))
    scale = table[0] / _stanton_murillo(_GAMMA[0], order, coefficients, math.log)
    return jnp.where(below, scale * _stanton_murillo(jnp.where(below, gamma, 0.1), order, coefficients), middle)


def effective_logarithm(gamma: Any) -> Array:
    """The Coulomb logarithm that gives a Landau operator the viscosity of the effective-potential theory: Xi22/2."""
    return generalised_logarithm(gamma, 2) / 2


def _stanton_murillo(
    gamma: Numbers, order: int, coefficients: tuple[float, ...], log: Callable[..., Numbers] = jnp.log
) -> Numbers:
    """4 K_nn(g) with K_nn = -(n/4) (n-1)! ln sum_k a_k g^k, g = Gamma sqrt(3 Gamma/(1 + 3 Gamma)) < 1."""
    g = gamma * (3 * gamma / (1 + 3 * gamma)) ** 0.5
    series = sum(a * g ** (k + 1) for k, a in enumerate(coefficients))
    return -order * math.factorial(order - 1) * log(series)


def _monotone_cubic(x: np.ndarray, y: np.ndarray, at: ArrayLike) -> Array:
    """Fritsch-Carlson cubic through (x, y), evaluated at `at`; continued linearly beyond the last point."""
    h, secant = np.diff(x), np.diff(y) / np.diff(x)
    w1, w2 = 2 * h[1:] + h[:-1], h[1:] + 2 * h[:-1]
    inner = (w1 + w2) / (w1 / secant[:-1] + w2 / secant[1:])
    slope = np.concatenate([secant[:1], inner, secant[-1:]])
    # coefficients of (at - x_i)^k, k = 0 ... 3, in the intervals; the last row is the continuation
    second = (3 * secant - 2 * slope[:-1] - slope[1:]) / h
    third = (slope[:-1] + slope[1:] - 2 * secant) / h**2
    rows = np.stack([x, y, slope, np.append(second, 0), np.append(third, 0)], -1)
    at = jnp.asarray(at)
    place = jnp.maximum(jnp.searchsorted(jnp.asarray(x, at.dtype), at) - 1, 0)
    knot, value, first, second, third = jnp.moveaxis(jnp.asarray(rows, at.dtype)[place], -1, 0)
    d = at - knot
    return value + d * (first + d * (second + d * third))


_SM = {
    (1, 1): (STANTON_MURILLO_11, (0.081033, -0.091336, 0.051760, -0.50026, 0.17044)),
    (2, 2): (STANTON_MURILLO_22, (0.43475, -0.21147, 0.11116, 0.19665, 0.15195)),
}
"""Coefficients a (g < 1) and b (g >= 1) of K_nm."""


def stanton_murillo_integral(gamma: Any, n: int, m: int) -> np.ndarray:
    """K_nm(g), g = Gamma sqrt(3 Gamma/(1 + 3 Gamma)), of Stanton & Murillo (2016) for (n, m) = (1, 1) and (2, 2)."""
    a, b = _SM[n, m]
    gamma = np.asarray(gamma, float)
    g = gamma * np.sqrt(3 * gamma / (1 + 3 * gamma))
    weak = np.minimum(g, 1.0)  # the series, negative at large g, is used up to g = 1 only
    series = sum(c * weak ** (k + 1) for k, c in enumerate(a))
    strong = np.maximum(g, 1.0)
    log = np.log(strong)
    rational = (b[0] + b[1] * log + b[2] * log**2) / (1 + b[3] * strong + b[4] * strong**2)
    return np.where(g < 1, -(n / 4) * math.factorial(m - 1) * np.log(series), rational)


def stanton_murillo(gamma: Any) -> tuple[Any, Any]:
    """(D*, eta*) of Stanton & Murillo (2016), first Sonine order; valid for Gamma up to about 1."""
    gamma = np.asarray(gamma, float)
    D = math.sqrt(3 * math.pi) / (12 * gamma**2.5 * stanton_murillo_integral(gamma, 1, 1))
    eta = 5 * math.sqrt(3 * math.pi) / (36 * gamma**2.5 * stanton_murillo_integral(gamma, 2, 2))
    return D, eta


LANDAU_D, LANDAU_ETA = 1.02333, 0.852772
"""First Sonine order of D* Gamma^2.5 lnLambda and of eta* Gamma^2.5 lnLambda of the Landau kernel
(docs/references.md)."""


def effective_potential(gamma: Any) -> tuple[Any, Any]:
    """(D*, eta*) of the effective-potential theory, first Sonine order: Landau's with Xi11 and Xi22/2 for lnLambda.

    A Landau *operator* with these logarithms has 1.19 and 1.16 times these coefficients: its higher Sonine orders are
    large because it scatters fast particles weakly.  For a potential of finite range they are not large.
    """
    gamma = np.asarray(gamma, float)
    xi11, xi22 = (np.asarray(generalised_logarithm(gamma, order)) for order in (1, 2))
    return LANDAU_D / (gamma**2.5 * xi11), LANDAU_ETA / (gamma**2.5 * xi22 / 2)
