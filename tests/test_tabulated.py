"""Tabulated radial functions: accuracy, order, gradients, and that the function runs on the table only."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import SMALL, random_positive

from ddco_jax import CollisionOperator, kernels

STATE = (jnp.asarray(0.9), jnp.asarray(0.4))


def smooth(s, n, T):
    return n * jnp.exp(-(s**2) / (2 + T)) + jnp.cos(s) * T


def test_interpolation_is_of_sixth_order_and_accurate(rng):
    s = jnp.asarray(rng.uniform(0, 8, 5000))
    errors, knots = [], (16, 24, 36)
    for k in knots:
        errors.append(float(jnp.max(jnp.abs(kernels.Tabulated(smooth, k)(s, *STATE) - smooth(s, *STATE)))))
    assert np.polyfit(np.log(1 / (np.array(knots) - 1)), np.log(errors), 1)[0] == pytest.approx(6, abs=0.3)
    assert jnp.max(jnp.abs(kernels.Tabulated(smooth)(s, *STATE) - smooth(s, *STATE))) < 1e-13


def test_the_function_never_runs_on_the_grid(rng):
    sizes = []

    def counted(s, n, T):
        sizes.append(s.size)
        return smooth(s, n, T)

    f = random_positive(rng, SMALL.shape)
    plain, table = (
        kernels.LowRank(g0=((g, g, g),), g2=((g, g, g),)) for g in (smooth, kernels.Tabulated(counted, 256))
    )
    fast = CollisionOperator(SMALL, table)(f)
    assert 0 < max(sizes) <= 256 < np.prod(SMALL.nv)
    expected = CollisionOperator(SMALL, plain, "direct")(f)
    assert np.max(np.abs(fast - expected)) < 1e-12 * np.max(np.abs(expected))


def test_gradients_pass_through_the_table(rng):
    s = jnp.asarray(rng.uniform(0, 5, 1000))
    for argument in range(3):
        through, direct = (
            jax.grad(lambda *a, g=g: jnp.sum(jnp.sin(g(*a))), argument)(s, *STATE)
            for g in (kernels.Tabulated(smooth, 200), smooth)
        )
        assert np.allclose(through, direct, rtol=1e-9, atol=1e-9)
