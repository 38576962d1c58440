"""Conservative fluxes along x: first-order upwind (26) and fifth-order WENO.

A flux function takes (grid, f) and returns F (nx, nvx, nvy, nvz), n0 V0^-2, with F[i] the flux v_x f at the face
i + 1/2; x is periodic.
"""

import jax.numpy as jnp
import numpy as np
from jax import lax

from ddco_jax.plasma.arrays import Array, Distribution
from ddco_jax.plasma.grid import PhaseGrid


def upwind(grid: PhaseGrid, f: Distribution) -> Distribution:
    """First-order upwind flux of Eq. (26)."""
    vx = jnp.asarray(grid.vx, f.dtype)[:, None, None]
    return jnp.maximum(vx, 0) * f + jnp.minimum(vx, 0) * jnp.roll(f, -1, 0)


def weno5(grid: PhaseGrid, f: Distribution) -> Distribution:
    """Fifth-order upwind-biased WENO-Z flux (Borges et al. 2008)."""
    negative = int(np.sum(grid.vx < 0))
    downwind = jnp.concatenate([jnp.flip(f[:, :negative], 0), f[:, negative:]], 1)  # cells in downstream order
    faces = _reconstruct(*(jnp.roll(downwind, k, 0) for k in (2, 1, 0, -1, -2)))
    from_right = jnp.roll(jnp.flip(faces[:, :negative], 0), -1, 0)
    return jnp.asarray(grid.vx, f.dtype)[:, None, None] * jnp.concatenate([from_right, faces[:, negative:]], 1)


def _reconstruct(a: Array, b: Array, c: Array, d: Array, e: Array) -> Array:
    """Value at the face between c and d from five cell averages in downstream order."""
    candidates = (
        (2 * a - 7 * b + 11 * c) / 6,
        (-b + 5 * c + 2 * d) / 6,
        (2 * c + 5 * d - e) / 6,
    )
    roughness = (
        13 / 12 * (a - 2 * b + c) ** 2 + (a - 4 * b + 3 * c) ** 2 / 4,
        13 / 12 * (b - 2 * c + d) ** 2 + (b - d) ** 2 / 4,
        13 / 12 * (c - 2 * d + e) ** 2 + (3 * c - 4 * d + e) ** 2 / 4,
    )
    # a roughness below this counts as zero: keeps the weights and their gradients finite where f vanishes
    tiny = jnp.finfo(c.dtype).eps ** 1.5 * lax.stop_gradient(jnp.max(c**2)) + jnp.finfo(c.dtype).tiny ** 0.5
    tau = jnp.abs(roughness[0] - roughness[2])
    weights = [w * (1 + (tau / (beta + tiny)) ** 2) for w, beta in zip((0.1, 0.6, 0.3), roughness, strict=True)]
    return sum(w * q for w, q in zip(weights, candidates, strict=True)) / sum(weights)  # type: ignore[return-value]  # sum starts from the int 0
