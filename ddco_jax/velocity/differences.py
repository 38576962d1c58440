"""The discrete velocity gradient D- of Eq. (32), of order 2, 4, 6 or 8, and the divergence D+ dual to it.

D- of order 2 is the central difference (the paper's).  Order 2m adds the corrections of the longer central stencils,

    D = mu delta [1 - delta^2/6 (1 - delta^2/5 (1 - 3 delta^2/14))]/dv,   h_{j+1} - h_{j-1} = 2 mu delta h,

each where its stencil fits: points beside the edge have those of lower order, and the edge itself the one-sided
(-3, 4, -1)/2dv.  All are exact on quadratics, so D-(|v|^2/2) = v up to the edge.  With D+ its negative transpose the
collision operator conserves mass, momentum and energy to rounding whatever f does at the edge.

No central difference sees the grid's Nyquist mode.  The roughness delta^q h/(2^q dv), q = 4 or 6, does: it is +-1/dv on
that mode, where its stencil fits, and zero on quadratics.  The flux that it drives conserves as exactly, and damps.
"""

import dataclasses
import functools
import operator
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from ddco_jax.plasma.arrays import Array, Float, VelocityDistribution
from ddco_jax.plasma.grid import PhaseGrid

Forces = Float[Array, "components nvx nvy nvz"]
"""Thermodynamic forces of a functional derivative h, or the fluxes that they drive: the gradient q = D- h along x, y,
z, followed by the roughness of h along x, y, z where a scheme damps the Nyquist mode."""
DIFFERENCES = {"central": 2, "fourth": 4, "sixth": 6, "eighth": 8}
"""Orders by name."""
CORRECTIONS = (1.0, -1 / 6, 1 / 30, -1 / 140)
"""Weights of mu delta, mu delta^3, mu delta^5, mu delta^7 in D dv."""
EDGE = (-1.5, 2.0, -0.5)
"""D dv at the edge, of h_0, h_1, h_2."""
EDGE_EIGENVALUE = 6.8
"""Of -D+ D- dv^2 where f is as large at the edge as inside."""


@dataclasses.dataclass(frozen=True)
class Changes:
    """How a function of one velocity axis (the first) changes from each point to its neighbours.

    right[k-1][j] is the change from j to j + k, and left[k-1][j] that from j + k to j.
    """

    right: list[Array]
    left: list[Array]


