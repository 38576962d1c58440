"""A sweep: one run for each combination of settings, in processes of their own, which the same command continues."""

import dataclasses
import hashlib
import itertools
import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ddco_jax import settings
from ddco_jax.plasma.files import read_json
from ddco_jax.plasma.lock import locked
from ddco_jax.settings import ConfigError
from ddco_jax.simulation import config as configs
from ddco_jax.simulation.config import Config
from ddco_jax.simulation.interrupts import SIGNALS, Stopped
from ddco_jax.simulation.results import NODES, open_result
from ddco_jax.simulation.run import CONFIG_FILE

LONGEST = 80
"""Characters of the name of a folder."""


@dataclasses.dataclass(frozen=True)
class Point:
    """A run of a sweep."""

    folder: Path
    index: tuple[int, ...]
    """Its place along each axis of the sweep."""
    overrides: Mapping[str, Any]
    """All settings in place of those of the config, by section.key."""
    config: Config


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    status: str
    """One of complete, failed, and stopped: ended by a signal, or not begun."""
    error: str = ""
    """Why it failed, in one line."""


@dataclasses.dataclass(frozen=True)
class Sweep:
    """A grid of runs."""

    source: str
    """The config file, or the name of a shipped one."""
    axes: Mapping[str, Sequence[Any]]
    """The settings that vary, by section.key, with their values."""
    points: Sequence[Point]


def choices(override: str) -> tuple[str, list[Any]]:
    """Key and values of a text `section.key=value` or `section.key=value,value,...`, each value as in TOML or a word.

    A text that is one value in TOML is one value: `grid.nv=[8, 8, 8]` is one list, `grid.nv=[8,8,8],[9,9,9]` are two.
    Raises ConfigError.
    """
    key, value = settings.parsed(override)
    text = override.partition("=")[2]
    if value != text:
        return key, [value]
    try:
        _, values = settings.parsed(f"{key}=[{text}]")
    except ConfigError:
        values = text
    if isinstance(values, str):
        values = [settings.parsed(f"{key}={word.strip()}")[1] for word in text.split(",")]
    if "" in values or not values:
        raise ConfigError(f"--set {override}: a value is missing; write section.key=value,value")
    if len({json.dumps(value) for value in values}) < len(values):
        raise ConfigError(f"--set {override}: a value is given twice; leave one out")
    return key, values


def plan(source: str, overrides: Sequence[str], out: Path) -> Sweep:
    """The runs of a sweep, each with its checked config.

    Raises ConfigError for a mistake in any of them, where nothing varies, and where a folder holds another run.
    """
    chosen: dict[str, list[Any]] = {}
    for override in overrides:
        key, values = choices(override)
        if key in chosen:
            raise ConfigError(f"--set {key}: given twice; write its values in one --set {key}=value,value")
        chosen[key] = values
    axes = {key: values for key, values in chosen.items() if len(values) > 1}
    if not axes:
        raise ConfigError("nothing varies; give at least one --set section.key=value,value, or use `ddco run`")
    if (out / CONFIG_FILE).exists():
        raise ConfigError(f"--out {out}: the folder is that of a run; choose another")
    points = []
    for index in itertools.product(*(range(len(values)) for values in axes.values())):
        varied = {key: values[i] for i, (key, values) in zip(index, axes.items(), strict=True)}
        given = {key: values[0] for key, values in chosen.items()} | varied
        try:
            config, _ = configs.load(source, given)
        except ConfigError as error:
            raise ConfigError(f"{error} (in the run {_name(varied)})") from None
        points.append(Point(out / _name(varied), index, given, config))
    for point in points:
        require_same(point)
    return Sweep(source, axes, points)


def _name(varied: Mapping[str, Any]) -> str:
    """Name of the folder of a run, from the values that vary."""
    words = [f"{key.rpartition('.')[2]}={v if isinstance(v, str) else json.dumps(v)}" for key, v in varied.items()]
    name, exact = "_".join(words), json.dumps(dict(varied))
    plain = re.sub(r"[^A-Za-z0-9.+=_-]+", "-", name.replace(" ", "").replace("[", "").replace("]", "")).strip("-.")
    unique = len({key.rpartition(".")[2] for key in varied}) == len(varied)
    if plain == name and unique and len(plain) <= LONGEST:
        return plain
    return f"{plain[:LONGEST]}_{hashlib.sha256(exact.encode()).hexdigest()[:6]}"


