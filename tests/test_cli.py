"""The `ddco` command as a user meets it: output, mistakes, resuming after a kill, the wheel."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from helpers import ddco, ddco_here, same_result, slow_but

from ddco_jax import __version__, open_result

TINY = """
description = "tiny"
x_flux = "upwind"
[plasma]
temperature_eV = 0.2
temperature_modulation_eV = 0.05
[grid]
length_angstrom = 1024.0
nx = 4
velocity_extent_m_s = [25000.0, 25000.0, 25000.0]
nv = [16, 16, 16]
[time]
step_ps = 0.02
steps = 9
[initial]
kind = "bimaxwellian"
[collisions]
kernel = "landau"
[output]
history_every = 2
snapshot_every = 4
checkpoint_every = 3
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    (folder / "tiny.toml").write_text(TINY)
    out, _ = ddco("run", "tiny.toml", "--out", "whole", "--set", "collisions.buildup=quench", cwd=folder)
    return folder, out


def test_run_writes_what_the_interface_promises(finished):
    folder, out = finished
    assert "max |dE_total|/E_total" in out
    result = open_result(folder / "whole")
    history, snapshots = result["history"], result["snapshots"]
    assert list(history["t"].to_numpy().round(10)) == [0.0, 0.04, 0.08, 0.12, 0.16, 0.18]
    for name in (
        "mass",
        "kinetic_energy",
        "field_energy",
        "total_energy",
        "entropy",
        "gauss_residual",
        "negative_mass",
    ):
        assert history[name].dims == ("t",)
        assert np.all(np.isfinite(history[name]))
        assert history[name].attrs["units"]
    assert history["momentum"].shape == (6, 3)
    assert dict(snapshots.sizes) == {"t": 4, "x": 4, "vx": 16, "vy": 16, "axis": 3, "other_axis": 3}
    assert snapshots["f_vxvy"].dims == ("t", "x", "vx", "vy")
    assert snapshots["f_vx"].dims == ("t", "x", "vx")
    assert set(snapshots.data_vars) >= {"density", "drift_x", "temperature", "electric_field", "correlation_age"}
    density = snapshots["f_vx"].sum("vx") * float(snapshots["vx"][1] - snapshots["vx"][0])
    assert np.allclose(density, snapshots["density"], rtol=1e-12)
    config = json.loads(result.attrs["config"])
    assert config["collisions"]["buildup"] == "quench"
    assert result.attrs["kernel"] == "landau"
    assert result.attrs["version"]
    energy = history["total_energy"].to_numpy()
    assert np.max(np.abs(energy - energy[0])) < 1e-13 * energy[0]


@pytest.mark.slow
def test_plot_makes_figures(finished):
    folder, _ = finished
    out, _ = ddco("plot", "whole", cwd=folder)
    paths = [folder / line for line in out.split()]
    assert {p.stem for p in paths} == {
        "conservation",
        "entropy",
        "vx_vy",
        "marginal",
        "temperature",
        "x_vx",
        "profiles",
    }
    assert all(p.stat().st_size > 5000 for p in paths)


def test_check_and_kernels(finished):
    folder, _ = finished
    out, _ = ddco_here("check", "tiny.toml", cwd=folder)
    assert "collision number" in out and "s per step on this machine" in out
    report = json.loads(ddco("check", "tiny.toml", "--json", cwd=folder)[0])
    assert report["memory_distribution_bytes"] == 4 * 16**3 * 8
    assert report["memory_gradient_bytes"] > report["memory_run_bytes"] > report["memory_distribution_bytes"]
    names = [entry["name"] for entry in json.loads(ddco("kernels", "--json", cwd=folder)[0])]
    assert "landau" in names
    assert "landau" in ddco_here("kernels", cwd=folder)[0]


