"""The test functions psi_k of the weak form (App. D), in thermal units c = (v - vbar)/sqrt(kT/m).

One fixed, ordered library.  The rates of their averages, measured over all particles, are stored with every MD run, and
the learning compares with these rates.  A change of the library invalidates stored data, so `VERSION` is stored too.
"""

import dataclasses
from types import ModuleType

import numpy as np

from ddco_jax.plasma.arrays import AnyArray

VERSION = 1

_AXES = np.eye(3)
_CENTRES = np.concatenate(
    [
        np.zeros((1, 3)),
        *(sign * m * _AXES[[a]] for m in (1.0, 2.0) for a in (0, 1) for sign in (1, -1)),
        [[0.9, 0.9, 0.9], [-0.9, -0.9, -0.9], [1.0, 1.0, 0.0], [1.0, -1.0, 0.0]],
    ]
)


@dataclasses.dataclass(frozen=True)
class TestFunctions:
    """Parameters of the four families; calling evaluates all of them, with NumPy or jax.numpy alike.

    exp(-|c - mu|^2/2 sigma^2), c_a^2 exp(-c^2/2 sigma^2), exp(-(c^2 - mu^2)^2/2 sigma^2) and monomials.
    """

    __test__ = False  # not a pytest class

    gaussian_centres: np.ndarray
    gaussian_widths: np.ndarray
    axes: np.ndarray
    axis_widths: np.ndarray
    shell_radii: np.ndarray
    shell_widths: np.ndarray
    exponents: np.ndarray

    def __len__(self) -> int:
        return len(self.gaussian_widths) + len(self.axis_widths) + len(self.shell_widths) + len(self.exponents)

    @property
    def names(self) -> list[str]:
        """Names of the test functions, in order."""
        gaussians = [
            f"gaussian({', '.join(f'{x:g}' for x in mu)}; {s:g})"
            for mu, s in zip(self.gaussian_centres, self.gaussian_widths, strict=True)
        ]
        squares = [f"c{'xyz'[a]}^2 gaussian({s:g})" for a, s in zip(self.axes, self.axis_widths, strict=True)]
        shells = [f"shell({r:g}; {s:g})" for r, s in zip(self.shell_radii, self.shell_widths, strict=True)]
        monomials = [f"cx^{i} cy^{j} cz^{k}" for i, j, k in self.exponents]
        return gaussians + squares + shells + monomials

    def __call__(self, c: AnyArray, xp: ModuleType = np) -> AnyArray:
        """psi (..., K) at c (..., 3); `xp` is the array module."""
        square = xp.sum(c * c, axis=-1, keepdims=True)
        # |c - mu|^2 expanded: a matrix product instead of an (..., K, 3) array
        mu = xp.asarray(self.gaussian_centres, c.dtype)
        distance = square - 2 * (c @ mu.T) + xp.sum(mu * mu, axis=-1)
        gaussians = xp.exp(-distance / (2 * xp.asarray(self.gaussian_widths, c.dtype) ** 2))
        component = (c * c)[..., self.axes]
        squares = component * xp.exp(-square / (2 * xp.asarray(self.axis_widths, c.dtype) ** 2))
        offset = square - xp.asarray(self.shell_radii, c.dtype) ** 2
        shells = xp.exp(-(offset**2) / (2 * xp.asarray(self.shell_widths, c.dtype) ** 2))
        monomials = xp.stack([self._monomial(c, exponent) for exponent in self.exponents], axis=-1)
        return xp.concatenate([gaussians, squares, shells, monomials], axis=-1)

    @staticmethod
    def _monomial(c: AnyArray, exponent: np.ndarray) -> AnyArray | None:
        product = None
        for axis, power in enumerate(exponent):
            for _ in range(power):
                product = c[..., axis] if product is None else product * c[..., axis]
        return product


def _grid(*values: tuple[float | int, float]) -> list[np.ndarray]:
    return [np.asarray(column) for column in zip(*values, strict=True)]


def _library() -> TestFunctions:
    centres = np.tile(_CENTRES, (2, 1))
    widths = np.repeat([0.6, 1.0], len(_CENTRES))
    axes, axis_widths = _grid(*((a, s) for s in (0.7, 1.2, 2.0) for a in range(3)))
    radii, shell_widths = _grid(*((r, s) for s in (0.8, 2.0) for r in (0.0, 1.0, 1.6, 2.2, 3.0)))
    exponents = np.array(
        [(2, 0, 0), (0, 2, 0), (4, 0, 0), (0, 4, 0), (2, 2, 0), (0, 2, 2), (3, 0, 0), (1, 2, 0), (1, 1, 1)]
    )
    return TestFunctions(centres, widths, axes, axis_widths, radii, shell_widths, exponents)


TEST_FUNCTIONS = _library()
"""The library."""
