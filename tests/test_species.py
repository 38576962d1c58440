"""A plasma stated in [plasma]: constants, electron-volts, code units, and what is refused."""

import json

import numpy as np
import pytest
import scipy.constants
from helpers import slow_but

from ddco_jax import settings
from ddco_jax.md.config import MDConfig
from ddco_jax.plasma.units import ATOMIC_MASS, ELECTRON_MASS, ELEMENTARY_CHARGE, PAPER, SPECIES
from ddco_jax.settings import ConfigError, scales_of, tuples
from ddco_jax.simulation.check import check_report, refuse
from ddco_jax.simulation.config import load, parse, shipped_configs
from ddco_jax.simulation.run import run


def with_plasma(*keys):
    """The shipped config `relaxation` with some keys."""
    return load("relaxation", keys)[0]


def test_constants_are_those_of_codata():
    """SciPy has CODATA 2022 or, before 1.15, 2018: they differ by 2e-9."""
    found = (ELEMENTARY_CHARGE, ATOMIC_MASS, ELECTRON_MASS)
    assert found == pytest.approx((scipy.constants.e, scipy.constants.atomic_mass, scipy.constants.m_e), rel=3e-9)
    for name, nucleus in (
        ("proton", "proton"),
        ("hydrogen", "proton"),
        ("deuterium", "deuteron"),
        ("tritium", "triton"),
        ("helium", "alpha particle"),
    ):
        assert SPECIES[name][0] == pytest.approx(scipy.constants.physical_constants[f"{nucleus} mass"][0], rel=3e-9)
    assert SPECIES["carbon"][0] / ATOMIC_MASS == pytest.approx(11.99671, rel=1e-6)


@pytest.mark.parametrize(
    "keys, gamma, omega_p",
    [
        (("plasma.species=deuterium", "plasma.density_m3=5e23", "plasma.temperature_eV=0.5"), 0.3685, 6.584e11),
        (("plasma.species=hydrogen", "plasma.density_m3=1e20", "plasma.temperature_eV=10.0"), 1.077e-3, 1.3166e10),
        (("plasma.species=carbon", "plasma.density_m3=1e26", "plasma.temperature_eV=20.0"), 1.939, 2.2886e13),
        (("plasma.species=electron", "plasma.density_m3=1e19", "plasma.temperature_eV=2.0"), 2.5e-3, 1.7839e11),
        (("plasma.mass_u=12.0", "plasma.charge_number=6.0", "plasma.temperature_eV=10.0"), 0.8356, 2.2883e12),
    ],
)
def test_a_stated_plasma_has_its_own_numbers_and_scales(keys, gamma, omega_p):
    """By hand: Gamma = Z^2 1.43996 eV nm/(a kT), omega_p = Z 1.31654e12 (n/1e24)^(1/2) (m/m_p)^(-1/2) 1/s."""
    config = with_plasma(*keys)
    scales, n, T = config.scales, config.density, config.temperature(config.build_grid())[0]
    assert scales.coupling_parameter(n, T) == pytest.approx(gamma, rel=3e-3)
    assert scales.plasma_frequency(n) / scales.time == pytest.approx(omega_p, rel=3e-3)
    joule = config.plasma.temperature_eV * scipy.constants.e
    assert T * scales.mass * scales.velocity**2 == pytest.approx(joule, rel=1e-12)
    # of order one: t0 = 1/omega_p, V0 the thermal speed, L0 the Debye length
    for number in (n, T, scales.plasma_frequency(n), scales.debye_length(n, T)):
        assert number == pytest.approx(1, rel=1e-12)


def test_stated_scales_stay_and_the_others_are_those_of_the_plasma():
    config = with_plasma("plasma.species=deuterium", "units.velocity_m_s=1e4", "units.density_m3=1e24")
    scales = config.scales
    assert (scales.velocity, scales.density) == (1e4, 1e24)
    T = config.temperature(config.build_grid())[0]
    assert scales.debye_length(config.density, T) == pytest.approx(1, rel=1e-12)
    assert config.density == 1.0 and scales.mass == SPECIES["deuterium"][0]


def test_without_a_species_the_constants_are_those_of_the_paper():
    for name in shipped_configs():
        config = load(name)[0]
        assert (config.scales == PAPER) == (config.plasma.species is None)
    assert with_plasma("units.charge_C=3.2e-19").scales.charge == 3.2e-19


