"""What a run says at its end, the vectors in its result, and resuming a run that is complete."""

import numpy as np
import pytest
from helpers import ddco_here

from ddco_jax import open_result
from ddco_jax.kernels import store
from ddco_jax.settings import RunFailed
from ddco_jax.simulation import run as runner

CONFIG = """
[plasma]
species = "deuterium"
density_m3 = 5e23
temperature_eV = 0.5
[grid]
length_angstrom = 1168.0
nx = 8
velocity_extent_m_s = [27000.0, 27000.0, 27000.0]
nv = [24, 8, 8]
[time]
step_ps = 0.2
steps = 12
[[initial.component]]
fraction = 1.0
drift_m_s = [0.0, -3000.0, 2000.0]
[[initial.perturbation]]
quantity = "density"
amplitude = 0.05
[collisions]
kernel = "none"
[output]
snapshot_every = 3
"""


@pytest.fixture(scope="module")
def wave(tmp_path_factory):
    """A density wave without collisions, and what its run has printed."""
    folder = tmp_path_factory.mktemp("summary")
    (folder / "wave.toml").write_text(CONFIG)
    return folder, ddco_here("run", "wave.toml", "--out", "wave", cwd=folder)[0]


def gauss(out):
    """The row of Gauss's law: number and text."""
    (row,) = (line for line in out.splitlines() if line.startswith("max Gauss residual"))
    number, _, text = row.removeprefix("max Gauss residual").strip().partition(" ")
    return (np.nan if number == "none" else float(number)), text


def charge(folder):
    """The charge density rho - mean rho of a result over space and time in SI, C/m^3, and its attributes."""
    result = open_result(folder, units="si")
    density = result["snapshots"]["density"]
    return (density - density.mean("x")).to_numpy() * result.attrs["charge_C"], result


def test_the_residual_of_gauss_law_is_a_share_of_the_charge_density(wave):
    """In SI: max |dE/dx - q (n - n0)/eps0| over max |q (n - n0)/eps0|; about 1 % with 8 cells."""
    folder, out = wave
    found, text = gauss(out)
    rho, result = charge(folder / "wave")
    assert np.max(np.abs(rho)) == pytest.approx(0.05 * 0.9239 * 5e23 * 1.602176634e-19, rel=0.01)  # at t = 0
    residual = result["history"]["gauss_residual"].to_numpy() * result.attrs["vacuum_permittivity_F_m"]
    assert found == pytest.approx(residual.max() / np.max(np.abs(rho)), rel=0.05)
    assert residual[0] < 1e-13 * residual.max() / found and 2e-3 < found < 2e-2
    assert text.startswith("of the largest charge density") and text.endswith("(more grid.nx reduces it)")


def test_the_residual_is_the_error_of_the_fluxes_and_not_of_its_own_derivative(wave):
    """It falls with the cells as the scheme does, not with the step; central differences of E would err by 10 %."""
    folder, out = wave
    finer, _ = ddco_here("run", "wave.toml", "--out", "finer", "--set", "grid.nx=16", cwd=folder)
    assert gauss(out)[0] > 10 * gauss(finer)[0]
    shorter = ("--set", "time.step_ps=0.1", "--set", "time.steps=24")
    assert gauss(ddco_here("run", "wave.toml", "--out", "shorter", *shorter, cwd=folder)[0])[0] == pytest.approx(
        gauss(out)[0], rel=0.05
    )
    rho, result = charge(folder / "wave")
    E, dx = result["snapshots"]["electric_field"].to_numpy()[0], 1168e-10 / 8
    central = (np.roll(E, -1) - np.roll(E, 1)) / (2 * dx) * result.attrs["vacuum_permittivity_F_m"]
    assert np.max(np.abs(central - rho[0])) == pytest.approx(0.1 * np.max(np.abs(rho[0])), rel=0.05)


@pytest.mark.parametrize(
    "settings, said",
    [
        (("field=none",), "(there is no field)"),
        (("initial.perturbation=[]",), "(there is no charge density)"),
        (("field=poisson",), "a wider box reduces)"),
        (("x_flux=upwind",), '(more grid.nx or x_flux = "weno5" reduces it)'),
    ],
)
def test_other_fields_and_fluxes_say_what_reduces_the_residual(settings, said, wave, tmp_path):
    changed = [word for key in (*settings, "time.steps=3") for word in ("--set", key)]
    out, _ = ddco_here("run", wave[0] / "wave.toml", "--out", "other", *changed, cwd=tmp_path)
    assert gauss(out)[1].endswith(said)


def test_resuming_a_complete_run_says_so(wave):
    folder, _ = wave
    before = (folder / "wave" / "run.log").read_text()
    out, _ = ddco_here("resume", "wave", cwd=folder)
    assert out.startswith("wave: already complete (12 steps); nothing to do; see `ddco plot wave`")
    assert "time.steps" in out and out.count("\n") == 1
    assert (folder / "wave" / "run.log").read_text().startswith(before)


def test_drifts_and_axes_of_a_result(wave, tmp_path):
    """All three components, with names; also in netCDF."""
    import xarray as xr

    folder, _ = wave
    snapshots = open_result(folder / "wave", units="si")["snapshots"]
    drift = snapshots["drift"].isel(t=-1)
    np.testing.assert_allclose(drift.sel(axis="y"), -3000, rtol=1e-12)
    np.testing.assert_allclose(drift.sel(axis="z"), 2000, rtol=1e-12)
    assert np.array_equal(drift.sel(axis="x"), snapshots["drift_x"].isel(t=-1)) and np.any(drift.sel(axis="x") != 0)
    ddco_here("export", folder / "wave", "--netcdf", "wave.nc", cwd=tmp_path)
    with xr.open_dataset(tmp_path / "wave.nc", group="snapshots") as exported:
        assert list(exported["axis"].to_numpy()) == ["x", "y", "z"]
        stress = exported["stress"].sel(axis="x", other_axis="x")[0]
        np.testing.assert_allclose(stress, (exported["axis_temperature"].sel(axis="x") * exported["density"])[0])


def test_kelvins_become_electron_volts_with_the_attributes(wave):
    a = (result := open_result(wave[0] / "wave", units="si")).attrs
    kT = float(result["snapshots"]["temperature"][0, 0]) * a["boltzmann_J_K"]
    assert kT / a["electron_volt_J"] == pytest.approx(0.5, rel=1e-10)
    debye = np.sqrt(a["vacuum_permittivity_F_m"] * kT / (5e23 * a["elementary_charge_C"] ** 2))
    assert debye == pytest.approx(a["length_m"], rel=1e-10)  # the unit of a stated plasma


def test_a_run_builds_its_kernel_once_after_the_check(wave, monkeypatch, tmp_path):
    """And does not read the copy of the kernel for it, which is there for resuming."""
    built = []

    def ready(job, *_):
        built.append(job)
        raise RunFailed("enough")  # before anything is compiled

    monkeypatch.setattr(store, "load_learned", lambda name, load=store.load_learned: built.append(name) or load(name))
    monkeypatch.setattr(runner, "_from_start", ready)
    changed = ("--set", "collisions.kernel=dd-landau", "--set", "grid.nx=1", "--set", "field=none")
    ddco_here("run", wave[0] / "wave.toml", "--out", "run", *changed, cwd=tmp_path, expect=3)
    *names, job = built
    assert names == 2 * ["dd-landau", "dd-landau"]  # kernel and law, for the check and for the run
    assert job.model.stepper.collision is not None and (tmp_path / "run" / "kernel" / "kernel.json").is_file()
