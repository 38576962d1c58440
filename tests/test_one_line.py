"""Whatever a user gives or the machine refuses: one line with the remedy and status 2 or 3, no traceback."""

import errno
import json
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from helpers import ddco_here

from ddco_jax import PhaseGrid, open_result
from ddco_jax.kernels import store
from ddco_jax.plasma.files import read_json, sealed
from ddco_jax.plasma.lock import FolderInUse
from ddco_jax.settings import RunFailed
from ddco_jax.simulation import run as runner
from ddco_jax.simulation.config import load
from ddco_jax.simulation.failures import explained

FEW = ("grid.nx=4", "grid.nv=[20, 6, 6]", "collisions.kernel=none", "time.step_ps=0.01", "time.steps=2")
SETTINGS = [word for setting in FEW for word in ("--set", setting)]


def refused(*command, cwd, expect=2):
    out, err = ddco_here(*command, cwd=cwd, expect=expect)
    assert err.startswith("ddco: ") and err.count("\n") == 1 and out == "", err
    return err


def kernel(folder, name="ddco", **changes):
    """A copy of a kernel with another specification, as a user would send one: without a hash."""
    shutil.copytree(store.pretrained()[name], folder / "kernel")
    text = read_json(folder / "kernel" / "kernel.json")
    text["kernel"] |= changes
    (folder / "kernel" / "kernel.json").write_text(json.dumps(text))
    return folder / "kernel"


def parameters(folder, name, change):
    path = kernel(folder, name) / "parameters.npz"
    with np.load(path) as file:
        arrays = dict(file)
    first = next(iter(arrays))
    np.savez(path, **arrays | {first: change(arrays[first])})


KERNELS = {
    "width": (lambda d: kernel(d, width=1_000_000_000), "kernel.width must be 1 ... 1024, got 1000000000"),
    "rank": (lambda d: kernel(d, rank=3000), "kernel.rank must be 1 ... 64, got 3000"),
    "nan": (lambda d: parameters(d, "ddco", lambda a: a * np.nan), "must hold finite real numbers"),
    "negative": (lambda d: parameters(d, "ddco-convex", lambda a: a - 1), "a coefficient is negative"),
    "complex": (lambda d: parameters(d, "ddco", lambda a: a + 0j), "must hold finite real numbers"),
    "deep": (lambda d: (kernel(d) / "kernel.json").write_text("[" * 5000), "not valid JSON"),
    "changed": (
        lambda d: (kernel(d) / "kernel.json").write_text(json.dumps(sealed({"a": 1}) | {"a": 2})),
        "changed after it was written",
    ),
}


@pytest.mark.parametrize("case", KERNELS)
def test_kernels(case, tmp_path):
    make, message = KERNELS[case]
    make(tmp_path)
    err = refused("check", "relaxation", "--set", "collisions.kernel=kernel", cwd=tmp_path)
    assert message in err and "kernel" in err


def arrays(name, content):
    def make(folder):
        (folder / name).write_bytes(content)

    return make


def archive(folder):
    with open(folder / "f.npy", "wb") as file:
        np.savez(file, f=np.ones(3))


def torn(folder):
    np.save(folder / "f.npy", np.ones((4, 20, 6, 6)))
    (folder / "f.npy").write_bytes((folder / "f.npy").read_bytes()[:-100])


def flipped(place):
    def make(folder):
        np.save(folder / "f.npy", np.ones((4, 20, 6, 6)))
        data = bytearray((folder / "f.npy").read_bytes())
        data[place] ^= 8
        (folder / "f.npy").write_bytes(data)

    return make


ARRAYS = {
    "npz": archive,
    "empty": arrays("f.npy", b""),
    "torn": torn,
    "text": arrays("f.npy", b"1 2 3"),
    "zip": arrays("f.npy", b"PK\x03\x04 and no more"),
    "folder": lambda folder: (folder / "f.npy").mkdir(),
    **{f"flipped {place}": flipped(place) for place in (3, 6, 8, 11, 20, 30, 41, 60)},
}


