"""The discrete velocity gradient D- of Eq. (32), of order 2, 4, 6 or 8, and the divergence D+ dual to it.

D- of order 2 is the paper's central difference.  Order 2m adds the corrections of the longer central stencils,

    D h = mu delta [1 - delta^2/6 (1 - delta^2/5 (1 - 3 delta^2/14))] h/dv,   (2 mu delta h)_j = h_{j+1} - h_{j-1},

for a function h of v on points dv apart.  delta is the central difference over one spacing, mu the mean of neighbours.
Each correction applies where its stencil fits: points near the edge have lower order, and the edge point itself has
the one-sided difference (-3, 4, -1)/2dv.  All formulas are exact on quadratics, so D-(|v|^2/2) = v at every point.  D+
is the negative transpose of D-, so the collision operator conserves mass, momentum and energy to rounding for any f at
the edge.

Every central difference of h = (-1)^j, the grid's Nyquist mode, is zero.  The roughness delta^q h/(2^q dv), q = 4 or 6,
is +-1/dv on that mode, where its stencil fits, and zero on quadratics.  A flux proportional to the roughness damps the
mode and conserves mass, momentum and energy to rounding.
"""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from ddco_jax.plasma.arrays import Array, Float, VelocityDistribution
from ddco_jax.plasma.grid import PhaseGrid

Forces = Float[Array, "components nvx nvy nvz"]
"""Thermodynamic forces of a functional derivative h, or the fluxes driven by them, (3 or 6, nvx, nvy, nvz): the
gradient q = D- h along x, y, z and, if the scheme damps the Nyquist mode, the roughness of h along x, y, z."""
DIFFERENCES = {"central": 2, "fourth": 4, "sixth": 6, "eighth": 8}
"""Order of D- by name."""
CORRECTIONS = (1.0, -1 / 6, 1 / 30, -1 / 140)
"""Weights of mu delta, mu delta^3, mu delta^5, mu delta^7 in D dv."""
EDGE = (-1.5, 2.0, -0.5)
"""Weights of h_0, h_1, h_2 in D dv at the edge."""
EDGE_EIGENVALUE = 6.8
"""Eigenvalue of -D+ D- dv^2 at the edge, if f is as large there as inside, to 3 %: 6.7 (order 2) ... 6.98 (order 8)."""

MOST_GROWN = 8.0
"""Upper limit of the factor by which a steep flank of M raises the eigenvalues, for modes where f is not negligible.
It suffices for spacings up to one thermal speed.  Modes further out have a larger factor but saturate where f is tiny,
because the ratio form limits the rise of f/M to a factor e per point."""


@dataclasses.dataclass(frozen=True)
class Differences:
    """D- of one order on one grid, with or without the roughness, and D+.

    Raises ValueError for an unknown order or a velocity axis with fewer than three points.
    """

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
        """Order q of the roughness; its damping, proportional to delta^2q, does not lower the order of D."""
        return 6 if self.order == 8 else 4

    @property
    def reach(self) -> int:
        """Number of neighbours on either side on which the forces at a point depend."""
        return max(self.order // 2, self.roughness_order // 2 if self.damped else 0, len(EDGE) - 1)

    @property
    def largest_eigenvalue(self) -> float:
        """Largest eigenvalue of -D+ D- dv^2 along one axis, including damping; it limits explicit time steps."""
        k = np.linspace(0, np.pi, 2001)
        symbol = sum(2 * w * np.sin(n * k) for m in range(1, self.order // 2 + 1) for n, w in enumerate(weights(m), 1))
        damping = np.sin(k / 2) ** (2 * self.roughness_order) if self.damped else 0.0
        return float(np.max(symbol**2 + damping))

    def eigenvalue(self, fall: Array, axis: int, counts: Array) -> VelocityDistribution:
        """Bound on the eigenvalues of -D+ A M D- (1/M) dv^2/A along an axis, at every velocity, (nvx, nvy, nvz).

        `fall` (points,) is the decrease of log M from one point to the next.  In a flank of M, a value k points further
        out has the weight e^(k fall/2) relative to M.  This raises `largest_eigenvalue`, for order 2 by the factor
        cosh^2(fall/2); the factor is at most MOST_GROWN.  At the edge point the one-sided formula has EDGE_EIGENVALUE.
        Both corrections apply only at velocities where `counts` is true, that is, where f is not negligible.
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
        """Thermodynamic forces (3 or 6, nvx, nvy, nvz) of a functional derivative h of one cell."""
        parts = [_along(self.gradient(axis), h, axis) for axis in range(3)]
        if self.damped:
            parts += [_along(self.roughness(axis), h, axis) for axis in range(3)]
        return jnp.stack(parts)

    def divergence(self, fluxes: Forces) -> VelocityDistribution:
        """D+ of the fluxes, (nvx, nvy, nvz): the negative transpose of `forces`.  No flux leaves the box."""
        like = jax.ShapeDtypeStruct(fluxes.shape[1:], fluxes.dtype)
        (transposed,) = jax.linear_transpose(self.forces, like)(fluxes)
        return -transposed

    def gradient(self, axis: int) -> np.ndarray:
        """D- along one axis as a matrix, (n, n), 1/V0."""
        n = self.grid.nv[axis]
        D = np.zeros((n, n))
        D[0, : len(EDGE)] = EDGE
        D[-1, -len(EDGE) :] = -np.array(EDGE[::-1])
        for m in range(1, self.order // 2 + 1):
            _add(D, np.concatenate([-weights(m)[::-1], [0.0], weights(m)]))
        return D / self.grid.dv[axis]

    def roughness(self, axis: int) -> np.ndarray:
        """delta^q/(2^q dv) along one axis as a matrix, (n, n), 1/V0; zero in rows where its stencil does not fit."""
        out, q = np.zeros((self.grid.nv[axis],) * 2), self.roughness_order
        _add(out, stencil(q) / 2**q)
        return out / self.grid.dv[axis]


def weights(m: int) -> np.ndarray:
    """Weights (m,) of h_{j+k} - h_{j-k}, k = 1 ... m, in the correction that order 2m adds to D dv."""
    return CORRECTIONS[m - 1] * stencil(2 * m - 1)[m + 1 :]


def stencil(power: int) -> np.ndarray:
    """Weights (points,) of delta^power (even power) or mu delta^power (odd power), centred (see the module)."""
    if power % 2:
        return np.convolve(stencil(power - 1), [-0.5, 0, 0.5])
    out = np.ones(1)
    for _ in range(power // 2):
        out = np.convolve(out, [1, -2, 1])
    return out


def _add(matrix: np.ndarray, centred: np.ndarray) -> None:
    """Add a centred stencil, in place, to the rows in which it fits."""
    m, n = len(centred) // 2, len(matrix)
    for j in range(m, n - m):
        matrix[j, j - m : j + m + 1] += centred


def _along(matrix: np.ndarray, h: VelocityDistribution, axis: int) -> VelocityDistribution:
    """The matrix applied to h along one axis."""
    axes = ("jx,xyz->jyz", "jy,xyz->xjz", "jz,xyz->xyj")[axis]
    return jnp.einsum(axes, jnp.asarray(matrix, h.dtype), h, precision="highest")


def _grown(sizes: Sequence[float] | np.ndarray, fall: Array) -> Array:
    """Sum over k of sizes[k] cosh(k fall/2), relative to its value at fall = 0."""
    share = np.asarray(sizes) / np.sum(sizes)
    k = np.arange(len(share))
    return jnp.asarray(share, fall.dtype) @ jnp.cosh(jnp.asarray(k / 2, fall.dtype)[:, None] * fall)
