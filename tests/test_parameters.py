"""What `ddco check` says of the plasma: by hand, from f, and from the kernel."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from helpers import ddco_here

from ddco_jax.plasma import ocp
from ddco_jax.plasma.moments import compute_moments
from ddco_jax.simulation.check import check_report
from ddco_jax.simulation.config import load

HYDROGEN = (
    "plasma.species=hydrogen",
    "plasma.density_m3=1e20",
    "plasma.temperature_eV=10.0",
    "grid.velocity_extent_m_s=[1.7e5, 1.9e5, 1.9e5]",
    "grid.length_angstrom=1e6",
    "grid.nx=3",
    "grid.nv=[20, 20, 20]",
    "collisions.kernel=landau",
)


def plasma_of(config, *keys):
    return check_report(load(config, keys)[0], plasma=True)["plasma"]


def test_hydrogen_by_hand():
    """lambda_D = 7433.94 (T/n)^(1/2) m; Braginskii's tau_i = 2.09e7 T^1.5/(n lnLambda) s (n in 1/cm^3), and eta =
    0.96 n T tau_i in full, 1/1.16 of it in first Sonine order."""
    found = plasma_of("relaxation", *HYDROGEN)
    si = {name: row["si"] for name, row in found.items()}
    logarithm = float(ocp.effective_logarithm(si["coupling_parameter"][0]))
    expected = {
        "density": 1e20,
        "temperature": 10.0,
        "thermal_speed": 3.0949e4,
        "plasma_frequency": 1.31654e10,
        "particle_distance": 1.33650e-7,
        "debye_length": 2.35081e-6,
        "coupling_parameter": 1.07741e-3,
        "box_length": 1e-4,
        "coulomb_logarithm": logarithm,
    }
    for name, value in expected.items():
        assert si[name] == pytest.approx([value, value], rel=1e-4), name
    tau = 2.09e7 * 10**1.5 / (1e14 * logarithm) * 0.96 / 1.16
    assert si["collision_time"][0] == pytest.approx(tau, rel=0.01)
    assert si["mean_free_path"][0] == pytest.approx(si["collision_time"][0] * 3.0949e4, rel=1e-4)
    assert si["mean_free_path_over_box"][0] == pytest.approx(si["mean_free_path"][0] / 1e-4, rel=1e-12)
    for name in ("density", "temperature", "thermal_speed", "plasma_frequency", "debye_length"):
        assert found[name]["code"] == pytest.approx([1, 1], rel=1e-9)


def test_the_classical_logarithm_is_that_of_its_kernel():
    keys = ("plasma.temperature_eV=1.0", "grid.velocity_extent_m_s=[54e3, 63e3, 63e3]", "grid.nv=[20, 20, 20]")
    found = plasma_of("relaxation", *keys, "collisions.kernel=landau-classical")
    gamma = found["coupling_parameter"]["si"][0]
    assert found["coulomb_logarithm"]["si"][0] == pytest.approx(float(ocp.classical_logarithm(gamma)), rel=1e-6)
    assert "box_length" not in found and "mean_free_path_over_box" not in found


def test_ranges_are_those_of_all_cells_of_f():
    """Density and temperature vary with x, so that Gamma is extreme where neither is."""
    keys = ("initial.density_perturbation=0.4", "plasma.temperature_modulation_eV=0.03", "grid.nx=12")
    keys += ("grid.nv=[20, 20, 20]", "collisions.kernel=none")
    config = load("local_maxwellian", keys)[0]
    found = check_report(config, plasma=True)["plasma"]
    grid, scales = config.build_grid(), config.scales
    density, _, T = compute_moments(grid, jnp.asarray(config.build_distribution(grid)))
    gamma = scales.coupling_parameter(density, T)
    for name, values in (("density", density), ("temperature", T), ("coupling_parameter", gamma)):
        assert found[name]["code"] == pytest.approx([float(values.min()), float(values.max())], rel=1e-9), name
    assert np.argmax(gamma) not in (np.argmax(density), np.argmin(T))
    assert not any("collision" in name or "path" in name for name in found)


def test_the_learned_kernel_has_the_logarithm_of_its_viscosity():
    """At Gamma = 1 ddco has 0.81 of the viscosity of Landau's operator with Xi22/2, in first order."""
    found = plasma_of("relaxation", "grid.nv=[24, 20, 20]", "grid.velocity_extent_m_s=[26e3, 30e3, 30e3]")
    assert found["coupling_parameter"]["si"] == pytest.approx([1, 1], rel=2e-3)
    assert found["coulomb_logarithm"]["si"][0] == pytest.approx(0.69, abs=0.02)
    assert found["collision_time"]["code"][0] == pytest.approx(3 * 0.852772 / 0.69 / 1.3158, rel=0.03)


def test_the_command_prints_the_plasma_and_what_it_chooses(tmp_path):
    carbon = (
        "units.mass_kg=1.9926e-26",
        "units.charge_C=9.6131e-19",
        "plasma.temperature_eV=10.0",
        "grid.nv=[20, 20, 20]",
    )
    carbon += ("grid.velocity_extent_m_s=[52e3, 60e3, 60e3]", "collisions.kernel=landau")
    words = [word for key in carbon for word in ("--set", key)]
    out, _ = ddco_here("check", "relaxation", *words, cwd=tmp_path)
    lines = {line[:26].strip(): line[26:].split() for line in out.splitlines()}
    assert lines["coupling Gamma"] == ["0.836"]
    assert lines["species"][:3] == ["that", "of", "[units]"] and lines["kernel"] == ["landau,", "as", "stated"]
    assert lines["correlations"][:3] == ["quench,", "as", "stated:"]
    assert lines["plasma frequency"][1] == "1/s" and lines["plasma frequency"][3] == "1/t0"
    assert lines["time step"] == ["0.05", "ps", "=", "0.05", "t0"]
    assert lines["time"] == ["48", "steps,", "2.4", "ps", "=", "2.4", "t0"]
    out, _ = ddco_here("check", "relaxation", "--json", "--set", "collisions.buildup=auto", cwd=tmp_path)
    report = json.loads(out)
    assert report["choices"]["correlations"] == "quench, auto: the law that was learned with the kernel"
    assert report["choices"]["kernel"] == "ddco, as stated, learned at Gamma = 0.05 ... 3"
    assert report["plasma"]["debye_length"]["si_unit"] == "m"
