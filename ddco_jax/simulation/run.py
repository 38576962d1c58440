"""The host loop: runs a config in chunks of steps, stores output and checkpoints, checks the state, resumes.

One compiled program advances any number of steps, so the result does not depend, bit for bit, on the intervals of
output and checkpoints or on interruptions.
"""

import contextlib
import dataclasses
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ddco_jax.plasma.arrays import Array
from ddco_jax.plasma.clone import VERSION
from ddco_jax.plasma.files import read_json, sealed, write_text
from ddco_jax.plasma.invariants import Invariants, compute_invariants
from ddco_jax.plasma.line import EVERYWHERE, Line
from ddco_jax.plasma.lock import LOCK_FILE, locked
from ddco_jax.plasma.state import State
from ddco_jax.simulation import kernel_copy, monitors, processes, provenance, recovery, results, snapshot
from ddco_jax.simulation.check import check_report, refuse, refuse_memory
from ddco_jax.simulation.checkpoint import Checkpoints, arrays_of, newest, require_usable, shapes_of, state_of
from ddco_jax.simulation.config import Config, ConfigError
from ddco_jax.simulation.devices import prepare
from ddco_jax.simulation.interrupts import Watch
from ddco_jax.simulation.model import Model, build, initial_state
from ddco_jax.simulation.progress import LOG_FILE, Progress, Silent
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
    taken: int
    """Steps of this process; 0 where the run was complete already."""
    seconds_per_step: float
    """Wall-clock time per step of this process, s, without compilation and without the writing of output."""
    history: dict[str, np.ndarray]
    """Invariants by name in code units, one row per recorded step; {} where another process writes."""