def test_a_stored_config_gives_the_same_scales():
    """Of this version, and of one that stored all scales and no species."""
    config = with_plasma("plasma.species=carbon", "plasma.density_m3=1e26")
    stored = json.loads(config.model_dump_json())
    assert parse(tuples(stored)).scales == scales_of(stored) == config.scales
    old = json.loads(with_plasma().model_dump_json(exclude={"plasma": {"species", "mass_u", "charge_number"}}))
    units = {"length_angstrom": 50.0, "velocity_m_s": 2e4, "mass_kg": 3e-27, "charge_C": 1.6e-19, "density_m3": 2e24}
    again = parse(tuples(old | {"units": units})).scales
    assert (again.length, again.mass, again.electron_volt) == (50.0 * 1e-10, 3e-27, 1.6e-19)


def test_md_takes_the_same_plasma():
    plasma = {"species": "deuterium", "density_m3": 5e23, "temperature_eV": 0.5}
    config = settings.parse(
        MDConfig,
        {"plasma": plasma, "box": {"particles": 512}, "start": {"kind": "maxwellian"}, "time": {"duration_ps": 1.0}},
        "config",
    )
    assert config.scales == parse(with_plasma().model_dump(exclude={"plasma"}) | {"plasma": plasma}).scales
    assert config.coupling_parameter == pytest.approx(0.3685, rel=3e-3)
    # particles per volume, whatever the units
    assert np.prod(config.lengths) * config.scales.length**3 * 5e23 == pytest.approx(512, rel=1e-12)


EXAMPLES = {
    "deuterium_wave": (0.3685, "aged", ("grid.nx=2", "grid.nv=[20, 20, 20]")),
    "hydrogen_landau": (1.077e-3, "quench", ("grid.nv=[20, 20, 20]",)),
    "electron_two_stream": (2.5e-3, "off", ("grid.nx=8", "grid.nv=[80, 4, 4]")),
    "bump_on_tail": (2.5e-3, "off", ("grid.nx=8",)),
    "carbon": (1.939, "quench", ("grid.nx=2", "grid.nv=[20, 20, 20]")),
}
"""Gamma, correlations, and the keys with which a test runs them."""


@pytest.mark.parametrize("name", slow_but(EXAMPLES.keys() - {"carbon", "deuterium_wave"}, EXAMPLES))
def test_a_plasma_of_its_own_is_stated_in_few_lines_and_runs(name, tmp_path):
    """The examples as shipped pass their checks; with fewer points they run and gain or keep entropy."""
    gamma, correlations, smaller = EXAMPLES[name]
    assert len(shipped_configs()[name].read_text().splitlines()) <= 25
    config = load(name)[0]
    T = config.temperature(config.build_grid())
    assert config.scales.coupling_parameter(config.density, T) == pytest.approx(gamma, rel=3e-3)
    assert config.correlations == correlations
    refuse(check_report(config))
    history = run(load(name, (*smaller, "time.steps=2"))[0], tmp_path / "run", progress=False).history
    assert np.all(np.diff(history["entropy"]) > -1e-13) and np.ptp(history["entropy"]) > 0
    energy = history["total_energy"]
    assert np.max(np.abs(energy - energy[0])) < 1e-13 * energy[0]


REFUSED = {
    "both species": (("plasma.species=proton", "units.mass_kg=2e-27"), "units.mass_kg: [plasma] states the species"),
    "both charges": (("plasma.species=proton", "units.charge_C=2e-19"), "units.charge_C: [plasma] states the species"),
    "species and mass": (
        ("plasma.species=proton", "plasma.mass_u=2.0", "plasma.charge_number=1.0"),
        "leave out mass_u",
    ),
    "mass alone": (("plasma.mass_u=2.0",), "mass_u and charge_number belong together"),
    "unknown species": (("plasma.species=protium",), "plasma.species"),
    "in units": (("units.species=proton",), "unknown key units.species; did you mean plasma.species?"),
    "mass in plasma": (("plasma.mass_kg=2e-27",), "unknown key plasma.mass_kg; did you mean units.mass_kg?"),
    "at the top": (("temperature_eV=0.2",), "unknown key temperature_eV; did you mean plasma.temperature_eV?"),
    "two places": (("plasma.length_angstrom=1.0",), "did you mean units.length_angstrom or grid.length_angstrom?"),
    "misspelt": (("plasma.specie=proton",), "unknown key plasma.specie; did you mean 'species'?"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is_told_where_it_belongs(case):
    keys, message = REFUSED[case]
    with pytest.raises(ConfigError) as caught:
        with_plasma(*keys)
    assert message in str(caught.value) and "\n" not in str(caught.value)
