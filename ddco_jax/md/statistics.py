"""Measurements on a snapshot: moments, histograms and test-function averages over all particles."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from ddco_jax.md.test_functions import TEST_FUNCTIONS

BLOCK = 4096
EXTENT = 7.0
"""Half extent of the histograms in thermal speeds of the hottest axis."""
ORDER = 6
POWERS = np.array(
    [(i, j, k) for n in range(ORDER + 1) for i in range(n, -1, -1) for j in range(n - i, -1, -1) for k in (n - i - j,)]
)
"""Exponents (84, 3) of the moments <cx^i cy^j cz^k>, ordered by degree."""


@dataclasses.dataclass(frozen=True)
class Bins:
    """Velocity bins [-extent, extent] of one width for all axes, an even number on each side of 0."""

    width: float
    half: int
    """Bins on each side."""

    @classmethod
    def cover(cls, width: float, extent: float) -> "Bins":
        """The fewest bins of that width that reach the extent; pairs of bins are aligned with 0."""
        return cls(width, 2 * int(np.ceil(extent / (2 * width) - 1e-9)))

    @property
    def centres(self) -> np.ndarray:
        """Centres of the bins, (2 half,)."""
        return (np.arange(-self.half, self.half) + 0.5) * self.width

    def index(self, v: np.ndarray) -> np.ndarray:
        """Bin of each velocity, -1 outside."""
        i = np.floor(v / self.width).astype(np.int64) + self.half
        return np.where((i >= 0) & (i < 2 * self.half), i, -1)


@dataclasses.dataclass
class Statistics:
    """Reduces snapshots one after the other; keeps the test functions of the previous one, for rates."""

    length: float
    """Lx, L0."""
    density: float
    """Mean density, n0."""
    thermal_speed: np.ndarray
    """(cells,): the unit of c, V0."""
    bins: Bins
    test_functions: bool = True
    """Whether to average psi_k and their changes, in homogeneous runs only."""

    def __post_init__(self) -> None:
        self._previous: np.ndarray | None = None

    @property
    def cells(self) -> int:
        """Number of cells along x."""
        return len(self.thermal_speed)

    def cell_of(self, x: np.ndarray) -> np.ndarray:
        """Cell of each position."""
        return cell_of(x, self.length, self.cells)

    def __call__(self, x: np.ndarray, v: np.ndarray, energy: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Statistics of one snapshot; x (N,), L0, v (N, 3), V0, potential energy per particle (N,), m0 V0^2.

        Raises ValueError where a cell holds no particle.
        """
        cell = self.cell_of(x)
        count = np.bincount(cell, minlength=self.cells)
        if (count == 0).any():
            raise ValueError("a cell holds no particle: lower box.cells")
        per_count = self.density * self.cells / len(v)  # density of a cell that holds one particle
        out = {"density": count * per_count}
        order = np.argsort(cell, kind="stable") if self.cells > 1 else slice(None)
        groups = np.split(v[order], np.cumsum(count)[:-1])
        moment = np.stack([_moments(group / u) for group, u in zip(groups, self.thermal_speed, strict=True)])
        first, second = (
            np.stack([moment[:, moment_index(power * unit)] for unit in np.eye(3, dtype=int)], 1) for power in (1, 2)
        )
        speed = self.thermal_speed[:, None]
        out["moment"] = moment
        out["drift"] = first * speed
        out["temperature_axis"] = (second - first**2) * speed**2
        out["temperature"] = out["temperature_axis"].mean(1)
        if energy is not None:
            out["potential_energy"] = np.bincount(cell, energy, self.cells) / count
        out |= self._histograms(cell, v, per_count)
        if self.test_functions and self.cells == 1:
            out |= self._test_functions(v / self.thermal_speed[0])
        return out

    def _histograms(self, cell: np.ndarray, v: np.ndarray, per_count: float) -> dict[str, np.ndarray]:
        n = 2 * self.bins.half
        index = [self.bins.index(v[:, a]) for a in range(3)]
        out = {}
        for axis, i in zip("xyz", index, strict=True):
            inside = i >= 0
            counts = np.bincount(cell[inside] * n + i[inside], minlength=self.cells * n).reshape(self.cells, n)
            out[f"f_v{axis}"] = counts * (per_count / self.bins.width)
        inside = (index[0] >= 0) & (index[1] >= 0)
        flat = (cell[inside] * n + index[0][inside]) * n + index[1][inside]
        plane = np.bincount(flat, minlength=self.cells * n * n).reshape(self.cells, n, n)
        out["f_vxvy"] = plane * (per_count / self.bins.width**2)
        return out

    def _test_functions(self, c: np.ndarray) -> dict[str, np.ndarray]:
        n, k = len(c), len(TEST_FUNCTIONS)
        psi = np.empty((n, k))
        square, products = np.zeros(k), np.zeros((k, k))
        for part in _blocks(n):
            psi[part] = TEST_FUNCTIONS(c[part])
            square += np.einsum("nk,nk->k", psi[part], psi[part])
            if self._previous is not None:
                change = psi[part] - self._previous[part]
                products += change.T @ change
        mean = psi.mean(0)
        out = {"psi": mean, "psi_error": np.sqrt(np.maximum(square / n - mean**2, 0) / (n - 1))}
        if self._previous is not None:
            change = mean - self._previous.mean(0)
            out["psi_change"] = change
            out["psi_change_covariance"] = (products / n - np.outer(change, change)) / (n - 1)
        self._previous = psi
        return out


def cell_of(x: np.ndarray, length: float, cells: int) -> np.ndarray:
    """Index of each position's cell along x, among `cells` equal cells of the periodic box."""
    if cells == 1:
        return np.zeros(len(x), np.int64)
    return np.floor(np.mod(x / length, 1.0) * cells).astype(np.int64) % cells


def _blocks(n: int) -> list[slice]:
    """Slices of particles whose temporaries stay in the cache."""
    return [slice(i, i + BLOCK) for i in range(0, n, BLOCK)]


def _moments(c: np.ndarray) -> np.ndarray:
    """<cx^i cy^j cz^k> over particles, (84,)."""
    pairs = [(i, j) for i in range(ORDER + 1) for j in range(ORDER + 1 - i)]
    table = np.zeros((len(pairs), ORDER + 1))
    for part in _blocks(len(c)):
        powers = np.ones((3, ORDER + 1, len(c[part])))
        for n in range(ORDER):
            np.multiply(powers[:, n], c[part].T, out=powers[:, n + 1])
        table += np.stack([powers[0, i] * powers[1, j] for i, j in pairs]) @ powers[2].T
    return np.array([table[pairs.index((i, j)), k] for i, j, k in POWERS.tolist()]) / len(c)


def moment_index(powers: Sequence[int] | np.ndarray) -> int:
    """Position of the moment <cx^i cy^j cz^k> in POWERS and in stored moments, for `powers` = (i, j, k)."""
    return int(np.flatnonzero(np.all(np.asarray(powers) == POWERS, axis=1))[0])
