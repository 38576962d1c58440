"""The entropy limiter: no flux lowers the entropy."""

import jax.numpy as jnp
from jax import lax

from ddco_jax.plasma.arrays import Scalar
from ddco_jax.velocity.differences import Forces

ROUNDINGS = 32
"""Size of forces, in rounding errors of thermal forces, whose entropy production is ignored."""


def limit(forces: Forces, fluxes: Forces, fallback: Forces, thermal: Scalar) -> tuple[Forces, Scalar]:
    """Blend in the smallest share of a dissipative flux that keeps the entropy production non-negative.

    Returns the fluxes and the share.
    `fallback` is a flux with a non-negative production; it is scaled to the size of `fluxes` first.
    `thermal` is the production of forces of thermal size.  Productions are quadratic in the forces, so rounding errors
    produce about eps^2 thermal.  Losses of this size are ignored: otherwise the derivative at a Maxwellian would be
    noise.
    """
    least = thermal * (ROUNDINGS * jnp.finfo(thermal.dtype).eps) ** 2
    gained = jnp.sum(forces * fluxes) + lax.stop_gradient(least)
    lost, smallest = jnp.where(gained < 0, -gained, 0), jnp.finfo(gained.dtype).tiny ** 0.5  # 1/smallest^2 is finite
    size = jnp.where(gained < 0, jnp.sum(fluxes**2), 1)  # the square root has no derivative at 0
    scale = jnp.sqrt(size / jnp.maximum(jnp.sum(fallback**2), smallest))
    produced = scale * jnp.maximum(jnp.sum(forces * fallback), 0)  # rounding may make it negative at a Maxwellian
    share = lost / jnp.maximum(lost + produced, smallest)
    return fluxes + share * (scale * fallback - fluxes), share
