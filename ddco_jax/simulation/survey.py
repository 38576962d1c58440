"""Survey of the initial state, cell by cell: moments, widths and f on few points, in the memory of one cell."""

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np

from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.simulation.config import ArrayStart, Config, ConfigError
from ddco_jax.velocity import window

MOST = 36
"""Largest number of points per axis on which the stiffness is estimated."""
NEGLIGIBLE = 1e-10
"""Ratio of f to the largest f of the cell below which a velocity counts as empty."""


@dataclasses.dataclass(frozen=True)
class Patch:
    """Part of the velocity space of one cell, on (mx, my, mz) points that are `stretch` grid spacings apart."""

    stretch: float
    """Spacing of the points over that of the grid, >= 1; above 1, f is merged onto the points."""
    masses: np.ndarray
    """Density at every point, f dv^3, n0."""
    counts: np.ndarray
    """Whether a point counts: it is in the velocity box and no finer patch covers it."""


@dataclasses.dataclass(frozen=True)
class CellSurvey:
    """Survey of one cell of the initial state."""

    cell: int
    density: float
    """n0."""
    temperature: float
    """kT/m from the variance of f, V0^2."""
    axis_temperatures: np.ndarray
    """<(v_a - v-bar_a)^2>, (3,), V0^2."""
    widths: np.ndarray
    """Width of the narrowest feature along each axis, (3,), V0."""
    edge: float
    """Larger value of f(vx) at the two ends of the vx axis over its maximum."""
    filled: np.ndarray
    """Points along each axis that a velocity window of the cell must have, (3,) (`velocity.window.needed`)."""
    patches: tuple[Patch, ...]
    """They cover all velocities: one patch on a grid of at most MOST points per axis, else a fine and a coarse one."""