@pytest.mark.parametrize("case", ARRAYS)
def test_arrays(case, tmp_path):
    ARRAYS[case](tmp_path)
    start = ("--set", "initial={kind='array', file='f.npy'}")
    assert "initial.file: " in refused("check", "langmuir", *SETTINGS, *start, cwd=tmp_path)


SETTINGS_REFUSED = {
    "grid.nv=[5000, 5000, 5000]": "grid.nv: the grid needs 5,587.9 GiB of memory, this machine has",
    "grid.nx=10000000000": "grid.nx: the grid needs",
    "units.velocity_m_s=1e300": "units: the scales of [units] and [plasma] are out of range",
    "units.length_angstrom=1e-300": "out of range",
    "plasma.density_m3=1e300": "out of range",
    "plasma.temperature_eV=1e-320": "out of range",
    f"grid.nx={'[' * 5000}": "--set grid.nx: nested too deeply",
    f"grid.nx={'9' * 5000}": "grid.nx",
    "collisions.prefactor=nan": "collisions.prefactor",
}


@pytest.mark.parametrize("setting", SETTINGS_REFUSED, ids=lambda s: s[:30])
@pytest.mark.parametrize("command", ["check", "run"])
def test_settings(setting, command, tmp_path):
    out = ("--out", "never") if command == "run" else ()
    assert SETTINGS_REFUSED[setting] in refused(command, "langmuir", *out, "--set", setting, cwd=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_run_that_does_not_fit_is_refused_but_can_be_checked(tmp_path, monkeypatch):
    """f of one cell fits, all of it does not."""
    from ddco_jax.simulation import check

    monkeypatch.setattr(check, "present_memory", lambda: 2**20)
    many = ("--set", "grid.nx=64")
    assert "GiB, for a run" in refused("run", "langmuir", "--out", "never", *SETTINGS, *many, cwd=tmp_path)
    ddco_here("check", "langmuir", *SETTINGS, *many, cwd=tmp_path)
    assert not list(tmp_path.iterdir())


def test_files_of_configs(tmp_path):
    deep, binary = tmp_path / "deep.toml", tmp_path / "binary.toml"
    deep.write_text("a = " + "[" * 5000)
    binary.write_bytes(b"\xff\xfe\x00")
    for path in (deep, binary):
        assert "not valid TOML" in refused("check", path, cwd=tmp_path)
    assert "File name too long" in refused("check", "x" * 5000, cwd=tmp_path)
    assert "File name too long" in refused("run", "langmuir", *SETTINGS, "--out", "x" * 300, cwd=tmp_path)
    (tmp_path / "file").write_text("")
    for place in ("file", "file/below"):
        assert str(place) in refused("run", "langmuir", *SETTINGS, "--out", place, cwd=tmp_path)


def test_particles_beyond_memory(tmp_path):
    err = ddco_here("md", "bimaxwellian", "--out", "o.nc", "--set", "box.particles=100000000", cwd=tmp_path, expect=2)[
        1
    ]
    assert "box.particles: 100,000,000 need at least 140 GiB of memory" in err and "Traceback" not in err
    assert not list(tmp_path.iterdir())


def test_results_before_the_first_snapshot(tmp_path):
    about = {"name": "x", "config": load("langmuir")[0].model_dump_json(), "kernel": "none", "version": "0"}
    rows = dict.fromkeys(runner.results.NODES, 3)
    grid = PhaseGrid(1.0, 1, (1.0,) * 3, (4, 4, 4))
    runner.results.create(tmp_path / "new", grid, about, {node: {} for node in rows}, rows)
    data = runner.Path(__file__).parents[1] / "data" / "md" / "held_out_draws" / "gamma_1_bimaxwellian_0.25.nc"
    for command in (("plot", "new"), ("compare", "new", data)):
        err = refused(*command, cwd=tmp_path)
        assert "new holds no snapshot yet; wait for the run, or `ddco resume` it" in err


def test_a_description_and_a_path_with_signs_of_their_own(tmp_path):
    """A dollar that begins no formula; quotes, spaces and more in the name of the folder."""
    out, text = 'it\'s "mine" #1 ü%20*', ("--set", 'description="cost $\\\\foo$ x"')
    ddco_here("run", "langmuir", *SETTINGS, *text, "--out", out, cwd=tmp_path)
    assert json.loads(open_result(tmp_path / out).attrs["config"])["description"] == "cost $\\foo$ x"
    ddco_here("resume", out, cwd=tmp_path)
    paths, _ = ddco_here("plot", out, cwd=tmp_path)
    assert len(paths.splitlines()) == 7
    data = runner.Path(__file__).parents[1] / "data" / "md" / "held_out_draws" / "gamma_1_bimaxwellian_0.25.nc"
    refused("compare", out, data, "--bin-m-s", "nan", cwd=tmp_path)
    (tmp_path / out / "result.zarr/snapshots/f_vxvy/c/1/0/0/0").unlink()
    for command in (("plot", out), ("compare", out, data)):
        assert "snapshots/f_vxvy lacks chunk 1/0/0/0; if the run still" in refused(*command, cwd=tmp_path)
    shutil.rmtree(tmp_path / out / "result.zarr" / "history" / "t")
    assert "holds no history yet" in refused("plot", out, cwd=tmp_path)


def test_a_folder_in_which_checkpoints_would_be_lost(tmp_path):
    """Orbax 0.12 takes brackets and backslashes for a pattern, writes without an error, and cannot read it again."""
    for out in ("a[1]", "a\\b"):
        err = refused("run", "langmuir", *SETTINGS, "--out", out, cwd=tmp_path)
        assert "checkpoints cannot be written below a path with" in err
    assert not list(tmp_path.iterdir())


def test_the_status_holds_where_stderr_is_full():
    """A log on a full disk takes no message."""
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "ddco_jax.cli", "run", "nothing"]
        assert subprocess.run(command, stderr=full, check=False).returncode == 2


