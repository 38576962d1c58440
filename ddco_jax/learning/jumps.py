"""How far particles jump in the microfield: its tail, seen in the particles that an MD run tracks.

A jump Delta c of velocity that is made of the microfield's diffusion (`correlations.jumps`) and of collisions has

    J(k) = -ln <cos k Delta c>/k^2 = int nu <B> (1 + ell^2 k^2)^(-1/4) ds + D (1 + ell_C^2 k^2)^(-1/4)

with ell_C^2 of collisions; normal ones have the same at every k.  So its differences between two k are those
of the tails.  Test functions are wider than narrow beams and hardly see what shape these have; the jumps tell.
"""

import jax
import jax.numpy as jnp
import numpy as np

from ddco_jax.correlations import Correlations
from ddco_jax.correlations.jumps import SHAPE
from ddco_jax.learning import nodes

WAVES = np.array([1.0, 2.0, 4.0])
"""k, 1/v_th: J of the others is compared with that of the first."""
UNTIL = 1.1
"""1/omega_p: later the collisions of fast and slow particles differ by as much as a tail does."""
FLOOR = 0.05
"""Relative error added to the statistical one, for the same reason."""


def measured(c: np.ndarray, times: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """J(k_1) - J(k) and its standard error, (I, K - 1), and J(k_1) (I,), at the ends of the intervals of edges (I + 1).

    c (T, N, 3) at `times` (T,), both from t = 0 on; the mean slowing down is taken out.  Where there is no snapshot, or
    later than UNTIL, the error is infinite.
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


def predicted(now: Correlations, partners, share, interval, first):
    """J(k_1) - J(k) of a build-up at the Simpson points, where D is what is missing to the J(k_1) measured (`first`).

    `partners` (I, 3, near) are <phi_m>_ff' of the splines of `nodes.NEAR`, `share` the points' weights (I, 3),
    `interval` (I,).
    """
    knots = jnp.asarray(nodes.NEAR, share.dtype)
    left = jax.tree.map(lambda a: a[..., None], now.partners)(knots)
    nu = now.microfield_rate * jnp.sum(partners * left, -1)
    waves = jnp.asarray(WAVES, share.dtype)
    tail = (1 + now.microfield_jump[..., None] * waves**2) ** -SHAPE
    J = jnp.cumsum(jnp.sum((share * nu)[..., None] * tail, axis=1) * interval[:, None], axis=0)
    late = (1 + now.pair_jump[:, -1:] * waves**2) ** -SHAPE
    return J[:, :1] - J[:, 1:] + jnp.maximum(first[:, None] - J[:, :1], 0) * (1 - late[:, 1:] / late[:, :1])


def misfit(found, value, error):
    """Mean square of predicted minus measured over the error, where there is one."""
    known = jnp.isfinite(error)
    variance = jnp.where(known, error, 1.0) ** 2 + (FLOOR * value) ** 2
    square = jnp.where(known, (found - value) ** 2 / variance, 0.0)
    return jnp.sum(square) / jnp.maximum(jnp.sum(known.astype(square.dtype)), 1)
