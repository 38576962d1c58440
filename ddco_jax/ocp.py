"""The classical one-component plasma: reference formulas of its one parameter, Gamma, against which MD is judged.

Reduced units: lengths a = (3/4 pi n)^(1/3), times 1/omega_p; D* = D/(a^2 omega_p), eta* = eta/(m n a^2 omega_p).
"""

import math

import numpy as np

from ddco_jax.kernels.landau import STANTON_MURILLO_11, STANTON_MURILLO_22, generalised_logarithm

_A1, _A2 = -0.907347, 0.62849
_A3 = -math.sqrt(3) / 2 - _A1 / math.sqrt(_A2)
_B1, _B2, _B3, _B4 = 0.0045, 170.0, -8.4e-5, 0.0037


def excess_energy(gamma):
    """u_ex = U_ex/NkT, the background included (Potekhin & Chabrier 2000, Eq. 16; +-0.001 in the liquid)."""
    g = np.asarray(gamma, float)
    classical = g**1.5 * (_A1 / np.sqrt(_A2 + g) + _A3 / (1 + g))
    return classical + _B1 * g**2 / (_B2 + g) + _B3 * g**2 / (_B4 + g**2)


def excess_pressure(gamma):
    """P_ex/nkT = u_ex/3: the virial theorem of the 1/r interaction with its background."""
    return excess_energy(gamma) / 3


_SM = {
    (1, 1): (STANTON_MURILLO_11, (0.081033, -0.091336, 0.051760, -0.50026, 0.17044)),
    (2, 2): (STANTON_MURILLO_22, (0.43475, -0.21147, 0.11116, 0.19665, 0.15195)),
}
"""Coefficients a (g < 1) and b (g >= 1) of K_nm."""


def stanton_murillo_integral(gamma, n: int, m: int):
    """K_nm(g), g = Gamma sqrt(3 Gamma/(1 + 3 Gamma)), of Stanton & Murillo (2016) for (n, m) = (1, 1) and (2, 2)."""
    a, b = _SM[n, m]
    gamma = np.asarray(gamma, float)
    g = gamma * np.sqrt(3 * gamma / (1 + 3 * gamma))
    weak = np.minimum(g, 1.0)  # each branch only where it holds: the series turns negative beyond
    series = sum(c * weak ** (k + 1) for k, c in enumerate(a))
    strong = np.maximum(g, 1.0)
    log = np.log(strong)
    rational = (b[0] + b[1] * log + b[2] * log**2) / (1 + b[3] * strong + b[4] * strong**2)
    return np.where(g < 1, -(n / 4) * math.factorial(m - 1) * np.log(series), rational)


def stanton_murillo(gamma):
    """(D*, eta*) of Stanton & Murillo (2016), first Sonine order; good for Gamma up to about 1."""
    gamma = np.asarray(gamma, float)
    D = math.sqrt(3 * math.pi) / (12 * gamma**2.5 * stanton_murillo_integral(gamma, 1, 1))
    eta = 5 * math.sqrt(3 * math.pi) / (36 * gamma**2.5 * stanton_murillo_integral(gamma, 2, 2))
    return D, eta


LANDAU_D, LANDAU_ETA = 1.02333, 0.852772
"""First Sonine order of D* Gamma^2.5 lnLambda and eta* Gamma^2.5 lnLambda for the Landau kernel (REFERENCES)."""


def effective_potential(gamma):
    """(D*, eta*) of the effective-potential theory, first Sonine order: Landau's with Xi11 and Xi22/2 for lnLambda.

    A Landau *operator* with these logarithms has 1.19 and 1.16 times as much: its higher orders are large because it
    lets fast particles go, those of a potential with finite range are not.
    """
    gamma = np.asarray(gamma, float)
    xi11, xi22 = (np.asarray(generalised_logarithm(gamma, order)) for order in (1, 2))
    return LANDAU_D / (gamma**2.5 * xi11), LANDAU_ETA / (gamma**2.5 * xi22 / 2)
