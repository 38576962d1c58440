"""Pair averages of the weak form (16)-(17), symmetrised, over particles of one snapshot; thermal units.

    (C[f], psi)/n = (n/2) <[(grad - grad').omega].(grad psi - grad' psi') + omega:(grad grad psi + grad' grad' psi')>

For omega = w(|u|,|c|,|c'|) T with the tensors T of the kernel, (grad - grad').omega is w times the divergence of T
plus terms with the slopes of w in |c| and |c'| (the slope in |u| drops out, since T u = 0).  All node functions are
averaged at once.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from scipy import fft
from scipy.linalg import expm
from scipy.ndimage import correlate1d, spline_filter1d

from ddco_jax.correlations import jumps
from ddco_jax.learning import nodes
from ddco_jax.md.test_functions import TEST_FUNCTIONS
from ddco_jax.plasma.arrays import Array

CLOSE = 1e-3
"""Pairs with |u| below this (v_th) are left out: a share of 1e-10, whose directions of u are rounding errors."""
PAIR_OF = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))


def test_function(c: Array) -> Array:
    """psi (K,) at one c (3,)."""
    return TEST_FUNCTIONS(c, jnp)


@jax.jit
def derivatives(c: Array) -> tuple[Array, Array]:
    """Gradients (N, 3, K) and Hessians (N, 6, K; xx yy zz xy xz yz) of all test functions at c (N, 3)."""
    gradient = jax.vmap(jax.jacfwd(test_function))(c)
    hessian = jax.vmap(jax.jacfwd(jax.jacfwd(test_function)))(c)
    i, j = (np.array([pair[a] for pair in PAIR_OF]) for a in (0, 1))
    return gradient.transpose(0, 2, 1), hessian[:, :, i, j].transpose(0, 2, 1)


def tensors(c: Array, c_prime: Array) -> tuple[tuple[Array, Array], tuple[Array, Array], tuple[Array, Array]]:
    """The three tensors (P, 3, 3) of a kernel with their divergences (grad - grad').T (P, 3).

    With s = Pr, and div the divergence in u at fixed r: 2 div P = -4 u/u^2,
    2 div s s^T = -2 [3 (u.r) s + s^2 u]/u^2,  2 div (s^2 P - s s^T) = 2 [(u.r) s - s^2 u]/u^2.
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
def average(c: Array, weight: Array, gradient: Array, hessian: Array, partner: Array) -> Array:
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

        def project(pieces: Array, weights: Array) -> Array:
            # node by node of |u|: the products of all nodes at once would not fit in the cache
            by_node = lax.map(lambda phi: (pieces * phi[:, None]).T @ weights, radial.T)
            return by_node.transpose(1, 0, 2).reshape(pieces.shape[1], -1)

        out.append(project(value, S) + project(slope, S_c) + project(slope_prime, S_c_prime))
    return jnp.stack(out, axis=1)


CONSERVED = 4
"""Number of conserved functions c_x, c_y, c_z and c^2/2, which follow the test functions in `microfield_averages`."""


def microfield_averages(c: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Averages (1 + NODES, near, K + 4, 5) from which `microfield_rates` gives the rates of the test functions psi.

    Last axis: averages of T div(phi grad psi), of the three phi d psi/dc_a and of phi c.grad psi, with phi(|c - c'|).
    They are averages over c of F = exp(u A) f and over c' of f.  First axis: u = 0 and the times u of
    `correlations.jumps.times` from FIRST on.  Second axis: the cardinal splines phi of `nodes.NEAR`, whose sum is 1.
    Third axis: the test functions psi, then the four functions that `microfield_rates` conserves.  Velocities c (N, 3)
    are in v_th; weight is (N,).
    """
    c = c - np.average(c, axis=0, weights=weight)
    T = np.average((c**2).sum(1), weights=weight) / 3
    deposit = _deposit(c, weight).reshape(_POINTS, _POINTS, _POINTS)
    # smoothing the deposit is cheaper than smoothing the fields, of which there are many
    F = np.stack([np.einsum("ai,bj,ck,abc->ijk", m, m, m, deposit, optimize=True) for m in _smoothing()])
    F = _without_tails(F).reshape(len(F), -1).astype(np.float32)
    near, slopes = _near(F[0].reshape(_POINTS, _POINTS, _POINTS))
    fields, gradient = _fields()

    def averages(values: np.ndarray, fields: np.ndarray) -> np.ndarray:
        """Averages (F, near, K) over each F of every product of a value (near, points) and a field (points, K)."""
        total = np.zeros((len(F) * len(values), fields.shape[-1]))
        for slab in range(0, _POINTS**3, _POINTS**2):  # one at a time, whose products fit in the cache
            part = slice(slab, slab + _POINTS**2)
            total += (F[:, None, part] * values[:, part]).reshape(len(total), -1) @ fields[part]
        return total.reshape(len(F), len(values), -1)

    found = averages(near, fields).reshape(len(F), len(near), 5, -1).swapaxes(2, 3)
    found[..., 0] = T * (found[..., 0] + sum(averages(slopes[a], gradient[a]) for a in range(3)))
    # the grid does not resolve narrow shells: correct by the error at u = 0 and B = 1, known from the particles
    gradient_psi, hessian_psi = derivatives(jnp.asarray(c, jnp.float32))
    at_once = np.average(_rates(c, gradient_psi, hessian_psi, T), axis=0, weights=weight)
    lacking = at_once - np.asarray(microfield_rates(found[0].sum(0)))
    shares = found[0, :, -CONSERVED, 1] / found[0, :, -CONSERVED, 1].sum()
    found[:, :, :-CONSERVED, 0] += shares[:, None] * lacking
    return found


def _rates(c: np.ndarray, gradient: ArrayLike, hessian: ArrayLike, T: float) -> np.ndarray:
    """T lap psi - c.grad psi (N, K) from the derivatives of psi at c (N, 3)."""
    gradient, hessian = np.asarray(gradient, np.float64), np.asarray(hessian, np.float64)
    return T * hessian[:, :3].sum(1) - np.einsum("na,nak->nk", c, gradient)


def microfield_rates(averages: Array | np.ndarray) -> Array | np.ndarray:
    """Rates (..., K) of the test functions due to the microfield, divided by nu.

    `averages` (..., K + 4, 5) are the `microfield_averages` summed with the weights of F and B.  The rates are those of
    div <B>_f' F (T q + alpha + beta c), q = grad log F, with alpha and beta that conserve momentum and energy.
    """
    free, at_rest, along = averages[..., 0], averages[..., 1:4], averages[..., 4]
    P, E = free[..., -4:-1], free[..., -1]
    N, C, Q = at_rest[..., -4, :1], along[..., -4:-1], along[..., -1]
    beta = (E - jnp.sum(P * C, -1) / N[..., 0]) / (Q - jnp.sum(C * C, -1) / N[..., 0])
    alpha = (P - beta[..., None] * C) / N
    rates = free - jnp.einsum("...ka,...a->...k", at_rest, alpha) - beta[..., None] * along
    return rates[..., :-CONSERVED]


FIRST = 0.002
"""Shortest smoothing time u in the learning; the test functions do not resolve the effect of a shorter one."""
_POINTS, _EXTENT = 48, 6.0
"""Points per axis and half extent (v_th) of the velocity grid of F and the fields; cubic splines between its points."""


@functools.cache
def _fields() -> tuple[np.ndarray, np.ndarray]:
    """lap psi, grad psi (three) and c.grad psi on the grid (points^3, 5 (K + 4)); grad psi (3, points^3, K + 4)."""
    axis = np.linspace(-_EXTENT, _EXTENT, _POINTS)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(_POINTS, -1, 3)
    slabs = [derivatives(jnp.asarray(slab, jnp.float32)) for slab in points]
    gradient, hessian = (np.concatenate([np.asarray(slab[k]) for slab in slabs]) for k in (0, 1))
    c = points.reshape(-1, 3).astype(np.float32)
    conserved = np.concatenate([np.broadcast_to(np.eye(3, dtype=np.float32), (len(c), 3, 3)), c[:, :, None]], -1)
    gradient = np.concatenate([gradient, conserved], axis=-1)
    laplacian = np.concatenate([hessian[:, :3].sum(1), 0 * c, 3 + 0 * c[:, :1]], axis=-1)
    along = np.einsum("na,nak->nk", c, gradient)
    fields = _without_tails(np.concatenate([laplacian, gradient.reshape(len(c), -1), along], axis=-1))
    return fields, np.ascontiguousarray(_without_tails(gradient).transpose(1, 0, 2))


def _without_tails(values: np.ndarray) -> np.ndarray:
    """Zero where a tail is tiny: processors multiply numbers below 1e-38 in single precision many times more slowly."""
    return np.where(np.abs(values) < 1e-20, values.dtype.type(0), values)


@functools.cache
def _near_spectra() -> np.ndarray:
    """Fourier transforms of phi_m(|u|) at all offsets of the grid."""
    step = 2 * _EXTENT / (_POINTS - 1)
    offsets = np.fft.ifftshift(np.arange(-_POINTS, _POINTS)) * step
    square = sum(u**2 for u in np.meshgrid(offsets, offsets, offsets, indexing="ij"))
    phi = np.asarray(nodes.cardinal("near", jnp.asarray(np.sqrt(square).ravel(), jnp.float32)))
    return fft.rfftn(phi.T.reshape(-1, *square.shape), axes=(1, 2, 3))


_SLOPE = np.array([-1.0, 9.0, -45.0, 0.0, 45.0, -9.0, 1.0]) / 60
"""Central difference of sixth order, which suffices: nu is as smooth as f averaged over the width of phi_m."""


def _near(f: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """<phi_m> over f' (near, points^3), and its gradient (3, near, points^3)."""
    spectra, shape = _near_spectra(), (2 * _POINTS,) * 3
    padded = fft.irfftn(spectra * fft.rfftn(f, shape), shape, axes=(1, 2, 3))
    near = padded[:, :_POINTS, :_POINTS, :_POINTS]
    step = 2 * _EXTENT / (_POINTS - 1)
    slopes = [correlate1d(near, _SLOPE / step, axis=a, mode="nearest") for a in (1, 2, 3)]
    return near.reshape(len(near), -1), np.stack(slopes).reshape(3, len(near), -1)


@functools.cache
def _smoothing() -> list[np.ndarray]:
    """Matrices (points, points), for u = 0 and every u, from values to the spline coefficients of exp(u A+) of them."""
    axis = np.linspace(-_EXTENT, _EXTENT, _POINTS)
    jump = np.asarray(jumps.generator(jnp.asarray(axis, jnp.float32), jnp.ones((), jnp.float32)), np.float64).T
    steps = [np.eye(_POINTS)] + [expm(FIRST * jumps.RATIO**j * jump) for j in range(jumps.NODES)]
    return [spline_filter1d(step, order=3, axis=0, mode="mirror") for step in steps]


def _deposit(c: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weights (points^3,): the weighted sum of a function's spline coefficients is its average over the particles."""
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


def pair_averages(
    c: np.ndarray, weight: np.ndarray, rounds: int, rng: np.random.Generator, jump: float = 0.0
) -> np.ndarray:
    """Two independent averages over `rounds` random pairings each, (2, K, 3, nodes.COUNT).

    The sampling of pairs does not bias the product of two predictions, one from each average.  With `jump`, an ell^2
    (v_th^2), the particles c (N, 3) are `jumped` by it, anew in every round.
    """
    weights = jnp.asarray(weight, jnp.float32)
    halves = []
    for _ in range(2):
        total = np.zeros(())
        for _ in range(rounds):
            points = jnp.asarray(jumped(c, weight, jump, rng), jnp.float32)
            gradient, hessian = derivatives(points)
            partner = _pairing(rng, len(c))
            total = total + np.asarray(average(points, weights, gradient, hessian, jnp.asarray(partner)))
        halves.append(total / rounds)
    return np.stack(halves)


def jumped(c: np.ndarray, weight: np.ndarray, jump: float, rng: np.random.Generator) -> np.ndarray:
    """Particles (N, 3) of F = (1 - jump A)^(-1/4) f (`correlations.jumps`), with `jump` the ell^2 in v_th^2.

    Each particle takes an Ornstein-Uhlenbeck step, the process of generator A, over a gamma distributed time u.
    """
    if jump == 0:
        return c
    mean = np.average(c, axis=0, weights=weight)
    T = np.average(((c - mean) ** 2).sum(1), weights=weight) / 3
    u = rng.gamma(jumps.SHAPE, jump, (len(c), 1))
    return mean + (c - mean) * np.exp(-u) + np.sqrt(-T * np.expm1(-2 * u)) * rng.standard_normal(c.shape)


def _pairing(rng: np.random.Generator, n: int) -> np.ndarray:
    """A random permutation without fixed points: every particle with another one."""
    order = rng.permutation(n)
    partner = np.empty(n, np.int64)
    partner[order] = np.roll(order, 1)
    return partner
