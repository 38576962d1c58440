"""Initial particles: positions on a jittered lattice, velocities drawn from a named initial distribution.

Velocities are in thermal units, c = v/sqrt(kT/m), with unit variance averaged over the axes, as in (E.2).
"""

from collections.abc import Callable

import numpy as np

from ddco_jax.plasma import mixtures
from ddco_jax.plasma.mixtures import Beam, Product

Sampler = Callable[[np.random.Generator, int], np.ndarray]


def lattice(rng: np.random.Generator, n: int, lengths: np.ndarray, jitter: float = 0.15) -> np.ndarray:
    """n positions (n, 3) on a simple lattice that fills the box, displaced along each axis by up to +-jitter spacings.

    `lengths` (3,) are the sides of the box; the positions have the same unit.  A lattice has no close pairs and no
    long-wave density fluctuation, which would take long to equilibrate.
    """
    lengths = np.asarray(lengths, float)
    spacing = (lengths.prod() / n) ** (1 / 3)
    counts = np.maximum(1, np.round(lengths / spacing).astype(int))
    while counts.prod() < n:
        counts[np.argmax(lengths / counts)] += 1
    sites = np.sort(rng.choice(counts.prod(), n, replace=False))
    cells = np.stack(np.unravel_index(sites, tuple(counts)), axis=-1)
    return (cells + 0.5 + rng.uniform(-jitter, jitter, (n, 3))) * (lengths / counts)


def product(start: Product) -> Sampler:
    """Sampler of velocities (n, 3) whose components are independent."""
    single = all(len(axis) == 1 for axis in start)  # no term to choose: no random numbers are drawn for it

    def sample(rng: np.random.Generator, n: int) -> np.ndarray:
        which = np.zeros((3, n)) if single else rng.random((n, 3)).T
        mean, width = np.empty((2, n, 3))
        for k, axis in enumerate(start):
            weights, means, variances = np.array(axis).T
            term = np.searchsorted(np.cumsum(weights[:-1]), which[k], side="right")
            mean[:, k], width[:, k] = means[term], np.sqrt(variances)[term]
        return mean + width * rng.standard_normal((n, 3))

    return sample


def beams(start: tuple[Beam, ...]) -> Sampler:
    """Sampler of velocities (n, 3) from a sum of isotropic beams."""
    weights, means, variances = (np.array(column) for column in zip(*start, strict=True))
    # equal weights are drawn as integers, which reproduces the velocities of the MD runs in data/md
    p = None if np.all(weights == weights[0]) else weights

    def sample(rng: np.random.Generator, n: int) -> np.ndarray:
        term = rng.choice(len(weights), n, p=p)
        return means[term] + np.sqrt(variances)[term, None] * rng.standard_normal((n, 3))

    return sample


def bimaxwellian(anisotropy: float) -> Sampler:
    """Sampler of velocities (n, 3), in sqrt(kT/m), from a bi-Maxwellian with Tx/Tperp = anisotropy."""
    return product(mixtures.bimaxwellian(anisotropy))


maxwellian = product(mixtures.MAXWELLIAN)
symmetric_double_well = product(mixtures.SYMMETRIC_DOUBLE_WELL)
asymmetric_double_well = product(mixtures.ASYMMETRIC_DOUBLE_WELL)
bump_on_tail = beams(mixtures.BUMP_ON_TAIL)
cold_beam = beams(mixtures.COLD_BEAM)
four_beams = beams(mixtures.FOUR_BEAMS)


def uniform(rng: np.random.Generator, n: int) -> np.ndarray:
    """Velocities (n, 3), uniform in the cube |c_i| < sqrt(3)."""
    return rng.uniform(-(3**0.5), 3**0.5, (n, 3))


def uniform_ball(rng: np.random.Generator, n: int) -> np.ndarray:
    """Velocities (n, 3), uniform in the ball |c| < sqrt(5)."""
    direction = rng.standard_normal((n, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    return direction * (5**0.5 * rng.uniform(0, 1, (n, 1)) ** (1 / 3))


def resample(velocities: np.ndarray) -> Sampler:
    """Sampler of a user's velocities (M, 3), in any unit; draws without replacement if n <= M."""

    def sample(rng: np.random.Generator, n: int) -> np.ndarray:
        return velocities[rng.choice(len(velocities), n, replace=n > len(velocities))]

    return sample


def exact(c: np.ndarray, cell: np.ndarray, cells: int) -> np.ndarray:
    """c (n, 3), shifted and scaled to zero mean and <|c|^2> = 3 in each cell; `cell` (n,) has the cell indices."""
    count = np.bincount(cell, minlength=cells)
    mean = np.stack([np.bincount(cell, c[:, a], cells) for a in range(3)], axis=1) / count[:, None]
    c = c - mean[cell]
    square = np.bincount(cell, np.einsum("na,na->n", c, c), cells) / count
    return c * np.sqrt(3 / square)[cell, None]