@dataclasses.dataclass(frozen=True)
class Survey:
    """Survey of the initial state."""

    cells: tuple[CellSurvey, ...]
    """The surveyed cells: all non-empty ones of an array, the `representative` ones of a formula."""
    density: np.ndarray
    """Density of every cell, (nx,), n0."""

    def extreme(self) -> list[CellSurvey]:
        """The cells of lowest, median and highest temperature, lowest and highest density, and narrowest feature."""
        by_temperature = sorted(self.cells, key=lambda c: c.temperature)
        by_density = sorted(self.cells, key=lambda c: c.density)
        narrowest = min(self.cells, key=lambda c: float(np.min(c.widths)))
        middle = by_temperature[len(by_temperature) // 2]
        chosen = [by_temperature[0], middle, by_temperature[-1], by_density[0], by_density[-1], narrowest]
        return list({c.cell: c for c in chosen}.values())


def survey(config: Config, grid: PhaseGrid) -> Survey:
    """Survey the initial state of a config.

    Raises ConfigError where it cannot be built, where all cells are empty, or where some are and there are collisions.
    """
    density = config.density * config.perturbation(grid)
    if isinstance(config.initial, ArrayStart):
        found = list(_look(config, grid, range(grid.nx)))
        density = np.zeros(grid.nx)
        density[[c.cell for c in found]] = [c.density for c in found]
        if not found or (len(found) < grid.nx and config.collisions.kernel != "none"):
            raise ConfigError(
                f"initial.file: {config.initial.file} has cells without particles; fill them, or set "
                'collisions.kernel = "none"'
            )
    else:
        found = list(_look(config, grid, representative(config.temperature(grid), density)))
    return Survey(tuple(found), density)


def representative(temperature: np.ndarray, density: np.ndarray) -> list[int]:
    """Indices of the cells of lowest, median and highest temperature, and of lowest and highest density and Gamma.

    Between them diffusion is monotone in temperature and in density.
    """
    order = np.argsort(temperature)
    cells = [order[0], order[len(order) // 2], order[-1]]
    if np.ptp(density) > 0:
        gamma = density ** (1 / 3) / temperature  # up to a factor
        cells += [np.argmin(density), np.argmax(density), np.argmin(gamma), np.argmax(gamma)]
    return sorted({int(cell) for cell in cells})


def _look(config: Config, grid: PhaseGrid, cells: Iterable[int]) -> Iterator[CellSurvey]:
    for cell in cells:
        f = config.build_cell(grid, cell)
        if np.any(f):
            yield survey_cell(grid, f, cell)


def survey_cell(grid: PhaseGrid, f: np.ndarray, cell: int = 0) -> CellSurvey:
    """Moments, widths and patches of f of one cell, (nvx, nvy, nvz)."""
    marginals = marginals_of(f)
    density = float(marginals[0].sum() * grid.dv3)
    temperatures = np.array([_variance(m, v) for m, v in zip(marginals, grid.velocities, strict=True)])
    widths = np.array([narrowest_width(m, dv) for m, dv in zip(marginals, grid.dv, strict=True)])
    mean = float(np.mean(temperatures))
    low, high = _window(f, window.EMPTY)
    edge, points = max(marginals[0][[0, -1]]) / max(marginals[0]), high - low + 1 + 2 * window.MARGIN
    return CellSurvey(cell, density, mean, temperatures, widths, float(edge), points, patches(grid, f))


def marginals_of(f: np.ndarray) -> list[np.ndarray]:
    """Sums of f over two of the three axes."""
    plane = f.sum(2)
    return [plane.sum(1), plane.sum(0), f.sum(0).sum(0)]


def _variance(marginal: np.ndarray, v: np.ndarray) -> float:
    mean = marginal @ v / marginal.sum()
    return float(marginal @ (v - mean) ** 2 / marginal.sum())


def narrowest_width(marginal: np.ndarray, dv: float) -> float:
    """Width of the narrowest feature of a marginal, V0.

    It follows from the curvature of log f near the peaks: for a normal it is the standard deviation, for a double well
    that of the narrower well.
    """
    if len(marginal) < 3:
        return np.inf
    log = np.log(np.maximum(marginal, marginal.max() * 1e-6))
    curvature = -(log[2:] - 2 * log[1:-1] + log[:-2]) / dv**2
    significant = marginal[1:-1] > 0.1 * marginal.max()
    return float(np.maximum(np.max(np.where(significant, curvature, 0)), 1e-12) ** -0.5)


def patches(grid: PhaseGrid, f: np.ndarray) -> tuple[Patch, ...]:
    """f of one cell on at most MOST points per axis.

    Where the grid has more, a fine patch covers the velocities that are not empty and a coarse one the whole box; in
    the coarse patch only velocities outside the fine one count.
    """
    points = np.minimum(grid.nv, MOST)
    if max(grid.nv) <= MOST:
        return (Patch(1.0, f * grid.dv3, np.ones(f.shape, bool)),)
    low, high = _window(f)
    stretch = max(1.0, float(np.max((high - low) / (points - 1))))
    if stretch > 1:
        first = (low + high) / 2 - stretch * (points - 1) / 2
    else:  # on the points of the grid
        first = np.clip(low - (points - (high - low + 1)) // 2, 0, np.asarray(grid.nv) - points).astype(float)
    places = [a + stretch * np.arange(m) for a, m in zip(first, points, strict=True)]
    inside = [(p > -0.5) & (p < n - 0.5) for p, n in zip(places, grid.nv, strict=True)]
    fine = Patch(stretch, _merged(f, places) * grid.dv3, _product(inside))
    stretch = float(np.max((np.asarray(grid.nv) - 1) / (points - 1)))
    box = [(n - 1) / 2 + stretch * (np.arange(m) - (m - 1) / 2) for n, m in zip(grid.nv, points, strict=True)]
    inside = [(p > -stretch / 2) & (p < n - 1 + stretch / 2) for p, n in zip(box, grid.nv, strict=True)]
    covered = [(p >= known[0]) & (p <= known[-1]) for p, known in zip(box, places, strict=True)]
    coarse = Patch(stretch, _merged(f, box) * grid.dv3, _product(inside) & ~_product(covered))
    return fine, coarse


def _window(f: np.ndarray, negligible: float = NEGLIGIBLE) -> tuple[np.ndarray, np.ndarray]:
    """First and last index along each axis at which f is above `negligible` times its largest value; NaN counts."""
    planes = [f.max((1, 2)), f.max((0, 2)), f.max((0, 1))]
    full = [np.flatnonzero(~(plane <= negligible * plane.max())) for plane in planes]
    return np.array([at[0] for at in full]), np.array([at[-1] for at in full])


def _merged(f: np.ndarray, places: list[np.ndarray]) -> np.ndarray:
    """f split linearly between the two nearest places along each axis, which conserves mass and momentum; float32."""
    merged = f.astype(np.float32)
    for place, n in zip(places, f.shape, strict=True):
        distance = np.abs(np.arange(n) - place[:, None]) / (place[1] - place[0])
        share = np.maximum(1 - distance, 0).astype(np.float32)
        merged = np.tensordot(merged, share, (0, 1))  # the merged axis moves to the end; three merges restore x, y, z
    return merged


def _product(along: list[np.ndarray]) -> np.ndarray:
    return along[0][:, None, None] & along[1][None, :, None] & along[2][None, None, :]
