"""`ddco sweep`: which runs, each as by `ddco run`, continued by the same command, and their summary."""

import json
import os
import shutil
import signal
import sys
import threading
import time

import numpy as np
import pytest
import xarray as xr
from helpers import ddco, ending_of, same_result

from ddco_jax import open_result
from ddco_jax.simulation import results
from ddco_jax.simulation import sweep as sweeps
from ddco_jax.simulation.interrupts import Stopped
from ddco_jax.simulation.sweep_summary import _names, _stacked

TINY = """
description = "tiny"
field = "none"
x_flux = "upwind"
[plasma]
temperature_eV = 0.2
[grid]
length_angstrom = 100.0
nx = 1
velocity_extent_m_s = [26000.0, 30000.0, 30000.0]
nv = [12, 12, 12]
[time]
step_ps = 0.05
steps = 2
[initial]
kind = "bimaxwellian"
[collisions]
kernel = "none"
"""
GRID = ("--set", "plasma.temperature_eV=0.2,0.25", "--set", "collisions.kernel=none,landau-classical", "--out", "out")
"""The classical Coulomb logarithm is not positive at these Gamma, so two runs fail."""


class Here:
    """Runs the commands of a sweep in this process, and counts them."""

    def __init__(self, cwd):
        self.cwd, self.calls, self.said = cwd, [], []

    def __call__(self, processes, words):
        self.calls.append(words[:3] if words[0] == "run" else words[:2])
        _, err, status = ending_of(*words, cwd=self.cwd)
        lines = [line.removeprefix("ddco: ") for line in err.splitlines() if line.startswith("ddco: ")]
        return status, lines[-1] if lines else ""


@pytest.fixture
def here(monkeypatch, tmp_path):
    (tmp_path / "tiny.toml").write_text(TINY)
    runner = Here(tmp_path)
    monkeypatch.setattr(sweeps._Processes, "call", lambda self, words: runner(self, words))
    # a run of the next point may have redirected stderr when the line of the last one is written
    monkeypatch.setattr(sweeps.tqdm, "write", lambda text, **_: runner.said.append(text))
    return runner


def swept(*words, cwd, expect=0):
    out, err, status = ending_of("sweep", "tiny.toml", *words, cwd=cwd)
    assert status == expect, out + err
    return out, err


TEXTS = {
    "plasma.temperature_eV=0.1,0.2": [0.1, 0.2],
    "time.steps=3": [3],
    "grid.nv=[8, 8, 8]": [[8, 8, 8]],
    "grid.nv=[8,8,8],[12,12,12]": [[8, 8, 8], [12, 12, 12]],
    "collisions.kernel=landau, ddco": ["landau", "ddco"],
    "collisions.kernel=ddco": ["ddco"],
    'description="a, b"': ["a, b"],
    'description="a, b","c"': ["a, b", "c"],
    "output.distribution=true,false": [True, False],
}


@pytest.mark.parametrize("text", TEXTS)
def test_values_of_a_setting(text):
    assert sweeps.choices(text) == (text.partition("=")[0], TEXTS[text])


