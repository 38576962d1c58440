"""How the cells along x lie on devices: all on one, or divided over several, with what couples them.

Everything that couples cells goes through the line of the grid: shifts along x, sums and maxima over cells, profiles of
all cells.  A divided line gives every device nx/devices cells, rounded up.  A device with one cell fewer fills its last
place with a copy of the next device's first cell, its *ghost*: it evolves like that cell, no other cell takes anything
from it, and sums leave it out.
"""

import abc
import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ddco_jax.plasma.arrays import Array

AXIS = "x"
"""Name of the axis of the mesh."""
ALONG, EVERYWHERE = PartitionSpec(AXIS), PartitionSpec()
"""Layouts of arrays: divided along the first axis, x; the same on every device."""
Tree = TypeVar("Tree")


def firsts(nx: int, devices: int) -> np.ndarray:
    """The first cell of each device, (devices,)."""
    return np.arange(devices) * nx // devices


def rows(nx: int, devices: int) -> np.ndarray:
    """The row of each cell in an array divided over some devices, which holds their ghosts too, (nx,)."""
    first, count = firsts(nx, devices), -(-nx // devices)
    owner = np.searchsorted(first, np.arange(nx), side="right") - 1
    return owner * count + np.arange(nx) - first[owner]


class Line(abc.ABC):
    """The cells along x.

    `shifted`, `sum`, `max`, `profile` and `own` act on the cells of one device; they are called in functions given to
    `run`.
    """

    @property
    @abc.abstractmethod
    def devices(self) -> int:
        """Number of devices."""

    @abc.abstractmethod
    def shifted(self, a: Array, *by: int) -> list[Array]:
        """For each shift k the array whose cell i is cell i - k of `a`, as jnp.roll(a, k, 0); x is periodic."""

    @abc.abstractmethod
    def sum(self, a: Array) -> Array:
        """Sum over all axes, of all cells."""

    @abc.abstractmethod
    def max(self, a: Array) -> Array:
        """Maximum over all axes, of all cells."""

    @abc.abstractmethod
    def profile(self, a: Array) -> Array:
        """All cells, (nx, ...), on every device, in order; for small arrays."""

    @abc.abstractmethod
    def own(self, profile: Array) -> Array:
        """The cells of this device out of all, (nx, ...)."""

    @abc.abstractmethod
    def spread(self, tree: Tree) -> Tree:
        """Arrays of all cells, (nx, ...), divided over the devices; numbers are the same on every device."""

    @abc.abstractmethod
    def collected(self, tree: Tree) -> Tree:
        """The inverse of `spread`, in the memory of the host; traced arrays stay on the devices.

        With several processes all of them call it, and each gets all cells.
        """

    @abc.abstractmethod
    def run(self, function: Callable[..., Any], model: Any, *cells: Any, result: Any = ALONG) -> Any:
        """`function(model, *cells)` on the devices.

        `model` is the same everywhere.  Arrays in `cells` have x as the first axis, numbers are the same everywhere;
        `result` gives the layouts of what the function returns, as a prefix of it.  In a function that runs so already,
        this calls `function`.
        """

    @staticmethod
    def layout(tree: Tree) -> Tree:
        """The layouts of a tree of arrays with x as the first axis, and of numbers."""
        return jax.tree.map(lambda a: ALONG if jnp.ndim(a) else EVERYWHERE, tree)


@dataclasses.dataclass(frozen=True)
class Whole(Line):
    """All cells on one device."""

    @property
    def devices(self) -> int:
        return 1

    def shifted(self, a: Array, *by: int) -> list[Array]:
        return [jnp.roll(a, k, 0) if k else a for k in by]

    def sum(self, a: Array) -> Array:
        return jnp.sum(a)

    def max(self, a: Array) -> Array:
        return jnp.max(a)

    def profile(self, a: Array) -> Array:
        return a

    def own(self, profile: Array) -> Array:
        return profile

    def spread(self, tree: Tree) -> Tree:
        return jax.tree.map(jnp.asarray, tree)

    def collected(self, tree: Tree) -> Tree:
        return tree

    def run(self, function: Callable[..., Any], model: Any, *cells: Any, result: Any = ALONG) -> Any:
        return function(model, *cells)


WHOLE = Whole()


@dataclasses.dataclass(frozen=True)
class Divided(Line):
    """The cells divided over the devices of a mesh with one axis, in order; at least one cell per device."""

    nx: int
    mesh: Mesh

    def __post_init__(self) -> None:
        if self.devices > self.nx:
            raise ValueError(f"{self.nx} cells cannot be divided over {self.devices} devices; take at most {self.nx}")

    @property
    def devices(self) -> int:
        return int(self.mesh.size)

    @functools.cached_property
    def first(self) -> np.ndarray:
        """The first cell of each device."""
        return firsts(self.nx, self.devices)

    @functools.cached_property
    def count(self) -> np.ndarray:
        """The number of cells of each device, without ghosts."""
        return np.diff([*self.first, self.nx])

    @property
    def places(self) -> int:
        """The number of cells of a device, with its ghost."""
        return -(-self.nx // self.devices)

    @functools.cached_property
    def cells(self) -> np.ndarray:
        """The cell in each place of each device, (devices, places)."""
        return (self.first[:, None] + np.arange(self.places)) % self.nx

    def shifted(self, a: Array, *by: int) -> list[Array]:
        left, right = max(0, *by), max(0, *(-k for k in by))
        ghosts = [self.places - 1] if right and np.any(self.count < self.places) else []
        beyond = [*range(-left, 0), *ghosts, *range(self.places, self.places + right)]
        found = self._fetched(a, beyond)
        if ghosts:
            found[ghosts[0]] = jnp.where(self._here(self.count) < self.places, found[ghosts[0]], a[-1])
        before, after = ([found[place][None] for place in beyond if (place < 0) is low] for low in (True, False))
        extended = jnp.concatenate([*before, a[: self.places - len(ghosts)], *after])
        return [lax.slice_in_dim(extended, left - k, left - k + self.places) for k in by]

    def _fetched(self, a: Array, beyond: Sequence[int]) -> dict[int, Array]:
        """The cells in places beyond those of a device, by place, from the devices that have them.

        A round is one `ppermute`, in which a device sends to one other; places with the same pairs share it.
        """
        rounds: dict[tuple[tuple[int, int], ...], list[tuple[int, np.ndarray]]] = {}
        for place in beyond:
            for pairs, sent in self._rounds(place):
                rounds.setdefault(pairs, []).append((place, sent))
        found: dict[int, Array] = {}
        for pairs, planes in rounds.items():
            chosen = jnp.take(a, self._here(np.stack([index for _, index in planes], 1)), 0, mode="clip")
            for (place, _), plane in zip(planes, lax.ppermute(chosen, AXIS, pairs), strict=True):
                found[place] = found[place] + plane if place in found else plane  # zero where nothing is received
        return found

    def _rounds(self, place: int) -> list[tuple[tuple[tuple[int, int], ...], np.ndarray]]:
        """Rounds that bring each device the cell in a place beyond its own: pairs (from, to), and what each sends."""
        devices = range(self.devices)
        wanted = (self.first + place) % self.nx
        owner = np.searchsorted(self.first, wanted, side="right") - 1
        waiting = [d for d in devices if place < 0 or place >= self.count[d]]
        rounds = []
        while waiting:
            pairs: dict[int, int] = {}
            sent = np.zeros(self.devices, int)
            for d in waiting:
                if (source := int(owner[d])) not in pairs:
                    pairs[source], sent[source] = d, wanted[d] - self.first[source]
            waiting = [d for d in waiting if d not in pairs.values()]
            rounds.append((tuple(sorted(pairs.items())), sent))
        return rounds

    def _here(self, of_devices: np.ndarray) -> Array:
        """The row of this device."""
        return jnp.asarray(of_devices)[lax.axis_index(AXIS)]

    def _without_ghost(self, a: Array) -> Array:
        if np.all(self.count == self.places):
            return a
        own = jnp.arange(self.places) < self._here(self.count)
        return jnp.where(own.reshape(-1, *[1] * (a.ndim - 1)), a, jnp.zeros((), a.dtype))

    def sum(self, a: Array) -> Array:
        return lax.psum(jnp.sum(self._without_ghost(a)), AXIS)

    def max(self, a: Array) -> Array:
        return jnp.max(self.profile(jnp.max(a, tuple(range(1, a.ndim)))))

    def profile(self, a: Array) -> Array:
        zeros = jnp.zeros((self.nx + 1, *a.shape[1:]), a.dtype)  # the last ghost would lie beyond the last cell
        placed = lax.dynamic_update_slice_in_dim(zeros, self._without_ghost(a), self._here(self.first), 0)
        return lax.psum(placed, AXIS)[: self.nx]

    def own(self, profile: Array) -> Array:
        return profile[self._here(self.cells)]

    def spread(self, tree: Tree) -> Tree:
        cells = self.cells.ravel()

        def spread(a: Array) -> Array:
            sharding = NamedSharding(self.mesh, ALONG if jnp.ndim(a) else EVERYWHERE)
            if isinstance(a, jax.core.Tracer):
                return lax.with_sharding_constraint(jnp.take(a, cells, 0), sharding) if a.ndim else a
            host = np.asarray(a)
            if host.ndim == 0:
                return jax.make_array_from_callback((), sharding, lambda _: host)
            part = lambda index: host[cells[index[0]]]
            return jax.make_array_from_callback((len(cells), *host.shape[1:]), sharding, part)

        return jax.tree.map(spread, tree)

    def collected(self, tree: Tree) -> Tree:
        order = rows(self.nx, self.devices)

        def collected(a: Array) -> Array | np.ndarray:
            if isinstance(a, jax.core.Tracer):
                return jnp.take(a, order, 0) if a.ndim else a
            return self._on_host(a)[order] if a.ndim else np.asarray(a)

        return jax.tree.map(collected, tree)

    def _on_host(self, a: Array) -> np.ndarray:
        """A divided array, with ghosts; where other processes have parts of it, one cell of each device at a time."""
        if not isinstance(a, jax.Array) or a.is_fully_addressable:
            return np.asarray(a)
        host = np.empty(a.shape, a.dtype)
        for place in range(self.places):
            host[place :: self.places] = multihost_utils.process_allgather(_one_of_each(a, place, self), tiled=True)
        return host

    def run(self, function: Callable[..., Any], model: Any, *cells: Any, result: Any = ALONG) -> Any:
        if AXIS in jax.sharding.get_abstract_mesh().manual_axes:
            return function(model, *cells)
        arrays, rest = eqx.partition((model, cells), eqx.is_array)

        def on_device(arrays: Any) -> Any:
            model, cells = eqx.combine(arrays, rest)
            return function(model, *cells)

        layouts = jax.tree.map(lambda _: EVERYWHERE, arrays[0]), self.layout(arrays[1])
        # no check of what varies: it refuses loops that begin with the same zeros on every device
        return jax.shard_map(on_device, mesh=self.mesh, in_specs=(layouts,), out_specs=result, check_vma=False)(arrays)


@functools.partial(jax.jit, static_argnums=2)
def _one_of_each(a: Array, place: int, line: Divided) -> Array:
    """The cell in one place of every device, (devices, ...)."""
    chosen = lambda model, a: lax.dynamic_slice_in_dim(a, model, 1, 0)
    return line.run(chosen, place, a)
