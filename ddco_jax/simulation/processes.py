"""Several processes share one run: they agree on what to do next, process 0 writes, and they end together.

`jax.distributed` joins them.  When one ends with an error, it says so in the key-value store of JAX, which all others
read from time to time: a process that waits for an exchange with one that has ended would wait forever.
"""

import contextlib
import hashlib
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from ddco_jax.settings import ConfigError
from ddco_jax.simulation.devices import in_order
from ddco_jax.simulation.interrupts import Watch

ENDED = "ddco_ended/"
"""Keys of the processes that have ended with an error."""
POLL, PATIENCE = 0.5, 3.0
"""Time between two looks at these keys, and time that a process has to end by itself once there is one, s."""
LOST = ("Gloo", "Connection closed by peer", "coordination service", "heartbeat", "Barrier", "Socket closed", "NCCL")
"""Words of the errors with which JAX answers when another process is gone."""
SHARED = 60.0
"""Time after which a file that process 0 has written is seen in all processes, s."""
WAITING = 10.0
"""Time after which a process says that it waits for the others, s."""
GONE = "another process of the run has ended; `ddco resume` goes on from the last checkpoint"
Value = TypeVar("Value")


def several() -> bool:
    """Whether this process has joined others."""
    return jax.distributed.is_initialized()


def first() -> bool:
    """Whether this process writes and prints: process 0, or the only one.  No device is used before a run joins."""
    return not several() or jax.process_index() == 0


def count() -> int:
    """Number of processes."""
    return jax.process_count() if several() else 1


def devices() -> int:
    """Number of devices of all processes; 1 without other processes, where no device is used."""
    return jax.device_count() if several() else 1


def agreed(value: Value) -> Value:
    """The value of process 0, which is made of what JSON knows, in every process."""
    if count() == 1:
        return value
    text = np.frombuffer(json.dumps(value).encode(), np.uint8)
    size = int(multihost_utils.broadcast_one_to_all(np.int32(len(text))))
    return json.loads(multihost_utils.broadcast_one_to_all(np.resize(text, size)).tobytes())


def require_same(*words: str) -> None:
    """Raise ConfigError in every process where one of these texts is not the same in all."""
    digest = np.frombuffer(hashlib.sha256("\0".join(words).encode()).digest()[:8], np.int32)
    said = together(*map(int, digest))
    if np.any(said != said[0]):
        raise ConfigError(
            "the processes of the run differ in config, folder or version; start all of them with the same command"
        )


def require_seen(path: Path) -> None:
    """Raise ConfigError in every process where one of them does not see a file that process 0 has just written."""
    end = time.monotonic() + SHARED
    seen = together(int(path.is_file()))  # process 0 has written it when it comes here
    while not seen.all() and time.monotonic() < end:  # a network may show it later
        time.sleep(POLL)
        seen = together(int(path.is_file()))
    if not seen.all():
        raise ConfigError(f"{path.parent} is not the same folder in all processes; take one on a disk that all share")


def together(*numbers: int) -> np.ndarray:
    """Some numbers of each process, (processes, numbers)."""
    mine = np.array(numbers, np.int32)
    return multihost_utils.process_allgather(mine) if count() > 1 else mine[None]


@contextlib.contextmanager
def joined(watch: Watch) -> Iterator[None]:
    """Join the other processes of a run before JAX uses a device, and part from them after the block.

    The processes find each other as `jax.distributed.initialize` does, or by JAX_COORDINATOR_ADDRESS,
    JAX_NUM_PROCESSES and JAX_PROCESS_ID.  An exception in the block must be followed by `end`.
    Raises ConfigError where the environment does not say how to find them.
    """
    in_order()
    with contextlib.suppress(AttributeError):  # of JAX versions without it
        jax.config.update("jax_enable_preemption_service", False)  # it would handle SIGTERM
    note = "note: waiting for the other processes of the run; JAX gives up after 5 minutes"
    waits = threading.Timer(WAITING, lambda: print(note, file=sys.stderr, flush=True))
    waits.start()
    try:
        jax.distributed.initialize(process_id=_number("JAX_PROCESS_ID"), num_processes=_number("JAX_NUM_PROCESSES"))
    except (ValueError, KeyError, IndexError, RuntimeError) as error:
        why = " ".join(str(error).split())[:200].rstrip(".")
        raise ConfigError(
            f"--distributed: {why}; start the processes with srun or mpirun, or set JAX_COORDINATOR_ADDRESS, "
            "JAX_NUM_PROCESSES and JAX_PROCESS_ID for each, with a free port in the address"
        ) from None
    finally:
        waits.cancel()
    watch.silent, watch.tell, over = not first(), _tell, threading.Event()
    _keep_stdout()
    threading.Thread(target=_end_with_others, args=(watch, over), daemon=True).start()
    try:
        yield
    finally:
        over.set()
    jax.distributed.shutdown()  # waits for all


def end(line: str, status: int) -> None:
    """End this process, which has failed, and with it the others; process 0 alone prints the line."""
    if first():
        print(f"ddco: {line}", file=sys.stderr, flush=True)
    _tell(line, status)
    os._exit(status)  # leaving Python would wait for the other processes


def lost(text: str) -> tuple[str, int] | None:
    """The message and status where an error of JAX says that another process is gone, else None."""
    if not several() or not any(word in text for word in LOST):
        return None
    with contextlib.suppress(Exception):  # process 0 may have ended
        return next(iter(_told()), (GONE, 3))
    return GONE, 3


def _number(name: str) -> int | None:
    return int(os.environ[name]) if name in os.environ else None


def _store() -> Any:
    from jax._src import distributed  # Orbax reaches the store in this way, too

    return distributed.global_state.client


def _told() -> list[tuple[str, int]]:
    """Lines and statuses with which other processes have ended, first of those that knew why."""
    found = {key.removeprefix(ENDED): json.loads(value) for key, value in _store().key_value_dir_get(ENDED)}
    found.pop(str(jax.process_index()), None)
    lines = [(GONE if line == GONE else f"process {key}: {line}", status) for key, (line, status) in found.items()]
    return sorted(lines, key=lambda told: told[0] == GONE)


def _tell(line: str, status: int) -> None:
    """Note the end of this process for the others; process 0, which holds the store, waits until they have left."""
    store, begun = _store(), time.monotonic()
    with contextlib.suppress(Exception):  # process 0 may have ended already
        store.key_value_set(f"{ENDED}{jax.process_index()}", json.dumps([line, status]))
        while first() and time.monotonic() < begun + 2 * PATIENCE:
            if len(store.key_value_dir_get(ENDED)) == jax.process_count():
                time.sleep(POLL / 5)  # they leave just after their note
                return
            time.sleep(POLL / 5)


def _end_with_others(watch: Watch, over: threading.Event) -> None:
    """End this process when another one has ended with an error and this one has not found out by itself."""
    while not over.wait(POLL):
        try:
            ended = _told()
        except Exception:  # process 0 has ended, which JAX notices
            return
        if ended and not over.wait(PATIENCE):
            watch.leave(*ended[0])


def _keep_stdout() -> None:
    """Leave stdout to Python: the exchanges of CPUs (Gloo) print their connections."""
    sys.stdout.flush()
    sys.stdout = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
