"""One process at a time writes into a folder: a lock on an open file, which the system releases when the process ends.

The file holds host, process and start of its owner, for the message.  It is removed when the owner ends normally; after
a kill it stays without a lock, and the next process of the same host takes it over.  Where the file system has no
locks, or where another host left the file, nobody can tell whether the owner still runs: then only `break_lock` helps.
"""

import errno
import fcntl
import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

LOCK_FILE = "lock"
NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
"""Errors of file systems without locks."""


class FolderInUse(RuntimeError):
    """Another process writes, or may write, into the folder; the message says which, in one line."""


@contextmanager
def locked(folder: Path) -> Iterator[Callable[[], None]]:
    """Hold the lock of a folder.  A missing folder is created, and removed again where it is left empty.

    Yields a function that does the same for a process that is about to end without leaving the block.
    Raises FolderInUse where another process holds it, or may hold it.
    """
    created = [path for path in (folder, *folder.parents) if not path.exists()]

    def tidy() -> None:
        with suppress(OSError):  # not empty
            for path in created:
                path.rmdir()

    def release() -> None:
        (folder / LOCK_FILE).unlink(missing_ok=True)
        tidy()

    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = _take(folder)
        try:
            yield release
        finally:
            (folder / LOCK_FILE).unlink(missing_ok=True)
            os.close(descriptor)
    finally:
        tidy()


def break_lock(folder: Path) -> None:
    """Remove the lock that an ended process has left.  Raises FolderInUse where its owner runs on this host."""
    file = folder / LOCK_FILE
    if not file.exists():
        return
    descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    try:
        owner, free = _owner(file), _try(descriptor)
        if owner.get("host") == socket.gethostname() and (_runs(owner.get("pid")) if free is None else not free):
            raise FolderInUse(f"{folder}: in use by {_words(owner)}, which still runs; end it first")
        file.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _take(folder: Path) -> int:
    """The descriptor of the locked file, with this process written into it."""
    file = folder / LOCK_FILE
    while True:
        try:
            descriptor, left = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644), False
        except FileExistsError:
            descriptor, left = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644), True
        try:
            free = _try(descriptor)
            if free is False:
                raise FolderInUse(f"{folder}: in use by {_words(_owner(file))}; wait until it has ended")
            if not _is_still(file, descriptor):  # its owner has ended and removed it in between
                os.close(descriptor)
                continue
            foreign = _owner(file).get("host", socket.gethostname()) != socket.gethostname()
            if left and (free is None or foreign):
                words = f"in use by {_words(_owner(file))}, or left behind when that was killed"
                raise FolderInUse(f"{folder}: {words}; if it has ended, add --break-lock")
            _sign(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor


def _try(descriptor: int) -> bool | None:
    """Lock an open file; False where another process has it locked, None where the file system has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        if error.errno in NO_LOCKS:
            return None
        raise
    return True


def _is_still(file: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(file), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _sign(descriptor: int) -> None:
    start = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
    text = json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "start": start})
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, text.encode(), 0)


def _owner(file: Path) -> dict[str, object]:
    """Host, process and start of the owner; {} where it has written nothing that can be read."""
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _words(owner: dict[str, object]) -> str:
    if not owner:
        return "another process"
    return f"process {owner.get('pid')} on {owner.get('host')}, begun at {owner.get('start')}"


def _runs(pid: object) -> bool:
    if not isinstance(pid, int) or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True
