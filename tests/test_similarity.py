"""One Gamma, one plasma: other species and other [units] give the same f(omega_p t, v/v_th)."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import slow_but

from ddco_jax.kernels.chapman_enskog import omega_hat
from ddco_jax.kernels.forms import SeparableForm, in_units
from ddco_jax.kernels.store import load_kernel
from ddco_jax.learning.data import kernel_state
from ddco_jax.plasma.units import PAPER, Scales
from ddco_jax.simulation.config import parse
from ddco_jax.simulation.model import build, initial_state
from ddco_jax.simulation.run import make_advance

GAMMA = 0.9
SAME = 1e-12
"""Largest difference over the largest value."""
KERNELS = ("ddco", "ddco-quench", "ddco-paper", "dd-landau", "ddco-convex", "landau")
CARBON = Scales(length=2.3e-9, velocity=2.2e4, mass=1.9926e-26, charge=9.6131e-19, density=7e25)
OTHERS = {
    "units": ({"velocity_m_s": 20000.0, "length_angstrom": 150.0, "density_m3": 3e23}, {"density_m3": 1e24}),
    "carbon": ({"mass_kg": CARBON.mass, "charge_C": CARBON.charge}, {"density_m3": 1e26}),
    "deuterium": ({}, {"density_m3": 5e23, "species": "deuterium"}),
}
"""[units] and [plasma]."""


def config_of(kernel, units, plasma, nx):
    """A bi-Maxwellian at GAMMA whose grid and step are the same in Debye lengths, thermal speeds and 1/omega_p."""
    start = {"plasma": {"temperature_eV": 1.0} | plasma, "units": units}
    rest = {
        "field": "ampere" if nx > 1 else "none",
        "grid": {"length_angstrom": 1.0, "nx": nx, "velocity_extent_m_s": (1.0,) * 3, "nv": (11, 10, 10)},
        "time": {"step_ps": 1.0, "steps": 2},
        "initial": {"kind": "bimaxwellian", "anisotropy": 0.5, "density_perturbation": 0.1 if nx > 1 else 0.0},
        "collisions": {"kernel": kernel, "buildup": "quench", "stages": 4},
    }
    first = parse(start | rest)
    scales, n = first.scales, first.density
    T = float(scales.coupling_parameter(n, 1.0)) / GAMMA
    omega, thermal = scales.plasma_frequency(n) / scales.time, T**0.5 * scales.velocity
    start["plasma"]["temperature_eV"] = float(scales.temperature_to_ev(T))
    rest["grid"] |= {
        "length_angstrom": 12 * thermal / omega * 1e10,
        "velocity_extent_m_s": (3.6 * thermal, 4.2 * thermal, 4.2 * thermal),
    }
    rest["time"]["step_ps"] = 0.05 / omega * 1e12
    return parse(start | rest)


def evolved(config):
    """f v_th^3/n before and after two steps."""
    model = build(config)
    state = initial_state(config, model)
    end, _ = make_advance(model.stepper, model.dt)(state, 2)
    unit = config.temperature(model.grid)[0] ** 1.5 / config.density
    return np.asarray(state.f) * unit, np.asarray(end.f) * unit


@functools.cache
def reference(kernel):
    """`evolved` in the units of the package."""
    return evolved(config_of(kernel, {}, {}, nx=1))


CASES = [(kernel, other) for kernel in KERNELS for other in OTHERS if kernel != "ddco-paper"]
FAST = [("ddco", "units"), ("ddco", "deuterium"), ("dd-landau", "carbon"), ("landau", "deuterium")]


@pytest.mark.parametrize("kernel, other", slow_but(FAST, CASES))
def test_a_run_depends_on_gamma_alone(kernel, other):
    start, expected = reference(kernel)
    again, found = evolved(config_of(kernel, *OTHERS[other], nx=1))
    largest = np.max(np.abs(expected))
    assert np.max(np.abs(expected - start)) > 1e-4 * largest  # collisions have acted
    assert np.max(np.abs(again - start)) < SAME * largest
    assert np.max(np.abs(found - expected)) < SAME * largest


def test_a_run_in_a_field_depends_on_gamma_alone():
    _, expected = evolved(config_of("dd-landau", {}, {}, nx=4))
    _, found = evolved(config_of("dd-landau", *OTHERS["carbon"], nx=4))
    assert np.max(np.abs(found - expected)) < SAME * np.max(np.abs(expected))


@pytest.mark.parametrize("name", KERNELS)
def test_every_kernel_depends_on_gamma_alone(name):
    """omega/(omega_p v_th^2/n) at pairs of thermal velocities, in the scales of App. D and of a carbon plasma."""
    rng = np.random.default_rng(3)
    c, c_prime = (jnp.asarray(rng.normal(size=(40, 3))) for _ in range(2))
    found = []
    for scales, n in ((PAPER, 1.0), (PAPER, 2.0), (CARBON, 0.7)):
        density = jnp.asarray(n)
        T = scales.coupling_parameter(density, 1.0) / GAMMA
        found.append(jax.jit(omega_hat, static_argnums=5)(load_kernel(name, scales), c, c_prime, density, T, scales))
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], rtol=0, atol=SAME * float(jnp.max(jnp.abs(found[0]))))


def test_a_kernel_without_similarity_is_that_of_the_same_plasma_in_other_units():
    """`state = "free"`: a function of rho and T, which are those of App. D whatever the units."""
    kernel = SeparableForm(width=4, rank=1, state="free", buildup="off").build(1).kernel
    other = Scales(length=2e-8, velocity=3e4, density=2e23)
    rng = np.random.default_rng(3)
    c, c_prime = (jnp.asarray(rng.normal(size=(40, 3))) for _ in range(2))
    found = []
    for scales in (PAPER, other):
        n, T = (jnp.asarray(a) for a in (1.7e24 / scales.density, scales.temperature_from_ev(0.2)))
        found.append(omega_hat(in_units(kernel, scales), c, c_prime, n, T, scales))
    np.testing.assert_allclose(found[1], found[0], rtol=0, atol=SAME * float(jnp.max(jnp.abs(found[0]))))


@pytest.mark.parametrize("scales", [PAPER, CARBON, Scales(length=2e-8)], ids=["paper", "carbon", "length"])
def test_md_in_other_units_trains_the_kernel_of_its_gamma(scales):
    n, T = 0.8, scales.coupling_parameter(0.8, 1.0) / GAMMA
    attributes = {"density": n, "temperature": T, "coupling_parameter": GAMMA}
    density, temperature, omega = kernel_state(attributes | {"plasma_frequency": scales.plasma_frequency(n)})
    assert PAPER.coupling_parameter(density, temperature) == pytest.approx(GAMMA, rel=1e-12)
    assert omega == pytest.approx(PAPER.plasma_frequency(density), rel=1e-12)
    assert scales != PAPER or (density, temperature) == (n, T)
