"""One process at a time writes into a folder: a second one ends in one line; no lock is broken automatically."""

import errno
import fcntl
import json
import os
import socket
import subprocess
import sys

import pytest
from helpers import ddco_here

from ddco_jax.plasma import lock
from ddco_jax.plasma.lock import FolderInUse, break_lock, locked

HOLDER = """
import sys
from pathlib import Path
from ddco_jax.plasma.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


SIGNALLED = """
import os, signal, sys, time
from pathlib import Path
from ddco_jax.plasma.lock import locked
from ddco_jax.simulation.interrupts import watched
with watched() as watch, locked(Path(sys.argv[1])) as watch.release:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)
"""


@pytest.fixture
def held(tmp_path):
    """A folder whose lock another process holds."""
    folder = tmp_path / "busy"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], **pipes) as process:
        assert process.stdout.readline() == "held\n"
        yield folder, process
        if process.poll() is None:
            process.communicate("\n")


def test_a_second_process_ends_in_one_line_and_the_lock_outlives_no_kill(held, tmp_path):
    """run, resume, md and train; `--break-lock` does not help against a live process."""
    folder, process = held
    os.rename(folder, tmp_path / "out.nc.work")
    os.symlink("out.nc.work", folder)
    files = ("--set", "data.files=['*.toml']")
    (tmp_path / "some.toml").write_text("")
    for command in (
        ("run", "relaxation", "--out", "busy"),
        ("resume", "busy"),
        ("md", "bimaxwellian", "--out", "out.nc"),
        ("train", "dd-landau", "--out", "busy", *files),
    ):
        _, err = ddco_here(*command, cwd=tmp_path, expect=2)
        last = err.splitlines()[-1]
        assert f"in use by process {process.pid} on {socket.gethostname()}, begun at 20" in last, command
        assert len(err.splitlines()) == (2 if command[0] == "md" else 1)  # md prints its estimate
        _, err = ddco_here(*command, "--break-lock", cwd=tmp_path, expect=2)
        assert "which still runs; end it first" in err
    process.kill()
    process.wait()
    with locked(folder):
        assert json.loads((folder / "lock").read_text())["pid"] == os.getpid()
    assert [path.name for path in folder.iterdir()] == ["config.json"]


def test_what_another_host_owns_is_broken_on_demand_alone(tmp_path):
    (tmp_path / "lock").write_text(json.dumps({"host": "elsewhere", "pid": 1, "start": "then"}))
    with (
        pytest.raises(FolderInUse, match=r"process 1 on elsewhere, begun at then, .* add --break-lock"),
        locked(tmp_path),
    ):
        pass
    break_lock(tmp_path)
    with locked(tmp_path), pytest.raises(FolderInUse, match="in use by process"), locked(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_without_locks_the_file_alone_counts(tmp_path, monkeypatch):
    def none(descriptor, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    with locked(tmp_path), pytest.raises(FolderInUse, match="add --break-lock"), locked(tmp_path):
        pass
    assert not list(tmp_path.iterdir())
    mine = {"host": socket.gethostname(), "pid": os.getpid(), "start": "now"}
    (tmp_path / "lock").write_text(json.dumps(mine))
    with pytest.raises(FolderInUse, match="still runs"):
        break_lock(tmp_path)
    (tmp_path / "lock").write_text(json.dumps(mine | {"pid": 2**22 + 1}))  # above the largest of Linux
    break_lock(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", ["", "[1]", "{", '{"host": 3}', "[" * 100_000])
def test_a_lock_that_says_nothing_is_free_only_if_unlocked(content, tmp_path):
    (tmp_path / "lock").write_text(content)
    if content == '{"host": 3}':
        with pytest.raises(FolderInUse, match="add --break-lock"), locked(tmp_path):
            pass
        return
    with locked(tmp_path):
        (tmp_path / "lock").write_text(content)
        with pytest.raises(FolderInUse, match="in use by another process"), locked(tmp_path):
            pass


def test_a_failure_leaves_no_folder_behind(tmp_path):
    with pytest.raises(ValueError), locked(tmp_path / "a" / "b"):
        raise ValueError
    assert not list(tmp_path.iterdir())
    with locked(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "result").write_text("kept")
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["result"]


def test_an_owner_that_ends_meanwhile_leaves_a_usable_lock(tmp_path, monkeypatch):
    """The file that was opened is removed by its owner before it is locked: the lock of a removed file is none."""
    first, calls = lock._try, []

    def slow(descriptor):
        if not calls:
            (tmp_path / "lock").unlink()
        calls.append(descriptor)
        return first(descriptor)

    monkeypatch.setattr(lock, "_try", slow)
    with locked(tmp_path):
        assert len(calls) == 2 and (tmp_path / "lock").exists()


def test_a_signal_before_the_first_step_leaves_nothing(tmp_path):
    """The process ends at once, from another thread, and removes its lock and the folders that it has made."""
    command = [sys.executable, "-c", SIGNALLED, str(tmp_path / "a" / "b")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (143, "ddco: stopped by SIGTERM; nothing was written\n")
    assert not list(tmp_path.iterdir())
