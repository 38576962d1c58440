"""Checkpoints by Orbax: named arrays by step, written atomically, with hashes; only the last few are kept.

Arrays divided over devices are written as they are, with ghosts (`plasma.line`), each process its part of them; the
metadata hold the number of devices, and any other number can read them.  The metadata of a checkpoint also hold a hash
of every array (of f one per cell in x) and what the writer adds, sealed by a hash of their own.
"""

import functools
import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.typing import DTypeLike

from ddco_jax.plasma.files import sealed, unsealed
from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.plasma.line import rows
from ddco_jax.plasma.state import State, Tally
from ddco_jax.settings import ConfigError
from ddco_jax.simulation import processes

PER_CELL = 4
"""Number of axes from which on an array has one hash per index of the first: f."""
HASH = 16
"""Hexadecimal digits of a hash."""
PATTERN = ("[", "]", "\\")
"""Signs that a path of checkpoints must not hold."""
METADATA = "_CHECKPOINT_METADATA"
"""File of Orbax that holds the metadata of a checkpoint."""
Arrays = dict[str, np.ndarray]
Like = Mapping[str, jax.Array | jax.ShapeDtypeStruct]
"""Names, shapes and dtypes of arrays."""


class Damaged(ValueError):
    """A checkpoint that cannot be used; the message says why, in one line."""


class Checkpoints:
    """The checkpoints in one folder of a run or a training, keyed by step."""

    def __init__(self, folder: Path, kept: int) -> None:
        # Orbax logs the traceback of every exception in its threads, which it also raises
        logging.getLogger("absl").setLevel(logging.CRITICAL)
        require_usable(folder)
        self.folder, self._kept = (folder / "checkpoints").resolve(), kept

    @functools.cached_property
    def _manager(self) -> Any:
        import orbax.checkpoint as ocp  # imported late: it takes a second and only runs and trainings need it

        options = ocp.CheckpointManagerOptions(
            max_to_keep=self._kept, enable_async_checkpointing=False, cleanup_tmp_directories=True
        )
        return ocp.CheckpointManager(self.folder, options=options)

    def steps(self) -> list[int]:
        """Steps of the complete checkpoints, and of anything else whose name is a number, the last one first."""
        found = self.folder.iterdir() if self.folder.is_dir() else ()
        return sorted((int(p.name) for p in found if p.name.isdecimal() and str(int(p.name)) == p.name), reverse=True)

    def save(self, step: int, arrays: Mapping[str, jax.Array], about: Mapping[str, Any] | None = None) -> None:
        """Write the arrays atomically, with `about` in the metadata; after a kill, earlier checkpoints are intact.

        With several processes all of them call it; `about` is that of process 0.
        """
        import orbax.checkpoint as ocp

        metadata = sealed({"hashes": {name: hashes(array) for name, array in arrays.items()}, **(about or {})})
        self._manager.save(step, args=ocp.args.StandardSave(dict(arrays)), custom_metadata=metadata)
        self._manager.wait_until_finished()

    def restore(self, step: int, expected: Callable[[dict[str, Any]], Like]) -> tuple[Arrays, dict[str, Any]]:
        """The arrays saved at a step, and their metadata, which are {} where version 0.1 has written them.

        `expected` gives names, shapes and dtypes from the metadata.  Each process reads all arrays, alone.
        Raises Damaged where something is missing or differs from its hash.
        """
        import orbax.checkpoint as ocp

        folder = self.folder / str(step)
        try:
            metadata = json.loads((folder / METADATA).read_text())["custom_metadata"] or {}
            metadata = unsealed(metadata, METADATA)
            like = expected(metadata)
            with ocp.StandardCheckpointer(multiprocessing_options=_alone()) as reader:
                # what is like an array of NumPy is read as one, whatever devices had it
                wanted = {name: np.broadcast_to(np.zeros((), a.dtype), a.shape) for name, a in like.items()}
                found = reader.restore(folder / "default", wanted)
            arrays = {name: np.asarray(array) for name, array in found.items()}
        except MemoryError:
            raise
        except Exception as error:  # of Orbax and of what it reads with: whatever it is, the checkpoint is of no use
            raise Damaged(f"it cannot be read, {' '.join(str(error).split())[:100] or type(error).__name__}") from None
        for name, array in arrays.items():
            if array.shape != like[name].shape or array.dtype != like[name].dtype:
                raise Damaged(f"{name} has another shape or precision")
            if metadata and hashes(array) != metadata["hashes"].get(name):
                raise Damaged(f"{name} differs from its hash")
        return arrays, metadata

    def set_aside(self, step: int) -> Path:
        """Rename a checkpoint, so that it counts no longer; returns the new path."""
        taken = len(list(self.folder.glob(f"{step}.set_aside*")))
        return (self.folder / str(step)).rename(self.folder / f"{step}.set_aside{taken or ''}")

    def close(self) -> None:
        """Release the folder."""
        if "_manager" in vars(self):
            self._manager.close()


