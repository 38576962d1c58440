"""Checkpoints by Orbax: named arrays by step, written atomically; only the last few are kept."""

import logging
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.plasma.state import State, Tally


class Checkpoints:
    """The checkpoints in one folder of a run or a training, keyed by step."""

    def __init__(self, folder: Path, kept: int) -> None:
        import orbax.checkpoint as ocp  # imported late: it takes a second and only runs and trainings need it

        logging.getLogger("absl").setLevel(logging.ERROR)
        self._args = ocp.args
        options = ocp.CheckpointManagerOptions(
            max_to_keep=kept, enable_async_checkpointing=False, cleanup_tmp_directories=True
        )
        self._manager = ocp.CheckpointManager((folder / "checkpoints").resolve(), options=options)

    def latest(self) -> int | None:
        """Step of the last complete checkpoint, or None."""
        return self._manager.latest_step()

    def save(self, step: int, arrays: Mapping[str, jax.Array]) -> None:
        """Write the arrays atomically; if the process is killed, earlier checkpoints stay intact."""
        self._manager.save(step, args=self._args.StandardSave(dict(arrays)))
        self._manager.wait_until_finished()

    def restore(self, step: int, like: Mapping[str, jax.Array | jax.ShapeDtypeStruct]) -> dict[str, jax.Array]:
        """Load the arrays saved at a step; `like` gives their names, shapes and dtypes."""
        arrays = self._manager.restore(step, args=self._args.StandardRestore(dict(like)))
        return {name: jnp.asarray(array) for name, array in arrays.items()}

    def close(self) -> None:
        """Release the folder."""
        self._manager.close()


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
