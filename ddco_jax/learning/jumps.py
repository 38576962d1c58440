"""Velocity jumps of the particles that an MD run tracks: they show the tail of the microfield's distribution.

Diffusion in the microfield (`correlations.jumps`) and collisions change a velocity component by Delta c (v_th), with

    J(k) = -ln <cos k Delta c>/k^2 = int nu <B> (1 + ell^2 k^2)^(-1/4) ds + D (1 + ell_C^2 k^2)^(-1/4)

where D (v_th^2) is half the variance of the jumps in collisions and ell_C^2 their ell^2.  For normally distributed
jumps J is the same at every k, so the difference of J between two k measures the tails.  Test functions are wider than
narrow beams and hardly resolve the shape of the beams; the jumps do.
"""

import jax
import jax.numpy as jnp
import numpy as np

from ddco_jax.correlations import Correlations
from ddco_jax.correlations.jumps import SHAPE
from ddco_jax.learning import nodes
from ddco_jax.plasma.arrays import Array, Scalar

WAVES = np.array([1.0, 2.0, 4.0])
"""Wave numbers k, 1/v_th: J at the first, k_1, is compared with J at the others."""
UNTIL = 1.1
"""Latest time used, 1/omega_p: at later times the difference between the collisions of fast and of slow particles has
as large an effect on J(k_1) - J(k) as a tail."""
FLOOR = 0.05
"""Relative error added to the statistical one, in quadrature, because collisions of fast and slow particles differ."""


def measured(c: np.ndarray, times: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """J(k_1) - J(k) and its standard error, (I, K - 1), and J(k_1) (I,), at the ends of the intervals of edges (I + 1).

    `c` (T, N, 3) are velocities (v_th) at `times` (T,), 1/omega_p, the first of which is 0.  K is the number of WAVES.
    The mean slowing down is subtracted.  The error is infinite where there is no snapshot and at times after UNTIL.
    """
    value = np.zeros((len(edges) - 1, len(WAVES) - 1))
    error, first = np.full_like(value, np.inf), np.zeros(len(value))
    c = c - c.mean(1, keepdims=True)
    for at, time in zip(c[1:], times[1:], strict=True):
        end = int(np.argmin(np.abs(edges - time)))
        if time > UNTIL or abs(edges[end] - time) > 1e-6:
            continue
        jump = at - (at * c[0]).sum() / (c[0] ** 2).sum() * c[0]
        cosine = np.cos(WAVES[:, None] * jump.ravel())
        mean = cosine.mean(1)
        J = -np.log(mean) / WAVES**2
        share = (cosine / (mean * WAVES**2)[:, None]).reshape(len(WAVES), -1, 3).mean(2)
        value[end - 1], first[end - 1] = J[0] - J[1:], J[0]
        error[end - 1] = (share[0] - share[1:]).std(1) / len(jump) ** 0.5
    return value, error, first


def predicted(now: Correlations, partners: Array, share: Array, interval: Array, first: Array) -> Array:
    """J(k_1) - J(k), (I, K - 1), at the ends of the intervals, from the correlations at the Simpson points (I, 3).

    D >= 0 makes up the difference between the J(k_1) of the microfield and the measured one, `first` (I,).  `partners`
    (I, 3, near) are <phi_m>_ff' of the splines of `nodes.NEAR`, `share` (I, 3) the weights of the points and `interval`
    (I,) the lengths of the intervals, 1/omega_p.
    """
    knots = jnp.asarray(nodes.NEAR, share.dtype)
    left = jax.tree.map(lambda a: a[..., None], now.partners)(knots)
    nu = now.microfield_rate * jnp.sum(partners * left, -1)
    waves = jnp.asarray(WAVES, share.dtype)
    tail = (1 + now.microfield_jump[..., None] * waves**2) ** -SHAPE
    J = jnp.cumsum(jnp.sum((share * nu)[..., None] * tail, axis=1) * interval[:, None], axis=0)
    late = (1 + now.pair_jump[:, -1:] * waves**2) ** -SHAPE
    return J[:, :1] - J[:, 1:] + jnp.maximum(first[:, None] - J[:, :1], 0) * (1 - late[:, 1:] / late[:, :1])


def misfit(found: Array, value: Array, error: Array) -> Scalar:
    """Mean square of (predicted - measured)/error over the entries with a finite error; 0 where there is none."""
    known = jnp.isfinite(error)
    variance = jnp.where(known, error, 1.0) ** 2 + (FLOOR * value) ** 2
    square = jnp.where(known, (found - value) ** 2 / variance, 0.0)
    return jnp.sum(square) / jnp.maximum(jnp.sum(known.astype(square.dtype)), 1)
