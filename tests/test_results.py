"""Results: units, moments, entropy production, provenance, old stores, export."""

import json
import shutil
import subprocess
import warnings
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
import zarr
from helpers import ddco_here, random_positive, shared_low_rank
from test_memory import law

from ddco_jax import CollisionOperator, PhaseGrid, State, open_result
from ddco_jax.correlations import Undisturbed
from ddco_jax.plasma import clone, units
from ddco_jax.plasma.moments import compute_moments, higher_moments
from ddco_jax.plots.run import plot_run
from ddco_jax.simulation import provenance, results
from ddco_jax.simulation.config import load
from ddco_jax.steppers.collision import MidpointCollision

OLD = Path(__file__).parent / "data" / "result_0.1.zip"
"""A run of 6 steps by the version before this one, whose last checkpoint, of step 6, is missing."""
CONFIG = """
field = "none"
[plasma]
species = "deuterium"
density_m3 = 5e23
temperature_eV = 0.5
[grid]
length_angstrom = 100.0
nx = 1
velocity_extent_m_s = [22000.0, 22000.0, 22000.0]
nv = [14, 14, 14]
[time]
step_ps = 0.0001
steps = 3
[initial]
kind = "bimaxwellian"
[collisions]
kernel = "landau"
buildup_time = 0.05
[output]
snapshot_every = 1
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A homogeneous deuterium plasma, a quench, in short steps."""
    folder = tmp_path_factory.mktemp("results")
    (folder / "relax.toml").write_text(CONFIG)
    ddco_here("run", "relax.toml", "--out", "run", cwd=folder)
    return folder / "run"


def test_a_result_in_si(run):
    """Every variable with unit and name; values by hand from CODATA's constants and the config."""
    code, si = open_result(run), open_result(run, units="si")
    assert code.attrs["units"] == "code" and si.attrs["units"] == "si"
    for result in (code, si):
        for node in ("history", "snapshots"):
            for name, variable in result[node].variables.items():
                assert variable.attrs["units"] and len(variable.attrs["long_name"]) > 3, name
    mass, e, n, T, length = 3.3435837768e-27, 1.602176634e-19, 5e23, 0.5 * 1.602176634e-19, 1e-8
    density, temperature = (float(si["snapshots"][name][0, 0]) for name in ("density", "temperature"))
    assert density == pytest.approx(n, rel=1e-3) and si["snapshots"]["density"].attrs["units"] == "m^-3"
    assert temperature == pytest.approx(T / 1.380649e-23, rel=1e-3)
    history = si["history"]
    assert float(history["t"][-1]) == pytest.approx(3e-16) and history["t"].attrs["units"] == "s"
    assert float(history["mass"][0]) == pytest.approx(mass * n * length, rel=1e-3)
    assert float(history["kinetic_energy"][0]) == pytest.approx(1.5 * n * T * length, rel=1e-3)
    assert float(si["snapshots"]["vx"][-1]) == pytest.approx(22000 * 13 / 14)
    assert float(si["snapshots"]["f_vx"][0, 0].sum()) * 44000 / 14 == pytest.approx(density)
    stress = si["snapshots"]["stress"][0, 0].to_numpy()
    assert np.trace(stress) / 3 == pytest.approx(density * 1.380649e-23 * temperature)
    # the numbers in the attributes convert the code units
    a = code.attrs
    assert a["mass_kg"] == mass and a["charge_C"] == e and a["density_m3"] == n
    assert a["length_m"] / a["velocity_m_s"] == pytest.approx(a["time_s"])
    converted = code["snapshots"]["f_vxvy"] * a["density_m3"] / a["velocity_m_s"] ** 2
    np.testing.assert_allclose(converted, si["snapshots"]["f_vxvy"], rtol=1e-14)
    with pytest.raises(ValueError, match='"code" or "si"'):
        open_result(run, "cgs")


def test_the_entropy_production_is_the_growth_of_the_entropy(run):
    """In a homogeneous plasma that is young: with the factor of its age, which is 0 at the start."""
    result = open_result(run)
    t, S = (result["history"][name].to_numpy() for name in ("t", "entropy"))
    length = result["snapshots"].attrs.get("length", 1e-8 / result.attrs["length_m"])
    produced = result["snapshots"]["entropy_production"][:, 0].to_numpy() * length
    assert produced[0] == 0 and np.all(np.diff(produced) > 0)
    assert (S[3] - S[1]) / (t[3] - t[1]) == pytest.approx(produced[2], rel=0.02)
    axis = result["snapshots"]["axis_temperature"][0, 0].to_numpy()
    assert axis[0] == pytest.approx(axis[1] / 4, rel=1e-3)
    assert axis.mean() == pytest.approx(float(result["snapshots"]["temperature"][0, 0]), rel=1e-12)