def require_usable(folder: Path) -> None:
    """Raise ConfigError where Orbax would lose checkpoints: it takes some signs in a path for a pattern."""
    if found := [sign for sign in PATTERN if sign in str(folder.resolve())]:
        raise ConfigError(f"{folder}: checkpoints cannot be written below a path with {' '.join(found)}; rename it")


def newest(
    checkpoints: Checkpoints,
    expected: Callable[[dict[str, Any]], Like],
    accept: Callable[[int, dict[str, Any]], None],
    note: Callable[[str], None],
) -> tuple[int, Arrays, dict[str, Any]] | None:
    """Step, arrays and metadata of the last checkpoint that can be used, None where there is no checkpoint at all.

    `expected` is that of `restore`; `accept` raises Damaged where a step with these metadata does not fit.  Later
    checkpoints are set aside; `note` says so.  Raises ConfigError where there are checkpoints but none can be used.
    """
    reasons: dict[int, str] = {}
    for step in checkpoints.steps():
        try:
            arrays, metadata = checkpoints.restore(step, expected)
            accept(step, metadata)
        except Damaged as error:
            reasons[step] = str(error)
            continue
        for later, reason in reasons.items():
            place = checkpoints.set_aside(later)
            note(f"checkpoint {later} is not used: {reason}; it is now {place.name}")
        if not metadata:
            note(f"checkpoint {step} is of version 0.1, without hashes: damage goes unnoticed")
        return step, arrays, metadata
    if reasons:
        first, *more = (f"{step}: {reason}" for step, reason in reasons.items())
        others = f" (and {len(more)} more)" if more else ""
        raise ConfigError(
            f"{checkpoints.folder}: no checkpoint can be used, {first}{others}; restore the folder from a copy, or "
            "begin again in another one"
        )
    return None


def hashes(array: jax.Array | np.ndarray) -> list[str]:
    """Hashes of the values of an array, of one with PER_CELL axes one for each index of the first axis.

    Of an array divided over several processes, each makes the hashes of its part.
    """
    if isinstance(array, np.ndarray):
        return [_hash(part) for part in (array if array.ndim >= PER_CELL else [array])]
    complete = array.is_fully_addressable or array.is_fully_replicated
    if array.ndim < PER_CELL:
        return [_hash(np.asarray(array) if complete else multihost_utils.process_allgather(array, tiled=True))]
    found = np.zeros((array.shape[0], HASH), np.uint8)
    for shard in array.addressable_shards:  # no copy of f on the device
        for cell, values in enumerate(np.asarray(shard.data), shard.index[0].start or 0):
            found[cell] = np.frombuffer(_hash(values).encode(), np.uint8)
    if not complete:
        found = multihost_utils.process_allgather(found).max(0)
    return [bytes(one).decode() for one in found]


def _hash(values: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(values).data).hexdigest()[:HASH]


def _alone() -> Any:
    """Options of Orbax for a process that reads without the others."""
    import orbax.checkpoint as ocp

    if not processes.several():
        return ocp.options.MultiprocessingOptions()
    here = jax.process_index()
    return ocp.options.MultiprocessingOptions(
        primary_host=here, active_processes={here}, barrier_sync_key_prefix=str(here)
    )


def arrays_of(state: State) -> dict[str, jax.Array]:
    """The fields of a state by name, without the correlation age where it does not evolve."""
    fields = vars(state) | {"tally": jnp.stack(jax.tree.leaves(state.tally))}
    return {name: field for name, field in fields.items() if field is not None}


def shapes_of(grid: PhaseGrid, dtype: DTypeLike, aging: bool, devices: int = 1) -> Like:
    """Shapes and dtypes of the arrays that `arrays_of` returns; `aging`: whether the correlation age evolves.

    The cells are divided over some devices.  Raises Damaged for a number of devices that cannot be.
    """
    if not isinstance(devices, int) or not 1 <= devices <= grid.nx:
        raise Damaged(f"its metadata name {devices!r} devices")
    nx = -(-grid.nx // devices) * devices  # with ghosts
    shapes = {"f": (nx, *grid.nv), "electric_field": (nx,), "memory": (nx, 3, 3, 3), "time": ()}
    shapes["tally"] = (len(vars(Tally.zero(dtype))),)
    if aging:
        shapes["correlation_age"] = (nx,)
    return {name: jax.ShapeDtypeStruct(shape, dtype) for name, shape in shapes.items()}


def state_of(grid: PhaseGrid, arrays: Mapping[str, np.ndarray], devices: int = 1) -> State:
    """The state on the devices of the grid, from the arrays of `arrays_of` on another number of devices."""
    order = rows(grid.nx, devices)
    fields: dict[str, Any] = {n: grid.line.spread(a[order] if a.ndim else a) for n, a in arrays.items() if n != "tally"}
    age = fields.pop("correlation_age", None)
    return State(correlation_age=age, tally=Tally(*map(grid.line.spread, arrays["tally"])), **fields)
