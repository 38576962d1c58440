"""`ddco md` and its inputs at their limits: memory, odd names of files, files of velocities that are none."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers import ddco_here

from ddco_jax.md import lammps
from ddco_jax.md.config import load
from ddco_jax.md.dataset import open_dataset
from ddco_jax.md.simulate import simulate
from ddco_jax.settings import ConfigError


@pytest.fixture
def with_lammps() -> None:
    try:
        lammps.program()
    except ConfigError as error:
        pytest.skip(f"LAMMPS cannot be run here: {error}")


@pytest.mark.usefixtures("with_lammps")
def test_a_run_that_needs_more_memory_than_there_is(tmp_path: Path) -> None:
    many = ("--set", "box.particles=2000000000", "--set", "replicates=1000000000", "--set", "time.duration_ps=0.1")
    _, error = ddco_here("md", "bimaxwellian", "--out", "a.nc", *many, cwd=tmp_path, expect=2)
    estimate, refusal = error.strip().splitlines()
    assert estimate.startswith("N = 2,000,000,000") and list(tmp_path.iterdir()) == []
    assert refusal.startswith("ddco: box.particles: 2,000,000,000 need at least 2794 GiB of memory")


@pytest.mark.usefixtures("with_lammps")
def test_an_output_whose_name_holds_quotes(tmp_path: Path) -> None:
    config = load("bimaxwellian", ["box.particles=300", "equilibrate.time_ps=2.0", "time.duration_ps=0.1"])
    out = tmp_path / 'it\'s "${x}" # &' / "a.nc"
    assert simulate(config, out, progress=False).sizes["t"] == 2 and out.exists()


def _archive(path: Path) -> None:
    with open(path, "wb") as file:
        np.savez(file, v=np.zeros((3, 3)))


def _cut(path: Path, write: Callable[[Path], None]) -> None:
    write(path)
    path.write_bytes(path.read_bytes()[:-8])


SAMPLES: dict[str, Callable[[Path], object]] = {
    "archive": _archive,
    "empty": lambda path: path.write_bytes(b""),
    "cut archive": lambda path: _cut(path, _archive),
    "cut": lambda path: _cut(path, lambda p: np.save(p, np.zeros((3, 3)))),
    "text": lambda path: np.save(path, np.array([["a", "b", "c"]] * 3)),
    "complex": lambda path: np.save(path, np.zeros((3, 3), complex)),
    "not finite": lambda path: np.save(path, np.full((3, 3), np.inf)),
    "folder": lambda path: path.mkdir(),
}


@pytest.mark.parametrize("case", SAMPLES)
def test_a_file_of_velocities_that_is_none(case: str, tmp_path: Path) -> None:
    path = tmp_path / "v.npy"
    np.save(path, np.random.default_rng(1).normal(size=(9, 3)))
    config = load("bimaxwellian", [f'start={{kind="sampler", file="{path}"}}'])
    assert config.sampler() is not None
    path.unlink()
    SAMPLES[case](path)
    with pytest.raises(ConfigError, match=r"start\.file") as error:
        config.sampler()
    assert "\n" not in str(error.value)


@pytest.fixture
def own_command(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tests may set the command of LAMMPS; afterwards it is the installed one again."""
    monkeypatch.setenv(lammps.VARIABLE, "")
    lammps.program.cache_clear()
    yield
    lammps.program.cache_clear()


@pytest.mark.usefixtures("with_lammps", "own_command")
def test_a_command_of_ones_own_is_split_without_a_shell(tmp_path: Path) -> None:
    """A launcher whose path has a space and whose argument a shell would change."""
    (real,), _, _ = lammps.program()
    path = lammps.environment().get("LD_LIBRARY_PATH", "")
    lammps.program.cache_clear()
    launcher = tmp_path / "my launcher"
    launcher.write_text(
        f'#!/bin/sh\necho "$1|$2" >> "{tmp_path}/said"\nshift 2\nLD_LIBRARY_PATH="{path}" exec "{real}" "$@"\n'
    )
    launcher.chmod(0o755)
    small = ("box.particles=300", "equilibrate.time_ps=2.0", "time.duration_ps=0.1", "processes=2")
    command = f"'{launcher}' -np '$HOME; ls'"
    sets = [word for setting in small for word in ("--set", setting)]
    _, err = ddco_here("md", "bimaxwellian", "--out", "a.nc", "--lammps", command, *sets, cwd=tmp_path)
    assert "core hours of CPUs, 0.00 GiB of memory" in err
    assert set((tmp_path / "said").read_text().splitlines()) == {"-np|$HOME; ls"}
    assert open_dataset(tmp_path / "a.nc").sizes["t"] == 2


@pytest.mark.usefixtures("own_command")
@pytest.mark.parametrize(
    "command, words",
    [
        ("'/no where/lmp' -sf gpu", "/no where/lmp does not start (No such file or directory); --lammps"),
        ("lmp '-sf", "--lammps (or DDCO_LAMMPS): No closing quotation; close the quotes"),
        ("false", "false does not run (); --lammps (or DDCO_LAMMPS) is a command"),
    ],
)
def test_a_command_that_is_none(command: str, words: str, tmp_path: Path) -> None:
    _, err = ddco_here("md", "bimaxwellian", "--out", "a.nc", "--lammps", command, cwd=tmp_path, expect=2)
    assert err.splitlines()[-1].startswith(f"ddco: {words}")


def test_a_config_cannot_state_a_command(tmp_path: Path) -> None:
    _, err = ddco_here("md", "bimaxwellian", "--out", "a.nc", "--set", "lammps=lmp", cwd=tmp_path, expect=2)
    assert err.count("\n") == 1 and "lammps" in err
