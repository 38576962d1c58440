"""The memories of the stress and of tagged populations, fitted to autocorrelations of equilibrium runs."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax.flatten_util import ravel_pytree
from scipy.optimize import least_squares

from ddco_jax.correlations import Quench, StressMemory
from ddco_jax.correlations.tagged import TaggedMemory
from ddco_jax.kernels.forms import Learned
from ddco_jax.kernels.linear_response import aged_response, tagged_response
from ddco_jax.plasma.arrays import Array, Scalar

Law = TypeVar("Law", StressMemory, TaggedMemory)
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
    """A learned kernel whose memories are fitted to equilibrium runs (`md.green_kubo.group`).

    The other parameters of its law are unchanged: the response of an aged plasma does not depend on them.
    """
    law = learned.buildup
    assert isinstance(law, Quench)

    def stress(memory: StressMemory, gamma: Scalar) -> Array:
        return aged_response(learned.kernel, dataclasses.replace(law, memory=memory), gamma, STEP, STEPS)

    def velocity(memory: TaggedMemory, gamma: Scalar) -> Array:
        return tagged_response(learned.kernel, law, memory, gamma, STEP, STEPS)

    memory = _fitted(StressMemory.initial(), stress, groups, "stress_kk")
    tagged = _fitted(TaggedMemory.initial(), velocity, groups, "vacf")
    return eqx.tree_at(lambda m: (m.buildup.memory, m.tagged), learned, (memory, tagged))


def _fitted(initial: Law, predicted: Callable[[Law, Scalar], Array], groups: Sequence[xr.Dataset], name: str) -> Law:
    """The law, from an initial one, whose prediction at every Gamma fits the autocorrelations of that name."""
    times = np.arange(1, STEPS + 1) * STEP
    rows = []
    for data in groups:
        lag = data["lag"].to_numpy() * data.attrs["plasma_frequency"]
        mean, deviation = normalised(data[name].to_numpy())
        error = np.interp(times, lag, np.hypot(deviation, FLOOR))
        rows.append((data.attrs["coupling_parameter"], np.interp(times, lag, mean), error))
    gammas, measured, errors = (jnp.asarray(np.array(column), float) for column in zip(*rows, strict=True))
    start, build = ravel_pytree(jax.tree.map(lambda a: a.astype(float), initial))

    @jax.jit
    def misfits(numbers: Array) -> Array:
        found = jax.vmap(lambda gamma: predicted(build(numbers), gamma))(gammas)
        return ((found[:, 1:] - measured) / errors).ravel()

    slopes = jax.jit(jax.jacfwd(misfits))
    best = least_squares(lambda x: np.asarray(misfits(x), float), start, lambda x: np.asarray(slopes(x), float))
    return jax.tree.map(lambda a: a.astype(jnp.float32), build(jnp.asarray(best.x)))