MISTAKES = {
    "unknown key": (("--set", "grid.nvv=3"), r"unknown key grid.nvv; did you mean 'nv'?"),
    "unknown section": (("--set", "gird.nx=3"), "unknown key gird"),
    "wrong type": (("--set", 'grid.nx="four"'), "grid.nx"),
    "fraction": (("--set", "time.steps=2.5"), "time.steps"),
    "negative density": (("--set", "plasma.density_m3=-1e24"), "plasma.density_m3"),
    "zero temperature": (("--set", "plasma.temperature_eV=0.0"), "plasma.temperature_eV"),
    "modulation": (("--set", "plasma.temperature_modulation_eV=0.4"), "temperature_modulation_eV"),
    "no kernel": (("--set", "collisions.kernel=landou"), "did you mean 'landau'"),
    "kind": (("--set", "initial.kind=maxwel"), "initial"),
    "cfl": (("--set", "time.step_ps=2.0"), "time.step_ps: CFL"),
    "collisions": (("--set", "collisions.prefactor=1e5"), "collision stability"),
    "too narrow": (("--set", "grid.nv=[4, 4, 4]"), "too narrow for the velocity grid"),
    "classical": (("--set", "collisions.kernel=landau-classical"), "not positive at Gamma"),
    "start": (("--set", "initial.density_perturbation=2.0"), "initial.density_perturbation"),
    "no file": (("--set", "initial.kind=array", "--set", "initial.file=nowhere.npy"), "initial.file: cannot read"),
    "override": (("--set", "grid.nx"), "section.key=value"),
    "option": (("--stepz", "3"), "--stepz"),
}


