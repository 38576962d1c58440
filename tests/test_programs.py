"""Compiled programs that the command line keeps: found again, private, of no effect on results, never in the way."""

import os

import numpy as np
import pytest
from helpers import ddco

import ddco_jax
from ddco_jax.simulation import programs

CONFIG = """
[plasma]
density_m3 = 1e24
temperature_eV = 0.2
[grid]
length_angstrom = 1024.0
nx = 2
velocity_extent_m_s = [24000.0, 24000.0, 24000.0]
nv = [12, 12, 12]
[time]
step_ps = 0.02
steps = 2
[initial]
kind = "bimaxwellian"
[collisions]
kernel = "landau"
"""


@pytest.fixture(scope="module")
def twice(tmp_path_factory):
    """A folder with two equal runs, the environment, and the names of the kept programs after each of them."""
    folder = tmp_path_factory.mktemp("programs")
    (folder / "tiny.toml").write_text(CONFIG)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    environment[programs.VARIABLE] = str(folder / "kept")
    names = []
    for run in ("first", "second"):
        ddco("run", "tiny.toml", "--out", run, cwd=folder, env=environment)
        names.append({p.name for p in (folder / "kept").glob("*/*-cache")})
    return folder, environment, names


def test_a_second_run_finds_them(twice):
    folder, _, (first, second) = twice
    assert first == second and any("advance" in name for name in first)
    (kept,) = (folder / "kept").iterdir()
    assert kept.stat().st_mode & 0o777 == 0o700
    results = [ddco_jax.open_result(folder / run)["history"]["entropy"].to_numpy() for run in ("first", "second")]
    assert np.array_equal(*results) and results[0][-1] > results[0][0]


def test_damaged_ones_are_compiled_again(twice):
    folder, environment, _ = twice
    for program in (folder / "kept").glob("*/*-cache"):
        program.write_bytes(program.read_bytes()[:-100])
    ddco("run", "tiny.toml", "--out", "third", cwd=folder, env=environment)
    results = [ddco_jax.open_result(folder / run)["history"]["entropy"].to_numpy() for run in ("first", "third")]
    assert np.array_equal(*results)


def test_none_are_kept_where_the_user_wants_none(twice, monkeypatch):
    folder, _, _ = twice
    updates = []
    monkeypatch.setattr(programs.jax.config, "update", lambda *args: updates.append(args))
    monkeypatch.setenv(programs.VARIABLE, str(folder / "tiny.toml"))  # not a folder
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    programs.keep()
    monkeypatch.setenv(programs.VARIABLE, "off")
    programs.keep()
    monkeypatch.setenv(programs.VARIABLE, str(folder / "other"))
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(folder))
    programs.keep()
    assert not updates and not (folder / "other").exists()
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    programs.keep()
    assert len(updates) == 3 and (folder / "other").is_dir()
