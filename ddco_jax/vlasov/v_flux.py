"""Face values of f along vx, which give the velocity flux E f of Eq. (27) and the current J.

Each function takes f and returns its values at the inner faces j + 1/2 of the vx axis, (nx, nvx - 1, nvy, nvz).
"""

import jax.numpy as jnp

from ddco_jax.plasma.arrays import Array, Distribution, Float

Faces = Float[Array, "nx inner nvy nvz"]


def central(f: Distribution) -> Faces:
    """(f_j + f_{j+1})/2, second order; the paper's choice."""
    return (f[:, 1:] + f[:, :-1]) / 2


def sixth(f: Distribution) -> Faces:
    """Sixth-order central value; second order at the inner face nearest to each edge, fourth order at the next one."""
    value = central(f)
    if f.shape[1] > 3:
        second = f[:, 3:] - f[:, 2:-1] - f[:, 1:-2] + f[:, :-3]
        value = value - jnp.pad(second, _inner(1)) / 12
    if f.shape[1] > 5:
        fourth = second[:, 2:] - 2 * second[:, 1:-1] + second[:, :-2]
        value = value + jnp.pad(fourth, _inner(2)) / 60
    return value


def _inner(points: int) -> list[tuple[int, int]]:
    return [(0, 0), (points, points), (0, 0), (0, 0)]
