"""Smooth functions of ln Gamma, and powers with finite gradients, for the laws of the correlations."""

import functools

import jax.numpy as jnp

from ddco_jax.plasma.arrays import Array, Float

Elementwise = Float[Array, "..."]

GAMMA_RANGE = (0.03, 5.0)
"""Gamma is clipped to this range, which the data cover."""


def log_gamma(gamma: Elementwise) -> Elementwise:
    """x = ln Gamma, Gamma clipped to GAMMA_RANGE."""
    return jnp.log(jnp.clip(gamma, *GAMMA_RANGE))


def polynomial(coefficients: Float[Array, " order"], x: Elementwise, age: Elementwise) -> Elementwise:
    """Sum of coefficients[i] x^i, in the precision of the age."""
    *lower, highest = coefficients.astype(age.dtype)
    return functools.reduce(lambda total, k: total * x + k, reversed(lower), highest + 0 * age)


def power(x: Elementwise, p: Elementwise | float) -> Elementwise:
    """x^p for x >= 0, with finite gradients at 0."""
    positive = x > 0
    return jnp.where(positive, jnp.where(positive, x, 1) ** p, 0)
