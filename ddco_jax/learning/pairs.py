"""Pair averages of the weak form (16)-(17), symmetrised, over particles of one snapshot; thermal units.

    (C[f], psi)/n = (n/2) <[(grad - grad').omega].(grad psi - grad' psi') + omega:(grad grad psi + grad' grad' psi')>

For omega = w(|u|,|c|,|c'|) T with the tensors T of the kernel, (grad - grad').omega is w times the divergence of T
plus the slopes of w in |c| and |c'| (those in |u| drop out, T u = 0).  All node functions are averaged at once.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from scipy.linalg import expm
from scipy.ndimage import spline_filter1d

from ddco_jax.collisions import microfield
from ddco_jax.learning import nodes
from ddco_jax.md.test_functions import TEST_FUNCTIONS

CLOSE = 1e-3
"""Pairs nearer than this (v_th) are left out: their share is 1e-10, their directions rounding."""
PAIR_OF = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))


def test_function(c):
    """psi (K,) at one c (3,)."""
    return TEST_FUNCTIONS(c, jnp)


@jax.jit
def derivatives(c):
    """Gradients (N, 3, K) and Hessians (N, 6, K; xx yy zz xy xz yz) of all test functions at c (N, 3)."""
    gradient = jax.vmap(jax.jacfwd(test_function))(c)
    hessian = jax.vmap(jax.jacfwd(jax.jacfwd(test_function)))(c)
    i, j = (np.array([pair[a] for pair in PAIR_OF]) for a in (0, 1))
    return gradient.transpose(0, 2, 1), hessian[:, :, i, j].transpose(0, 2, 1)


def tensors(c, c_prime):
    """The three tensors (P, 3, 3) of a kernel with their divergences (grad - grad').T (P, 3).

    With s = Pr: 2 div P = -4 u/u^2, 2 div s s^T = -2 [3 (u.r) s + s^2 u]/u^2,
    2 div (s^2 P - s s^T) = 2 [(u.r) s - s^2 u]/u^2, r held fixed.
    """
    u, r = c - c_prime, c + c_prime
    square = jnp.maximum(jnp.sum(u * u, -1), CLOSE**2)[:, None]
    along = jnp.sum(u * r, -1)[:, None]
    s = r - u * along / square
    s_square = jnp.sum(s * s, -1)[:, None]
    projector = jnp.eye(3, dtype=c.dtype) - u[:, :, None] * u[:, None, :] / square[..., None]
    outer = s[:, :, None] * s[:, None, :]
    return (
        (projector, -4 * u / square),
        (s_square[..., None] * projector - outer, 2 * (along * s - s_square * u) / square),
        (outer, -2 * (3 * along * s + s_square * u) / square),
    )


@jax.jit
def average(c, weight, gradient, hessian, partner):
    """Mean over the pairs (i, partner[i]) of the weak form, (K, 3, nodes.COUNT).

    `weight` (N,) are the particles' statistical weights, mean 1.
    """
    c_prime = c[partner]
    u = jnp.linalg.norm(c - c_prime, axis=-1)
    speed, speed_prime = jnp.linalg.norm(c, axis=-1), jnp.linalg.norm(c_prime, axis=-1)
    share = jnp.where(u > CLOSE, 0.5 * weight * weight[partner] / len(c), 0)
    difference = (gradient - gradient[partner]) * share[:, None, None]
    curvature = (hessian + hessian[partner]) * share[:, None, None]
    radial, S, S_c, S_c_prime = nodes.basis(jnp.maximum(u, CLOSE), speed, speed_prime)
    out = []
    for tensor, divergence in tensors(c, c_prime):
        six = jnp.stack([tensor[:, i, j] * (1 if i == j else 2) for i, j in PAIR_OF], 1)
        value = jnp.einsum("pa,pak->pk", divergence, difference) + jnp.einsum("pa,pak->pk", six, curvature)
        slope = jnp.einsum("pa,pab,pbk->pk", c / speed[:, None], tensor, difference)
        slope_prime = -jnp.einsum("pa,pab,pbk->pk", c_prime / speed_prime[:, None], tensor, difference)

        def project(pieces, weights):
            # node by node of |u|: the products of all nodes at once would not fit in the cache
            by_node = lax.map(lambda phi: (pieces * phi[:, None]).T @ weights, radial.T)
            return by_node.transpose(1, 0, 2).reshape(pieces.shape[1], -1)

        out.append(project(value, S) + project(slope, S_c) + project(slope_prime, S_c_prime))
    return jnp.stack(out, axis=1)


def microfield_averages(c: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Rates (1 + NODES, K) of the test functions by diffusion in the microfield at nu = 1, <A+ psi>_F with
    A+ psi = T lap psi - c.grad psi, for F = exp(u A) f at u = 0 and at the times u of `collisions.microfield.times`
    from FIRST on; <c> = 0.
    """
    gradient, hessian = derivatives(jnp.asarray(c, jnp.float32))
    c = c - np.average(c, axis=0, weights=weight)
    T = np.average((c**2).sum(1), weights=weight) / 3
    at_once = np.average(_rates(c, gradient, hessian, T), axis=0, weights=weight)
    deposit = _deposit(c / T**0.5, weight).reshape(_POINTS, _POINTS, _POINTS)
    # the smoothing acts on the few deposits instead of on the many fields
    smooth = [np.einsum("ai,bj,ck,abc->ijk", m, m, m, deposit, optimize=True) for m in _smoothing()]
    later = np.stack(smooth).reshape(len(smooth), -1).astype(np.float32) @ _fields()
    return at_once + later - later[0]


def _rates(c: np.ndarray, gradient, hessian, T: float = 1.0) -> np.ndarray:
    """A+ psi (N, K) from the derivatives of psi at c (N, 3)."""
    gradient, hessian = np.asarray(gradient, np.float64), np.asarray(hessian, np.float64)
    return T * hessian[:, :3].sum(1) - np.einsum("na,nak->nk", c, gradient)


FIRST = 0.002
"""The first time of smoothing in the learning: less would not be seen by the test functions."""
_POINTS, _EXTENT = 48, 6.0
"""Velocity grid on which smoothed test functions are known; cubic splines between its points."""


@functools.cache
def _fields() -> np.ndarray:
    """(points^3, K): A+ psi on the grid, at T = 1."""
    axis = np.linspace(-_EXTENT, _EXTENT, _POINTS)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(_POINTS, -1, 3)
    slabs = [_rates(slab, *derivatives(jnp.asarray(slab, jnp.float32))) for slab in points]
    return np.concatenate(slabs).astype(np.float32)


@functools.cache
def _smoothing() -> list[np.ndarray]:
    """(points, points) along each axis, for every time: from values to the spline coefficients of exp(u A+) of them."""
    axis = np.linspace(-_EXTENT, _EXTENT, _POINTS)
    jump = np.asarray(microfield.generator(jnp.asarray(axis, jnp.float32), jnp.ones((), jnp.float32)), np.float64).T
    steps = [np.eye(_POINTS)] + [expm(FIRST * microfield.RATIO**j * jump) for j in range(microfield.NODES)]
    return [spline_filter1d(step, order=3, axis=0, mode="mirror") for step in steps]


def _deposit(c: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """What spline coefficients have to be multiplied with for the average over particles, (points^3,)."""
    place = np.clip((c + _EXTENT) * (_POINTS - 1) / (2 * _EXTENT), 1.0, _POINTS - 2.001)
    cell = np.floor(place).astype(int)
    t = place - cell
    splines = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]) / 6
    total = np.zeros(_POINTS**3)
    for i, j, k in np.ndindex(4, 4, 4):
        at = np.ravel_multi_index(tuple((cell + np.array([i, j, k]) - 1).T), (_POINTS,) * 3)
        share = splines[i, :, 0] * splines[j, :, 1] * splines[k, :, 2]
        total += np.bincount(at, weight * share, _POINTS**3)
    return total / weight.sum()


def pair_averages(c: np.ndarray, weight: np.ndarray, rounds: int, rng: np.random.Generator) -> np.ndarray:
    """Two independent averages over `rounds` random pairings each, (2, K, 3, nodes.COUNT).

    Independent, so that the product of two predictions made with them has no bias from the sampling of pairs.
    """
    points = jnp.asarray(c, jnp.float32)
    weights = jnp.asarray(weight, jnp.float32)
    gradient, hessian = derivatives(points)
    halves = []
    for _ in range(2):
        total = np.zeros(())
        for _ in range(rounds):
            partner = _pairing(rng, len(c))
            total = total + np.asarray(average(points, weights, gradient, hessian, jnp.asarray(partner)))
        halves.append(total / rounds)
    return np.stack(halves)


def _pairing(rng: np.random.Generator, n: int) -> np.ndarray:
    """A random permutation without fixed points: every particle with another one."""
    order = rng.permutation(n)
    partner = np.empty(n, np.int64)
    partner[order] = np.roll(order, 1)
    return partner
