"""A spline space for kernel weights on (|u|, |c|, |c'|): any kernel is given by its values at a few hundred nodes.

The weak form is linear in omega, so the pair averages do not depend on the kernel.  They are computed once for the
cardinal splines of this space and give the rates of every kernel from its values at the nodes, deterministically and
in microseconds.  Weights are represented as phi/|u| with phi a cubic spline.  This is exact for the Landau kernel (phi
constant) and accurate to the order of the spline for smooth kernels.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from scipy.interpolate import CubicSpline
from scipy.stats import qmc

from ddco_jax.kernels.base import Kernel
from ddco_jax.plasma.arrays import Array, Numbers, Scalar

RELATIVE = np.array([0.0, 0.4, 0.8, 1.2, 1.6, 2.0, 2.5, 3.0, 3.75, 4.5, 6.0, 8.0])
"""Knots of |u|, v_th; beyond the last one phi is constant."""
PECULIAR = np.array([0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.25, 4.0, 5.5])
"""Knots of |c| and |c'|, v_th."""
NEAR = np.array([0.0, 0.25, 0.5, 0.8, 1.15, 1.6, 2.1, 2.8, 3.7, 5.5])
"""Knots of |u|, v_th, for B(|u|), the share of a partner's force gradient that is left (`correlations.hole`)."""
SMALLEST = 1e-6
"""Replaces |u| = 0 (v_th), where a kernel may be infinite."""
PAIRS = np.array([(j, k) for j in range(len(PECULIAR)) for k in range(j, len(PECULIAR))])
"""Indices (j, k) of the knots of |c|, |c'|, with j <= k since weights are symmetric in |c| and |c'|."""
SAMPLES = 300
"""Points between the nodes at which `roughness` compares a kernel with its spline."""
_SIZES = np.array([1.0, 4.0, 4.0])
"""Size of the tensors that the three weights multiply: 1 for P, |Pr|^2 = 4 |Pc'|^2, about 4 v_th^2, for the others."""
COUNT = len(RELATIVE) * len(PAIRS)


def speeds() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """|u|, |c|, |c'| (v_th) at the nodes, each (COUNT,)."""
    u = np.repeat(np.maximum(RELATIVE, SMALLEST), len(PAIRS))
    c, c_prime = (np.tile(PECULIAR[PAIRS[:, a]], len(RELATIVE)) for a in (0, 1))
    return u, c, c_prime


@functools.cache
def _coefficients(which: str) -> tuple[np.ndarray, np.ndarray]:
    """Knots, and the cubic coefficients of all cardinal splines (4, intervals, knots).

    The splines of "c" and "near" have slope zero at both ends: even functions of speed, constant beyond the last knot.
    """
    knots = {"u": RELATIVE, "c": PECULIAR, "near": NEAR}[which]
    flat = (1, np.zeros(len(knots)))
    ends = "not-a-knot" if which == "u" else (flat, flat)
    return knots, CubicSpline(knots, np.eye(len(knots)), bc_type=ends).c


def cardinal(which: str, speed: Array, derivative: bool = False) -> Array:
    """All cardinal splines (P, knots) of an axis ("u", "c", "near"), or their derivatives, at speeds (P,), v_th.

    The splines are constant beyond the last knot.
    """
    knots, coefficients = _coefficients(which)
    last = jnp.asarray(knots[-1], speed.dtype)
    inside = speed < last
    s = jnp.minimum(speed, last)
    place = jnp.clip(jnp.searchsorted(jnp.asarray(knots, s.dtype), s, side="right") - 1, 0, len(knots) - 2)
    t = (s - jnp.asarray(knots, s.dtype)[place])[:, None]
    a, b, c, d = (jnp.asarray(k, s.dtype)[place] for k in coefficients)
    if derivative:
        return jnp.where(inside[:, None], (3 * a * t + 2 * b) * t + c, 0)
    return ((a * t + b) * t + c) * t + d


def basis(u: Array, c: Array, c_prime: Array) -> tuple[Array, Array, Array, Array]:
    """The node functions phi_i(|u|)/|u| S_jk(|c|, |c'|) of pairs: phi_i/|u| (P, i), then S, dS/dc, dS/dc' (P, jk)."""
    radial = cardinal("u", u) / u[:, None]
    values, slopes = ([cardinal("c", speed, derivative) for speed in (c, c_prime)] for derivative in (False, True))
    j, k = PAIRS[:, 0], PAIRS[:, 1]
    once = jnp.where(jnp.asarray(j == k), 0.5, 1.0).astype(u.dtype)  # the diagonal would count twice

    def symmetric(left: Array, right: Array) -> Array:
        return once * (left[:, j] * right[:, k] + left[:, k] * right[:, j])

    return (
        radial,
        symmetric(values[0], values[1]),
        symmetric(slopes[0], values[1]),
        symmetric(values[0], slopes[1]),
    )


def kernel_values(
    kernel: Kernel,
    density: Numbers,
    temperature: Scalar,
    plasma_frequency: Numbers,
    points: Array | np.ndarray | None = None,
) -> Array:
    """The three weights of omega-hat times |u| at the nodes, (3, COUNT), with which pair averages are contracted.

    In thermal units, omega = (omega_p v_th^2/n) omega-hat.  `points`: speeds |u|, |c|, |c'| (v_th) to use instead.
    """
    u, c, c_prime = (jnp.asarray(s, temperature.dtype) for s in (speeds() if points is None else points))
    thermal = jnp.sqrt(temperature)
    weights = kernel.radial(thermal * u, thermal * c, thermal * c_prime, density, temperature)
    unit = plasma_frequency / density * jnp.stack([temperature, jnp.ones_like(temperature), jnp.ones_like(temperature)])
    return jnp.stack([jnp.broadcast_to(w, u.shape) * u for w in weights]) / unit[:, None]


@functools.cache
def _between() -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Quasi-random speeds |u|, |c|, |c'| (3, P), v_th, and the splines there: phi_i (P, i), S_jk (P, jk).

    They fill the box of the knots, up to the last knot but one in |c| and |c'|.
    """
    points = qmc.Halton(3, scramble=False).random(SAMPLES + 1)[1:].T
    points = points * np.array([[RELATIVE[-1]], [PECULIAR[-2]], [PECULIAR[-2]]])
    with jax.ensure_compile_time_eval():
        radial, symmetric, *_ = basis(*(jnp.asarray(p) for p in points))
    return points, (np.asarray(radial) * points[0][:, None], np.asarray(symmetric))


def roughness(kernel: Kernel, density: Numbers, temperature: Scalar, plasma_frequency: Numbers) -> Scalar:
    """Mean square difference between a kernel and its spline, over the mean square of the spline, between the nodes.

    The pair averages do not depend on this difference.  Without a penalty a network can form peaks between the nodes,
    at points where another term of the loss, such as a quadrature, evaluates the kernel.
    """
    points, splines = _between()
    radial, symmetric = (jnp.asarray(s, temperature.dtype) for s in splines)
    found = kernel_values(kernel, density, temperature, plasma_frequency, points)
    at_nodes = kernel_values(kernel, density, temperature, plasma_frequency).reshape(3, len(RELATIVE), len(PAIRS))
    expected = jnp.einsum("pi,pj,aij->ap", radial, symmetric, at_nodes)
    weight = jnp.asarray(_SIZES, temperature.dtype)[:, None]
    return jnp.sum((weight * (found - expected)) ** 2) / jnp.sum((weight * expected) ** 2)
