"""Expected time of a step, from the measured speed of one-dimensional transforms on this machine.

Transforms take a fixed share of a collision step, and a transport step takes about as long as so many passes over f.
The run's program is not compiled for the estimate.
"""

import functools
import math
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from ddco_jax.collisions.spectral import transform_count
from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.steppers.collision import CollisionStep
from ddco_jax.velocity import transforms

COLLISIONS = 2.0
"""Time of an evaluation of C[f] in a step over that of its transforms (measured on two cores, 24^3 ... 86^3 points)."""
PASSES = {"upwind": 20, "weno5": 80}
"""Time of a step of transport over that of one pass over f, by x_flux (measured on two cores)."""
SAMPLE = 2**20
"""Values in a measurement."""


def step_seconds(
    grid: PhaseGrid, step: CollisionStep | None, evaluations: int, dtype: DTypeLike, x_flux: str = "weno5"
) -> float:
    """Expected time of one step, s, where no cell needs a smaller window than the grid.

    `evaluations` is how often a step evaluates C[f] in each cell.
    """
    points = math.prod(grid.nv)
    seconds = PASSES[x_flux] * grid.nx * points * _pass_seconds(np.dtype(dtype).name)
    if step is None:
        return seconds
    along = [_transform_seconds(n, np.dtype(dtype).name) for n in grid.nv]
    one = points * (along[0] + 2 * along[1] + 4 * along[2])  # each pass doubles the number of values
    count = sum(transform_count(step.op.kernel.separable(1.0, 1.0)))
    return seconds + COLLISIONS * evaluations * grid.nx * count * one


@functools.cache
def _transform_seconds(n: int, dtype: str) -> float:
    """Time of the transform of an axis of n points per value, s."""
    values = jnp.ones((n, SAMPLE // n), dtype)
    return _fastest(lambda x: transforms.forward(x, 0), values) / values.size


@functools.cache
def _pass_seconds(dtype: str) -> float:
    """Time of reading and writing a value, s."""
    values = jnp.ones(4 * SAMPLE, dtype)
    return _fastest(lambda x: 2 * x, values) / values.size


def _fastest(function: Callable[[jax.Array], jax.Array], values: jax.Array) -> float:
    """Shortest of a few times of a compiled function, s."""
    compiled, seconds = jax.jit(function), math.inf
    for _ in range(6):  # the first one compiles
        begun = time.perf_counter()
        jax.block_until_ready(compiled(values))
        seconds = min(seconds, time.perf_counter() - begun)
    return seconds
