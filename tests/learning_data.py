"""What several tests of the learning share: a smooth kernel and a run with the rates of a known one."""

import jax.numpy as jnp
import numpy as np

from ddco_jax.kernels.separable import PositiveSeparable, Term
from ddco_jax.learning import data, pairs
from ddco_jax.learning.rates import Predictor
from ddco_jax.md.test_functions import TEST_FUNCTIONS


def gaussian(width, height=1.0):
    return lambda s, n, T: height * jnp.exp(-(s**2) / (2 * width**2 * T))


SMOOTH = PositiveSeparable(
    [Term(gaussian(3.0, 0.3), gaussian(4.0, 0.05), gaussian(3.0, 0.02), gaussian(2.5)), Term(gaussian(5.0, 0.1))]
)


def synthetic(rng, kernel, gamma, start):
    """A run whose rates are exactly a kernel's, with the build-up 1 - exp(-(t/0.5)^1.2), and small errors."""
    scale = {"bimaxwellian": np.sqrt([1 / 3, 4 / 3, 4 / 3]), "uniform": np.ones(3)}[start]
    draw = rng.normal(size=(3000, 3)) * scale if start == "bimaxwellian" else rng.uniform(-(3**0.5), 3**0.5, (3000, 3))
    averages = pairs.pair_averages(draw, np.ones(3000), 2, rng)[:, None]
    averages = np.repeat(averages, 4, axis=1)
    free = np.repeat(pairs.microfield_averages(draw, np.ones(3000))[None], 4, axis=0)
    times = np.linspace(0, 3, 7)
    points = times[:-1, None] + np.diff(times)[:, None] * np.array([p for p, _ in data.SIMPSON])
    run = data.Run(
        start, start, gamma, 1.0, 0.2221 / gamma, 1.3158, averages, averages, free, np.full((6, 3, 4), 0.25), points,
        np.zeros((6, len(TEST_FUNCTIONS))), np.ones((6, len(TEST_FUNCTIONS))), np.zeros(7), np.full(7, 1e-3),
        np.zeros((6, 2)), np.full((6, 2), np.inf), np.zeros(6),
    )  # fmt: skip
    predictor = Predictor.of(run, jnp.float64)
    rate = predictor.rates(kernel, lambda s, g: 1 - jnp.exp(-((s / 0.5) ** 1.2))).mean(0)
    change = 1.5 * np.asarray(rate)[:, data.ANISOTROPY] * np.diff(times)
    anisotropy = {"bimaxwellian": -4.0, "uniform": 0.0}[start] + np.concatenate([[0.0], np.cumsum(change)])
    return run._replace(rate=np.asarray(rate), error=np.full(rate.shape, 1e-3), anisotropy=anisotropy)
