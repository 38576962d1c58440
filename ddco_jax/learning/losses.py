"""What is minimised: misfits of predicted rates (2, I, K), of the decay of anisotropy and of jumps, for one run."""

import jax.numpy as jnp

from ddco_jax.correlations import Correlations
from ddco_jax.correlations.model import Model
from ddco_jax.learning import jumps
from ddco_jax.learning.data import ANISOTROPY
from ddco_jax.learning.pairs import CONSERVED
from ddco_jax.learning.rates import Predictor

SIZABLE = 0.05
"""Least anisotropy whose decay is compared."""


def chi_squared(run: Predictor, rates, floor: float = 0.0, unbiased: bool = True):
    """Mean of (predicted - measured)^2 over the squared error.

    `unbiased`: the product of the residuals of the two halves, which the sampling of pairs does not bias; it is
    what to report.  It is not what to minimise over a fixed set of pairs, for it has no lower bound there (a
    kernel can make the halves disagree); the square of the mean has, and its bias is the small variance of a
    mean over all pairs of a run.  `floor` adds that share of each test function's largest rate to its error.
    """
    residual = rates - run.rate
    variance = run.error**2 + (floor * jnp.max(jnp.abs(run.rate), axis=0)) ** 2
    square = residual[0] * residual[1] if unbiased else jnp.mean(residual, axis=0) ** 2
    return jnp.mean(square / variance)


def drift_squared(run: Predictor, rates, floor: float = 0.0):
    """Mean square of the accumulated residuals, the errors of <psi>(t) - <psi>(0), over their own errors.

    Rates are noisy and their small systematic errors add up: a forward solution shows these sums.
    """
    interval = (run.times[:, -1] - run.times[:, 0])[:, None]
    residual = jnp.mean(rates, axis=0) - run.rate
    moved = jnp.cumsum(run.rate * interval, axis=0)
    variance = jnp.cumsum((run.error * interval) ** 2, axis=0)
    variance = variance + (floor * jnp.max(jnp.abs(moved), axis=0)) ** 2
    return jnp.mean(jnp.cumsum(residual * interval, axis=0) ** 2 / variance)


def decay_error(run: Predictor, rates):
    """Error of ln(Tx - Tperp)(t) at the snapshots, (I,); zero where the anisotropy of MD is below SIZABLE.

    Its rate is that of cx^2, which energy conservation makes 2/3 of it.  The difference of the rates over the
    anisotropy, accumulated, is the relative error of a forward solution to first order.
    """
    q, interval = run.anisotropy, run.times[:, -1] - run.times[:, 0]
    rate = 1.5 * jnp.mean(rates, axis=0)[:, ANISOTROPY]
    sizable = jnp.cumprod((jnp.abs(q) > SIZABLE).astype(q.dtype))[1:]
    middle = jnp.where(sizable > 0, (q[1:] + q[:-1]) / 2, 1.0)
    return sizable * jnp.cumsum((rate * interval - jnp.diff(q)) / middle)


def decay_squared(run: Predictor, rates, floor: float = 0.0):
    """Mean square of `decay_error` over its statistical error and `floor`."""
    q = run.anisotropy[1:]
    statistical = run.anisotropy_error[1:] / jnp.maximum(jnp.abs(q), SIZABLE)
    return jnp.mean(decay_error(run, rates) ** 2 / (statistical**2 + floor**2))


def jump_squared(run: Predictor, buildup: Model):
    """Mean square of the misfit of the jumps of single particles (`jumps`), 0 for a law without a microfield."""
    now = run.correlations(buildup)
    if not isinstance(now, Correlations):
        return jnp.zeros((), run.rate.dtype)
    partners = run.microfield[:, :, 0, :, -CONSERVED, 1]
    interval = run.times[:, -1] - run.times[:, 0]
    found = jumps.predicted(now, partners, run.share, interval, run.jump_first)
    return jumps.misfit(found, run.jump, run.jump_error)
