"""Ctrl-C and SIGTERM during a run: finish the step and write a checkpoint, or leave at once.

Python's own handlers wait until the main thread returns from XLA, which may take minutes.  A thread that reads the
numbers of the signals from a socket (`signal.set_wakeup_fd`) does not.
"""

import os
import shlex
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

GRACE = 20.0
"""Default time that the step under way may take after a signal, s."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(RuntimeError):
    """A run ended because of a signal; the message is one line."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.status = 128 + number
        """Exit status of the command."""


class Watch:
    """What a run and the thread that watches for signals tell each other.  Alone it stands for no thread."""

    def __init__(self) -> None:
        self.stepping = False
        """Set by the run: a signal waits for the step under way."""
        self.signal = 0
        """Number of the signal that asks the run to stop after the step under way, else 0."""
        self.remedy = "nothing was written"
        """How to go on from what is on disk."""
        self.log = Path(os.devnull)
        self.release: Callable[[], None] = lambda: None
        """Releases the folder of the run, before the process ends at once."""
        self.silent = False
        """Whether another process reports the end of this one."""
        self.tell: Callable[[str, int], None] = lambda line, status: None
        """Tells the other processes of the run why this one ends at once."""

    def saved(self, folder: Path, log: Path, step: int | None = None) -> None:
        """Note that `folder` can be resumed, from the checkpoint of `step` or, without one, from the beginning."""
        self.log = log
        command = f"`ddco resume {shlex.quote(str(folder))}`"
        begins = f"there is no checkpoint yet, {command} begins it again"
        self.remedy = begins if step is None else f"{command} goes on from the checkpoint of step {step}"

    def stopped(self, step: int, last: int, number: int) -> Stopped:
        """The exception that ends a run whose step and checkpoint are complete, after a signal."""
        self.signal, self.stepping = 0, False
        return Stopped(f"stopped by {_name(number)} after step {step} of {last}; {self.remedy}", number)

    def leave(self, line: str, status: int) -> None:
        """End the process at once, from any thread, with one line on stderr and in the log."""
        try:
            text = f"ddco: {line}\n"
            if not self.silent:
                # print() may wait for a lock of the main thread
                os.write(2, (f"\n{text}" if os.isatty(2) else text).encode())
                with open(self.log, "a") as log:
                    log.write(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {text}")
            self.release()
            self.tell(line, status)
        finally:  # whatever has become of stderr and the folder
            os._exit(status)


@contextmanager
def watched(grace: float = GRACE) -> Iterator[Watch]:
    """Handle the first SIGINT or SIGTERM within the block by `Watch.signal`, or end the process.

    The process ends at once with status 130 or 143 where the run is not stepping, at a second signal, and where the run
    has not stopped by itself `grace` seconds after the first.  The handlers are put back afterwards.  Signals that are
    ignored stay ignored.  Outside the main thread, where Python has no handlers, the block runs without any.
    """
    watch = Watch()
    if threading.current_thread() is not threading.main_thread():
        yield watch
        return
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    over = threading.Lock()
    thread = threading.Thread(target=_listen, args=(watch, reader, grace, over), daemon=True)
    before = {number: signal.getsignal(number) for number in SIGNALS}
    replaced = [number for number, handler in before.items() if handler not in (signal.SIG_IGN, None)]
    descriptor = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    try:
        for number in replaced:
            signal.signal(number, lambda *_: None)
        thread.start()
        yield watch
    finally:
        over.acquire()  # from here on the thread does not end the process
        for number in replaced:
            signal.signal(number, before[number])
        signal.set_wakeup_fd(descriptor)
        writer.close()
        thread.join()
        reader.close()


def _listen(watch: Watch, reader: socket.socket, grace: float, over: threading.Lock) -> None:
    """Read the numbers of signals until the other end closes."""
    end, first = float("inf"), 0
    while True:
        if first:
            reader.settimeout(max(0.0, end - time.monotonic()) + 1e-3)
        try:
            received = reader.recv(1)
        except TimeoutError:
            _leave(watch, f"{_name(first)}: the step did not end within {grace:g} s", first, over)
            return
        if not received:
            return
        number = received[0]
        if number not in SIGNALS:
            continue
        if first:
            _leave(watch, f"a second signal, {_name(number)}", number, over)
            return
        if not watch.stepping:
            _leave(watch, _name(number), number, over)
            return
        first, end, watch.signal = number, time.monotonic() + grace, number


def _leave(watch: Watch, cause: str, number: int, over: threading.Lock) -> None:
    """End the process with one line, unless the block has ended."""
    if over.acquire(blocking=False):
        watch.leave(f"stopped by {cause}; {watch.remedy}", 128 + number)


def _name(number: int) -> str:
    return signal.Signals(number).name
