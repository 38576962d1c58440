"""The installed JAX adds up correctly on this machine: jaxlib 0.10.2 did not (jax issue 39103)."""

import jax
import jax.numpy as jnp
import pytest


@pytest.mark.parametrize("dtype, n", [(jnp.float64, 16_385), (jnp.float32, 32_769)])
def test_a_sum_of_products_in_a_batch(dtype, n):
    i = jnp.arange(n, dtype=dtype)
    x, matrix = jnp.stack((i, 0 * i, 0 * i), 1), jnp.eye(3, dtype=dtype)
    squares = jax.jit(jax.vmap(lambda row: jnp.sum((matrix @ row) ** 2)))(x)
    assert float(squares[-1]) == pytest.approx((n - 1) ** 2, rel=1e-6)


def test_a_maximum_does_not_hide_nan():
    """The checks of a run look for values that are not finite."""
    assert jnp.isnan(jnp.max(jnp.full(20_000, jnp.nan)))
    assert jnp.isnan(jax.jit(jnp.max)(jnp.full(20_000, jnp.nan)))
