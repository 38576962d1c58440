"""Comparison with MD: bins, noise, and the command, on samples of a known distribution."""

import json

import numpy as np
import pytest
from helpers import ddco, ddco_here
from scipy.special import ndtr

from ddco_jax.evaluation.compare import compare, rebin
from ddco_jax.md.dataset import ATTRIBUTES, combine, replicate_dataset, write
from ddco_jax.md.statistics import Bins, Statistics
from ddco_jax.plasma import particles
from ddco_jax.plasma.units import PAPER
from ddco_jax.plots.against_md import plot_against_md
from ddco_jax.settings import ConfigError, scales_of

RUN = """
description = "homogeneous"
field = "none"
[plasma]
temperature_eV = 0.2
[grid]
length_angstrom = 1024.0
nx = 1
velocity_extent_m_s = [26000.0, 30000.0, 30000.0]
nv = [40, 40, 40]
[time]
step_ps = 0.02
steps = 1
[initial]
kind = "bimaxwellian"
[collisions]
kernel = "none"
"""


def test_rebinning_integrates_point_values_to_high_order():
    width = 0.4
    errors = []
    for n in (16, 32):
        v = (np.arange(n) + 0.5) * 6.4 / n - 3.2
        f = np.exp(-(v**2) / (2 * width**2)) / (2 * np.pi * width**2) ** 0.5
        edges = np.arange(-20, 21) * 0.16
        got = rebin(f, v, edges)
        exact = np.diff(ndtr(edges / width)) / 0.16
        errors.append(np.abs(got - exact).max())
        assert got.sum() * 0.16 == pytest.approx(1, abs=2e-3 * (16 / n) ** 6)
    # sixth order: spacing of a width and of half a width
    assert errors[1] < 1e-3 and errors[0] / errors[1] > 30


UNITS = {"length_angstrom": 150.0, "velocity_m_s": 2e4, "density_m3": 4e24}
DT, T0 = 0.02, 0.19161676646706585


def sample(rng, n, anisotropy=0.25, T=T0, units=None):
    """An MD dataset of n particles at t = 0 and 0.02 ps, T (1e8 m^2/s^2), in App. D's or in other units."""
    config = {"units": units or {}, "plasma": {"density_m3": 1e24, "temperature_eV": 0.2}}
    scales = scales_of(config)
    T = T * (PAPER.velocity / scales.velocity) ** 2
    width, density = 800 / scales.velocity, 1e24 / scales.density
    bins = Bins.cover(width, 40 * width)
    rows = []
    measure = Statistics(10.24, density, np.array([T**0.5]), bins)
    for _ in range(2):
        c = particles.exact(particles.bimaxwellian(anisotropy)(rng, n), np.zeros(n, int), 1)
        rows.append(measure(np.zeros(n), c * T**0.5))
    times = np.array([0.0, 1e-12 * DT / scales.time])
    part = replicate_dataset(rows, times, length=10.24, thermal_speed=np.array([T**0.5]), bins=bins, kept=None)
    attributes = dict.fromkeys(ATTRIBUTES, 1.0) | {"particles": n, "density": density, "bin_width": width}
    attributes |= {"coupling_parameter": scales.coupling_parameter(density, T), "length": 10.24}
    return combine([part], attributes | {"config": json.dumps(config)})


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare")
    (folder / "run.toml").write_text(RUN)
    ddco("run", "run.toml", "--out", "run", cwd=folder)
    return folder


def test_samples_of_the_same_distribution_differ_by_their_noise(run_folder, rng):
    for n in (4_000, 64_000):
        rows = compare(run_folder / "run", sample(rng, n))
        assert {row["time"] for row in rows} == {0.0, 0.02} and len(rows) == 10
        for row in rows:
            if row["quantity"] in ("f_vx", "f_vxvy"):
                assert 0.6 < row["total"] / row["noise"] < 1.5
        noise = next(r["noise"] for r in rows if r["quantity"] == "f_vx")
        assert 0.3 < noise * n**0.5 < 3