def require_same(point: Point) -> None:
    """Raise ConfigError where the folder of a point holds a run of another config."""
    file = point.folder / CONFIG_FILE
    if not file.is_file():
        return
    try:
        stored = read_json(file)["config"]
        stages = stored["collisions"]["stages"]
    except (ValueError, KeyError, TypeError):
        raise ConfigError(f"{file}: no config of a run; choose another --out") from None
    config = point.config if point.config.collisions.stages is not None else point.config.with_stages(stages)
    own = json.loads(config.model_dump_json())
    if own != stored:
        keys = [key for key in own if own[key] != stored.get(key)] or ["keys of another version"]
        raise ConfigError(f"{point.folder}: begun with another config ({', '.join(keys)}); choose another --out")


def is_complete(point: Point) -> bool:
    """Whether the result of a run has its last step."""
    try:
        result = open_result(point.folder)
    except FileNotFoundError:
        return False
    end = (point.config.time.steps - 0.5) * point.config.dt
    times = [result[f"{node}/t"].to_numpy() for node in NODES]
    return all(len(t) > 0 and t[-1] > end for t in times)


def run_all(sweep: Sweep, out: Path, jobs: int = 1, options: Sequence[str] = ()) -> list[Outcome]:
    """Run what is not complete, `jobs` runs at a time, each as `ddco run` or `ddco resume` in its own process.

    `options` are further words of these commands.  A run that fails does not end the others.  The progress goes to
    stderr.  Raises FolderInUse, and Stopped after SIGINT or SIGTERM, which end the runs under way.
    """
    processes, outcomes = _Processes(), dict[int, Outcome]()
    with (
        locked(out),
        processes.watched(),
        tqdm(total=len(sweep.points), unit="run", disable=not sys.stderr.isatty()) as bar,
        ThreadPoolExecutor(jobs) as pool,
    ):
        futures = {pool.submit(_run, sweep.source, p, options, processes): i for i, p in enumerate(sweep.points)}
        for future in as_completed(futures):
            i = futures[future]
            outcomes[i], said = future.result()
            bar.update()
            tqdm.write(f"{len(outcomes)}/{len(futures)} {sweep.points[i].folder.name}: {said}", file=sys.stderr)
    if processes.signal:
        done = sum(outcome.status == "complete" for outcome in outcomes.values())
        name = signal.Signals(processes.signal).name
        words = f"stopped by {name}, {done} of {len(futures)} runs complete; the same command goes on"
        raise Stopped(words, processes.signal)
    return [outcomes[i] for i in range(len(futures))]


def _run(source: str, point: Point, options: Sequence[str], processes: "_Processes") -> tuple[Outcome, str]:
    """Run or resume one point unless it is complete; returns its outcome, and that in words for the progress."""
    if is_complete(point):
        return Outcome("complete"), "was complete"
    begun, resumed = time.perf_counter(), (point.folder / CONFIG_FILE).is_file()
    if resumed:
        words = ["resume", str(point.folder)]
    else:
        sets = [word for key, value in point.overrides.items() for word in ("--set", f"{key}={json.dumps(value)}")]
        words = ["run", source, "--out", str(point.folder), *sets]
    status, error = processes.call([*words, *options])
    if status == 0:
        return Outcome("complete"), f"complete after {time.perf_counter() - begun:.0f} s{' (resumed)' * resumed}"
    if processes.signal:
        return Outcome("stopped"), "stopped"
    return Outcome("failed", error), f"failed: {error}"


class _Processes:
    """The processes of a sweep, and the signal that has ended it."""

    def __init__(self) -> None:
        self.signal = 0
        """Number of the signal after which no run begins, else 0."""
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()

    def call(self, words: Sequence[str]) -> tuple[int, str]:
        """Status of `ddco` with these words, and the line with which it ended; nothing is run after a signal."""
        command = [sys.executable, "-m", "ddco_jax.cli", *words]
        pipes: Any = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        with self._lock:
            if self.signal:
                return 128 + self.signal, ""
            # a session of its own: signals of the terminal reach it through this process, once
            process = subprocess.Popen(command, text=True, start_new_session=True, **pipes)
            self._running.add(process)
        if self.signal:  # it came meanwhile
            process.send_signal(self.signal)
        _, text = process.communicate()
        with self._lock:
            self._running.discard(process)
        lines = [line.removeprefix("ddco: ") for line in text.splitlines() if line.startswith("ddco: ")]
        by = f"ended by signal {-process.returncode}; is there enough memory?"
        return process.returncode, lines[-1] if lines else by if process.returncode < 0 else f"see {words[-1]}"

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Pass SIGINT and SIGTERM on to the processes, and begin no other; outside the main thread nothing is done."""

        def stop(number: int, _: object) -> None:
            self.signal = number
            for process in list(self._running):
                process.send_signal(number)

        here = threading.current_thread() is threading.main_thread()
        before = {number: signal.getsignal(number) for number in SIGNALS} if here else {}
        before = {number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, None)}
        for number in before:
            signal.signal(number, stop)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
