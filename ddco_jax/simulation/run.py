"""The host loop: runs a config in chunks of steps, stores output and checkpoints, checks the state, resumes.

One compiled program advances any number of steps, so the result does not depend, bit for bit, on the intervals of
output and checkpoints or on interruptions.
"""

import dataclasses
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from tqdm import tqdm

from ddco_jax.plasma.arrays import Array
from ddco_jax.plasma.files import read_json, sealed, write_text
from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.plasma.invariants import Invariants, compute_invariants
from ddco_jax.plasma.lock import LOCK_FILE, locked
from ddco_jax.plasma.moments import compute_moments
from ddco_jax.plasma.state import State
from ddco_jax.simulation import monitors, provenance, recovery, results
from ddco_jax.simulation.check import check_report, refuse, refuse_memory
from ddco_jax.simulation.checkpoint import Checkpoints, arrays_of, newest, require_usable, shapes_of, state_of
from ddco_jax.simulation.config import Config, ConfigError
from ddco_jax.simulation.model import Model, build, initial_state
from ddco_jax.steppers import Stepper

CHUNK = 64
"""Largest number of steps between two returns to the host."""
CHUNK_SECONDS = 1.0
"""Target time between two returns to the host, s."""
CONFIG_FILE = "config.json"


@dataclasses.dataclass(frozen=True)
class Summary:
    """Summary of a finished run."""

    folder: Path
    steps: int
    seconds_per_step: float
    """Wall-clock time per step of this process, s, without compilation and without the writing of output."""
    history: dict[str, np.ndarray]
    """Invariants by name in code units, one row per recorded step."""


def run(config: Config, folder: Path, name: str = "run", progress: bool | None = None) -> Summary:
    """Check a config, then run it from t = 0 into a new folder.  Raises ConfigError, RunFailed, FolderInUse.

    The stages of the collision step that the check chooses are stored with the config, so that `resume` continues the
    same run.  The notes of the check go to stderr.
    """
    with locked(folder):
        return _begin(config, folder, name, progress)


def _begin(config: Config, folder: Path, name: str, progress: bool | None) -> Summary:
    require_empty(folder)
    report = check_report(config)
    refuse(report)
    refuse_memory(report)
    for note in report["notes"]:
        print(f"note: {note}", file=sys.stderr)
    config = config.with_stages(report["stages"])
    model = build(config)
    state = initial_state(config, model)
    monitors.start(model.grid, state, config.scales)  # refused before anything is stored
    kernel = provenance.keep(config, folder)
    model = build(provenance.with_kernel(config, folder, kernel))
    settings = {
        "name": name,
        "version": version("ddco-jax"),
        "config": config.model_dump(mode="json"),
        "kernel": kernel,
    }
    write_text(folder / CONFIG_FILE, json.dumps(sealed(settings), indent=1))
    return _from_start(config, model, state, folder, name, progress)


def require_empty(folder: Path) -> None:
    """Raise ConfigError where a folder is not empty, so that no run overwrites another, or cannot hold checkpoints."""
    require_usable(folder)
    if folder.exists() and (not folder.is_dir() or any(path.name != LOCK_FILE for path in folder.iterdir())):
        raise ConfigError(f"--out {folder}: the folder is not empty; choose another, or `ddco resume {folder}`")


def resume(folder: Path, progress: bool | None = None) -> Summary:
    """Continue a run from its last checkpoint; the result is bitwise that of an uninterrupted run.

    Raises ConfigError, RunFailed, FolderInUse.
    """
    if not (folder / CONFIG_FILE).is_file():
        raise ConfigError(f"{folder}: no run to resume here (no {CONFIG_FILE})")
    with locked(folder):
        return _continue(folder, progress)


def _continue(folder: Path, progress: bool | None) -> Summary:
    try:
        settings = read_json(folder / CONFIG_FILE)
    except ValueError as error:
        raise ConfigError(f"{error}; there is no run to resume here") from None
    config, model = provenance.rebuilt(folder, settings, str(folder / CONFIG_FILE))
    checkpoints = Checkpoints(folder, config.output.checkpoints_kept)
    out, last = config.output, config.time.steps

    def rows(step: int) -> dict[str, int]:
        return {"history": _rows(step, out.history_every, last), "snapshots": _rows(step, out.snapshot_every, last)}

    like = shapes_of(model.grid, model.dtype, model.age is not None)
    found = newest(checkpoints, like, lambda step, metadata: recovery.require_rows(folder, rows(step), metadata))
    if found is None:  # killed before the first checkpoint: begin again
        if recovery.rows_stored(folder) > 1:
            raise ConfigError(f"{folder}: holds results but no checkpoint to go on from; begin again in another folder")
        return _from_start(config, model, initial_state(config, model), folder, settings["name"], progress)
    step, arrays = found
    results.truncate(folder, rows(step))
    return _loop(config, model, state_of(arrays), step, folder, checkpoints, progress)


def _rows(step: int, every: int, last: int) -> int:
    """Rows recorded up to a step: the start, each multiple of `every`, and the last step."""
    return step // every + 1 + (step == last and last % every != 0)


