"""Double precision and strict dtype promotion for every test; shared plasmas."""

import jax
import numpy as np
import pytest

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")

import jax.numpy as jnp  # noqa: E402

from ddco_jax import PhaseGrid, kernels  # noqa: E402


@pytest.fixture
def rng():
    return np.random.default_rng(20260327)


def random_positive(rng, shape, spread=0.5):
    """A positive distribution without any symmetry, as large at the edge of the box as inside."""
    return jnp.asarray(np.exp(spread * rng.normal(size=shape)))


def decaying(width, offset=0.0):
    """A smooth radial function of (speed, density, temperature) that uses all three."""
    return lambda s, n, T: n * jnp.exp(-(s**2) / (2 * width**2 * T)) + offset


def random_low_rank(rng, ranks=(1, 2, 1)):
    """A kernel of the general form with random smooth encoders, g0, g1 and g2 of the given ranks."""

    def function():
        a, b, c = rng.uniform(0.3, 1.5, 3)
        return lambda s, n, T: a / (1 + b * s**2) + c * n * jnp.cos(s) * T

    return kernels.LowRank(*(tuple((function(), function(), function()) for _ in range(rank)) for rank in ranks))


def shared_low_rank():
    """One product for g0, g1, g2: L M M' with the same M."""
    M = lambda s, n, T: jnp.exp(-(s**2) / (8 * T))
    L = lambda s, n, T: 1 / (1 + s)
    return kernels.LowRank(g0=((L, M, M),), g1=((M, M, M),), g2=((L, M, M),))


SMALL = PhaseGrid(1.0, 2, (2.0, 2.5, 3.0), (7, 9, 8))
"""A velocity grid with three different axes."""
CUBIC = PhaseGrid(1.0, 2, (2.5, 2.5, 2.5), (8, 8, 8))
