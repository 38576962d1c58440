"""Velocity windows: collisions act only on the part of the velocity grid that holds f.

A window is a box of grid points that covers, for a cell, all points with f > EMPTY max f and MARGIN points around them.
Collisions depend on v - v-bar alone, so a window is a velocity grid of its own.  No flux leaves it; f outside does not
change, and mass, momentum and energy are conserved to rounding.  Windows come in a few sizes that are known when the
program is compiled; the largest is the grid itself.
"""

import math

import jax
import jax.numpy as jnp
from jax import lax

from ddco_jax.plasma.arrays import Array, Distribution, Float
from ddco_jax.plasma.grid import PhaseGrid

EMPTY = 1e-12
"""Ratio of f to the largest f of the cell below which a velocity is empty."""
MARGIN = 4
"""Points around f in a window, the reach of the eighth-order differences."""
RATIO = 0.75
"""Ratio of a size to the next larger one."""
LEAST, FEW = 30, 96
"""Fewest points along an axis of a window.  Grids of at most FEW points per axis have at most two sizes, because
each size is compiled separately."""

Size = tuple[int, int, int]
Inside = Float[Array, "nx wx wy wz"]
"""f in the windows of cells."""


def sizes(grid: PhaseGrid) -> list[Size]:
    """Sizes of the windows of a grid, from the smallest to the grid itself."""
    nx, ny, nz = grid.nv
    found: list[Size] = [(nx, ny, nz)]
    while min(found[0]) * RATIO >= LEAST and (len(found) < 2 or max(grid.nv) > FEW):
        share = RATIO ** len(found)
        found.insert(0, (math.ceil(nx * share), math.ceil(ny * share), math.ceil(nz * share)))
    return found


def grid_of(grid: PhaseGrid, size: Size) -> PhaseGrid:
    """The velocity grid of a window, with its centre at v = 0."""
    half = tuple(n * dv / 2 for n, dv in zip(size, grid.dv, strict=True))
    return PhaseGrid(grid.length, grid.nx, half, size)


def needed(f: Distribution) -> tuple[Array, Array]:
    """First index of the points that a window must cover, and their number, (nx, 3) each; some may be off the grid."""
    filled = ~(f <= EMPTY * jnp.max(f, (1, 2, 3), keepdims=True))  # a NaN counts as filled
    first, number = [], []
    for axis in (1, 2, 3):
        along = jnp.any(filled, tuple({1, 2, 3} - {axis}))
        low, high = jnp.argmax(along, 1), along.shape[1] - 1 - jnp.argmax(along[:, ::-1], 1)
        first.append(low - MARGIN)
        number.append(high - low + 1 + 2 * MARGIN)
    return jnp.stack(first, 1), jnp.stack(number, 1)


def smallest(available: list[Size], number: Array) -> Array:
    """Index of the smallest size that covers what all cells need; the last one where none does."""
    fits = jnp.stack([jnp.all(number <= jnp.asarray(size)) for size in available])
    return jnp.where(jnp.any(fits), jnp.argmax(fits), len(available) - 1)


def starts(grid: PhaseGrid, size: Size, first: Array, number: Array) -> Array:
    """First index of windows that have the needed points in their middle, as far as the grid permits, (nx, 3)."""
    room = jnp.asarray(size) - number
    return jnp.clip(first - room // 2, 0, jnp.asarray(grid.nv) - jnp.asarray(size))


def cut(f: Distribution, start: Array, size: Size) -> Inside:
    """f in the window of each cell, (nx, *size)."""
    return jax.vmap(lambda f, at: lax.dynamic_slice(f, tuple(at), size))(f, start)


def pasted(f: Distribution, start: Array, inside: Inside) -> Distribution:
    """f with that of the windows in its place."""
    return jax.vmap(lambda f, at, part: lax.dynamic_update_slice(f, part, tuple(at)))(f, start, inside)