def _due(step: int, every: int, last: int) -> bool:
    return step % every == 0 or step == last


def _from_start(config: Config, model: Model, state: State, folder: Path, name: str, progress: bool | None) -> Summary:
    first = monitors.start(model.grid, state, config.scales)
    attributes = {
        "name": name,
        "config": config.model_dump_json(),
        "version": version("ddco-jax"),
        "kernel": config.collisions.kernel,
    }
    results.create(folder, attributes)
    checkpoints = Checkpoints(folder, config.output.checkpoints_kept)
    results.append_history(folder, {k: np.asarray(v)[None] for k, v in vars(first).items()})
    _save_snapshot(config, model, state, folder)
    checkpoints.save(0, arrays_of(state), recovery.stored(folder))
    return _loop(config, model, state, 0, folder, checkpoints, progress)


def _loop(
    config: Config, model: Model, state: State, step: int, folder: Path, checkpoints: Checkpoints, progress: bool | None
) -> Summary:
    out, last = config.output, config.time.steps
    cadences = (out.history_every, out.snapshot_every, out.checkpoint_every)
    first, seconds, chunk = step, 0.0, 1
    show = sys.stderr.isatty() if progress is None else progress
    advance = make_advance(model.stepper, model.dt)
    if step < last:
        jax.block_until_ready(advance(state, 0))  # compiles, so that neither the bar nor the summary counts that time
    with tqdm(total=last, initial=step, unit="step", disable=not show) as bar:
        while step < last:
            boundary = min(every - step % every for every in cadences[1:])
            n = min(chunk, boundary, last - step)
            tick = time.perf_counter()
            before = state
            state, buffers = advance(before, n)
            rows = {k: np.asarray(v)[:n] for k, v in vars(buffers).items()}
            spent = time.perf_counter() - tick
            monitors.check(partial(_repeat, advance, before), rows, step + 1)
            del before  # f is large
            recorded = [i for i in range(n) if _due(step + 1 + i, out.history_every, last)]
            if recorded:
                results.append_history(folder, {k: v[recorded] for k, v in rows.items()})
            step += n
            seconds += spent
            if _due(step, out.snapshot_every, last):
                _save_snapshot(config, model, state, folder)
            if _due(step, out.checkpoint_every, last):
                checkpoints.save(step, arrays_of(state), recovery.stored(folder))
            chunk = max(1, min(CHUNK, int(CHUNK_SECONDS / spent * n)))
            bar.update(n)
    checkpoints.close()
    history = {str(k): v.to_numpy() for k, v in results.open_result(folder)["history"].data_vars.items()}
    return Summary(folder, last, seconds / max(step - first, 1), history)


def _repeat(advance: Callable[[State, int], tuple[State, Invariants]], state: State, steps: int) -> State:
    return advance(state, steps)[0]


def make_advance(stepper: Stepper, dt: float) -> Callable[[State, int], tuple[State, Invariants]]:
    """Make advance(state, n), which takes n <= CHUNK steps of length dt (t0).

    It returns the state and the invariants after every step, in the first n rows of buffers of CHUNK rows.  n is
    traced: one program, hence the same arithmetic, serves any number of steps.
    """

    @eqx.filter_jit
    def advance(stepper: Stepper, state: State, n: Array) -> tuple[State, Invariants]:
        grid, scales = stepper.grid, stepper.scales
        step_length = jnp.asarray(dt, state.f.dtype)
        like = eqx.filter_eval_shape(compute_invariants, grid, state, scales)
        buffers = jax.tree.map(lambda a: jnp.zeros((CHUNK, *a.shape), a.dtype), like)

        def body(i: Array, carry: tuple[State, Invariants]) -> tuple[State, Invariants]:
            state, buffers = carry
            state = stepper.step(state, step_length)
            now = compute_invariants(grid, state, scales)
            return state, jax.tree.map(lambda b, a: b.at[i].set(a), buffers, now)

        return lax.fori_loop(0, n, body, (state, buffers))

    return lambda state, n: advance(stepper, state, jnp.asarray(n))


def snapshot(grid: PhaseGrid, state: State) -> dict[str, jax.Array]:
    """Moments, electric field and marginals of f of a snapshot, by name, in code units (`results.UNITS`)."""
    moments = compute_moments(grid, state.f)
    f_vxvy = jnp.sum(state.f, -1) * grid.dv[2]
    fields = {
        "density": moments.density,
        "drift_x": moments.drift[:, 0],
        "temperature": moments.temperature,
        "electric_field": state.electric_field,
        "f_vx": jnp.sum(f_vxvy, -1) * grid.dv[1],
        "f_vxvy": f_vxvy,
    }
    return fields if state.correlation_age is None else fields | {"correlation_age": state.correlation_age}


def _save_snapshot(config: Config, model: Model, state: State, folder: Path) -> None:
    fields = {k: np.asarray(v) for k, v in jax.jit(lambda s: snapshot(model.grid, s))(state).items()}
    if config.output.distribution:
        fields["f"] = np.asarray(state.f)
    results.append_snapshot(folder, model.grid, float(state.time), fields)
