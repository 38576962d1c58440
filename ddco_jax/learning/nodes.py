"""A spline space for kernel weights on (|u|, |c|, |c'|): any kernel, known at a few hundred nodes.

The weak form is linear in omega.  So the pair averages need not know the kernel: made once for the cardinal splines of
this space, they give the rates of every kernel from its values at the nodes, deterministically and in microseconds.
Weights are represented as phi/|u| with phi a cubic spline, which holds the Landau kernel (phi constant) exactly and
smooth ones to the order of the spline.
"""

import functools

import jax.numpy as jnp
import numpy as np
from scipy.interpolate import CubicSpline

RELATIVE = np.array([0.0, 0.4, 0.8, 1.2, 1.6, 2.0, 2.5, 3.0, 3.75, 4.5, 6.0, 8.0])
"""Knots of |u|, v_th; beyond the last one weights are taken as there."""
PECULIAR = np.array([0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.25, 4.0, 5.5])
"""Knots of |c| and |c'|."""
SMALLEST = 1e-6
"""Stands for |u| = 0, where a kernel may be infinite."""
PAIRS = np.array([(j, k) for j in range(len(PECULIAR)) for k in range(j, len(PECULIAR))])
"""Knots of |c|, |c'| with j <= k: weights are symmetric."""
COUNT = len(RELATIVE) * len(PAIRS)


def speeds() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """|u|, |c|, |c'| (v_th) at the nodes, each (COUNT,)."""
    u = np.repeat(np.maximum(RELATIVE, SMALLEST), len(PAIRS))
    c, c_prime = (np.tile(PECULIAR[PAIRS[:, a]], len(RELATIVE)) for a in (0, 1))
    return u, c, c_prime


@functools.cache
def _coefficients(which: str) -> tuple[np.ndarray, np.ndarray]:
    """Knots, and the cubics of all cardinal splines (4, intervals, knots); even functions of |c| start flat."""
    knots = {"u": RELATIVE, "c": PECULIAR}[which]
    flat = (1, np.zeros(len(knots)))
    ends = "not-a-knot" if which == "u" else (flat, flat)
    return knots, CubicSpline(knots, np.eye(len(knots)), bc_type=ends).c


def cardinal(which: str, speed, derivative: bool = False):
    """All cardinal splines of an axis ("u" or "c") at speeds (P,), (P, knots); constant beyond the last knot."""
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


def basis(u, c, c_prime):
    """The node functions phi_i(|u|)/|u| S_jk(|c|, |c'|) of pairs: phi_i/|u| (P, i), then S, dS/dc, dS/dc' (P, jk)."""
    radial = cardinal("u", u) / u[:, None]
    values, slopes = ([cardinal("c", speed, derivative) for speed in (c, c_prime)] for derivative in (False, True))
    j, k = PAIRS[:, 0], PAIRS[:, 1]
    once = jnp.where(jnp.asarray(j == k), 0.5, 1.0).astype(u.dtype)  # the diagonal would count twice

    def symmetric(left, right):
        return once * (left[:, j] * right[:, k] + left[:, k] * right[:, j])

    return (
        radial,
        symmetric(values[0], values[1]),
        symmetric(slopes[0], values[1]),
        symmetric(values[0], slopes[1]),
    )


def kernel_values(kernel, density, temperature, plasma_frequency):
    """omega-hat's three weights times |u| at the nodes, (3, COUNT): what the pair averages are contracted with.

    In thermal units, omega = (omega_p v_th^2/n) omega-hat.
    """
    u, c, c_prime = (jnp.asarray(s, temperature.dtype) for s in speeds())
    thermal = jnp.sqrt(temperature)
    weights = kernel.radial(thermal * u, thermal * c, thermal * c_prime, density, temperature)
    unit = plasma_frequency / density * jnp.stack([temperature, jnp.ones_like(temperature), jnp.ones_like(temperature)])
    return jnp.stack([jnp.broadcast_to(w, u.shape) * u for w in weights]) / unit[:, None]
