"""The one line and the exit status with which `ddco` ends after an exception."""

import errno
import os
import zipfile
from collections.abc import Iterator

from ddco_jax.plasma.lock import FolderInUse
from ddco_jax.settings import ConfigError, RunFailed
from ddco_jax.simulation import processes
from ddco_jax.simulation.interrupts import Stopped

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
LONGEST = 300
"""Characters of the message of another library."""
NO_MEMORY = ("RESOURCE_EXHAUSTED", "Out of memory", "out of memory", "Unable to allocate")
NO_SPACE = ("No space left on device", "Disk quota exceeded", "File too large")


def explained(error: BaseException) -> tuple[str, int]:
    """The message, in one line, and the status.

    It is 2 for wrong input, 3 where a run or the machine failed, 130 or 143 after a signal.
    """
    if isinstance(error, ConfigError | FolderInUse):
        return _line(error), 2
    if isinstance(error, Stopped):
        return _line(error), error.status
    if isinstance(error, RunFailed):
        return f"{_line(error)}; the last good checkpoint is kept", 3
    causes = list(_causes(error))
    text = " ".join(_line(cause) for cause in causes)
    if lost := processes.lost(text):
        return lost
    system = next((cause for cause in causes if isinstance(cause, OSError) and cause.errno is not None), None)
    if (system is not None and system.errno in FULL) or any(words in text for words in NO_SPACE):
        where = f" for {system.filename}" if system is not None and system.filename else ""
        return f"no space left on the disk{where}; make room, then go on from the last checkpoint (`ddco resume`)", 3
    if isinstance(error, MemoryError) or any(words in text for words in NO_MEMORY):
        return f"not enough memory ({_cut(text)}); `ddco check` says what a run needs; lower grid.nx or grid.nv", 3
    if system is not None:
        name = "" if system.filename is None else f"{system.filename}: "
        return f"{name}{system.strerror}; choose a path that can be read and written", 2
    if isinstance(error, RecursionError):
        return "a file is nested too deeply; is it the right one?", 2
    kind = "" if isinstance(error, ValueError | OSError) and str(error) else f"{type(error).__name__}: "
    if isinstance(error, ValueError | OSError | EOFError | KeyError | zipfile.BadZipFile):
        return f"{kind}{_cut(_line(error))}; is a file damaged or of another kind? --debug shows where", 2
    if message := _no_device():
        return message, 2
    return f"{kind}{_cut(_line(error))}; this is unexpected: please report it with what --debug shows", 3


def _no_device() -> str | None:
    """What is wrong if JAX has no device, else None."""
    import jax

    try:
        jax.devices()
    except Exception:
        wanted = f"JAX_PLATFORMS={os.environ.get('JAX_PLATFORMS', '')}"
        return f"JAX finds no device with {wanted}; unset it, or install JAX for the device (docs/gpus.md)"
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The exception, those of a group in it, and those that led to it."""
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _causes(each)
    yield error
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None:
        yield from _causes(before)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[:LONGEST] + " ..."
