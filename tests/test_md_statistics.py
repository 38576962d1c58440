"""What MD is reduced with, against direct sums, exact distributions and processes of known transport."""

import jax.numpy as jnp
import numpy as np
import pytest

from ddco_jax.md import correlations, dataset, dump, green_kubo
from ddco_jax.md.statistics import POWERS, Bins, Statistics
from ddco_jax.md.test_functions import TEST_FUNCTIONS
from ddco_jax.plasma import ocp, particles
from ddco_jax.settings import ConfigError

REST = (3 - 0.345 - 0.7 * (3 / 7) ** 2) / 2.1
SAMPLERS = {
    "maxwellian": (particles.maxwellian, (1.0, 3.0)),
    "oblate": (particles.bimaxwellian(0.25), (3 / 9, 3.0)),
    "prolate": (particles.bimaxwellian(4.0), (2.0, 3.0)),
    "uniform": (particles.uniform, (1.0, 9 / 5)),
    "uniform_ball": (particles.uniform_ball, (1.0, 15 / 7)),
    # two normals at +-b of width s: <c^4> = b^4 + 6 b^2 s^2 + 3 s^4
    "symmetric_double_well": (particles.symmetric_double_well, (1.0, 0.64 + 6 * 0.8 * 0.2 + 3 * 0.04)),
    "asymmetric_double_well": (
        particles.asymmetric_double_well,
        (1.0, 0.875**2 + 6 * 0.875 * 0.125 + 3 * (0.05**2 + 0.2**2) / 2),
    ),
    # normals at 1 (variance 0.05) and -3/7, three to seven
    "cold_beam": (
        particles.cold_beam,
        (
            0.3 * 1.05 + 0.7 * ((3 / 7) ** 2 + REST),
            0.3 * (1 + 6 * 0.05 + 3 * 0.05**2) + 0.7 * ((3 / 7) ** 4 + 6 * (3 / 7) ** 2 * REST + 3 * REST**2),
        ),
    ),
    "four_beams": (particles.four_beams, (1.0, 0.93**2 + 6 * 0.93 * 0.07 + 3 * 0.07**2)),
    # normals at 1.5 (variance 0.1) and -0.5 (29/30), one to three
    "bump_on_tail": (
        particles.bump_on_tail,
        (
            (2.25 + 0.1) / 4 + (0.25 + 29 / 30) * 3 / 4,
            (1.5**4 + 6 * 1.5**2 * 0.1 + 3 * 0.01) / 4 + (0.5**4 + 6 * 0.25 * 29 / 30 + 3 * (29 / 30) ** 2) * 3 / 4,
        ),
    ),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_starts_have_the_moments_of_e2(name, rng):
    sampler, (second, fourth) = SAMPLERS[name]
    n = 400_000
    c = sampler(rng, n)
    if name in ("oblate", "prolate"):
        anisotropy = {"oblate": 0.25, "prolate": 4.0}[name]
        second, fourth = 3 * anisotropy / (anisotropy + 2), 27 * anisotropy**2 / (anisotropy + 2) ** 2
    error = c[:, 0].std() / n**0.5
    assert np.abs(c.mean(0)).max() < 5 * error * 2
    assert abs((c[:, 0] ** 2).mean() - second) < 5 * (c[:, 0] ** 2).std() / n**0.5
    assert abs((c[:, 0] ** 4).mean() - fourth) < 5 * (c[:, 0] ** 4).std() / n**0.5
    assert abs((c**2).sum(1).mean() - 3) < 5 * (c**2).sum(1).std() / n**0.5


def test_exact_draws_have_no_drift_and_exact_energy_in_every_cell(rng):
    cell = rng.integers(0, 4, 1000)
    c = particles.exact(particles.uniform(rng, 1000), cell, 4)
    for i in range(4):
        assert np.abs(c[cell == i].mean(0)).max() < 1e-15
        assert (c[cell == i] ** 2).sum(1).mean() == pytest.approx(3, rel=1e-14)


def test_a_user_s_sample_is_drawn_from(rng):
    sample = rng.normal(size=(50, 3))
    few, many = particles.resample(sample)(rng, 20), particles.resample(sample)(rng, 200)
    assert len(np.unique(few, axis=0)) == 20 and many.shape == (200, 3)
    assert all((row == sample).all(1).any() for row in many)


@pytest.mark.parametrize(("n", "lengths"), [(1000, (10.0, 10.0, 10.0)), (777, (3.0, 14.0, 20.0))])
def test_the_lattice_has_no_close_pairs(rng, n, lengths):
    x = particles.lattice(rng, n, np.array(lengths))
    assert x.shape == (n, 3) and (x >= 0).all() and (x <= lengths).all()
    separation = x[:, None] - x
    separation -= np.array(lengths) * np.round(separation / lengths)
    distance = np.linalg.norm(separation, axis=-1)[np.triu_indices(n, 1)]
    assert distance.min() > 0.4 * (np.prod(lengths) / n) ** (1 / 3)


def test_test_functions_are_what_they_say_in_numpy_and_jax(rng):
    c = rng.normal(size=(20, 3))
    psi = TEST_FUNCTIONS(c)
    assert psi.shape == (20, len(TEST_FUNCTIONS)) and len(set(TEST_FUNCTIONS.names)) == len(TEST_FUNCTIONS)
    np.testing.assert_allclose(psi, TEST_FUNCTIONS(jnp.asarray(c), jnp), rtol=1e-12, atol=1e-14)
    names = TEST_FUNCTIONS.names
    square = (c**2).sum(1)
    expected = {
        "gaussian(1, 0, 0; 0.6)": np.exp(-((c - [1, 0, 0]) ** 2).sum(1) / (2 * 0.36)),
        "gaussian(-0.9, -0.9, -0.9; 1)": np.exp(-((c + 0.9) ** 2).sum(1) / 2),
        "cy^2 gaussian(1.2)": c[:, 1] ** 2 * np.exp(-square / (2 * 1.44)),
        "shell(1.6; 2)": np.exp(-((square - 2.56) ** 2) / 8),
        "cx^1 cy^2 cz^0": c[:, 0] * c[:, 1] ** 2,
    }
    for name, values in expected.items():
        np.testing.assert_allclose(psi[:, names.index(name)], values, rtol=1e-12, atol=1e-14, err_msg=name)


def test_statistics_against_direct_sums(rng):
    n, cells = 3000, 3
    x, v = rng.uniform(0, 2.0, n), rng.normal(size=(n, 3)) * 0.4 + 0.1
    energy = rng.normal(size=n)
    speed = np.array([0.3, 0.4, 0.5])
    measure = Statistics(2.0, 1.5, speed, Bins.cover(0.1, 1.0))
    out = measure(x, v, energy)
    cell = (x / 2.0 * 3).astype(int)
    for i in range(cells):
        own, c = v[cell == i], v[cell == i] / speed[i]
        assert out["density"][i] == pytest.approx(1.5 * len(own) * 3 / n)
        np.testing.assert_allclose(out["drift"][i], own.mean(0), rtol=1e-12)
        np.testing.assert_allclose(out["temperature_axis"][i], own.var(0), rtol=1e-11)
        assert out["potential_energy"][i] == pytest.approx(energy[cell == i].mean())
        np.testing.assert_allclose(out["moment"][i], [np.prod(c**p, axis=1).mean() for p in POWERS], rtol=1e-10)
        counts, _ = np.histogram(own[:, 1], np.arange(-10, 11) * 0.1)
        np.testing.assert_allclose(out["f_vy"][i], counts * 1.5 * 3 / n / 0.1, rtol=1e-12)
        plane, *_ = np.histogram2d(own[:, 0], own[:, 1], [np.arange(-10, 11) * 0.1] * 2)
        np.testing.assert_allclose(out["f_vxvy"][i], plane * 1.5 * 3 / n / 0.01, rtol=1e-12)
    assert "psi" not in out  # rates of slabs would mix transport with collisions


def test_rates_and_their_errors(rng):
    """Independent changes of known variance: the stated error is that of the mean."""
    measure = Statistics(1.0, 1.0, np.ones(1), Bins.cover(0.1, 5.0))
    n = 4000
    v = rng.normal(size=(n, 3))
    measure(np.zeros(n), v)
    moved = v + 0.1 * rng.normal(size=(n, 3))
    out = measure(np.zeros(n), moved)
    k = TEST_FUNCTIONS.names.index("cx^2 cy^0 cz^0")
    change = moved[:, 0] ** 2 - v[:, 0] ** 2
    assert out["psi_change"][k] == pytest.approx(change.mean())
    assert out["psi_change_covariance"][k, k] == pytest.approx(change.var(ddof=1) / n)


def test_dumps_round_trip_and_a_cut_one_is_not_read(tmp_path, rng):
    x, v = rng.uniform(0, 5, (50, 3)), rng.normal(size=(50, 3))
    path = tmp_path / "a.bin"
    dump.write_frame(path, 7, [5.0, 5.0, 5.0], x, v)
    frame = dump.read_frame(path)
    assert frame is not None and frame.step == 7
    np.testing.assert_array_equal(frame.positions, x)
    np.testing.assert_array_equal(frame.velocities, v)
    whole = path.read_bytes()
    for length in (len(whole) - 1, 200, 30, 3):
        path.write_bytes(whole[:length])
        assert dump.read_frame(path) is None
    path.write_bytes(b"ITEM: TIMESTEP\n0\n" * 20)
    with pytest.raises(ValueError, match="not a binary LAMMPS dump"):
        dump.read_frame(path)


def test_a_dataset_with_holes_is_not_read(tmp_path):
    """A variable that is missing, or values that are not finite, end in one line that names them."""
    x, v = np.zeros(100), np.random.default_rng(1).normal(size=(100, 3))
    measure = Statistics(1.0, 1.0, np.ones(1), bins := Bins.cover(0.5, 5.0))
    part = dataset.replicate_dataset(
        [measure(x, v)], np.zeros(1), length=1.0, thermal_speed=np.ones(1), bins=bins, kept=None
    )
    attributes = dict.fromkeys(dataset.ATTRIBUTES, 1.0) | {"particles": 100, "bin_width": 0.5}
    whole = dataset.combine([part], attributes)
    dataset.write(whole, tmp_path / "whole.nc")
    assert dataset.open_dataset(tmp_path / "whole.nc").sizes["t"] == 1
    broken = {
        "drift missing": whole.drop_vars("drift"),
        "particles missing": whole.drop_attrs(deep=False).assign_attrs(
            {name: value for name, value in whole.attrs.items() if name != "particles"}
        ),
        "temperature holds values that are not finite": whole.assign(temperature=whole["temperature"] * np.nan),
    }
    for message, data in broken.items():
        path = tmp_path / f"{message}.nc"
        data.drop_vars([name for name in data if str(name).startswith("f_")]).to_netcdf(path, engine="netcdf4")
        with pytest.raises(ConfigError, match=message):
            dataset.open_dataset(path)


def test_correlations_against_direct_sums(rng):
    signal = rng.normal(size=(40, 3)).cumsum(0)
    direct = [np.mean(signal[: 40 - lag] * signal[lag:], axis=0) for lag in range(11)]
    np.testing.assert_allclose(correlations.autocorrelation(signal, 10), direct, rtol=1e-10, atol=1e-10)
    direct = [np.mean((signal[lag:] - signal[: 40 - lag]) ** 2, axis=0) for lag in range(11)]
    np.testing.assert_allclose(correlations.mean_square_displacement(signal, 10), direct, rtol=1e-9, atol=1e-9)


def _langevin(rng, n, frames, interval, tau, T, box):
    """Exact Ornstein-Uhlenbeck velocities, their integral wrapped into the box."""
    decay = np.exp(-interval / tau)
    v = np.empty((frames, n, 3))
    v[0] = rng.normal(size=(n, 3)) * T**0.5
    for i in range(1, frames):
        v[i] = decay * v[i - 1] + rng.normal(size=(n, 3)) * (T * (1 - decay**2)) ** 0.5
    path = np.concatenate([np.zeros((1, n, 3)), np.cumsum((v[1:] + v[:-1]) / 2 * interval, axis=0)])
    return np.mod(path + rng.uniform(0, box, (n, 3)), box), v


def test_green_kubo_of_a_langevin_gas(rng):
    """D = T tau by both routes, kinetic viscosity n T tau/2, within the errors that the blocks state."""
    n, tau, T, interval, frames, lags, box = 200, 0.8, 0.3, 0.1, 2000, 120, 6.0
    parts = []
    for _ in range(6):
        x, v = _langevin(rng, n, frames, interval, tau, T, box)
        parts.append(correlations.reduce_block(x, v, lags, np.full(3, box), T))
    data = correlations.assemble(parts, lags, interval, (frames - 1) * interval)
    density = n / box**3
    gamma = 1.0
    data.attrs |= {
        "particles": n,
        "temperature": T,
        "density": 1.0,
        "number_density": density,
        "plasma_frequency": 1.3,
        "coupling_parameter": gamma,
    }
    (group,) = green_kubo.group([data])
    result = green_kubo.transport(group)
    a = (3 / (4 * np.pi * density)) ** (1 / 3)
    D_star, eta_star = T * tau / (a**2 * 1.3), density * T * tau / 2 / (density * a**2 * 1.3)
    # independent particles feel no periodic images; the trapezoidal path moves D by (interval/tau)^2/12
    D, slope = result.D_star.value - result.box_correction, result.D_star_displacement.value - result.box_correction
    assert abs(D / D_star - 1) < 5 * result.D_star.error / D_star + 0.005
    assert abs(slope / D_star - 1) < 5 * result.D_star_displacement.error / D_star + 0.005
    assert abs(result.eta_star_kinetic.value - eta_star) < 4 * result.eta_star_kinetic.error
    assert result.eta_star_kinetic.error < 0.2 * eta_star and result.eta_star is None
    assert result.D_star.error < 0.02 * D_star


def test_reference_formulas_of_the_one_component_plasma():
    gammas = [0.1, 0.2, 0.5, 1, 2, 3, 5, 10]
    table = [-0.0257, -0.0685, -0.2364, -0.5718, -1.3204, -2.1132, -3.7564, -7.998]
    np.testing.assert_allclose(ocp.excess_energy(gammas), table, atol=1e-4)
    # Debye-Hueckel: u = -sqrt(3)/2 Gamma^1.5 at weak coupling
    assert ocp.excess_energy(1e-4) == pytest.approx(-(3**0.5) / 2 * 1e-6, rel=0.02)
    # both theories meet Landau's first order at weak coupling, to the order of 1/logarithm
    gamma = 0.01
    logarithm = -np.log(3**0.5 * gamma**1.5)
    for theory in (ocp.stanton_murillo, ocp.effective_potential):
        D, eta = theory(gamma)
        assert pytest.approx(ocp.LANDAU_D / (gamma**2.5 * logarithm), rel=0.1) == D
        assert eta == pytest.approx(ocp.LANDAU_ETA / (gamma**2.5 * logarithm), rel=0.25)
    # the two branches of the Stanton-Murillo fit meet at g = 1
    meeting = 1.1506
    below, above = ocp.stanton_murillo(meeting - 1e-3), ocp.stanton_murillo(meeting + 1e-3)
    np.testing.assert_allclose(below, above, rtol=0.03)
