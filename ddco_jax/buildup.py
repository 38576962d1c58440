"""The build-up of correlations: amplitudes A(s; Gamma) that multiply C[f] after a quench."""

import equinox as eqx
import jax.numpy as jnp

from ddco_jax._types import Array, Profile


class StretchedExponential(eqx.Module):
    """A(s; Gamma) = 1 - exp(-(s/time)^exponent), monotone from 0 to 1; the same at every Gamma.

    The defaults fit molecular dynamics at Gamma = 1.5 (REFERENCES, forward solution at 0.15 eV).
    """

    time: float | Array = 0.45
    """1/omega_p."""
    exponent: float | Array = 1.3

    def __call__(self, age: Profile, gamma: Profile) -> Profile:
        positive = age > 0  # the power has no finite gradient at age 0
        ratio = jnp.where(positive, age, 1) / self.time
        return jnp.where(positive, -jnp.expm1(-(ratio**self.exponent)), 0)