def test_the_entropy_production_of_a_plasma_with_memory(rng):
    """It is the rate at which a short step changes the entropy, with the new anisotropy in the state."""
    grid = PhaseGrid(1.0, 2, (2.0, 2.2, 2.4), (7, 6, 8))
    op = CollisionOperator(grid, shared_low_rank())
    step = MidpointCollision(op, Undisturbed(law().memory))
    known, f = (random_positive(rng, grid.shape, 0.3) for _ in range(2))
    state = State.from_distribution(grid, known, correlation_age=np.full(2, 50.0))
    state = State(f, state.electric_field, state.correlation_age, state.memory, state.time, state.tally)
    produced, aged, moved = jax.jit(
        lambda s: (step.entropy_production(s), op.entropy_production(s.f), step.step(s, 1e-6).f)
    )(state)
    gained = -jnp.sum((moved - f) * (1 + jnp.log(f)), (1, 2, 3)) * grid.dv3 / 1e-6
    np.testing.assert_allclose(produced, gained, rtol=1e-3)
    assert np.all(np.abs(produced / aged - 1) > 0.05)  # the memory matters here


def test_higher_moments_against_plain_sums(rng):
    grid = PhaseGrid(1.0, 2, (2.0, 2.2, 2.4), (7, 6, 8))
    f = random_positive(rng, grid.shape)
    found = higher_moments(grid, f)
    _, u, T = compute_moments(grid, f)
    c = np.stack(np.meshgrid(*grid.velocities, indexing="ij"))[None] - np.asarray(u)[:, :, None, None, None]
    w = np.asarray(f)[:, None] * grid.dv3
    stress = (w[:, :, None] * c[:, :, None] * c[:, None]).sum((3, 4, 5))
    heat = (w * c * (c**2).sum(1, keepdims=True)).sum((2, 3, 4)) / 2
    np.testing.assert_allclose(found.stress, stress, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found.heat_flux, heat, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(np.mean(found.axis_temperature, 1), T, rtol=1e-12)
    assert np.all(np.abs(heat) > 1e-3)


def test_what_made_a_result(run, tmp_path):
    attributes = open_result(run).attrs
    assert attributes["version"] and attributes["jax"] == jax.__version__ and attributes["kernel"] == "landau"
    assert attributes["device"].startswith("cpu: ")
    assert abs(datetime.now(UTC) - datetime.fromisoformat(attributes["begun"])).total_seconds() < 3600
    assert attributes.get("commit", "") == clone.commit()
    assert len(attributes["kernel_sha256"]) == 64
    # a learned kernel: sha256sum of its two files, whatever its name
    folder = Path(provenance.__file__).parents[1] / "pretrained" / "ddco"
    shutil.copytree(folder, tmp_path / "mine")
    names = ("ddco", str(tmp_path / "mine"))
    hashes = {provenance.kernel_hash(load("relaxation", (f"collisions.kernel='{name}'",))[0]) for name in names}
    files = [tmp_path / "mine" / "kernel.json", tmp_path / "mine" / "parameters.npz"]
    joined = subprocess.run(["sha256sum"], input=b"".join(f.read_bytes() for f in files), capture_output=True)
    assert hashes == {joined.stdout.decode().split()[0]}


@pytest.fixture
def old(tmp_path):
    with zipfile.ZipFile(OLD) as archive:
        archive.extractall(tmp_path / "old")
    return tmp_path / "old"


def cut(folder, rows):
    """Cut arrays of a store down to some rows, as a kill would have left them."""
    root = zarr.open_group(str(folder / "result.zarr"), mode="r+", use_consolidated=False)
    for path, count in rows.items():
        for name, array in root[path.split("/")[0]].arrays():
            if array.metadata.dimension_names[0] == "t" and path.split("/")[1] in ("*", name):
                array.resize((count, *array.shape[1:]))


def test_a_result_of_an_earlier_version_opens(old):
    """With units and names, in SI, and trimmed to its shortest variable."""
    result = open_result(old)
    assert result["history"].sizes["t"] == 7 and result["snapshots"].sizes["t"] == 4
    assert result["history"]["mass"].attrs["long_name"] and "stress" not in result["snapshots"]
    assert open_result(old, "si")["snapshots"]["t"].to_numpy()[-1] == pytest.approx(0.12e-12)
    assert result.attrs["mass_kg"] == units.PAPER.mass
    assert all(path.stat().st_size > 5000 for path in plot_run(old))
    cut(old, {"history/entropy": 5, "snapshots/f_vx": 2})
    result = open_result(old)
    assert result["history"].sizes["t"] == 5 and result["snapshots"].sizes["t"] == 2
    assert np.all(np.isfinite(result["snapshots"]["f_vxvy"]))


def test_a_run_of_an_earlier_version_is_resumed_with_its_own_variables(old):
    """And its metadata, consolidated by hand when it had fewer rows, do not hide the new ones."""
    before = {node: open_result(old)[node].to_dataset().load() for node in ("history", "snapshots")}
    cut(old, {"history/*": 4, "snapshots/*": 2})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Zarr and xarray, that the format does not define such metadata
        zarr.consolidate_metadata(str(old / "result.zarr"))
        assert xr.open_datatree(str(old / "result.zarr"), engine="zarr")["history"].sizes["t"] == 4
        out, _ = ddco_here("resume", str(old), cwd=old)
        plain = xr.open_datatree(str(old / "result.zarr"), engine="zarr")
    assert "max |dM|/M" in out
    for result in (open_result(old), plain):
        for node, rows in before.items():
            after = result[node].to_dataset()
            assert set(after.data_vars) == set(rows.data_vars)
            for name in ("t", *rows.data_vars):
                # other versions of JAX round differently
                np.testing.assert_allclose(after[name], rows[name], rtol=1e-9, atol=1e-12)


def test_export_to_netcdf(run):
    """Groups as in the result; neither is a file overwritten nor does a failure leave half of one."""
    out, _ = ddco_here("export", "run", "--netcdf", "si.nc", "--units", "si", cwd=run.parent)
    assert out.strip() == "si.nc"
    result, stored = open_result(run, "si"), xr.open_datatree(run.parent / "si.nc")
    for node in ("history", "snapshots"):
        for name, variable in result[node].variables.items():
            np.testing.assert_array_equal(stored[node][name], variable)
            assert stored[node][name].attrs == variable.attrs
    assert stored.attrs["length_m"] == result.attrs["length_m"]
    assert json.loads(stored.attrs["config"])["plasma"]["species"] == "deuterium"
    for args, message in ((("run", "--netcdf", "si.nc"), "exists"), (("nothing", "--netcdf", "a.nc"), "holds no")):
        _, err = ddco_here("export", *args, cwd=run.parent, expect=2)
        assert message in err and err.count("\n") == 1
    assert sorted(path.name for path in run.parent.glob("*.nc*")) == ["si.nc"]


def test_a_row_that_is_not_complete_is_not_shown(run, tmp_path):
    """As a reader finds it while a row is written: some variables have it, the time comes last."""
    shutil.copytree(run, tmp_path / "writing")
    rows = {"history": 4, "snapshots": 4}
    store = results.reopen(tmp_path / "writing", dict.fromkeys(rows, 2), rows)
    assert open_result(tmp_path / "writing")["history"].sizes["t"] == 2  # those after a checkpoint are withdrawn
    first = store.first("history")
    row = {name: value[None] for name, value in first.items()}
    with pytest.raises(TypeError):
        store.append("history", first["t"][None] + 9, row | {"mass": object()})
    assert open_result(tmp_path / "writing")["history"].sizes["t"] == 2
    store.append("history", first["t"][None] + 9, row)
    history = open_result(tmp_path / "writing")["history"]
    assert history["t"][-1] == 9 and history["mass"][-1] == first["mass"]


def test_a_result_without_rows_is_refused_by_figures(run, tmp_path):
    shutil.copytree(run, tmp_path / "begun")
    cut(tmp_path / "begun", {"history/*": 0, "snapshots/*": 0})
    assert open_result(tmp_path / "begun")["history"].sizes["t"] == 0
    _, err = ddco_here("plot", "begun", cwd=tmp_path, expect=2)
    assert "holds no snapshot yet" in err and err.count("\n") == 1
