"""What a run says while it goes on, and what Ctrl-C and SIGTERM do to it."""

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from helpers import ddco_here, same_result

from ddco_jax import open_result
from ddco_jax.simulation import interrupts
from ddco_jax.simulation import run as runner
from ddco_jax.simulation.config import load

STEPS = 12
CONFIG = f"""
scheme = "paper"
[plasma]
temperature_eV = 0.2
[grid]
length_angstrom = 1024.0
nx = 4
velocity_extent_m_s = [25000.0, 25000.0, 25000.0]
nv = [24, 6, 6]
[time]
step_ps = 0.02
steps = {STEPS}
[initial]
kind = "maxwellian"
density_perturbation = 0.1
[collisions]
kernel = "none"
[output]
history_every = 2
snapshot_every = 4
checkpoint_every = 100
"""


@pytest.fixture(autouse=True)
def signals_arrive():
    """Also where the tests run in the background, in which a shell makes processes ignore SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


SLOW = """
import sys, time
from ddco_jax import cli
from ddco_jax.simulation import run
made = run.make_advance
def slow(stepper, dt):
    advance, calls = made(stepper, dt), []
    def call(state, n):
        calls.append(int(n))
        time.sleep(60 if len(calls) == 4 else 0.6 if n else 0)
        return advance(state, n)
    return call
run.make_advance = slow
cli.main()
"""
"""The command, with steps of 0.6 s, of which the third takes a minute."""


def slowed(monkeypatch, seconds):
    """Every call of a run's steps takes longer, which does not change them."""
    made = runner.make_advance

    def slow(stepper, dt):
        advance = made(stepper, dt)

        def call(state, n):
            time.sleep(seconds if n else 0)
            return advance(state, n)

        return call

    monkeypatch.setattr(runner, "make_advance", slow)


