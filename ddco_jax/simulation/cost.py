"""Expected time of a step, from the measured speed of one-dimensional transforms on this machine.

Transforms take a fixed share of a collision step, and a transport step takes about as long as so many passes over f.
The run's program is not compiled for the estimate.
"""

import functools
import math
import time
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from ddco_jax.collisions.spectral import transform_count
from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.steppers.collision import CollisionStep
from ddco_jax.velocity import transforms, window

COLLISIONS = 2.4
"""Time of an evaluation of C[f] in a step over that of its transforms (measured on two cores, 28^3 ... 86^3 points)."""
PASSES = {"upwind": 20, "weno5": 60}
"""Time of a step of transport over that of one pass over f, by x_flux (measured on two cores)."""
SAMPLE = 2**20
"""Values in a measurement."""


def step_seconds(
    grid: PhaseGrid,
    step: CollisionStep | None,
    evaluations: int,
    dtype: DTypeLike,
    x_flux: str = "weno5",
    filled: Sequence[np.ndarray] = (),
) -> float:
    """Expected time of one step, s.

    `evaluations` is how often a step evaluates C[f] in each cell, `filled` the points along each axis that the windows
    of some typical cells need (`velocity.window`); without it all cells need the whole grid.
    """
    precision = np.dtype(dtype).name
    seconds = PASSES[x_flux] * math.prod(grid.shape) * _pass_seconds(precision)
    if step is None:
        return seconds
    available = window.sizes(grid)
    chosen = [available[int(window.smallest(available, jnp.asarray(n)[None]))] for n in filled] or available[-1:]
    one = sum(_convolution_seconds(size, precision) for size in chosen) / len(chosen)
    count = sum(transform_count(step.op.kernel.separable(1.0, 1.0)))
    return seconds + COLLISIONS * evaluations * grid.nx * count * one


def _convolution_seconds(size: window.Size, dtype: str) -> float:
    """Time of one three-dimensional transform, s; each pass doubles the number of values."""
    x, y, z = (_transform_seconds(n, dtype) for n in size)
    return math.prod(size) * (x + 2 * y + 4 * z)


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
    for _ in range(20):  # the first one compiles
        begun = time.perf_counter()
        jax.block_until_ready(compiled(values))
        seconds = min(seconds, time.perf_counter() - begun)
    return seconds
