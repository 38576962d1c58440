"""The build-up of correlations: amplitudes A(s; Gamma) that multiply C[f] after a quench."""

import equinox as eqx
import jax
import jax.numpy as jnp

from ddco_jax._types import Array, Float

Elementwise = Float[Array, "..."]

BOUND = 0.9
"""Largest relative amplitude of the ringing."""
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
    """A(s; Gamma) = [1 - exp(-(s/tau)^p)] [1 + b exp(-s/theta) sin(w s - phi)], all smooth in ln Gamma, fitted to MD.

    The second factor, there where `overshoot` is not None, is the ringing of the correlations that have built up: MD
    passes its kinetic rate after about 1.5/omega_p and falls below it before it settles.  b < BOUND keeps A positive,
    which is all that conservation and the H-theorem ask for.
    """

    time: Array
    """Coefficients of ln tau (1/omega_p) in powers of ln Gamma."""
    exponent: Array
    """Coefficients of ln p."""
    overshoot: Array | None = None
    """(4, 2): coefficients of logit(b/BOUND), ln theta (1/omega_p), ln w (omega_p), phi."""

    def __call__(self, age: Elementwise, gamma: Elementwise) -> Elementwise:
        x = jnp.log(jnp.clip(gamma, *GAMMA_RANGE))

        def polynomial(coefficients):
            return sum(k.astype(age.dtype) * x**i for i, k in enumerate(coefficients))

        tau, p = jnp.exp(polynomial(self.time)), jnp.exp(polynomial(self.exponent))
        positive = age > 0
        ratio = jnp.where(positive, age, 1) / tau
        amplitude = jnp.where(positive, -jnp.expm1(-(ratio**p)), 0)
        if self.overshoot is None:
            return amplitude
        b, theta, w, phi = (polynomial(coefficients) for coefficients in self.overshoot)
        ringing = jnp.exp(-age * jnp.exp(-theta)) * jnp.sin(jnp.exp(w) * age - phi)
        return amplitude * (1 + BOUND * jax.nn.sigmoid(b) * ringing)
