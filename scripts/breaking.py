"""`ddco` in forked processes that meet signals, full disks and limits: what `campaign.py` breaks runs with."""

import errno
import multiprocessing
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ddco_jax import cli

CHANGES = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate")
SECONDS = 120.0
"""A process that takes longer hangs."""
fork = multiprocessing.get_context("fork")


class Process:
    """`ddco` in a process of its own, forked from this one; it calls `prepare` first."""

    def __init__(self, folder: Path, *words: str, prepare: Callable[[], object] = int) -> None:
        (go, self._go), (self._err, err) = os.pipe(), os.pipe()
        self.process = fork.Process(target=self._work, args=(folder, words, prepare, go, err))
        self.process.start()
        os.close(go)
        os.close(err)

    def _work(self, folder: Path, words: tuple[str, ...], prepare: Callable[[], object], go: int, err: int) -> None:
        os.close(self._go)
        os.close(self._err)
        for number, target in ((1, os.open(os.devnull, os.O_WRONLY)), (2, err)):
            os.dup2(target, number)
        sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
        os.chdir(folder)
        os.read(go, 1)  # until whoever traces this process is ready
        prepare()
        sys.argv = ["ddco", *words]
        cli.main()

    def go(self) -> "Process":
        """Let it begin."""
        os.close(self._go)
        return self

    def end(self) -> tuple[int, str]:
        """Status, negative after a signal, and stderr."""
        self.process.join(SECONDS)
        hangs = self.process.is_alive()
        if hangs:
            self.process.kill()
            self.process.join()
        with open(self._err) as pipe:  # which holds 64 KiB: a process that writes more hangs
            err = pipe.read()
        status = self.process.exitcode
        assert status is not None
        return status, "Traceback: it hangs" if hangs else err


def hook(act: Callable[[str, Any], None], number: int) -> Callable[[], None]:
    """What `Process` prepares: `act` from the change of a file in the broken folder with this number on."""
    seen = 0

    def watch(event: str, args: tuple[Any, ...]) -> None:
        nonlocal seen
        writes = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)
        if not (writes or event in CHANGES) or not isinstance(args[0], str | bytes | os.PathLike):
            return
        if "/broken" not in os.path.abspath(os.fsdecode(args[0])):
            return
        seen += 1
        if seen >= number:
            act(event, args[0])

    return lambda: sys.addaudithook(watch)


def once(act: Callable[[str, Any], None], number: int) -> Callable[[], None]:
    """As `hook`, at the first change alone."""
    done: list[str] = []

    def first(event: str, path: Any) -> None:
        if not done:
            done.append(event)
            act(event, path)

    return hook(first, number)


def no_space(event: str, path: Any) -> None:
    if event in ("open", "os.mkdir"):
        raise OSError(errno.ENOSPC, "No space left on device", path)


def limit(size: int) -> None:
    """Every write beyond this size fails, as on a full disk, in any library."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
