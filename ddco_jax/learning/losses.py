"""Terms of the loss for one run: misfits of predicted rates (2, I, K), of the decay of anisotropy and of jumps."""

import jax.numpy as jnp

from ddco_jax.correlations import Correlations
from ddco_jax.correlations.model import Model
from ddco_jax.learning import jumps
from ddco_jax.learning.data import ANISOTROPY
from ddco_jax.learning.pairs import CONSERVED
from ddco_jax.learning.rates import Predictor
from ddco_jax.plasma.arrays import Array, Scalar

SIZABLE = 0.05
"""Smallest |Tx - Tperp|/T whose decay is compared."""


def chi_squared(run: Predictor, rates: Array, floor: float = 0.0, unbiased: bool = True) -> Scalar:
    """Mean of (predicted - measured)^2 over the squared error.

    With `unbiased` the square is the product of the residuals of the two halves, which the sampling of pairs does not
    bias: the value to report.  It must not be minimised over a fixed set of pairs, where it has no lower bound: a
    kernel can give the two halves residuals of opposite sign.  Without `unbiased` the square is that of the mean of
    both halves, which has a lower bound; its bias is the variance, which is small, of a mean over all pairs of a run.
    `floor` is the share of each test function's largest rate that is added to its error, in quadrature.
    """
    residual = rates - run.rate
    variance = run.error**2 + (floor * jnp.max(jnp.abs(run.rate), axis=0)) ** 2
    square = residual[0] * residual[1] if unbiased else jnp.mean(residual, axis=0) ** 2
    return jnp.mean(square / variance)


def drift_squared(run: Predictor, rates: Array, floor: float = 0.0) -> Scalar:
    """Mean square of the accumulated residuals, the errors of <psi>(t) - <psi>(0), over their standard errors.

    Small systematic errors of noisy rates add up in a forward solution; the accumulated residuals measure their sum.
    `floor` is the share of the largest change of each <psi> that is added to its standard error, in quadrature.
    """
    interval = (run.times[:, -1] - run.times[:, 0])[:, None]
    residual = jnp.mean(rates, axis=0) - run.rate
    moved = jnp.cumsum(run.rate * interval, axis=0)
    variance = jnp.cumsum((run.error * interval) ** 2, axis=0)
    variance = variance + (floor * jnp.max(jnp.abs(moved), axis=0)) ** 2
    return jnp.mean(jnp.cumsum(residual * interval, axis=0) ** 2 / variance)


def decay_error(run: Predictor, rates: Array) -> Array:
    """Error of ln(Tx - Tperp)(t) at the snapshots, (I,); zero after |Tx - Tperp|/T of MD first falls below SIZABLE.

    Energy conservation gives d(Tx - Tperp)/dt = (3/2) T d<cx^2>/dt.  The difference between the predicted and the
    measured change over the anisotropy, accumulated, is to first order the relative error of a forward solution.
    """
    q, interval = run.anisotropy, run.times[:, -1] - run.times[:, 0]
    rate = 1.5 * jnp.mean(rates, axis=0)[:, ANISOTROPY]
    sizable = jnp.cumprod((jnp.abs(q) > SIZABLE).astype(q.dtype))[1:]
    middle = jnp.where(sizable > 0, (q[1:] + q[:-1]) / 2, 1.0)
    return sizable * jnp.cumsum((rate * interval - jnp.diff(q)) / middle)


def decay_squared(run: Predictor, rates: Array, floor: float = 0.0) -> Scalar:
    """Mean square of `decay_error` over its statistical error and `floor`, added in quadrature."""
    q = run.anisotropy[1:]
    statistical = run.anisotropy_error[1:] / jnp.maximum(jnp.abs(q), SIZABLE)
    return jnp.mean(decay_error(run, rates) ** 2 / (statistical**2 + floor**2))


def jump_squared(run: Predictor, buildup: Model) -> Scalar:
    """Mean square of the misfit of the jumps of single particles (`jumps`), 0 for a law without a microfield."""
    now = run.correlations(buildup)
    if not isinstance(now, Correlations):
        return jnp.zeros((), run.rate.dtype)
    partners = run.microfield[:, :, 0, :, -CONSERVED, 1]
    interval = run.times[:, -1] - run.times[:, 0]
    found = jumps.predicted(now, partners, run.share, interval, run.jump_first)
    return jumps.misfit(found, run.jump, run.jump_error)
