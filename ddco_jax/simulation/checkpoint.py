"""Checkpoints of a run: atomic, the last few kept (Orbax)."""

import logging
from pathlib import Path

import jax
import jax.numpy as jnp

from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.plasma.state import State


class Checkpoints:
    """The checkpoints in one run's folder, keyed by step."""

    def __init__(self, folder: Path, kept: int):
        import orbax.checkpoint as ocp  # imported late: it takes a second and only runs need it

        logging.getLogger("absl").setLevel(logging.ERROR)
        self._ocp = ocp
        options = ocp.CheckpointManagerOptions(
            max_to_keep=kept, enable_async_checkpointing=False, cleanup_tmp_directories=True
        )
        self._manager = ocp.CheckpointManager((folder / "checkpoints").resolve(), options=options)

    def latest(self) -> int | None:
        """Step of the last complete checkpoint."""
        return self._manager.latest_step()

    def save(self, step: int, state: State) -> None:
        """Write the state atomically; a kill at any moment leaves the earlier checkpoints whole."""
        self._manager.save(step, args=self._ocp.args.StandardSave(_tree(state)))
        self._manager.wait_until_finished()

    def restore(self, step: int, grid: PhaseGrid, dtype, aging: bool) -> State:
        """The state at a checkpointed step."""
        shapes = {"f": grid.shape, "electric_field": (grid.nx,), "time": ()}
        if aging:
            shapes["correlation_age"] = (grid.nx,)
        like = {name: jax.ShapeDtypeStruct(shape, dtype) for name, shape in shapes.items()}
        tree = self._manager.restore(step, args=self._ocp.args.StandardRestore(like))
        return State(
            jnp.asarray(tree["f"]),
            jnp.asarray(tree["electric_field"]),
            jnp.asarray(tree["correlation_age"]) if aging else None,
            jnp.asarray(tree["time"]),
        )

    def close(self) -> None:
        """Release the folder."""
        self._manager.close()


def _tree(state: State) -> dict:
    fields = {"f": state.f, "electric_field": state.electric_field, "time": state.time}
    return fields if state.correlation_age is None else fields | {"correlation_age": state.correlation_age}