def when(condition, action, seconds=60.0):
    """Do something in another thread once a condition holds."""

    def wait():
        end = time.monotonic() + seconds
        while not condition() and time.monotonic() < end:
            time.sleep(0.01)
        action()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def consistent(result):
    """Every variable of a result has one finite row per time, and times increase."""
    for node in ("history", "snapshots"):
        dataset = result[node].to_dataset().load()
        assert np.all(np.diff(dataset["t"]) > 0)
        for name, variable in dataset.data_vars.items():
            assert np.all(np.isfinite(variable)), name
    return result["history"].sizes["t"], result["snapshots"].sizes["t"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that was polled from its first moment, with what it said and what was seen."""
    folder = tmp_path_factory.mktemp("waiting")
    (folder / "wave.toml").write_text(CONFIG)
    seen, over, errors = [], threading.Event(), []

    def poll():
        while not over.wait(0.05):
            if (folder / "whole" / "result.zarr").exists():
                try:
                    seen.append(consistent(open_result(folder / "whole", "si" if len(seen) % 2 else "code")))
                except Exception as error:
                    errors.append(error)

    poller = threading.Thread(target=poll)
    poller.start()
    try:
        with pytest.MonkeyPatch.context() as patch:
            slowed(patch, 0.3)
            _, err = ddco_here("run", "wave.toml", "--out", "whole", cwd=folder)
    finally:
        over.set()
        poller.join()
    return folder, err, seen, errors


def test_a_result_that_is_polled_during_the_run_opens_every_time(whole):
    folder, _, seen, errors = whole
    assert errors == []
    assert len(seen) > 10 and seen == sorted(seen) and len(set(seen)) > 4  # rows appeared one after the other
    assert seen[0] in ((0, 0), (1, 0), (1, 1)) and consistent(open_result(folder / "whole")) == (7, 4)


def test_lines_say_what_a_run_does(whole):
    folder, err, _, _ = whole
    lines = err.splitlines()
    steps = [line for line in lines if line.startswith("step ")]
    log = (folder / "whole" / "run.log").read_text()
    assert lines.index("compiling ...") < lines.index(steps[0])
    assert steps[-1].startswith(f"step {STEPS}/{STEPS}, t = 0.24 t0 = 0.24 ps, ") and "ETA 00:00" in steps[-1]
    assert "dM/M" in steps[-1] and "dE/E" in steps[-1]
    assert all(line in log for line in lines)
    # from steps alone: 0.3 s each, the first one 11 before the end
    minutes, seconds = steps[0].partition("ETA ")[2].partition(",")[0].split(":")
    assert 3 <= 60 * int(minutes) + int(seconds) <= 8


def test_ctrl_c_ends_the_step_and_writes_a_checkpoint(whole, monkeypatch):
    """Status 130, one line, handlers as before; then `resume` gives bitwise the whole run and appends to run.log."""
    folder, *_ = whole
    slowed(monkeypatch, 0.3)
    before = [signal.getsignal(number) for number in interrupts.SIGNALS]
    log = folder / "stopped" / "run.log"
    thread = when(lambda: log.exists() and "step 1/" in log.read_text(), lambda: os.kill(os.getpid(), signal.SIGINT))
    _, err = ddco_here("run", "wave.toml", "--out", "stopped", cwd=folder, expect=130)
    thread.join()
    assert [signal.getsignal(number) for number in interrupts.SIGNALS] == before
    assert signal.set_wakeup_fd(-1) == -1
    (line,) = (line for line in err.splitlines() if line.startswith("ddco: "))
    step = int(line.partition("after step ")[2].split()[0])
    assert 1 < step < STEPS
    assert line.endswith(f"of {STEPS}; `ddco resume stopped` goes on from the checkpoint of step {step}")
    monkeypatch.undo()
    ddco_here("resume", "stopped", cwd=folder)
    same_result(folder / "whole", folder / "stopped")
    text = log.read_text()
    assert line.removeprefix("ddco: ") in text and text.index("stopped by SIGINT") < text.index(f"step {STEPS}/{STEPS}")


def test_a_run_goes_on_from_its_very_first_checkpoint(whole):
    """Of step 0, before any step: nothing is recorded twice."""
    folder, *_ = whole
    shutil.copytree(folder / "whole", folder / "first")
    shutil.rmtree(folder / "first" / "checkpoints" / str(STEPS))
    assert [path.name for path in (folder / "first" / "checkpoints").iterdir()] == ["0"]
    ddco_here("resume", "first", cwd=folder)
    same_result(folder / "whole", folder / "first")


@pytest.mark.parametrize("second", [False, True])
def test_a_step_that_does_not_end_is_left(second, whole):
    """SIGTERM ends at status 143 when the time of grace is over, a second signal at once; the checkpoint stands."""
    folder, *_ = whole
    name = f"left-{second}"
    extra = ("--set", "output.checkpoint_every=2", "--grace", "100" if second else "0.5")
    command = [sys.executable, "-c", SLOW, "run", "wave.toml", "--out", name, *extra]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    checkpoint, end = folder / name / "checkpoints" / "2", time.monotonic() + 100
    while not checkpoint.exists() and time.monotonic() < end:
        time.sleep(0.02)
    time.sleep(0.5)  # the third step is under way
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    if second:
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert time.monotonic() - begun < 10
    assert process.returncode == (130 if second else 143)
    cause = "a second signal, SIGINT" if second else "SIGTERM: the step did not end within 0.5 s"
    line = f"ddco: stopped by {cause}; `ddco resume {name}` goes on from the checkpoint of step 2"
    assert err.splitlines()[-1] == line
    assert line in (folder / name / "run.log").read_text()
    assert consistent(open_result(folder / name)) == (2, 1)


def test_a_terminal_shows_that_it_compiles_and_ctrl_c_leaves_at_once(whole):
    """XLA holds the main thread meanwhile: the seconds are counted and the signal is heard by other threads."""
    folder, *_ = whole
    changes = {"collisions.kernel": "landau", "grid.nv": "[16, 16, 16]"}
    extra = [word for key, value in changes.items() for word in ("--set", f"{key}={value}")]
    env = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "XLA_"))}
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "ddco_jax.cli", "run", "wave.toml", "--out", "compiling", *extra]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=slave, env=env)
    os.close(slave)
    shown, end = "", time.monotonic() + 100
    while not re.search(r"compiling \.\.\. [1-9]", shown) and process.poll() is None and time.monotonic() < end:
        if select.select([master], [], [], 0.1)[0]:
            shown += os.read(master, 1 << 16).decode()
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130 and time.monotonic() - begun < 5
    while select.select([master], [], [], 0)[0]:
        try:
            shown += os.read(master, 1 << 16).decode()
        except OSError:  # the other end is closed
            break
    os.close(master)
    assert "checking ... 0 s" in shown and f"0/{STEPS} steps" in shown
    assert "ddco: stopped by SIGINT; there is no checkpoint yet, `ddco resume compiling` begins it again" in shown
    assert "step 1/" not in (folder / "compiling" / "run.log").read_text()


def test_other_threads_run_without_handlers(whole, monkeypatch):
    """`run` from Python outside the main thread, and the same of the command's handlers."""
    folder, *_ = whole
    found = []

    def work():
        with interrupts.watched() as watch:
            found.append((watch.stepping, signal.getsignal(signal.SIGINT)))
            config = load(str(folder / "wave.toml"), ("time.steps=2",))[0]
            found.append(runner.run(config, folder / "thread", progress=False, watch=watch))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found[0] == (False, signal.getsignal(signal.SIGINT))
    assert found[1].steps == 2
