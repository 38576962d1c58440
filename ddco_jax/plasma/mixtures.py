"""Sums of normals that define the initial distributions (E.2), for the grid and for the samplers of particles.

All numbers are in thermal units, c = v/sqrt(kT/m).  Every distribution has zero mean and, except two_stream,
<|c|^2> = 3.
"""

from typing import NamedTuple

import numpy as np
from jax import Array


class Normal(NamedTuple):
    """One term of a sum of normals in one dimension; the weights of all terms add up to one."""

    weight: float | np.ndarray | Array
    mean: float | np.ndarray | Array
    variance: float | np.ndarray | Array


class Product(NamedTuple):
    """Independent axes: f(c) = fx(cx) fy(cy) fz(cz), each factor a sum of normals."""

    x: tuple[Normal, ...]
    y: tuple[Normal, ...]
    z: tuple[Normal, ...]


class Beam(NamedTuple):
    """One term of a sum of drifting isotropic Maxwellians; the weights of all terms add up to one."""

    weight: float
    mean: tuple[float, float, float]
    variance: float


MAXWELLIAN = Product(*[(Normal(1.0, 0.0, 1.0),)] * 3)


def bimaxwellian(anisotropy: float | np.ndarray | Array) -> Product:
    """Bi-Maxwellian with Tx/Tperp = anisotropy at mean temperature T; 1/4 is the paper's T/3, 4T/3, 4T/3."""
    across = 3 / (anisotropy + 2)
    return Product(*((Normal(1.0, 0.0, variance),) for variance in (across * anisotropy, across, across)))


def two_stream(shift: float | np.ndarray | Array) -> Product:
    """Two equal beams along x at +-shift, each of unit variance."""
    rest = (Normal(1.0, 0.0, 1.0),)
    return Product((Normal(0.5, shift, 1.0), Normal(0.5, -shift, 1.0)), rest, rest)


SYMMETRIC_DOUBLE_WELL = Product(*[(Normal(0.5, 0.8**0.5, 0.2), Normal(0.5, -(0.8**0.5), 0.2))] * 3)
"""Two equal normals at +-b0: b0^2 = 0.8, sigma0^2 = 0.2."""

ASYMMETRIC_DOUBLE_WELL = Product(*[(Normal(0.5, 0.875**0.5, 0.05), Normal(0.5, -(0.875**0.5), 0.2))] * 3)
"""Two equally weighted normals at b1 and -b1: b1^2 = 0.875, sigma1^2 = 0.05, sigma2^2 = 0.2."""

BUMP_ON_TAIL = (Beam(0.25, (1.5, 0.0, 0.0), 0.1), Beam(0.75, (-0.5, 0.0, 0.0), 29 / 30))
"""A quarter of the particles form a cold beam along x."""

COLD_BEAM = (
    Beam(0.3, (1.0, 0.0, 0.0), 0.05),
    Beam(0.7, (-3 / 7, 0.0, 0.0), (3 - 0.3 * (1 + 3 * 0.05) - 0.7 * (3 / 7) ** 2) / 2.1),
)
"""Three tenths of the particles form a beam along x, so narrow that diffusion in the microfield widens it first.

The test functions centred at (1, 0, 0) have two widths and so measure how the beam spreads.
"""

_CORNERS = ((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1))
FOUR_BEAMS = tuple(Beam(0.25, (0.93**0.5 * x, 0.93**0.5 * y, 0.93**0.5 * z), 0.07) for x, y, z in _CORNERS)
"""Four equal narrow beams, which pass through each other; mean velocities at the corners of a tetrahedron."""
