"""The memory of the stress, fitted to the stress autocorrelations of equilibrium runs."""

import dataclasses
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from scipy.optimize import least_squares

from ddco_jax.correlations import Quench, StressMemory
from ddco_jax.kernels.forms import Learned
from ddco_jax.kernels.linear_response import aged_response
from ddco_jax.plasma.arrays import Array, Scalar

STEP, STEPS = 0.1, 120
"""Interval (1/omega_p) and number of the times that are compared; the prediction takes the same steps."""
FLOOR = 0.0075
"""Error added to the statistical errors of the normalised autocorrelation, in quadrature."""


def normalised(blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Autocorrelation over its value at lag 0, and its standard error, each (lag,), from blocks (block, lag)."""
    mean = blocks.mean(0)
    deviation = (blocks - blocks[:, :1] * (mean / mean[0])) / mean[0]
    return mean / mean[0], deviation.std(0, ddof=1) / len(blocks) ** 0.5


def fitted(learned: Learned, groups: Sequence[xr.Dataset]) -> Learned:
    """A learned kernel whose stress memory is fitted to equilibrium runs (`md.green_kubo.group`).

    The other parameters of its law are unchanged: the response of an aged plasma does not depend on them.
    """
    law = learned.buildup
    assert isinstance(law, Quench)
    times = np.arange(1, STEPS + 1) * STEP
    rows = []
    for data in groups:
        lag = data["lag"].to_numpy() * data.attrs["plasma_frequency"]
        mean, deviation = normalised(data["stress_kk"].to_numpy())
        measured = np.interp(times, lag, mean), np.interp(times, lag, np.hypot(deviation, FLOOR))
        rows.append((data.attrs["coupling_parameter"], *measured))
    gammas, stress, error = (jnp.asarray(np.array(column), float) for column in zip(*rows, strict=True))

    def law_of(numbers: Array) -> Quench:
        return dataclasses.replace(law, memory=StressMemory(numbers[:3], numbers[3:]))

    @jax.jit
    def misfits(numbers: Array) -> Array:
        def of(gamma: Scalar) -> Array:
            return aged_response(learned.kernel, law_of(numbers), gamma, STEP, STEPS).stress[1:]

        return ((jax.vmap(of)(gammas) - stress) / error).ravel()

    slopes = jax.jit(jax.jacfwd(misfits))
    start = np.concatenate([np.asarray(a, float) for a in jax.tree.leaves(StressMemory.initial())])
    found = least_squares(lambda x: np.asarray(misfits(x), float), start, lambda x: np.asarray(slopes(x), float))
    rate, growth = (jnp.asarray(a, jnp.float32) for a in np.split(found.x, 2))
    return eqx.tree_at(lambda m: m.buildup.memory, learned, StressMemory(rate, growth))
