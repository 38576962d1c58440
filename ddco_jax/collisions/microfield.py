"""Diffusion in the microfield: what a quench does before any collision.

Velocities drawn anew know nothing of the positions.  So each particle first feels the force F that it happens to be
in: its velocity spreads by <F F> t^2/2m^2, and as it moves down the slope of that force, it slows.  In an equilibrated
one-component plasma <F F> = m omega_p^2 kT/3 I and <grad F> = -m omega_p^2/3 I, whatever Gamma is, so that exactly

    df/dt = nu div [kT/m grad f + c f],   nu = omega_p^2 t/3   for t -> 0

for any f.  Unlike collisions this moves a pair along its relative velocity too, the energy coming from the potential
and going back to it.  It is done when particles have crossed the wells they started in (`buildup`).
"""

import jax.numpy as jnp

from ddco_jax._types import VelocityDistribution, VelocityVector


def microfield_flux(f: VelocityDistribution, velocity: VelocityVector, q: VelocityVector, diffusion) -> VelocityVector:
    """p = diffusion f (q - Q q) for a force q = D- h of one cell, Q the projection on {1, v} in the f-weighted product.

    For h = log f of infinite resolution, Q q = -c m/kT.  Taking the projection instead conserves momentum and energy
    to rounding on any grid, vanishes for discrete Maxwellians, and leaves sum q.p = diffusion |q - Q q|^2 >= 0.
    """
    share = f / jnp.sum(f)

    def mean(x):
        return jnp.sum(share * x, axis=(-3, -2, -1), keepdims=True)

    c = velocity - mean(velocity)
    drag = jnp.sum(share * q * c) / jnp.sum(share * c**2)
    return diffusion * f * (q - mean(q) - drag * c)
