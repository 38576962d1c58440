"""Conservative fluxes along x: first-order upwind (26) and fifth-order WENO.

A flux function takes (grid, f) and returns F (nx, nvx, nvy, nvz), n0 V0^-2, with F[i] the flux v_x f at the face
i + 1/2; x is periodic.
"""

import jax.numpy as jnp
import numpy as np
from jax import lax

from ddco_jax.plasma.arrays import Array, Distribution
from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.plasma.line import Line


def upwind(grid: PhaseGrid, f: Distribution) -> Distribution:
    """First-order upwind flux of Eq. (26)."""
    vx = jnp.asarray(grid.vx, f.dtype)[:, None, None]
    return jnp.maximum(vx, 0) * f + jnp.minimum(vx, 0) * grid.line.shifted(f, -1)[0]


def weno5(grid: PhaseGrid, f: Distribution) -> Distribution:
    """Fifth-order upwind-biased WENO-Z flux (Borges et al. 2008)."""
    negative = int(np.sum(grid.vx < 0))
    from_right = grid.line.shifted(f[:, :negative], -3, -2, -1, 0, 1)
    from_left = grid.line.shifted(f[:, negative:], 2, 1, 0, -1, -2)
    downstream = [jnp.concatenate(pair, 1) for pair in zip(from_right, from_left, strict=True)]
    return jnp.asarray(grid.vx, f.dtype)[:, None, None] * _reconstruct(grid.line, *downstream)


def _reconstruct(line: Line, a: Array, b: Array, c: Array, d: Array, e: Array) -> Array:
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
    tiny = jnp.finfo(c.dtype).eps ** 1.5 * line.max(lax.stop_gradient(c**2)) + jnp.finfo(c.dtype).tiny ** 0.5
    tau = jnp.abs(roughness[0] - roughness[2])
    weights = [w * (1 + (tau / (beta + tiny)) ** 2) for w, beta in zip((0.1, 0.6, 0.3), roughness, strict=True)]
    return sum(w * q for w, q in zip(weights, candidates, strict=True)) / sum(weights)  # type: ignore[return-value]  # sum starts from the int 0
