"""Where particles begin: positions on a jittered lattice, velocities drawn from a named start.

Velocities come in thermal units, c = v/sqrt(kT/m) with unit variance averaged over axes, as (E.2) defines the starts.
"""

from collections.abc import Callable

import numpy as np

Sampler = Callable[[np.random.Generator, int], np.ndarray]


def lattice(rng: np.random.Generator, n: int, lengths: np.ndarray, jitter: float = 0.15) -> np.ndarray:
    """n positions (n, 3) on a simple lattice that fills the box, each displaced by +-jitter of the spacing.

    A lattice has no close pairs and no long-wave density fluctuation, both of which take long to equilibrate away.
    """
    lengths = np.asarray(lengths, float)
    spacing = (lengths.prod() / n) ** (1 / 3)
    counts = np.maximum(1, np.round(lengths / spacing).astype(int))
    while counts.prod() < n:
        counts[np.argmax(lengths / counts)] += 1
    sites = np.sort(rng.choice(counts.prod(), n, replace=False))
    cells = np.stack(np.unravel_index(sites, tuple(counts)), axis=-1)
    return (cells + 0.5 + rng.uniform(-jitter, jitter, (n, 3))) * (lengths / counts)


def maxwellian(rng: np.random.Generator, n: int) -> np.ndarray:
    """Normal in every axis."""
    return rng.standard_normal((n, 3))


def bimaxwellian(anisotropy: float) -> Sampler:
    """Normal with Tx/Tperp = anisotropy."""
    widths = np.sqrt(3 / (anisotropy + 2) * np.array([anisotropy, 1.0, 1.0]))
    return lambda rng, n: rng.standard_normal((n, 3)) * widths


def uniform(rng: np.random.Generator, n: int) -> np.ndarray:
    """Uniform in the cube |c_i| < sqrt(3)."""
    return rng.uniform(-(3**0.5), 3**0.5, (n, 3))


def uniform_ball(rng: np.random.Generator, n: int) -> np.ndarray:
    """Uniform in the ball |c| < sqrt(5)."""
    direction = rng.standard_normal((n, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    return direction * (5**0.5 * rng.uniform(0, 1, (n, 1)) ** (1 / 3))


def bump_on_tail(rng: np.random.Generator, n: int) -> np.ndarray:
    """A quarter of the particles a cold beam along x: N(1.5, 0.1) beside N(-0.5, 29/30), isotropic both."""
    beam = rng.random((n, 1)) < 0.25
    shift = np.where(beam, 1.5, -0.5) * np.array([1.0, 0.0, 0.0])
    return shift + np.where(beam, 0.1, 29 / 30) ** 0.5 * rng.standard_normal((n, 3))


def cold_beam(rng: np.random.Generator, n: int) -> np.ndarray:
    """Three tenths of the particles a beam as narrow as the microfield acts: N(1, 0.05) along x beside N(-3/7, 1.203).

    Both isotropic.  The widths of test functions around (1, 0, 0) see how it spreads.
    """
    beam = rng.random((n, 1)) < 0.3
    shift = np.where(beam, 1.0, -3 / 7) * np.array([1.0, 0.0, 0.0])
    rest = (3 - 0.3 * (1 + 3 * 0.05) - 0.7 * (3 / 7) ** 2) / 2.1
    return shift + np.where(beam, 0.05, rest) ** 0.5 * rng.standard_normal((n, 3))


def four_beams(rng: np.random.Generator, n: int) -> np.ndarray:
    """Four equal beams of variance 0.07 on the corners of a tetrahedron: how narrow beams pass through each other."""
    corners = 0.93**0.5 * np.array([[1.0, 1.0, 1.0], [1.0, -1.0, -1.0], [-1.0, 1.0, -1.0], [-1.0, -1.0, 1.0]])
    return corners[rng.integers(0, 4, n)] + 0.07**0.5 * rng.standard_normal((n, 3))


def _double_well(b: float, width_above: float, width_below: float) -> Sampler:
    def sample(rng, n):
        above = rng.random((n, 3)) < 0.5
        return np.where(above, b, -b) + np.where(above, width_above, width_below) * rng.standard_normal((n, 3))

    return sample


symmetric_double_well = _double_well(0.8**0.5, 0.2**0.5, 0.2**0.5)
asymmetric_double_well = _double_well(0.875**0.5, 0.05**0.5, 0.2**0.5)


def resample(velocities: np.ndarray) -> Sampler:
    """Draws from a user's velocities (M, 3) in any unit, without replacement where there are enough."""

    def sample(rng, n):
        return velocities[rng.choice(len(velocities), n, replace=n > len(velocities))]

    return sample


def exact(c: np.ndarray, cell: np.ndarray, cells: int) -> np.ndarray:
    """c (n, 3) shifted and scaled in every cell to zero mean and <|c|^2> = 3 exactly; cell (n,) numbers the cells."""
    count = np.bincount(cell, minlength=cells)
    mean = np.stack([np.bincount(cell, c[:, a], cells) for a in range(3)], axis=1) / count[:, None]
    c = c - mean[cell]
    square = np.bincount(cell, np.einsum("na,na->n", c, c), cells) / count
    return c * np.sqrt(3 / square)[cell, None]
