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

MOST_GROWN = 8.0
"""Largest factor of the eigenvalues in a flank, for modes that live where f counts.  It is enough for points up to a
thermal speed apart; the factor of modes further out is larger, but they saturate where f is tiny, since the ratio form
takes f/M to rise by a factor e per point at most."""


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
        itself the one-sided formula has EDGE_EIGENVALUE.  Both corrections apply only at velocities in `counts`, where
        f is not negligible; the factor of the flanks is at most MOST_GROWN.
        """
        m = self.order // 2
        size = [0.0] + [abs(sum(weights(i)[k] for i in range(k + 1, m + 1))) for k in range(m)]
        grown = _grown(size, fall)
        if self.damped:
            q = self.roughness_order
            grown = jnp.maximum(grown, _grown(np.abs(stencil(q)[q // 2 :]) * ([1] + [2] * (q // 2)), fall))
        least = np.full(self.grid.nv[axis], self.largest_eigenvalue)
        least[[0, -1]] = max(self.largest_eigenvalue, EDGE_EIGENVALUE)
        here = (jnp.minimum(grown**2, MOST_GROWN) * jnp.asarray(least, fall.dtype)).reshape(
            [-1 if k == axis else 1 for k in range(3)]
        )
        return jnp.where(counts, here, jnp.asarray(self.largest_eigenvalue, fall.dtype))

    def forces(self, h: VelocityDistribution) -> Forces:
        """The thermodynamic forces of a functional derivative h of one cell."""
        parts = [_along(self.gradient(axis), h, axis) for axis in range(3)]
        if self.damped:
            parts += [_along(self.roughness(axis), h, axis) for axis in range(3)]
        return jnp.stack(parts)

    def divergence(self, fluxes: Forces) -> VelocityDistribution:
        """Negative transpose of `forces`, applied to fluxes: no flux leaves the box."""
        like = jax.ShapeDtypeStruct(fluxes.shape[1:], fluxes.dtype)
        (transposed,) = jax.linear_transpose(self.forces, like)(fluxes)
        return -transposed

    def gradient(self, axis: int) -> np.ndarray:
        """D- along one axis as a matrix, (n, n)."""
        n = self.grid.nv[axis]
        D = np.zeros((n, n))
        D[0, : len(EDGE)] = EDGE
        D[-1, -len(EDGE) :] = -np.array(EDGE[::-1])
        for m in range(1, self.order // 2 + 1):
            _add(D, np.concatenate([-weights(m)[::-1], [0.0], weights(m)]))
        return D / self.grid.dv[axis]

    def roughness(self, axis: int) -> np.ndarray:
        """delta^q/(2^q dv) along one axis as a matrix, (n, n), zero where its stencil does not fit."""
        out, q = np.zeros((self.grid.nv[axis],) * 2), self.roughness_order
        _add(out, stencil(q) / 2**q)
        return out / self.grid.dv[axis]


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


def _add(matrix: np.ndarray, centred: np.ndarray) -> None:
    """A stencil, added to the rows in which it fits."""
    m, n = len(centred) // 2, len(matrix)
    for j in range(m, n - m):
        matrix[j, j - m : j + m + 1] += centred


def _along(matrix: np.ndarray, h: VelocityDistribution, axis: int) -> VelocityDistribution:
    """matrix h along one axis."""
    axes = ("jx,xyz->jyz", "jy,xyz->xjz", "jz,xyz->xyj")[axis]
    return jnp.einsum(axes, jnp.asarray(matrix, h.dtype), h, precision="highest")


def _grown(sizes, fall: Array) -> Array:
    """Sum of sizes[k] cosh(k fall/2) over that at fall = 0."""
    total = jnp.zeros_like(fall)
    for k, w in enumerate(sizes):
        total = total + float(w) * jnp.cosh(k / 2 * fall)
    return total / float(sum(sizes))
