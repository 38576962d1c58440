"""What a run says while it goes on: a bar on a terminal, else lines on stderr, and the same lines in `run.log`."""

import io
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import numpy as np
from tqdm import tqdm

LOG_FILE = "run.log"
RECENT = 20
"""Number of chunks of steps over which the time of a step is averaged for the estimate of the remaining time."""


class Progress:
    """The progress of one run, from its checks to its end.

    `show`: True for the bar, False for neither bar nor lines, None for the bar where stderr is a terminal, else lines.
    `total` is the number of steps, `time_ps` the unit of time t0 in ps.
    """

    def __init__(self, show: bool | None, total: int, time_ps: float) -> None:
        on_terminal = sys.stderr.isatty() if show is None else show
        self._lines, self._echo = show is None and not on_terminal, False
        self._total, self._time_ps, self._step = total, time_ps, 0
        self._log: TextIO = io.StringIO()
        """Keeps the lines until there is a folder for them."""
        self._start: Mapping[str, np.ndarray] = {}
        self._recent: deque[tuple[int, float]] = deque(maxlen=RECENT)
        self._bar = tqdm(
            total=total,
            disable=not on_terminal,
            leave=False,
            bar_format="{desc}{bar}| {n_fmt}/{total_fmt} steps{postfix}",
            **_size(),
        )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._write(str(error) or type(error).__name__)
        self._bar.close()
        self._log.close()

    def log_to(self, file: Path) -> None:
        """Append all lines, also those so far, to a file; from here on they appear on stderr."""
        so_far, self._log = self._log, open(file, "a", buffering=1)  # noqa: SIM115  closed on exit
        assert isinstance(so_far, io.StringIO)
        self._log.write(so_far.getvalue())
        self._echo = self._lines

    def note(self, text: str) -> None:
        """A note for the user, which is always shown."""
        tqdm.write(f"note: {text}", file=sys.stderr)
        self._write(f"note: {text}")

    @contextmanager
    def busy(self, doing: str) -> Iterator[None]:
        """Say what takes time, with the seconds that have passed where there is a bar."""
        begun, done = time.perf_counter(), threading.Event()

        def tick() -> None:
            while True:
                self._bar.set_description_str(f"{doing} ... {time.perf_counter() - begun:.0f} s ", refresh=True)
                if done.wait(1.0):
                    return

        thread = threading.Thread(target=tick, daemon=True)
        self._line(f"{doing} ...")
        if not self._bar.disable:
            thread.start()
        try:
            yield
        finally:
            done.set()
            if thread.ident is not None:
                thread.join()
            self._bar.set_description_str("", refresh=False)
        self._line(f"{doing}: {time.perf_counter() - begun:.1f} s")

    def begin(self, step: int, start: Mapping[str, np.ndarray]) -> None:
        """The steps begin after `step`; `start` holds the invariants at t = 0."""
        self._step, self._start, self._bar.leave = step, start, True
        self._bar.update(step - self._bar.n)

    def advanced(self, steps: int, seconds: float, row: Mapping[str, np.ndarray]) -> None:
        """A chunk of steps took some seconds with its output; `row` holds the invariants after it, (1, ...)."""
        self._recent.append((steps, seconds))
        self._step += steps
        each = sum(s for _, s in self._recent) / sum(n for n, _ in self._recent)
        left = tqdm.format_interval(round(each * (self._total - self._step)))
        t, energy = float(row["time"][-1]), float(row["total_energy"][-1] / self._start["total_energy"] - 1)
        pace, ps = f"{each:.3g} s/step, ETA {left}", f"{t * self._time_ps:.4g} ps"
        self._bar.set_postfix_str(f"{pace}, t = {ps}, dE/E {energy:.0e}", refresh=False)
        self._bar.update(steps)
        self._bar.refresh()
        where = f"step {self._step}/{self._total}, t = {t:.4g} t0 = {ps}"
        self._line(f"{where}, {pace}, dE/E {energy:.0e}, {self._drifts(row)}")

    def end(self) -> None:
        """The run is complete."""
        self._line("complete")

    def _drifts(self, row: Mapping[str, np.ndarray]) -> str:
        """Changes of mass and momentum since t = 0."""
        start = self._start
        mass = float(row["mass"][-1] / start["mass"] - 1)
        thermal = np.sqrt(2 * start["kinetic_energy"] * start["mass"])
        momentum = float(np.max(np.abs(row["momentum"][-1] - start["momentum"])) / thermal)
        return f"dM/M {mass:.0e}, max|dP|/sqrt(2 M E_K) {momentum:.0e}"

    def _line(self, text: str) -> None:
        self._write(text)
        if self._echo:
            print(text, file=sys.stderr, flush=True)

    def _write(self, text: str) -> None:
        self._log.write(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {text}\n")


class Silent(Progress):
    """The progress in a process that neither prints nor writes."""

    def __init__(self, total: int, time_ps: float) -> None:
        super().__init__(False, total, time_ps)

    def log_to(self, file: Path) -> None:
        """No file."""

    def note(self, text: str) -> None:
        """Another process shows it."""

    def advanced(self, steps: int, seconds: float, row: Mapping[str, np.ndarray]) -> None:
        """Nothing is shown."""

    def _write(self, text: str) -> None:
        pass


def _size() -> dict[str, Any]:
    """Options of the bar: the size of the terminal, or 100 columns where it does not say."""
    try:
        columns = os.get_terminal_size(sys.stderr.fileno()).columns
    except (OSError, ValueError):
        columns = 0
    return {"dynamic_ncols": True} if columns else {"ncols": 100, "nrows": 20}
