"""Spectra of the tensors through which fields enter the collision flux (`collisions.spectral`), one octant each."""

import functools
import itertools
import operator
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from ddco_jax.kernels import Separable, Weights
from ddco_jax.plasma.arrays import Array
from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.velocity import transforms

Indices = tuple[int, ...]


class Component(NamedTuple):
    """One component of a tensor of one product chi_m chi_n'."""

    tensor: str
    """"P" is l0 P_ij, "K" is K_ijab, "PP" is 4 l2 P_ij P_ab, and "S" is 4 l2 S_ijab (K where l1 = 0)."""
    product: tuple[int, int]
    """(m, n), m <= n: the product (n, m) has the same weights."""
    indices: Indices
    """i, j or i, j, a, b, in the order that stands for all equal components."""

    @classmethod
    def of(cls, tensor: str, product: tuple[int, int], indices: Indices) -> "Component":
        """The component with these indices; the tensors do not change if i, j or a, b or both pairs are exchanged."""
        pairs = sorted(tuple(sorted(indices[k : k + 2])) for k in range(0, len(indices), 2))
        return cls(tensor, (min(product), max(product)), tuple(itertools.chain(*pairs)))

    def permuted(self, axes: Indices) -> "Component":
        """The component with axes[i] in place of each index i."""
        return Component.of(self.tensor, self.product, tuple(axes[i] for i in self.indices))


class Tensors:
    """Makes octants of the tensors on a grid, each once; components that differ by exchanged axes share one.

    Their units are those of the weights l0, l1 and l2 of the kernel (`kernels.base`).
    """

    def __init__(self, grid: PhaseGrid, separable: Separable, dtype: DTypeLike) -> None:
        self.separable = separable
        offsets = [np.arange(n) * dv for n, dv in zip(grid.nv, grid.dv, strict=True)]
        u = np.stack(np.meshgrid(*offsets, indexing="ij"))
        square = np.sum(u**2, 0)
        self.distinct = jnp.asarray(square > 0)
        speed = np.sqrt(np.where(square > 0, square, 1))
        self.direction = jnp.asarray(u / speed, dtype)
        # a cubic grid has about N^(2/3) distinct speeds: radial functions are evaluated once for each
        _, first, place = np.unique(np.round(np.log(speed), 13), return_index=True, return_inverse=True)
        self.speeds = jnp.asarray(speed.ravel()[first], dtype)
        self.place = jnp.asarray(place.reshape(grid.nv), np.int32)
        axes = list(zip(grid.nv, grid.dv, strict=True))
        self.symmetries = [p for p in itertools.permutations(range(3)) if [axes[i] for i in p] == axes]
        self.projectors: dict[Indices, Array] = {}
        self.octants: dict[Component, Array] = {}
        self.radial: dict[int, tuple[Array, Callable]] = {}

    def octant(self, component: Component) -> Array:
        """Octant spectrum of one component, (nvx, nvy, nvz)."""
        if component not in self.octants:
            self.octants[component] = self._made(component)
        return self.octants[component]

    def _made(self, component: Component) -> Array:
        i, j, *ab = component.indices
        if component.tensor == "S":  # the mean of two products P P
            a, b = ab
            parts = {Component.of("PP", component.product, indices) for indices in ((i, a, j, b), (i, b, j, a))}
            return functools.reduce(operator.add, map(self.octant, sorted(parts))) / len(parts)
        first, axes = min((component.permuted(axes), axes) for axes in self.symmetries)
        if first != component:
            return jnp.transpose(self.octant(first), axes)
        weights = self.separable.weights[component.product]
        if component.tensor == "P":
            values = self._radial(weights.isotropic) * self._P(i, j)
        elif component.tensor == "PP":
            values = 4 * self._radial(weights.parallel) * self._P(i, j) * self._P(*ab)
        else:
            values = self._K(weights, i, j, *ab)
        return transforms.kernel_spectrum(values, parity(component.indices))

    def _P(self, i: int, j: int) -> Array:
        if (i, j) not in self.projectors:
            projector = int(i == j) - self.direction[i] * self.direction[j]
            self.projectors[i, j] = self.projectors[j, i] = jnp.where(self.distinct, projector, 0)
        return self.projectors[i, j]

    def _K(self, weights: Weights, i: int, j: int, a: int, b: int) -> Array:
        P = self._P
        S = (P(i, a) * P(j, b) + P(i, b) * P(j, a)) / 2
        values = jnp.zeros_like(S)
        if weights.perpendicular is not None:
            values += self._radial(weights.perpendicular) * (P(i, j) * P(a, b) - S)
        if weights.parallel is not None:
            values += self._radial(weights.parallel) * S
        return 4 * values

    def _radial(self, function: Callable[[Array], Array] | None) -> Array:
        """A weight at all |u| of the grid; traced once for all components, which keeps compilation short."""
        assert function is not None
        if id(function) not in self.radial:
            values = function(self.speeds)[self.place]
            self.radial[id(function)] = (values, function)  # holding the function keeps its id unique
        return self.radial[id(function)][0]


def parity(indices: Indices) -> transforms.Parity:
    """Whether a tensor component is odd (1) along each axis: each index contributes one factor."""
    return indices.count(0) % 2, indices.count(1) % 2, indices.count(2) % 2


def is_anisotropic(weights: Weights) -> bool:
    """Whether the product has a part with |Pr|^2 or Pr r^T P."""
    return weights.perpendicular is not None or weights.parallel is not None
