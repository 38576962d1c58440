"""What is measured on a snapshot: moments, histograms and test-function averages over all particles."""

import dataclasses

import numpy as np

from ddco_jax.md.test_functions import TEST_FUNCTIONS

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
        """(2 half,)."""
        return (np.arange(-self.half, self.half) + 0.5) * self.width

    def index(self, v: np.ndarray) -> np.ndarray:
        """Bin of each velocity, -1 outside."""
        i = np.floor(v / self.width).astype(np.int64) + self.half
        return np.where((i >= 0) & (i < 2 * self.half), i, -1)


@dataclasses.dataclass
class Statistics:
    """Reduces snapshots one after the other; remembers the test functions of the last one, for rates."""

    length: float
    """Lx, L0."""
    density: float
    """Mean density, n0."""
    thermal_speed: np.ndarray
    """(cells,): the unit of c, V0."""
    bins: Bins
    test_functions: bool = True
    """Homogeneous runs only: averages of psi_k and their rates."""

    def __post_init__(self) -> None:
        self._previous: np.ndarray | None = None

    @property
    def cells(self) -> int:
        """Number of cells along x."""
        return len(self.thermal_speed)

    def cell_of(self, x: np.ndarray) -> np.ndarray:
        """Cell of each position."""
        if self.cells == 1:
            return np.zeros(len(x), np.int64)
        return np.floor(np.mod(x / self.length, 1.0) * self.cells).astype(np.int64) % self.cells

    def __call__(self, x: np.ndarray, v: np.ndarray, energy: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Statistics of one snapshot; x (N,), v (N, 3), potential energy per particle (N,)."""
        cell = self.cell_of(x)
        count = np.bincount(cell, minlength=self.cells)
        if (count == 0).any():
            raise ValueError("a cell holds no particle: lower box.cells")

        def mean(values):
            if self.cells == 1:
                return np.array([values.mean()])
            return np.bincount(cell, values, self.cells) / count

        per_count = self.density * self.cells / len(v)  # density of a cell that holds one particle
        out = {"density": count * per_count}
        c = v / self.thermal_speed[cell, None]
        out["moment"] = _moments(c, mean)
        first, second = (
            np.stack([out["moment"][:, moment_index(power * unit)] for unit in np.eye(3, dtype=int)], 1)
            for power in (1, 2)
        )
        speed = self.thermal_speed[:, None]
        out["drift"] = first * speed
        out["temperature_axis"] = (second - first**2) * speed**2
        out["temperature"] = out["temperature_axis"].mean(1)
        if energy is not None:
            out["potential_energy"] = mean(energy)
        out |= self._histograms(cell, v, per_count)
        if self.test_functions and self.cells == 1:
            out |= self._test_functions(c)
        return out

    def _histograms(self, cell, v, per_count) -> dict[str, np.ndarray]:
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

    def _test_functions(self, c) -> dict[str, np.ndarray]:
        psi = TEST_FUNCTIONS(c)
        n = len(psi)
        out = {"psi": psi.mean(0), "psi_error": psi.std(0, ddof=1) / n**0.5}
        if self._previous is not None:
            change = psi - self._previous
            out["psi_change"] = change.mean(0)
            out["psi_change_covariance"] = np.cov(change, rowvar=False) / n
        self._previous = psi
        return out


def _moments(c: np.ndarray, mean) -> np.ndarray:
    """<cx^i cy^j cz^k>, (cells, 84)."""
    powers = [[None, *np.cumprod(np.broadcast_to(c[:, a], (ORDER, len(c))), axis=0)] for a in range(3)]
    out = []
    for i, j, k in POWERS:
        factors = [powers[a][p] for a, p in enumerate((i, j, k)) if p]
        out.append(mean(np.prod(factors, axis=0) if factors else np.ones(len(c))))
    return np.stack(out, axis=1)


def moment_index(powers) -> int:
    """Where the moment of the exponents (i, j, k) stands."""
    return int(np.flatnonzero(np.all(np.asarray(powers) == POWERS, axis=1))[0])
