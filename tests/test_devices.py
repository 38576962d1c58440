"""The cells along x divided over simulated devices give the same numbers as on one; no program gathers f."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from helpers import ddco, ddco_here, same_result

from ddco_jax import PhaseGrid, open_result
from ddco_jax.plasma.line import WHOLE
from ddco_jax.simulation.checkpoint import Checkpoints, shapes_of, state_of

HERE = Path(__file__).parent
ROUNDING = 1e-12
RUN = {
    "grid.nx": 7,
    "grid.nv": [20, 6, 6],
    "collisions.kernel": "none",
    "time.step_ps": 0.01,
    "time.steps": 4,
    "output.snapshot_every": 2,
    "output.checkpoint_every": 2,
    "output.distribution": "true",
}
SETTINGS = [word for key, value in RUN.items() for word in ("--set", f"{key}={value}")]
MANY = ("--set", "time.steps=400", "--set", "output.checkpoints_kept=400")
ENVIRONMENT = dict(os.environ) | {"TF_CPP_MIN_LOG_LEVEL": "3"}
"""Made before tests change it; jaxlib logs errors of its cache that are none (tests/conftest.py)."""


JAX = {"address": "JAX_COORDINATOR_ADDRESS", "count": "JAX_NUM_PROCESSES", "process": "JAX_PROCESS_ID"}
SLURM = {"port": "JAX_COORDINATOR_PORT", "count": "SLURM_NTASKS", "process": "SLURM_PROCID", "local": "SLURM_LOCALID"}
SLURM |= {"job": "SLURM_JOB_ID", "nodes": "SLURM_STEP_NODELIST"}


def started(count, *command, names=JAX):
    """The processes of one run, which find each other by variables of the environment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    about = {"address": f"127.0.0.1:{port}", "port": port, "count": count, "job": 1, "nodes": "localhost"}

    def start(process):
        own = about | {"process": process, "local": process}
        return subprocess.Popen(
            [sys.executable, *(str(word).format(process=process) for word in command)],
            env=ENVIRONMENT | {variable: str(own[name]) for name, variable in names.items()},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return [start(process) for process in range(count)]


def endings(running):
    """(stdout, stderr, status) of each process."""
    try:
        return [(*process.communicate(timeout=300), process.returncode) for process in running]
    finally:
        for process in running:
            process.kill()


def on_devices(*words):
    command = [sys.executable, str(HERE / "on_devices.py"), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def one_device(tmp_path_factory):
    """File of the results on one device, and what else one process finds out."""
    file = tmp_path_factory.mktemp("devices") / "one.npz"
    return file, on_devices("one", file)


def check(found):
    """Differences from one device: C[f], ten steps and the gradient; f is exchanged, never gathered."""
    assert found["rate"] < 1e-14 and found["rate_size"] > 1e-2
    assert found["changed"] > 1e-2
    assert found["evaluations"] == 0  # every cell takes the same sub-steps
    assert {"end f", "end electric_field", "end memory", "total_energy", "entropy"} < set(found["steps"])
    assert all(difference < ROUNDING for difference in found["steps"].values())
    assert len(found["gradient"]) == 2 and all(difference < 1e-10 for difference in found["gradient"].values())
    assert found["gathers"] == 0 and min(found["exchanges"]) > 0


@pytest.mark.slow
def test_two_processes_with_eight_devices(one_device):
    """20 cells on 8 devices, two or three on each: fewer than the three neighbours that weno5 needs.

    When one process is killed the other ends with one line.
    """
    out = endings(started(2, HERE / "on_devices.py", "two", one_device[0], "{process}"))
    assert [status for *_, status in out] == [3, -signal.SIGKILL], out
    assert out[0][1].splitlines()[-1] == (
        "ddco: another process of the run has ended; `ddco resume` goes on from the last checkpoint"
    )
    assert out[0][0] == out[1][0]
    found = json.loads(out[0][0])
    check(found)


@pytest.mark.slow
def test_some_numbers_of_devices(one_device):
    found = on_devices("some", one_device[0])
    assert set(found) == {"2", "4", "5"}
    for differences in found.values():
        check(differences)


def test_poisson_field_of_a_number_of_cells_that_does_not_divide(one_device):
    assert max(one_device[1]["poisson"]) < 1e-12


def test_the_divided_step_lowers_in_float32(one_device):
    assert one_device[1]["lowered"] == [["cpu", "cuda", "tpu"], 8, False]


def test_what_a_step_sends(one_device):
    """The number of planes in docs/scaling.md."""
    assert one_device[1]["planes"] == {"upwind": 10, "weno5": 48}
    assert "| `weno5` | 48 |" in (HERE.parent / "docs" / "scaling.md").read_text()


@pytest.mark.slow
def test_the_gradient_of_the_accurate_scheme_on_five_devices():
    """Along a direction of f, of all its values, and along the kernel; four cells on each device."""
    for found, one in on_devices("along"):
        assert abs(one) > 1e-6 and abs(found - one) < 1e-10 * abs(one)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run on one device."""
    folder = tmp_path_factory.mktemp("whole") / "one"
    ddco_here("run", "langmuir", "--out", folder, *SETTINGS, cwd=folder.parent)
    return folder


@pytest.fixture(scope="module")
def divided(tmp_path_factory):
    """A run on four devices."""
    folder = tmp_path_factory.mktemp("divided") / "four"
    ddco("run", "langmuir", "--out", folder, "--devices", 4, *SETTINGS, cwd=folder.parent, env=ENVIRONMENT)
    return folder


def stopped_before(run, step, folder):
    """A copy of a run as it was before its checkpoint of a step."""
    shutil.rmtree(shutil.copytree(run, folder) / "checkpoints" / str(step))
    return folder


def same_to_rounding(found, expected):
    """As far as the expected result goes."""
    found, expected = open_result(found), open_result(expected)
    for node, names in {
        "snapshots": ("f", "density", "electric_field", "entropy_production"),
        "history": ("entropy", "total_energy"),
    }.items():
        for name in names:
            b = expected[node][name].to_numpy()
            a = found[node][name].to_numpy()[: len(b)]
            assert a.shape == b.shape and np.max(np.abs(a - b)) <= ROUNDING * np.max(np.abs(b)), (node, name)


def test_a_run_and_its_checkpoint_on_four_devices_and_on_one(divided, whole, tmp_path):
    """`ddco resume` takes four devices again by itself."""
    same_to_rounding(divided, whole)
    again = stopped_before(divided, 4, tmp_path / "again")
    _, err = ddco("resume", again, cwd=tmp_path, env=ENVIRONMENT)
    assert "step 3/4" in err
    same_result(divided, again)
    on_one = stopped_before(divided, 4, tmp_path / "on_one")
    _, err = ddco_here("resume", on_one, "--devices", 1, cwd=tmp_path)
    assert "step 3/4" in err
    same_to_rounding(on_one, whole)


@pytest.mark.slow
def test_a_checkpoint_of_four_devices_on_two_processes(divided, whole, tmp_path):
    """Processes of SLURM, of which the first alone writes and prints."""
    folder = stopped_before(divided, 4, tmp_path / "run")
    command = ("-m", "ddco_jax.cli", "resume", folder, "--distributed")
    (out, err, status), other = endings(started(2, *command, names=SLURM))
    assert status == 0 and "step 3/4" in err and out.startswith("result"), err
    assert other == ("", "", 0)
    same_to_rounding(folder, whole)


@pytest.mark.slow
def test_a_signal_to_one_of_two_processes_stops_both(whole, tmp_path):
    """The result up to there is that of one process, which can read the checkpoints."""
    folder = tmp_path / "run"
    running = started(2, "-m", "ddco_jax.cli", "run", "langmuir", "--out", folder, "--distributed", *SETTINGS, *MANY)
    line = next(line for line in running[0].stderr if line.startswith("step 4/400"))
    running[1].send_signal(signal.SIGTERM)
    (_, err, status), other = endings(running)
    assert status == 143 and err.splitlines()[-1].startswith("ddco: stopped by SIGTERM after step"), line + err
    assert other == ("", "", 143)
    assert not (folder / "lock").exists()
    same_to_rounding(folder, whole)
    grid = PhaseGrid(1.0, RUN["grid.nx"], (1, 1, 1), tuple(RUN["grid.nv"]))
    arrays, about = Checkpoints(folder, 400).restore(
        4, lambda about: shapes_of(grid, "float64", False, about["devices"])
    )
    assert about["devices"] == 2 and arrays["f"].shape[0] == 8  # one ghost
    f = open_result(whole)["snapshots"]["f"][-1].to_numpy()
    assert np.max(np.abs(np.asarray(state_of(grid, arrays, 2).f) - f)) <= ROUNDING * np.max(f)


def test_two_processes_with_different_settings_are_refused(tmp_path):
    command = ("-m", "ddco_jax.cli", "run", "langmuir", "--distributed", *SETTINGS, "--out", tmp_path / "run")
    (_, err, status), other = endings(started(2, *command, "--set", "time.steps=4{process}"))
    line = (
        "ddco: the processes of the run differ in config, folder or version; start all of them with the same command\n"
    )
    assert (err, status) == (line, 2) and other == ("", "", 2)
    assert not (tmp_path / "run").exists()


def test_too_many_devices_end_in_one_line(tmp_path, monkeypatch):
    assert len(jax.devices()) == 1  # JAX has begun
    monkeypatch.setenv("XLA_FLAGS", os.environ.get("XLA_FLAGS", ""))
    _, err = ddco_here("run", "langmuir", "--devices", 9, *SETTINGS, "--out", "run", cwd=tmp_path, expect=2)
    assert err.splitlines()[-1].startswith("ddco: --devices 9: JAX finds 1 (cpu)")
    ddco_here("run", "langmuir", "--devices", 0, cwd=tmp_path, expect=2)
    _, err = ddco_here("run", "langmuir", "--distributed", "--devices", 2, cwd=tmp_path, expect=2)
    assert err == "ddco: --distributed takes all devices of all processes; leave out --devices\n"
    _, err = ddco_here("run", "langmuir", "--distributed", cwd=tmp_path, expect=2)
    assert "JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID" in err and len(err.splitlines()) == 1
    assert PhaseGrid(1.0, 1, (1, 1, 1), (4, 4, 4)).over(jax.devices()[:1]).line is WHOLE


def test_the_check_states_the_memory_and_time_of_each_device(tmp_path):
    out, _ = ddco_here("check", "langmuir", *SETTINGS, "--devices", 4, cwd=tmp_path)
    assert "devices                   4   (memory and time are those of each" in out
    out, _ = ddco_here("check", "langmuir", *SETTINGS, "--devices", 4, "--json", cwd=tmp_path)
    one, _ = ddco_here("check", "langmuir", *SETTINGS, "--json", cwd=tmp_path)
    each, one = json.loads(out), json.loads(one)
    for key in ("memory_distribution_bytes", "memory_run_bytes", "memory_gradient_bytes"):
        assert each[key] * 7 == one[key] * 2  # two of seven cells
    assert each["seconds_per_step"] < one["seconds_per_step"]
    _, err = ddco_here("check", "langmuir", *SETTINGS, "--devices", 8, cwd=tmp_path, expect=2)
    assert err == (
        "ddco: 8 devices: the grid has 7 cells along x, and the other devices would be idle; take at most 7 devices\n"
    )


def test_double_precision_on_a_tpu_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    _, err = ddco_here("run", "langmuir", *SETTINGS, "--out", "run", cwd=tmp_path, expect=2)
    assert err.splitlines()[-1] == 'ddco: precision = "float64": TPUs compute in single precision; set "float32"'
