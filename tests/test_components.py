"""Starts that are sums of components: exact moments, shapes, waves, derivatives, and how a config states them."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_derivatives, ddco_here

from ddco_jax import PhaseGrid, initial
from ddco_jax.plasma.moments import compute_moments
from ddco_jax.plasma.starts import Component
from ddco_jax.settings import ConfigError
from ddco_jax.simulation.check import check_report
from ddco_jax.simulation.config import load, parse

GRID = PhaseGrid(6.0, 2, (5.0, 4.4, 4.4), (38, 34, 34))
T, DRIFT = np.array([0.5, 0.4, 0.3]), np.array([0.4, -0.2, 0.1])
RING_T = np.array([0.2, 0.2, 0.2])
PARTS = {
    "maxwellian": Component(0.6, T, DRIFT),
    "ball": Component(0.6, T, DRIFT, "ball"),
    "kappa": Component(0.6, T, DRIFT, "kappa", 4.0),
    "ring": Component(0.6, RING_T, DRIFT, "ring", 1.1),
}


def variances(f, density):
    """Mean velocity and variance along each axis, (nx, 3) each, by sums over the points."""
    means, squares = [], []
    for axis, v in enumerate(GRID.velocities):
        marginal = np.asarray(f).sum(tuple(k for k in (1, 2, 3) if k != axis + 1)) * GRID.dv3 / density[:, None]
        means.append(marginal @ v)
        squares.append(marginal @ v**2 - means[-1] ** 2)
    return np.stack(means, 1), np.stack(squares, 1)


@pytest.mark.parametrize("shape", PARTS)
def test_a_part_has_exact_moments(shape):
    """Also where temperature and drift vary with x."""
    factor, shift = np.array([1.0, 0.8]), np.array([0.0, 0.3])
    f = initial.components(GRID, np.array([1.0, 0.7]), [PARTS[shape]], factor, shift)
    density = f.sum((1, 2, 3)) * GRID.dv3
    np.testing.assert_allclose(density, [0.6, 0.42], rtol=1e-12)
    mean, variance = variances(f, density)
    np.testing.assert_allclose(mean, DRIFT + shift[:, None] * [1, 0, 0], rtol=0, atol=1e-12)
    expected = T * factor[:, None]
    if shape == "ring":  # in the plane half of <p^2> of the ring, by brute force
        p = np.linspace(0, 8, 200_001)
        weights = [p * np.exp(-((p - 1.1) ** 2) / (2 * 0.2 * a)) for a in factor]
        plane = [(p**2 * w).sum() / w.sum() / 2 for w in weights]
        expected = np.stack([plane, plane, 0.2 * factor], 1)
    np.testing.assert_allclose(variance, expected, rtol=1e-8 if shape == "ring" else 1e-11)
    assert np.all(f >= 0)


def test_shapes_are_what_they_are_called():
    centred = {name: part._replace(fraction=1.0, temperature=0.35, drift=0.0) for name, part in PARTS.items()}
    f = {name: initial.components(GRID, 1.0, [part]) for name, part in centred.items()}
    np.testing.assert_allclose(f["maxwellian"], initial.maxwellian(GRID, 1.0, 0.35), rtol=1e-11)
    np.testing.assert_allclose(f["ball"], initial.uniform_ball(GRID, 1.0, 0.35), rtol=1e-3, atol=1e-12)
    v = np.stack(np.meshgrid(*GRID.velocities, indexing="ij"))
    power = (1 + (v**2).sum(0) / (5 * 0.35)) ** -5.0
    inside = (v**2).sum(0) < 4.0
    ratio = f["kappa"][0] / power
    assert np.ptp(ratio[inside]) < 0.03 * ratio[inside].mean()  # up to the cut of its tails by the box
    ring = f["ring"][0].sum(2)
    place = np.unravel_index(np.argmax(ring), ring.shape)
    assert np.hypot(GRID.vx[place[0]], GRID.vy[place[1]]) == pytest.approx(1.1, abs=0.25)
    assert ring[19, 17] < 0.5 * ring.max()


def test_the_bump_on_tail_of_the_package_is_a_sum_of_components():
    kT = 0.4
    wide = Component(0.75, 29 / 30 * kT, np.array([-0.5 * kT**0.5, 0, 0]))
    beam = Component(0.25, 0.1 * kT, np.array([1.5 * kT**0.5, 0, 0]))
    grid = PhaseGrid(6.0, 2, (4.0, 3.8, 3.8), (50, 48, 48))
    np.testing.assert_allclose(
        initial.components(grid, 1.0, [beam, wide]), initial.bump_on_tail(grid, 1.0, kT), rtol=1e-10, atol=1e-15
    )


@pytest.mark.parametrize("shape", PARTS)
def test_derivatives_of_a_part(shape):
    part = PARTS[shape]
    grid = PhaseGrid(6.0, 1, (4.0, 3.6, 3.6), (16, 14, 14))

    def function(fraction, temperature, drift, parameter):
        chosen = Component(fraction, temperature, drift, shape, parameter)
        return jnp.sum(initial.components(grid, 1.0, [chosen, PARTS["maxwellian"]]) ** 2)

    parameter = jnp.asarray(float(part.parameter))
    arguments = (jnp.asarray(0.4), jnp.asarray(part.temperature) * 1.5, jnp.asarray(part.drift))
    if shape in ("kappa", "ring"):
        assert_derivatives(function, (*arguments, parameter), 1e-5)
    else:
        assert_derivatives(lambda *a: function(*a, parameter), arguments, 1e-5)
    traced = jax.jit(function)(*arguments, parameter)
    assert float(traced) == pytest.approx(float(function(*map(np.asarray, (*arguments, parameter)))), rel=1e-9)


START = {
    "component": [
        {"fraction": 0.8, "temperature_ratio": 1.0},
        {"fraction": 0.2, "shape": "ball", "drift_m_s": [4000.0, 0.0, 0.0], "temperature_eV": [0.15, 0.2, 0.2]},
    ],
    "perturbation": [
        {"quantity": "density", "amplitude": 0.1, "mode": 2},
        {"quantity": "temperature", "amplitude": 0.05, "phase": 0.7},
        {"quantity": "drift", "amplitude": 0.2, "phase": -1.57},
    ],
}


def config_of(start, **sections):
    config = {
        "plasma": {"temperature_eV": 0.2},
        "grid": {"length_angstrom": 1000.0, "nx": 6, "velocity_extent_m_s": (26e3, 24e3, 24e3), "nv": (30, 26, 26)},
        "time": {"step_ps": 0.02, "steps": 2},
        "initial": start,
    }
    return parse(config | sections)


def test_a_config_states_components_and_waves():
    config = config_of(START)
    grid = config.build_grid()
    f = config.build_distribution(grid)
    density, drift, temperature = (np.asarray(a) for a in compute_moments(grid, jnp.asarray(f)))
    x = 2 * np.pi * grid.x / grid.length
    v_th = float(config.scales.temperature_from_ev(0.2)) ** 0.5
    u = 0.2 * v_th * np.cos(x - 1.57)
    np.testing.assert_allclose(density, 1 + 0.1 * np.cos(2 * x), rtol=1e-12)
    np.testing.assert_allclose(drift[:, 0], 0.2 * 0.4 + u, rtol=0, atol=1e-12)
    # of the whole: the parts' own temperatures, and the kinetic energy of their relative drift
    own = 0.8 * 0.2 + 0.2 * (0.15 + 0.2 + 0.2) / 3
    relative = 0.8 * 0.2 * 0.4**2 / 3
    expected = config.scales.temperature_from_ev(own) * (1 + 0.05 * np.cos(x + 0.7)) + relative
    np.testing.assert_allclose(temperature, expected, rtol=1e-11)
    for cell in (0, 4):
        np.testing.assert_allclose(config.build_cell(grid, cell), f[cell], rtol=1e-10, atol=1e-14)
    report = check_report(config_of(START, collisions={"kernel": "none"}))
    assert report["coupling_parameter"][0] < report["coupling_parameter"][1]


def test_one_maxwellian_is_an_equilibrium_and_more_are_a_quench():
    assert config_of({"component": [{"fraction": 1.0}]}).correlations == "aged"
    for component in ({"fraction": 1.0, "shape": "ball"}, {"fraction": 1.0, "temperature_ratio": [1.0, 1.0, 2.0]}):
        assert config_of({"component": [component]}).correlations == "quench"
    assert config_of(START).correlations == "quench"
    said = check_report(config_of({"component": [{"fraction": 1.0}]}, field="none"))["notes"]
    assert any("one Maxwellian is an equilibrium" in note for note in said)


REFUSED = {
    "sum": ([{"fraction": 0.5}, {"fraction": 0.4}], "must add up to 1, not to 0.9"),
    "kappa": ([{"fraction": 1.0, "shape": "kappa"}], 'shape = "kappa" and kappa belong together'),
    "ring": ([{"fraction": 1.0, "ring_speed_m_s": 1e4}], 'shape = "ring" and ring_speed_m_s belong together'),
    "twice": ([{"fraction": 1.0, "temperature_eV": 1.0, "temperature_ratio": 1.0}], "not both"),
    "unknown": ([{"fraction": 1.0, "temperatur_eV": 1.0}], "did you mean 'temperature_eV'"),
    "elsewhere": ([{"fraction": 1.0, "density_m3": 1e24}], "did you mean units.density_m3 or plasma.density_m3?"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case):
    component, message = REFUSED[case]
    with pytest.raises(ConfigError) as caught:
        config_of({"component": component})
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_overrides_reach_a_component():
    config = load("bump_on_tail", ("initial.component=[{fraction=1.0, shape='kappa', kappa=3.0}]",))[0]
    assert config.initial.component[0].kappa == 3.0


def test_a_modulation_beside_a_wave_of_the_temperature_is_explained_and_multiplies(tmp_path):
    """As the page of all keys and the config of `ddco init` say; `--help` leads to that page."""
    changed = {"plasma.temperature_modulation_eV": 0.2, "initial.perturbation": [WAVE]}
    config = load("example", changed)[0]
    x = 2 * np.pi * (grid := config.build_grid()).x / grid.length
    expected = (1 + 0.2 * np.sin(x)) * (1 + 0.1 * np.cos(2 * x + 0.5))
    T = config.temperature(grid) / config.scales.temperature_from_ev(1.0)
    np.testing.assert_allclose(T, expected, rtol=1e-12)
    page = (Path(__file__).parents[1] / "docs" / "configuration.md").read_text()
    row = next(line for line in page.splitlines() if line.startswith("| `temperature_modulation_eV`"))
    assert "T(x) is multiplied by 1 + amplitude cos(2 pi mode x/Lx + phase)" in row
    ddco_here("init", cwd=tmp_path)
    assert "# T(x) times 1 + 0.2 sin(2 pi x/Lx)" in (tmp_path / "my_plasma.toml").read_text()
    assert "docs/configuration.md" in ddco_here("run", "--help", cwd=tmp_path)[0]


WAVE = {"quantity": "temperature", "amplitude": 0.1, "mode": 2, "phase": 0.5}
