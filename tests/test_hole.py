"""The correlation hole of the one-component plasma by the hypernetted chain, from which `hole.EDGE` comes."""

import jax.numpy as jnp
import numpy as np
import pytest
from helpers import slow_but
from scipy.fft import dst
from scipy.special import erf

from ddco_jax.correlations.functions import log_gamma
from ddco_jax.correlations.hole import Hole

ALPHA = 1.08
"""1/a: splits the Coulomb potential into a short part and one whose transform is known (Ng)."""


def total_correlation(gamma, n=4096, dr=0.01):
    """r (a) and g(r) - 1."""
    r, k = (np.arange(n) + 1) * dr, (np.arange(n) + 1) * np.pi / ((n + 1) * dr)
    density = 3 / (4 * np.pi)
    short = gamma * (1 - erf(ALPHA * r)) / r
    long = 4 * np.pi * gamma / k**2 * np.exp(-(k**2) / (4 * ALPHA**2))
    bridge, change = np.zeros(n), 1.0
    while change > 1e-8:
        c = np.exp(bridge - short) - 1 - bridge
        c_k = 2 * np.pi * dr / k * dst(r * c, type=1)
        h_k = (c_k - long) / (1 - density * (c_k - long))
        new = (k[1] - k[0]) / (4 * np.pi**2 * r) * dst(k * (h_k - c_k), type=1)
        change = np.abs(new - bridge).max()
        bridge += 0.3 * (new - bridge)
    return r, np.exp(bridge - short) - 1


CASES = [(0.1, 0.15), (0.4, 0.07), (0.8, 0.07), (1.95, 0.07), (3.0, 0.07)]


@pytest.mark.parametrize(("gamma", "bound"), slow_but([(0.8, 0.07), (3.0, 0.07)], CASES))
def test_the_force_left_of_a_pair_is_that_of_the_correlation_hole(gamma, bound):
    """B = 3 psi'(r)/r with the field psi' of the charge -h(r), at r = |u| s: one charge far away, all of it."""
    r, h = total_correlation(gamma)
    inner = -(r**2) * h
    charge = 3 * (r[0] ** 3 / 3 + np.concatenate([[0], np.cumsum(inner[:-1] + inner[1:]) / 2 * r[0]]))
    assert charge[-1] == pytest.approx(1, abs=1e-3)  # perfect screening
    partners = Hole.initial().at(jnp.asarray(2.0), log_gamma(jnp.asarray(gamma)))
    inside = (r > 0.1) & (r < 6)
    speed = r[inside] * np.sqrt(3 * gamma) / 2.0  # |u| s = r, in thermal units a = (3 Gamma)^(1/2)
    B = np.asarray(partners(jnp.asarray(speed)))
    np.testing.assert_allclose(B, (charge / r**3)[inside], atol=bound)
    far = float(partners(jnp.asarray(200 * speed[-1] / r[inside][-1])))
    assert B[0] > 0.75 and far == pytest.approx(200.0**-3, rel=0.02)
