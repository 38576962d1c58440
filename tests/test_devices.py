"""The cells along x divided over simulated devices give the same numbers as on one; no program gathers f."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from helpers import ddco, ddco_here, same_result

from ddco_jax import PhaseGrid, open_result
from ddco_jax.plasma.line import WHOLE

HERE = Path(__file__).parent
ROUNDING = {"f": 1e-12, "electric_field": 1e-12, "memory": 1e-12}
RUN = (
    "grid.nx=6",
    "grid.nv=[20, 6, 6]",
    "collisions.kernel=none",
    "time.step_ps=0.01",
    "time.steps=4",
    "output.snapshot_every=2",
    "output.checkpoint_every=2",
    "output.distribution=true",
)
SETTINGS = [word for setting in RUN for word in ("--set", setting)]


def on_devices(work):
    command = [sys.executable, str(HERE / "on_devices.py"), work]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def check(row):
    assert row["rate"] < 1e-14 and row["rate_size"] > 1e-2
    assert row["changed"] > 1e-2
    assert all(row["end"][name] < bound for name, bound in ROUNDING.items())
    assert row["history"].pop("evaluations") == 0  # every cell takes the same sub-steps
    assert all(difference < 1e-12 for difference in row["history"].values())
    assert len(row["gradient"]) >= 2 and all(difference < 1e-10 for difference in row["gradient"])
    assert row["gathers"] == 0 and min(row["exchanges"]) > 0


@pytest.fixture(scope="module")
def fast():
    return on_devices("fast")


def test_eight_devices(fast):
    """20 cells on 8 devices, two or three on each: fewer than the three neighbours that weno5 needs."""
    check(fast["differences"]["8"])


def test_poisson_field_of_a_number_of_cells_that_does_not_divide(fast):
    assert max(fast["poisson"]) < 1e-12


def test_the_divided_step_lowers_in_float32(fast):
    assert fast["lowered"] == [["cpu", "cuda", "tpu"], 8, False]


def test_what_a_step_sends(fast):
    """The number of planes in docs/scaling.md."""
    assert fast["planes"] == {"upwind": 10, "weno5": 48}
    assert "| `weno5` | 48 |" in (HERE.parent / "docs" / "scaling.md").read_text()


@pytest.mark.slow
def test_some_numbers_of_devices():
    """With the gradient of both schemes; eight devices are above."""
    rows = on_devices("slow")["differences"]
    assert set(rows) == {"2", "4", "5"} and len(rows["5"]["gradient"]) == 4
    for row in rows.values():
        check(row)


@pytest.fixture(scope="module")
def divided(tmp_path_factory):
    """A run on four devices."""
    folder = tmp_path_factory.mktemp("devices") / "four"
    ddco("run", "langmuir", "--out", folder, "--devices", 4, *SETTINGS, cwd=folder.parent, env=plain_environment())
    return folder


def plain_environment():
    return {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}


def test_a_checkpoint_of_four_devices_restores_on_one(divided, tmp_path):
    """The outputs are those of a run on one device; `ddco resume` takes four again by itself."""
    ddco_here("run", "langmuir", "--out", "one", *SETTINGS, cwd=tmp_path)
    for name, devices in (("again", ()), ("on_one", ("--devices", 1))):
        shutil.rmtree(shutil.copytree(divided, tmp_path / name) / "checkpoints" / "4")
        _, err = ddco("resume", name, *devices, cwd=tmp_path, env=plain_environment())
        assert "step 3/4" in err
    same_result(divided, tmp_path / "again")
    one = open_result(tmp_path / "one")
    for name in ("four", "on_one"):
        found = open_result(divided if name == "four" else tmp_path / name)
        for variable in ("f", "density", "electric_field", "entropy_production"):
            a, b = (r["snapshots"][variable].to_numpy() for r in (found, one))
            assert a.shape == b.shape and np.max(np.abs(a - b)) <= 1e-12 * np.max(np.abs(b))
        np.testing.assert_allclose(found["history"]["entropy"], one["history"]["entropy"], rtol=1e-12)


def test_too_many_devices_end_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", os.environ.get("XLA_FLAGS", ""))
    _, err = ddco_here("run", "langmuir", "--devices", 9, *SETTINGS, "--out", "run", cwd=tmp_path, expect=2)
    assert err.splitlines()[-1].startswith("ddco: --devices 9: JAX finds 1 (cpu)")
    ddco_here("run", "langmuir", "--devices", 0, cwd=tmp_path, expect=2)
    assert PhaseGrid(1.0, 1, (1, 1, 1), (4, 4, 4)).over(jax.devices()[:1]).line is WHOLE


def test_double_precision_on_a_tpu_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    _, err = ddco_here("run", "langmuir", *SETTINGS, "--out", "run", cwd=tmp_path, expect=2)
    assert err.splitlines()[-1] == 'ddco: precision = "float64": TPUs compute in single precision; set "float32"'