@dataclasses.dataclass(frozen=True)
class Job:
    """A run as it goes on."""

    config: Config
    model: Model
    folder: Path
    shown: Progress
    watch: Watch

    @property
    def rows(self) -> dict[str, int]:
        """Rows of each node of the whole result."""
        return self.rows_at(self.config.time.steps)

    def rows_at(self, step: int) -> dict[str, int]:
        """Rows of each node recorded up to a step: the start, each multiple of the interval, and the last step."""
        out, last = self.config.output, self.config.time.steps
        intervals = {"history": out.history_every, "snapshots": out.snapshot_every}
        return {node: step // n + 1 + (step == last and last % n != 0) for node, n in intervals.items()}


def run(
    config: Config,
    folder: Path,
    name: str = "run",
    progress: bool | None = None,
    watch: Watch | None = None,
    devices: int = 1,
) -> Summary:
    """Check a config, then run it from t = 0 into a new folder.

    Raises ConfigError, RunFailed, FolderInUse, Stopped.

    The stages of the collision step that the check chooses are stored with the config, so that `resume` continues the
    same run.  The notes of the check go to stderr, and so does the progress: a bar (True), nothing (False), or a bar on
    a terminal and else lines (None); all lines are also in `run.log`.  `watch` is that of `interrupts.watched`; without
    one, signals act as in any program.  The cells along x are divided over `devices`; of several processes
    (`processes.joined`) all call this with all of their devices, and process 0 writes and prints.
    """
    prepare(devices)
    watch = watch or Watch()
    processes.require_same(config.model_dump_json(), str(folder.resolve()), VERSION)
    with _owned(folder) as watch.release, _progress(config, progress) as shown:
        if processes.first():
            require_empty(folder)
        with shown.busy("checking"):
            report = check_report(config, devices=processes.count())  # memory of this process
            refuse(report)
            refuse_memory(report)
        for note in report["notes"]:
            shown.note(note)
        with shown.busy("building"):
            config = config.with_stages(processes.agreed(report["stages"]))
            model = build(config, devices)
            state = initial_state(config, model)
            first = monitors.start(model.grid, state, config.scales)  # refused before anything is stored
        job = Job(config, model, folder, shown, watch)
        made = _stored(job, name) if processes.first() else {}
        processes.require_seen(folder / CONFIG_FILE)
        watch.saved(folder, folder / LOG_FILE)
        return _from_start(job, state, first, made)


def _owned(folder: Path) -> contextlib.AbstractContextManager[Callable[[], None]]:
    """The lock of the folder, which process 0 holds for all."""
    return locked(folder) if processes.first() else contextlib.nullcontext(lambda: None)


def _progress(config: Config, show: bool | None) -> Progress:
    total, time_ps = config.time.steps, config.scales.time * 1e12
    return Progress(show, total, time_ps) if processes.first() else Silent(total, time_ps)


def _stored(job: Job, name: str) -> dict[str, Any]:
    """Store config and kernel of a new run, and return the attributes of its result."""
    config, folder = job.config, job.folder
    hashes = kernel_copy.keep(config, folder)
    own = kernel_copy.with_kernel(config, folder, hashes)  # a resumed run is built from this copy
    settings = {"name": name, "version": VERSION, "devices": job.model.grid.line.devices}
    settings |= {"config": config.model_dump(mode="json"), "kernel": hashes}
    write_text(folder / CONFIG_FILE, json.dumps(sealed(settings), indent=1))
    job.shown.log_to(folder / LOG_FILE)
    return provenance.attributes(config, name, provenance.kernel_hash(own))


def require_empty(folder: Path) -> None:
    """Raise ConfigError where a folder is not empty, so that no run overwrites another, or cannot hold checkpoints."""
    require_usable(folder)
    if folder.exists() and (not folder.is_dir() or any(path.name != LOCK_FILE for path in folder.iterdir())):
        other = f", or `ddco resume {folder}`" if (folder / CONFIG_FILE).is_file() else ""
        raise ConfigError(f"--out {folder}: the folder is not empty; choose another{other}")


def resume(
    folder: Path, progress: bool | None = None, watch: Watch | None = None, devices: int | None = None
) -> Summary:
    """Continue a run from its last checkpoint; the result is bitwise that of an uninterrupted run.

    `devices` is by default the number with which the run began; with another one the result is the same to rounding.
    `progress` and `watch` are as in `run`.  Raises ConfigError, RunFailed, FolderInUse, Stopped.
    """
    if not (folder / CONFIG_FILE).is_file():
        raise ConfigError(f"{folder}: no run to resume here (no {CONFIG_FILE})")
    watch = watch or Watch()
    with _owned(folder) as watch.release:
        try:
            settings = read_json(folder / CONFIG_FILE)
        except ValueError as error:
            raise ConfigError(f"{error}; there is no run to resume here") from None
        processes.require_same(json.dumps(settings, sort_keys=True), str(folder.resolve()), VERSION)
        devices = devices or int(settings.get("devices", 1))
        return _continue(folder, settings, progress, watch, devices)


def _continue(folder: Path, settings: dict[str, Any], progress: bool | None, watch: Watch, devices: int) -> Summary:
    """Continue from the last state that checkpoints and results share, or begin again where neither has one."""
    prepare(devices)
    config, notes = kernel_copy.stored(folder, settings, str(folder / CONFIG_FILE))
    own = kernel_copy.with_kernel(config, folder, settings.get("kernel", {}))
    with (
        _progress(config, progress) as shown,
        contextlib.closing(Checkpoints(folder, config.output.checkpoints_kept)) as checkpoints,
    ):
        watch.saved(folder, folder / LOG_FILE, next(iter(checkpoints.steps()), None))
        for note in notes:
            shown.note(note)
        with shown.busy("building"):
            model = build(own, devices)
        job = Job(config, model, folder, shown, watch)
        found = _newest(job, checkpoints)
        shown.log_to(folder / LOG_FILE)
        if found is not None:
            step, state = found
            watch.saved(folder, folder / LOG_FILE, step)
            store: results.Store = results.Elsewhere(job.rows_at(step))
            if processes.first():
                store = results.reopen(folder, job.rows_at(step), job.rows)
            return _loop(job, state, step, store, checkpoints)
        # killed before the first checkpoint: begin again
        state = initial_state(config, model)
        first = monitors.start(model.grid, state, config.scales)
        made = provenance.attributes(config, settings["name"], provenance.kernel_hash(own))
        return _from_start(job, state, first, made)


def _newest(job: Job, checkpoints: Checkpoints) -> tuple[int, State] | None:
    """Step and state of the last checkpoint that fits the results, which process 0 chooses; None without any."""
    grid, model = job.model.grid, job.model
    expected = lambda metadata: shapes_of(grid, model.dtype, model.age is not None, metadata.get("devices", 1))
    fits = lambda step, metadata: recovery.require_rows(job.folder, job.rows_at(step), metadata)
    found = None
    if processes.first():
        found = newest(checkpoints, expected, fits, job.shown.note)
        if found is None and recovery.rows_stored(job.folder) > 1:
            raise ConfigError(
                f"{job.folder}: holds results but no checkpoint to go on from; begin again in another folder"
            )
        if found is not None:
            results.require_all(job.folder)
    step = processes.agreed(None if found is None else found[0])
    if step is None:
        return None
    arrays, metadata = found[1:] if found is not None else checkpoints.restore(step, expected)
    return step, state_of(grid, arrays, metadata.get("devices", 1))


def _due(step: int, every: int, last: int) -> bool:
    return step % every == 0 or step == last


def _from_start(job: Job, state: State, first: Invariants, made: dict[str, Any]) -> Summary:
    """Create the store with the attributes `made`, record the invariants at t = 0, `first`, and run from there."""
    config, stepper = job.config, job.model.stepper
    store: results.Store = results.Elsewhere(dict.fromkeys(results.NODES, 0))
    rows = {k: np.asarray(v)[None] for k, v in vars(first).items()}
    if processes.first():
        arrays = snapshot.shapes(stepper, state)
        if not config.output.distribution:
            del arrays["f"]
        of_history = {k: jax.ShapeDtypeStruct(v.shape[1:], v.dtype) for k, v in rows.items() if k != "time"}
        store = results.create(job.folder, job.model.grid, made, {"history": of_history, "snapshots": arrays}, job.rows)
    store.append("history", rows["time"], rows)
    with contextlib.closing(Checkpoints(job.folder, config.output.checkpoints_kept)) as checkpoints:
        return _loop(job, state, 0, store, checkpoints)


def _loop(job: Job, state: State, step: int, store: results.Store, checkpoints: Checkpoints) -> Summary:
    out, last, model, shown, watch = job.config.output, job.config.time.steps, job.model, job.shown, job.watch
    if step == last:
        return _summary(job, 0, 0.0)
    first, seconds, chunk, line = step, 0.0, 1, model.grid.line
    fingerprints: Callable[[dict[str, int]], dict[str, str]] = lambda rows: {}
    if processes.first():
        fingerprints = recovery.Fingerprints(job.folder)
    edges = monitors.Edges(job.config, store.first("history"))

    def save() -> None:
        checkpoints.save(step, arrays_of(state), {"rows": fingerprints(store.rows), "devices": line.devices})
        watch.saved(job.folder, job.folder / LOG_FILE, step)

    # everything is compiled here, so that neither estimates nor the summary count that time
    with shown.busy("compiling"), ThreadPoolExecutor(1) as pool:
        names = processes.agreed(sorted(store.names("snapshots")))
        compiled = snapshot.compiling(model.stepper, state, set(names), pool)
        advance = make_advance(model.stepper, model.dt)
        jax.block_until_ready(advance(state, 0))
        take = compiled.result()
        if not store.rows["snapshots"]:
            store.append("snapshots", _time(state), _row(take(state)))
            save()
    shown.begin(step, store.first("history"))
    watch.stepping = True
    while step < last:
        tick = time.perf_counter()
        boundary = min(every - step % every for every in (out.snapshot_every, out.checkpoint_every))
        n = min(chunk, boundary, last - step)
        before = state
        state, buffers = advance(before, n)
        rows = {k: np.asarray(v)[:n] for k, v in vars(buffers).items()}
        spent = time.perf_counter() - tick
        monitors.check(partial(_repeat, line, advance, before), rows, step + 1)
        for note in edges(rows, step + 1):
            shown.note(note)
        del before  # f is large
        recorded = [i for i in range(n) if _due(step + 1 + i, out.history_every, last)]
        if recorded:
            store.append("history", rows["time"][recorded], {k: v[recorded] for k, v in rows.items()})
        step += n
        seconds += spent
        if _due(step, out.snapshot_every, last):
            store.append("snapshots", _time(state), _row(take(state)))
        chunk = max(1, min(CHUNK, int(CHUNK_SECONDS / spent * n)))
        said = processes.together(chunk, watch.signal)  # a step that only some processes take would wait forever
        chunk, stop = int(said[0, 0]), int(said[:, 1].max()) if step < last else 0
        if stop or _due(step, out.checkpoint_every, last):
            save()
        shown.advanced(n, time.perf_counter() - tick, {k: v[-1:] for k, v in rows.items()})
        if stop:
            raise watch.stopped(step, last, stop)
    shown.end()
    return _summary(job, step - first, seconds)


def _summary(job: Job, steps: int, seconds: float) -> Summary:
    """The summary of a run that is complete, after `steps` in this process that took `seconds`."""
    if not processes.first():
        return Summary(job.folder, job.config.time.steps, steps, seconds / max(steps, 1), {})
    history = {str(k): v.to_numpy() for k, v in results.open_result(job.folder)["history"].data_vars.items()}
    return Summary(job.folder, job.config.time.steps, steps, seconds / max(steps, 1), history)


def _repeat(line: Line, advance: Callable[[State, int], tuple[State, Invariants]], state: State, steps: int) -> State:
    return line.collected(advance(state, steps)[0])


def _time(state: State) -> np.ndarray:
    return np.array([float(state.time)])


def _row(fields: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: field[None] for name, field in fields.items()}


def make_advance(stepper: Stepper, dt: float) -> Callable[[State, int], tuple[State, Invariants]]:
    """Make advance(state, n), which takes n <= CHUNK steps of length dt (t0).

    It returns the state and the invariants after every step, in the first n rows of buffers of CHUNK rows.  n is
    traced: one program, hence the same arithmetic, serves any number of steps.
    """

    def on_device(stepper: Stepper, state: State, n: Array) -> tuple[State, Invariants]:
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

    @eqx.filter_jit
    def advance(stepper: Stepper, state: State, n: Array) -> tuple[State, Invariants]:
        line = stepper.grid.line
        return line.run(on_device, stepper, state, n, result=(line.layout(state), EVERYWHERE))

    return lambda state, n: advance(stepper, state, jnp.asarray(n))