ALONE = ("unknown key", "cfl", "option")
"""Mistakes made in a process of its own: one of each way to find them."""


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_end_with_one_line_and_status_2(case, finished):
    folder, _ = finished
    extra, message = MISTAKES[case]
    name, command = f"never-{case}".replace(" ", "-"), ddco if case in ALONE else ddco_here
    out, err = command("run", "tiny.toml", "--out", name, *extra, cwd=folder, expect=2)
    assert message in err
    assert err.startswith("ddco: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert not (folder / name).exists()
    assert out == ""


def test_more_mistakes(finished):
    folder, _ = finished
    (folder / "broken.toml").write_text("[grid\n")
    for command, args, message in (
        (ddco_here, ("run", "tiny.toml", "--out", "whole"), "the folder is not empty"),
        (ddco_here, ("run", "nothing.toml"), "no such file or shipped config"),
        (ddco_here, ("run", "bimaxwelian"), "did you mean 'bimaxwellian'"),
        (ddco_here, ("run", "broken.toml"), "not valid TOML"),
        (ddco, ("resume", "elsewhere"), "no run to resume"),
        (ddco, ("plot", "elsewhere"), "holds no result.zarr"),
    ):
        _, err = command(*args, cwd=folder, expect=2)
        assert message in err
        assert err.count("\n") == 1


def test_a_failed_run_ends_with_status_3_and_keeps_its_checkpoint(finished):
    folder, _ = finished
    # a beam with sharp edges in a strong field, without collisions: central fluxes lose positivity at once
    f = np.zeros((4, 16, 16, 16))
    f[:, 5:11] = np.array([1.0, 1.8, 1.0, 0.2])[:, None, None, None] / 47  # about n0
    np.save(folder / "f.npy", f)
    extra = ("--set", "initial={kind='array', file='f.npy'}", "--set", "scheme='paper'")
    extra += ("--set", "collisions.kernel=none", "--set", "time.step_ps=0.03")
    _, err = ddco("run", "tiny.toml", "--out", "failed", *extra, cwd=folder, expect=3)
    assert "f lost positivity" in err or "not finite at cell" in err
    assert "step " in err
    *_, last = err.splitlines()
    assert last.startswith("ddco: step ") and err.count("ddco: ") == 1 and "Traceback" not in err
    assert (folder / "failed" / "run.log").read_text().splitlines()[-1][21:] in last
    assert (folder / "failed" / "checkpoints" / "0").is_dir()


def test_array_start_and_full_distribution(finished):
    folder, _ = finished
    f = np.random.default_rng(1).random((4, 16, 16, 16)) * 0.1 + np.exp(
        -(np.linspace(-2.3, 2.3, 16)[None, :, None, None] ** 2) * np.ones((4, 1, 16, 16))
    )
    np.save(folder / "smooth.npy", f)
    settings = ("initial={kind='array', file='smooth.npy'}", "output.distribution=true", "time.steps=1")
    settings += ("collisions.kernel=none",)
    extra = [word for setting in settings for word in ("--set", setting)]
    ddco_here("run", "tiny.toml", "--out", "array", *extra, cwd=folder)
    stored = open_result(folder / "array")["snapshots"]
    assert stored["f"].dims == ("t", "x", "vx", "vy", "vz")
    assert np.array_equal(stored["f"][0], f)
    assert not np.array_equal(stored["f"][1], f)
    marginal = stored["f"].sum("vz") * float(stored["vz"][1] - stored["vz"][0])
    assert np.allclose(marginal, stored["f_vxvy"], rtol=1e-12)
    assert "f" not in open_result(folder / "whole")["snapshots"]  # only where it is asked for


@pytest.mark.parametrize("moment", slow_but(["late"], ["early", "late"]))
def test_a_killed_run_resumes_to_the_bitwise_same_result(moment, finished):
    """SIGKILL while the run goes on, then `ddco resume`; also with rows written after the last checkpoint."""
    folder, _ = finished
    name = f"killed-{moment}"
    command = [sys.executable, "-m", "ddco_jax.cli", "run", "tiny.toml", "--out", name]
    process = subprocess.Popen(
        [*command, "--set", "collisions.buildup=quench"],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    sign = folder / name / ("config.json" if moment == "early" else "checkpoints/3")
    deadline = time.time() + 120
    while not sign.exists() and process.poll() is None and time.time() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL  # it had not ended by itself
    ddco("resume", name, cwd=folder)
    same_result(folder / "whole", folder / name)


@pytest.mark.slow
def test_cadence_never_changes_the_answer(finished):
    folder, _ = finished
    settings = ("collisions.buildup=quench", "output.checkpoint_every=1", "output.history_every=1")
    extra = [word for setting in settings for word in ("--set", setting)]
    ddco("run", "tiny.toml", "--out", "often", *extra, cwd=folder)
    one, two = open_result(folder / "whole"), open_result(folder / "often")
    assert np.array_equal(one["snapshots"]["f_vxvy"], two["snapshots"]["f_vxvy"])
    assert np.array_equal(one["history"]["entropy"][-1], two["history"]["entropy"][-1])


def test_rows_after_the_last_checkpoint_are_dropped(finished):
    """What a kill between output and checkpoint leaves behind: extra rows, of which some arrays may lack the last."""
    import zarr

    folder, _ = finished
    shutil.copytree(folder / "whole", folder / "torn")
    shutil.rmtree(folder / "torn" / "checkpoints" / "9")
    root = zarr.open_group(str(folder / "torn" / "result.zarr"), mode="r+")
    for array in ("mass", "entropy"):
        root[f"history/{array}"].resize((7,))
    ddco("resume", "torn", cwd=folder)
    same_result(folder / "whole", folder / "torn")


def test_importing_the_package_has_no_side_effects():
    code = (
        "import jax, ddco_jax; from jax._src import xla_bridge; "
        "assert not jax.config.read('jax_enable_x64'); assert not xla_bridge._backends, 'a device was touched'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.slow
def test_sdist_and_wheel_run_outside_the_clone(tmp_path):
    """Build the sdist and from it the wheel, unpack that elsewhere, run `ddco` from there as users do.

    That is, compiled as by default, unlike all other tests: mass and energy are kept to rounding then too.
    """
    root = Path(__file__).parents[1]
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tmp_path), str(root)]
    subprocess.run(build, check=True, capture_output=True, timeout=300)
    (sdist,), (wheel,) = tmp_path.glob("*.tar.gz"), tmp_path.glob("*.whl")
    assert sdist.stat().st_size < 10e6  # without the data of the MD
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(site)
    assert "ddco_jax/py.typed" in names and wheel.name.split("-")[1] == __version__
    for folder in ("configs", "pretrained"):
        shipped = {str(path.relative_to(root)) for path in (root / "ddco_jax" / folder).rglob("*") if path.is_file()}
        assert len(shipped) > 5 and shipped <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    env = os.environ | {"PYTHONPATH": str(site), "XLA_FLAGS": ""}
    where = subprocess.run(
        [sys.executable, "-c", "import ddco_jax; print(ddco_jax.__file__)"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    assert str(site) in where.stdout
    smaller = ("--set", "collisions.kernel=landau", "--set", "grid.nv=[16,16,16]", "--set", "time.steps=3")
    out, _ = ddco("run", "langmuir", "--out", "run", *smaller, cwd=tmp_path, env=env)
    assert "max |dM|/M" in out
    history = open_result(tmp_path / "run")["history"]
    assert history.sizes["t"] == 4 and (history["entropy"].diff("t") > 0).all()
    for key in ("mass", "total_energy"):
        assert abs(history[key] / history[key][0] - 1).max() < 1e-14


def test_a_tag_states_the_version():
    """Of a commit that is tagged as a release, as `scripts/release.sh` tags it."""
    tags = subprocess.run(
        ["git", "tag", "--points-at", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    assert set(re.findall(r"^v(\d.*)$", tags.stdout, re.MULTILINE)) <= {__version__}