MISTAKES = {
    "nothing varies": (("--set", "time.steps=3"), "nothing varies"),
    "twice": (("--set", "time.steps=1,2", "--set", "time.steps=3,4"), "time.steps: given twice"),
    "equal": (("--set", "time.steps=2,2"), "a value is given twice"),
    "missing": (("--set", "collisions.kernel=landau,"), "a value is missing"),
    "key": (("--set", "grid.nvv=1,2"), "unknown key grid.nvv"),
    "value": (("--set", "time.steps=1,0"), "(in the run steps=0)"),
    "jobs": (("--set", "time.steps=1,2", "--jobs", "0"), "--jobs"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_end_with_one_line_before_anything_runs(case, here, tmp_path):
    words, message = MISTAKES[case]
    _, err = swept(*words, "--out", "out", cwd=tmp_path, expect=2)
    assert message in err and err.count("\n") == 1 and err.startswith("ddco: ")
    assert not here.calls and not (tmp_path / "out").exists()


def test_a_grid_of_runs_with_failures_is_summarised_and_continued(here, tmp_path):
    out, err = swept(*GRID, cwd=tmp_path, expect=3)
    assert out.strip() == "out/summary.nc" and "ddco: 2 of 4 runs failed" in err
    name = "temperature_eV=0.25_kernel=landau-classical"
    assert here.said[-1].startswith(f"4/4 {name}: failed: ") and "not positive at Gamma" in here.said[-1]
    summary = xr.open_datatree(tmp_path / "out" / "summary.nc")
    assert dict(summary.dataset.sizes) == {"temperature_eV": 2, "kernel": 2, "x": 1, "axis": 3, "other_axis": 3}
    assert summary["status"].to_numpy().tolist() == [["complete", "failed"]] * 2
    assert "not positive" in str(summary["error"].sel(temperature_eV=0.25, kernel="landau-classical").values)
    assert summary["temperature_eV"].attrs["setting"] == "plasma.temperature_eV"
    chosen = summary.sel(temperature_eV=0.25, kernel="none")
    result = open_result(tmp_path / "out" / str(chosen["folder"].values), "si")
    for variable in ("total_energy", "entropy", "momentum"):
        np.testing.assert_array_equal(chosen[variable], result["history"][variable][-1])
        np.testing.assert_array_equal(chosen[f"{variable}_start"], result["history"][variable][0])
        np.testing.assert_array_equal(chosen["history"][variable], result["history"][variable])
    np.testing.assert_array_equal(chosen["axis_temperature"], result["snapshots"]["axis_temperature"][-1])
    np.testing.assert_array_equal(chosen["snapshots"]["t"], result["snapshots"]["t"])
    assert chosen["temperature"].attrs["units"] == "K" and "f_vx" not in summary["snapshots"]
    assert np.all(np.isnan(summary["mass"].sel(kernel="landau-classical")))

    # one run as a kill leaves it, and another kernel in place of the one that failed
    folder = tmp_path / "out" / "temperature_eV=0.2_kernel=none"
    shutil.copytree(folder, tmp_path / "whole")
    shutil.rmtree(folder / "checkpoints" / "2")
    results.reopen(folder, dict.fromkeys(results.NODES, 1), {"history": 3, "snapshots": 2})
    assert len(here.calls) == 4
    here.calls.clear()
    here.said.clear()
    swept(*(word.replace("landau-classical", "landau") for word in GRID), cwd=tmp_path)
    assert any(text.endswith("temperature_eV=0.25_kernel=none: was complete") for text in here.said)
    assert [words[0] for words in here.calls] == ["resume", "run", "run"]
    same_result(tmp_path / "whole", folder)
    summary = xr.open_datatree(tmp_path / "out" / "summary.nc")
    assert np.all(summary["status"] == "complete") and np.all(np.isfinite(summary["mass"]))

    # the config has changed
    (tmp_path / "tiny.toml").write_text(TINY.replace("0.05", "0.04"))
    _, err = swept(*GRID, cwd=tmp_path, expect=2)
    assert "begun with another config (time); choose another --out" in err and err.count("\n") == 1


def test_what_differs_between_runs_is_left_out_or_a_variable():
    """Three times of another spacing, x of another number of cells, and no third run."""

    def run(step, nx):
        moments = {"density": (("t", "x"), np.ones((3, nx))), "mass": ("t", step * np.arange(3.0))}
        return xr.Dataset(moments, {"t": step * np.arange(3.0), "x": np.arange(nx) + 0.5})

    coords = {"step_ps": xr.Variable(("step_ps",), [1.0, 2.0, 3.0])}
    found = _stacked({0: run(1.0, 4), 1: run(2.0, 5)}, coords, (3,))
    assert set(found.variables) == {"step_ps", "time", "mass"} and found["time"].dims == ("step_ps", "t")
    np.testing.assert_array_equal(found["mass"], [[0, 1, 2], [0, 2, 4], [np.nan] * 3])
    found = _stacked({0: run(1.0, 4), 1: run(1.0, 4)}, coords, (3,))
    assert found["density"].dims == ("step_ps", "t", "x") and found["t"].dims == ("t",) and "time" not in found
    names = _names(["a.time", "b.kernel", "c.kernel", "plasma.density"])
    assert list(names.values()) == ["a.time", "b.kernel", "c.kernel", "plasma.density"]


def test_folders_have_plain_and_different_names():
    name = sweeps._name
    assert name({"plasma.temperature_eV": 0.2, "grid.nx": 4}) == "temperature_eV=0.2_nx=4"
    found = [name({"grid.nv": [8, 8, 8]}), name({"a.b": "x/y"}), name({"a.b": "x-y"}), name({"a.b": 1, "c.b": 1})]
    assert len(set(found)) == 4 and not any(set(text) & set("[]/ ,\\") for text in found)
    assert len(name({"collisions.kernel": "k" * 300})) < 100


def test_runs_in_processes_of_their_own(tmp_path):
    """Two at a time; their errors are those of `ddco run`."""
    (tmp_path / "tiny.toml").write_text(TINY)
    words = ("--set", "collisions.kernel=none,landau-classical", "--set", "grid.nv=[12, 12, 12]", "--jobs", 2)
    out, err = ddco("sweep", "tiny.toml", *words, "--out", "a b", cwd=tmp_path, expect=3)
    assert out == "a b/summary.nc\n" and "kernel=none: complete after" in err
    assert "kernel=landau-classical: failed: " in err and "not positive at Gamma" in err
    summary = xr.open_dataset(tmp_path / "a b" / "summary.nc")
    assert summary["status"].to_numpy().tolist() == ["complete", "failed"]
    assert json.loads(summary.attrs["set"]) == {"grid.nv": [12, 12, 12]}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_runs_under_way_and_begins_no_other(number, tmp_path, monkeypatch):
    (tmp_path / "tiny.toml").write_text(TINY)
    program = tmp_path / "sleeper"
    program.write_text('#!/bin/sh\necho x >> begun\ntrap "exit 130" INT TERM\nwhile :; do sleep 0.1; done\n')
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.chdir(tmp_path)
    planned = sweeps.plan("tiny.toml", ["time.steps=1,2,3"], tmp_path / "out")
    begun, before = time.monotonic(), signal.getsignal(number)

    def interrupt():
        while not (tmp_path / "begun").exists() or (tmp_path / "begun").read_text().count("x") < 2:
            time.sleep(0.05)
        time.sleep(0.3)  # for its trap
        os.kill(os.getpid(), number)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(Stopped, match="0 of 3 runs complete; the same command goes on") as stopped:
        sweeps.run_all(planned, tmp_path / "out", 2)
    assert stopped.value.status == 128 + number and time.monotonic() - begun < 20
    assert (tmp_path / "begun").read_text().count("x") == 2 and signal.getsignal(number) == before