def test_the_traceback_is_shown_on_demand(tmp_path):
    _, err = ddco_here("--debug", "check", "x" * 5000, cwd=tmp_path, expect=2)
    assert "Traceback" in err and err.splitlines()[-1].startswith("ddco: ")


EXPLAINED = [
    (OSError(errno.ENOSPC, "No space left on device", "a/b"), "no space left on the disk for a/b; make room", 3),
    (ValueError("UNKNOWN: writing: No space left on device [tensorstore]"), "no space left on the disk; make room", 3),
    (PermissionError(errno.EACCES, "Permission denied", "a"), "a: Permission denied; choose a path", 2),
    (OSError(errno.EROFS, "Read-only file system", "a"), "a: Read-only file system; choose a path", 2),
    (ExceptionGroup("x", [OSError(errno.EDQUOT, "Disk quota exceeded", "q")]), "no space left on the disk for q", 3),
    (MemoryError("Unable to allocate 3.64 TiB"), "not enough memory (Unable to allocate 3.64 TiB); `ddco check`", 3),
    (RuntimeError("RESOURCE_EXHAUSTED: Out of memory"), "not enough memory", 3),
    (KeyError("mass"), "KeyError: 'mass'; is a file damaged", 2),
    (ValueError("two\nlines"), "two lines; is a file damaged", 2),
    (zipfile.BadZipFile("not a zip file"), "BadZipFile: not a zip file; is a file damaged", 2),
    (RecursionError("deep"), "nested too deeply", 2),
    (FolderInUse("busy"), "busy", 2),
    (RunFailed("step 3: x"), "step 3: x; the last good checkpoint is kept", 3),
    (AttributeError("of ours"), "AttributeError: of ours; this is unexpected: please report it", 3),
    (TypeError("x" * 1000), "x ...; this is unexpected", 3),
]


@pytest.mark.parametrize("case", range(len(EXPLAINED)))
def test_every_exception_has_one_line(case):
    error, message, status = EXPLAINED[case]
    line, found = explained(error)
    assert message in line and found == status and "\n" not in line and len(line) < 500
