"""Checkpoints by Orbax: named arrays by step, written atomically, with hashes; only the last few are kept.

Arrays hold all cells in order, however these are divided over devices.  The metadata of a checkpoint hold a hash of
every array (of f one per cell in x) and what the writer adds, sealed by a hash of their own.
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
from jax.typing import DTypeLike

from ddco_jax.plasma.files import sealed, unsealed
from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.plasma.state import State, Tally
from ddco_jax.settings import ConfigError

PER_CELL = 4
"""Number of axes from which on an array has one hash per index of the first: f."""
PATTERN = ("[", "]", "\\")
"""Signs that a path of checkpoints must not hold."""
METADATA = "_CHECKPOINT_METADATA"
"""File of Orbax that holds the metadata of a checkpoint."""
Arrays = dict[str, jax.Array]


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
        """Write the arrays atomically, with `about` in the metadata; after a kill, earlier checkpoints are intact."""
        import orbax.checkpoint as ocp

        metadata = sealed({"hashes": {name: hashes(array) for name, array in arrays.items()}, **(about or {})})
        self._manager.save(step, args=ocp.args.StandardSave(dict(arrays)), custom_metadata=metadata)
        self._manager.wait_until_finished()

    def restore(self, step: int, like: Mapping[str, jax.Array | jax.ShapeDtypeStruct]) -> tuple[Arrays, dict[str, Any]]:
        """The arrays saved at a step, and their metadata, which are {} where version 0.1 has written them.

        `like` gives names, shapes and dtypes.  Raises Damaged where something is missing or differs from its hash.
        """
        import orbax.checkpoint as ocp

        folder = self.folder / str(step)
        try:
            metadata = json.loads((folder / METADATA).read_text())["custom_metadata"] or {}
            metadata = unsealed(metadata, METADATA)
            with ocp.StandardCheckpointer() as reader:
                found = reader.restore(folder / "default", dict(like))
            arrays = {name: jnp.asarray(array) for name, array in found.items()}
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
    like: Mapping[str, jax.Array | jax.ShapeDtypeStruct],
    accept: Callable[[int, dict[str, Any]], None],
    note: Callable[[str], None],
) -> tuple[int, Arrays] | None:
    """Step and arrays of the last checkpoint that can be used, None where there is no checkpoint at all.

    `accept` raises Damaged where a step with these metadata does not fit.  Later checkpoints are set aside; `note` says
    so.  Raises ConfigError where there are checkpoints but none can be used.
    """
    reasons: dict[int, str] = {}
    for step in checkpoints.steps():
        try:
            arrays, metadata = checkpoints.restore(step, like)
            accept(step, metadata)
        except Damaged as error:
            reasons[step] = str(error)
            continue
        for later, reason in reasons.items():
            place = checkpoints.set_aside(later)
            note(f"checkpoint {later} is not used: {reason}; it is now {place.name}")
        if not metadata:
            note(f"checkpoint {step} is of version 0.1, without hashes: damage goes unnoticed")
        return step, arrays
    if reasons:
        first, *more = (f"{step}: {reason}" for step, reason in reasons.items())
        others = f" (and {len(more)} more)" if more else ""
        raise ConfigError(
            f"{checkpoints.folder}: no checkpoint can be used, {first}{others}; restore the folder from a copy, or "
            "begin again in another one"
        )
    return None


def hashes(array: jax.Array) -> list[str]:
    """Hashes of the values of an array, of one with PER_CELL axes one for each index of the first axis."""
    if array.ndim < PER_CELL:
        return [_hash(np.asarray(array))]
    return [_hash(np.asarray(array[cell])) for cell in range(array.shape[0])]


def _hash(values: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(values).data).hexdigest()[:16]


def arrays_of(state: State) -> dict[str, jax.Array]:
    """The fields of a state by name, without the correlation age where it does not evolve."""
    fields = vars(state) | {"tally": jnp.stack(jax.tree.leaves(state.tally))}
    return {name: field for name, field in fields.items() if field is not None}


def shapes_of(grid: PhaseGrid, dtype: DTypeLike, aging: bool) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes and dtypes of the arrays that `arrays_of` returns; `aging`: whether the correlation age evolves."""
    shapes = {"f": grid.shape, "electric_field": (grid.nx,), "memory": (grid.nx, 3, 3, 3), "time": ()}
    shapes["tally"] = (len(vars(Tally.zero(dtype))),)
    if aging:
        shapes["correlation_age"] = (grid.nx,)
    return {name: jax.ShapeDtypeStruct(shape, dtype) for name, shape in shapes.items()}


def state_of(arrays: Mapping[str, jax.Array]) -> State:
    """Rebuild a state from the arrays that `arrays_of` returns."""
    fields = {name: arrays[name] for name in ("f", "electric_field", "memory", "time")}
    return State(correlation_age=arrays.get("correlation_age"), tally=Tally(*arrays["tally"]), **fields)