@dataclasses.dataclass(frozen=True)
class Differences:
    """D- of one order on one grid, with the roughness or without, and D+."""

    grid: PhaseGrid
    order: int
    damped: bool = False
    """Whether the forces include the roughness."""

    def __post_init__(self) -> None:
        if self.order not in DIFFERENCES.values():
            raise ValueError(f"order must be one of {tuple(DIFFERENCES.values())}, got {self.order}")
        if min(self.grid.nv) < len(EDGE):
            needed = f"at least {len(EDGE)} points per velocity axis"
            raise ValueError(f"the collision operator needs {needed}, got nv={self.grid.nv}")

    @property
    def roughness_order(self) -> int:
        """q: the damping, delta^2q, is of higher order than D."""
        return 6 if self.order == 8 else 4

    @property
    def reach(self) -> int:
        """Neighbours on either side that the forces of a point depend on."""
        return max(self.order // 2, self.roughness_order // 2 if self.damped else 0, len(EDGE) - 1)

    @property
    def largest_eigenvalue(self) -> float:
        """Of -D+ D- dv^2 along one axis: sets the stability limit of explicit steps."""
        k = np.linspace(0, np.pi, 2001)
        symbol = sum(2 * w * np.sin(n * k) for m in range(1, self.order // 2 + 1) for n, w in enumerate(weights(m), 1))
        damping = np.sin(k / 2) ** (2 * self.roughness_order) if self.damped else 0.0
        return float(np.max(symbol**2 + damping))

    def eigenvalue(self, fall: Array, axis: int, counts: Array) -> VelocityDistribution:
        """Bound on the eigenvalues of -D+ A M D- (1/M) dv^2/A along an axis, at every velocity.

        `fall` is that of log M from point to point, (points,).  Relative to M, values k points further out in its flank
        count e^(k fall/2) times as much, which raises `largest_eigenvalue`: for order 2 by cosh^2(fall/2).  At the edge
        itself the one-sided formula has EDGE_EIGENVALUE.  Both matter only where f is not negligible, which `counts`.
        """
        m = self.order // 2
        size = [0.0] + [abs(sum(weights(i)[k] for i in range(k + 1, m + 1))) for k in range(m)]
        grown = _grown(size, fall)
        if self.damped:
            q = self.roughness_order
            grown = jnp.maximum(grown, _grown(np.abs(stencil(q)[q // 2 :]) * ([1] + [2] * (q // 2)), fall))
        least = np.full(self.grid.nv[axis], self.largest_eigenvalue)
        least[[0, -1]] = max(self.largest_eigenvalue, EDGE_EIGENVALUE)
        here = (grown**2 * jnp.asarray(least, fall.dtype)).reshape([-1 if k == axis else 1 for k in range(3)])
        return jnp.where(counts, here, jnp.asarray(self.largest_eigenvalue, fall.dtype))

    def forces(self, h: VelocityDistribution) -> Forces:
        """The thermodynamic forces of a functional derivative h of one cell."""

        def changes(axis):
            values = jnp.moveaxis(h, axis, 0)
            right = [values[k:] - values[:-k] for k in range(1, self.reach + 1)]
            return Changes(right, [-change for change in right])

        return self.of_changes(changes)

    def of_changes(self, changes: Callable[[int], Changes]) -> Forces:
        """The forces of what changes along an axis as `changes(axis)` says."""
        along = [changes(axis) for axis in range(3)]
        parts = [self.gradient(along[axis], axis) for axis in range(3)]
        if self.damped:
            parts += [self.roughness(along[axis], axis) for axis in range(3)]
        return jnp.stack(parts)

    def divergence(self, fluxes: Forces) -> VelocityDistribution:
        """Negative transpose of `forces`, applied to fluxes: no flux leaves the box."""
        like = jax.ShapeDtypeStruct(fluxes.shape[1:], fluxes.dtype)
        (transposed,) = jax.linear_transpose(self.forces, like)(fluxes)
        return -transposed

    def gradient(self, change: Changes, axis: int, order: int | None = None) -> VelocityDistribution:
        """D- along one axis."""
        first = sum(w * change.right[k][:1] for k, w in enumerate(EDGE[1:]))
        last = sum(-w * change.left[k][-1:] for k, w in enumerate(EDGE[1:]))
        total = jnp.concatenate([first, _pairs(change, weights(1), odd=True), last])
        for m in range(2, (order or self.order) // 2 + 1):
            if self.grid.nv[axis] > 2 * m:  # or it fits nowhere
                total = total + _pad(_pairs(change, weights(m), odd=True), m)
        return jnp.moveaxis(total, 0, axis) / self.grid.dv[axis]

    def roughness(self, change: Changes, axis: int) -> VelocityDistribution:
        """delta^q/(2^q dv) along one axis, zero where its stencil does not fit."""
        q, n = self.roughness_order, self.grid.nv[axis]
        if n <= q:
            return jnp.moveaxis(jnp.zeros((n, *change.right[0].shape[1:]), change.right[0].dtype), 0, axis)
        inner = _pairs(change, stencil(q)[q // 2 + 1 :] / 2**q, odd=False)
        return jnp.moveaxis(_pad(inner, q // 2), 0, axis) / self.grid.dv[axis]


def weights(m: int) -> np.ndarray:
    """Of h_{j+k} - h_{j-k}, k = 1 ... m, in what order 2m adds to D dv."""
    return CORRECTIONS[m - 1] * stencil(2 * m - 1)[m + 1 :]


def stencil(power: int) -> np.ndarray:
    """Coefficients of delta^power (even) or mu delta^power (odd), centred."""
    if power % 2:
        return np.convolve(stencil(power - 1), [-0.5, 0, 0.5])
    out = np.ones(1)
    for _ in range(power // 2):
        out = np.convolve(out, [1, -2, 1])
    return out


def _pairs(change: Changes, weights: np.ndarray, odd: bool) -> Array:
    """Sum of weights[k-1] times the changes to j + k and, with the opposite sign if odd, to j - k, where all fit."""
    m, n = len(weights), len(change.right[0]) + 1
    terms = []
    for k, w in enumerate(weights, 1):
        right, left = change.right[k - 1][m : n - m], change.left[k - 1][m - k : n - m - k]
        terms.append(float(w) * (right - left if odd else right + left))
    return functools.reduce(operator.add, terms)


def _grown(sizes, fall: Array) -> Array:
    """Sum of sizes[k] cosh(k fall/2) over that at fall = 0."""
    return sum(w * jnp.cosh(k / 2 * fall) for k, w in enumerate(sizes)) / sum(sizes)


def _pad(a: Array, points: int) -> Array:
    """Zeros at both ends of the first axis."""
    return jnp.pad(a, [(points, points)] + [(0, 0)] * (a.ndim - 1))