def test_another_distribution_has_excess(run_folder, rng):
    rows = compare(run_folder / "run", sample(rng, 64_000, anisotropy=0.5))
    assert {row["quantity"] for row in rows} == {"f_vx", "f_vxvy", "density", "drift", "temperature"}
    assert all(row["excess"] > 0.1 for row in rows if row["quantity"] == "f_vx")
    assert all(row["excess"] == 0 for row in rows if row["quantity"] == "drift")


@pytest.mark.slow
def test_the_command_writes_and_prints(run_folder, rng):
    write(sample(rng, 4_000), run_folder / "md.nc")
    out, _ = ddco("compare", "run", "md.nc", cwd=run_folder)
    assert "f_vxvy" in out and "0.02" in out
    out, _ = ddco("compare", "run", "md.nc", "--json", cwd=run_folder)
    rows = json.loads(out)
    assert set(rows[0]) == {"time", "cell", "quantity", "total", "noise", "excess", "kernel"}
    assert json.loads((run_folder / "run" / "compare_md.json").read_text()) == rows
    _, error = ddco("compare", "absent", "md.nc", cwd=run_folder, expect=2)
    assert "absent" in error


def test_units_of_run_and_md_do_not_matter(run_folder, tmp_path):
    """The same particles and the same plasma, each in App. D's and in other units."""
    keys = ("units.velocity_m_s=15000.0", "units.length_angstrom=70.0", "units.density_m3=2e24")
    extra = [word for key in keys for word in ("--set", key)]
    ddco_here("run", "run.toml", "--out", tmp_path / "other", *extra, cwd=run_folder)
    ones, others = (sample(np.random.default_rng(5), 4_000, units=units) for units in (None, UNITS))
    expected = compare(run_folder / "run", ones)
    factor = 70.0 / 100.0 / 1.5  # t0 of the other run, ps
    for folder, md, t0 in (("run", others, 1), ("other", ones, factor), ("other", others, factor)):
        rows = compare({"run": run_folder / "run", "other": tmp_path / "other"}[folder], md)
        assert [row["quantity"] for row in rows] == [row["quantity"] for row in expected]
        for row, other in zip(rows, expected, strict=True):
            assert row["time"] * t0 == pytest.approx(other["time"], abs=1e-12)
            for key in ("total", "noise"):
                assert row[key] == pytest.approx(other[key], rel=1e-6, abs=1e-12)
    paths = plot_against_md([run_folder / "run", tmp_path / "other"], others, tmp_path, "md", formats=("png", "pdf"))
    assert [path.name for path in paths] == ["md.png", "md.pdf"] and all(p.stat().st_size > 5000 for p in paths)
    assert "standard deviation" in (tmp_path / "captions.txt").read_text()


def test_md_of_another_gamma_is_refused(run_folder, rng):
    compare(run_folder / "run", sample(rng, 64_000, T=1.01 * T0))
    for other in (sample(rng, 4_000, T=1.04 * T0), sample(rng, 4_000).assign_attrs(coupling_parameter=1.2)):
        with pytest.raises(ConfigError, match=r"run has Gamma = 1\.16, the MD 1\.[12]\d*; set plasma\.temperature_eV"):
            compare(run_folder / "run", other)


def test_what_does_not_fit_is_refused(run_folder, rng):
    late = sample(rng, 4_000)
    late = late.assign_coords(t=late["t"] + 0.005)
    with pytest.raises(ConfigError, match="positive and finite"):
        compare(run_folder / "run", sample(rng, 4_000), float("nan"))
    with pytest.raises(ConfigError, match="snapshot_every"):
        compare(run_folder / "run", late)
    with pytest.raises(ConfigError, match="take a multiple of 800"):
        compare(run_folder / "run", sample(rng, 4_000), bin_m_s=1000.0)
