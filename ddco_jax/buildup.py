"""The build-up of correlations: amplitudes A(s; Gamma) that multiply C[f] after a quench."""

import equinox as eqx
import jax.numpy as jnp

from ddco_jax._types import Array, Float

Elementwise = Float[Array, "..."]

GAMMA_RANGE = (0.03, 5.0)
"""Gamma is clipped to this range, where there are data."""


class StretchedExponential(eqx.Module):
    """A(s; Gamma) = 1 - exp(-(s/time)^exponent), monotone from 0 to 1; the same at every Gamma.

    The defaults fit molecular dynamics at Gamma = 1.5 (REFERENCES, forward solution at 0.15 eV).
    """

    time: float | Array = 0.45
    """1/omega_p."""
    exponent: float | Array = 1.3

    def __call__(self, age: Elementwise, gamma: Elementwise) -> Elementwise:
        positive = age > 0  # the power has no finite gradient at age 0
        ratio = jnp.where(positive, age, 1) / self.time
        return jnp.where(positive, -jnp.expm1(-(ratio**self.exponent)), 0)


class LearnedBuildup(eqx.Module):
    """A(s; Gamma) = 1 - exp(-(s/tau)^p) with tau and p smooth functions of ln Gamma, fitted to MD."""

    time: Array
    """Coefficients of ln tau (1/omega_p) in powers of ln Gamma."""
    exponent: Array
    """Coefficients of ln p."""

    def __call__(self, age: Elementwise, gamma: Elementwise) -> Elementwise:
        x = jnp.log(jnp.clip(gamma, *GAMMA_RANGE))
        tau, p = (
            jnp.exp(sum(k.astype(age.dtype) * x**i for i, k in enumerate(coefficients)))
            for coefficients in (self.time, self.exponent)
        )
        positive = age > 0
        ratio = jnp.where(positive, age, 1) / tau
        return jnp.where(positive, -jnp.expm1(-(ratio**p)), 0)
