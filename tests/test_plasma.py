"""Units, grid, moments and initial distributions."""

import astropy.constants as const
import astropy.units as u
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import SMALL, random_positive
from plasmapy.formulary import Debye_length, coupling_parameter, plasma_frequency

from ddco_jax import PhaseGrid, State, initial
from ddco_jax.plasma.moments import compute_moments, face_current, face_density, power_moments
from ddco_jax.plasma.units import PAPER, Scales
from ddco_jax.vlasov.v_flux import central

EPS = np.finfo(float).eps


def test_scales_reproduce_appendix_d():
    assert PAPER.time == pytest.approx(1e-12)
    assert PAPER.electric_field == pytest.approx(1.04e8, rel=5e-3)
    assert PAPER.debye_number == pytest.approx(0.76, rel=1e-4)
    assert PAPER.plasma_frequency(1.0) == pytest.approx(1.3158, abs=1e-4)
    assert PAPER.coulomb_constant == pytest.approx(0.13777, abs=1e-5)
    assert PAPER.temperature_from_ev(0.1) == pytest.approx(0.0958, abs=5e-5)
    assert PAPER.temperature_to_kelvin(1.0) == pytest.approx(1.21e4, rel=1e-3)
    assert PAPER.landau_prefactor(1.0) == pytest.approx(0.1193, abs=1e-4)
    T = PAPER.temperature_from_ev(0.1)
    assert PAPER.coupling_parameter(1.0, T) == pytest.approx(2.32, abs=5e-3)
    # omega_p^2 = 4 pi q^2 n ties the two constants of the model together
    assert PAPER.plasma_frequency(1.0) ** 2 == pytest.approx(4 * np.pi * PAPER.coulomb_constant, rel=1e-12)


@pytest.mark.parametrize("density, temperature_ev", [(1e24, 0.2), (3e21, 1.5)])
def test_scales_agree_with_plasmapy(density, temperature_ev):
    """With CODATA constants in place of App. D's rounded ones; eps0 differs in the tenth digit between editions."""
    scales = Scales(mass=const.m_p.to_value("kg"), charge=const.e.si.value)
    n, T = density / scales.density, scales.temperature_from_ev(temperature_ev)
    assert scales.temperature_to_kelvin(T) == pytest.approx((temperature_ev * u.eV / const.k_B).to_value("K"), rel=1e-9)
    kelvin, n_si = scales.temperature_to_kelvin(T) * u.K, density * u.m**-3
    omega = plasma_frequency(n_si, "p+").to_value(u.rad / u.s)
    assert scales.plasma_frequency(n) / scales.time == pytest.approx(omega, rel=1e-8)
    assert scales.coupling_parameter(n, T) == pytest.approx(
        coupling_parameter(kelvin, n_si, ("p+", "p+")).value, rel=1e-8
    )
    length = Debye_length(kelvin, n_si).to_value(u.m)
    assert scales.debye_length(n, T) * scales.length == pytest.approx(length, rel=1e-8)


def test_the_electron_volt_does_not_scale_with_the_charge():
    """C6+ at 1e24 1/m^3 and 10 eV: Gamma = 36 e^2/(4 pi eps0 a kT) = 0.836; twice the charge is four times Gamma."""

    def gamma(charge, density, temperature_ev):
        scales = Scales(charge=charge)
        return scales.coupling_parameter(density / scales.density, scales.temperature_from_ev(temperature_ev))

    assert gamma(9.6131e-19, 1e24, 10.0) == pytest.approx(0.836, rel=1e-3)
    assert gamma(3.2e-19, 1e24, 0.2) == pytest.approx(4 * gamma(1.6e-19, 1e24, 0.2), rel=4 * EPS)
    assert gamma(3.2043532e-19, 1e24, 0.2) == pytest.approx(4 * gamma(1.6021766e-19, 1e24, 0.2), rel=1e-7)
    for charge, joule in ((1.6e-19, 1.6e-19), (9.6e-19, 1.6e-19), (2.4e-19, 1.602176634e-19), (1e-21, 1.602176634e-19)):
        assert Scales(charge=charge).electron_volt == joule


def test_temperature_round_trip_and_bad_scales():
    T = PAPER.temperature_from_ev(0.37)
    assert PAPER.temperature_to_ev(T) == pytest.approx(0.37, rel=4 * EPS)
    with pytest.raises(ValueError, match=r"Scales\.mass"):
        Scales(mass=-1.0)


def test_grid_is_that_of_eq_19():
    grid = PhaseGrid(10.24, 20, (8, 7, 6), (200, 35, 24))
    assert grid.shape == (20, 200, 35, 24)
    assert grid.x[0] == pytest.approx(grid.dx / 2)
    for axis, (v_max, n) in enumerate(zip(grid.v_max, grid.nv, strict=True)):
        j = np.arange(n)
        assert np.allclose(grid.velocities[axis], -v_max + (j + 0.5) * 2 * v_max / n, rtol=0, atol=1e-14)
        assert np.array_equal(grid.velocities[axis], -grid.velocities[axis][::-1])
    assert len({grid, PhaseGrid(10.24, 20, (8, 7, 6), (200, 35, 24))}) == 1
    for bad in ({"length": -1.0}, {"nx": 0}, {"v_max": (1, 1)}, {"nv": (1, 0, 1)}):
        with pytest.raises(ValueError):
            PhaseGrid(**({"length": 1.0, "nx": 1, "v_max": (1, 1, 1), "nv": (3, 3, 3)} | bad))


def test_moments_against_plain_sums(rng):
    f = random_positive(rng, SMALL.shape)
    v = np.stack(np.meshgrid(*SMALL.velocities, indexing="ij"))
    m = compute_moments(SMALL, f)
    rho = np.sum(f, (1, 2, 3)) * SMALL.dv3
    drift = np.einsum("xabc,iabc->xi", f, v) * SMALL.dv3 / rho[:, None]
    c = v[None] - drift[:, :, None, None, None]
    T = np.einsum("xabc,xiabc->x", f, c**2) * SMALL.dv3 / rho / 3
    assert np.allclose(m.density, rho, rtol=1e-14)
    assert np.allclose(m.drift, drift, rtol=0, atol=1e-14)
    assert np.allclose(m.temperature, T, rtol=1e-13)
    assert np.allclose(power_moments(SMALL, f)[:, 1, 2, 0], np.sum(f * v[0] * v[1] ** 2, (1, 2, 3)) * SMALL.dv3)
    faces = (f[:, 1:] + f[:, :-1]) / 2
    v_faces = (SMALL.vx[1:] + SMALL.vx[:-1]) / 2
    assert np.allclose(face_density(SMALL, central(f)), np.sum(faces, (1, 2, 3)) * SMALL.dv3)
    assert np.allclose(face_current(SMALL, central(f)), np.einsum("xabc,a->x", faces, v_faces) * SMALL.dv3)


STARTS = {
    "maxwellian": (initial.maxwellian, (1, 1, 1)),
    "bimaxwellian": (initial.bimaxwellian, (1 / 3, 4 / 3, 4 / 3)),
    "symmetric_double_well": (initial.symmetric_double_well, (1, 1, 1)),
    "asymmetric_double_well": (initial.asymmetric_double_well, (1, 1, 1)),
}


@pytest.mark.parametrize("name", STARTS)
def test_starts_have_exact_discrete_moments(name):
    start, variances = STARTS[name]
    grid = PhaseGrid(10.24, 6, (3.0, 3.5, 3.2), (44, 40, 42))
    n = 1 + 0.2 * np.cos(2 * np.pi * grid.x / grid.length)
    T = 0.2 + 0.05 * np.sin(2 * np.pi * grid.x / grid.length)
    f = start(grid, n, T)
    assert f.shape == grid.shape
    assert np.all(f > 0)
    m = power_moments(grid, jnp.asarray(f))
    assert np.allclose(m[:, 0, 0, 0], n, rtol=1e-12)
    for axis in range(3):
        first = tuple(int(k == axis) for k in range(3))
        second = tuple(2 * int(k == axis) for k in range(3))
        assert np.allclose(m[:, *first], 0, atol=1e-12)
        assert np.allclose(m[:, *second], n * T * variances[axis], rtol=1e-12)
    # a uniform density makes no field
    state = State.from_distribution(grid, start(grid, 1.0, T))
    assert np.max(np.abs(state.electric_field)) < 1e-12


def test_starts_are_cell_averages_of_e2():
    """Against a fine midpoint quadrature of the printed formula, up to the tilt that restores the variance."""
    grid = PhaseGrid(1.0, 1, (3.0, 3.0, 3.0), (60, 60, 60))
    T, sub = 0.25, 40
    b1, s1, s2 = np.sqrt(0.875 * T), np.sqrt(0.05 * T), np.sqrt(0.2 * T)
    dv = grid.dv[0]
    fine = (grid.vx[:, None] + (np.arange(sub) + 0.5) / sub * dv - dv / 2).ravel()
    density = np.exp(-((fine - b1) ** 2) / 2 / s1**2) / s1 + np.exp(-((fine + b1) ** 2) / 2 / s2**2) / s2
    expected = (density / density.sum() / (dv / sub)).reshape(-1, sub).mean(1)
    f = initial.asymmetric_double_well(grid, 1.0, T)
    marginal = f[0].sum((1, 2)) * dv**2
    assert np.allclose(marginal, expected, rtol=0, atol=dv**2 / 12 / s1**2 * expected.max())
    assert np.argmax(marginal) == np.argmin(np.abs(grid.vx - b1))


def test_every_beam_has_its_own_width():
    """The sum over points has the moments of each normal, up to the fourth order of what cell averages leave.

    Averages of the normals as they are would be off by 1 % here, as the beam's variance would be by dv^2/12.
    """
    T, errors = 0.25, []
    b1, s1, s2 = np.sqrt(0.875 * T), np.sqrt(0.05 * T), np.sqrt(0.2 * T)
    for n in (64, 128):
        grid = PhaseGrid(1.0, 1, (2.5, 2.5, 2.5), (n, n, n))
        parts = [np.exp(-((grid.vx - b) ** 2) / 2 / s**2) / s for b, s in ((b1, s1), (-b1, s2))]
        expected = sum(parts) / (8 * np.pi) ** 0.5
        marginal = initial.asymmetric_double_well(grid, 1.0, T)[0].sum((1, 2)) * grid.dv[0] ** 2
        errors.append(np.linalg.norm(marginal - expected) / np.linalg.norm(expected))
    assert errors[0] < 3e-4 and np.log2(errors[0] / errors[1]) == pytest.approx(4, abs=0.3)


def test_a_start_too_narrow_for_the_grid_is_refused():
    grid = PhaseGrid(1.0, 1, (3.0, 3.0, 3.0), (8, 8, 8))
    with pytest.raises(ValueError, match=r"too narrow.*grid\.nv"):
        initial.maxwellian(grid, 1.0, 1e-4)


def test_bump_on_tail_is_a_beam_in_a_plasma():
    grid, T = PhaseGrid(10.0, 2, (2.5, 2.5, 2.5), (60, 50, 50)), np.array([0.16, 0.2])
    f = initial.bump_on_tail(grid, np.array([1.0, 0.7]), T)
    m = compute_moments(grid, jnp.asarray(f))
    assert np.allclose(m.density, [1.0, 0.7], rtol=1e-12) and np.allclose(m.temperature, T, rtol=1e-12)
    assert np.abs(m.drift).max() < 1e-12
    beam = np.unravel_index(np.argmax(f[0]), grid.nv)
    centre = [axis[i] for axis, i in zip(grid.velocities, beam, strict=True)]
    assert np.allclose(centre, [1.5 * 0.4, 0, 0], atol=max(grid.dv))
    third = (f * (grid.vx / 0.4)[:, None, None] ** 3).sum((1, 2, 3)) * grid.dv3
    # E(a + s z)^3 = a^3 + 3 a s^2
    expected = 0.25 * (1.5**3 + 4.5 * 0.1) + 0.75 * (-0.125 - 1.5 * 29 / 30)
    assert np.allclose(third[0], expected, rtol=1e-3)


def test_two_stream_and_perturbation():
    grid = PhaseGrid(10.0, 16, (2.0, 0.5, 0.5), (80, 12, 12))
    f = initial.perturb(grid, initial.two_stream(grid, 1.0, 0.01, 1.0), 0.1, 2)
    m = compute_moments(grid, jnp.asarray(f))
    assert np.allclose(m.density, 1 + 0.1 * np.cos(4 * np.pi * grid.x / 10), rtol=1e-12)
    marginal = f[0].sum((1, 2))
    peaks = grid.vx[1:-1][(marginal[1:-1] > marginal[:-2]) & (marginal[1:-1] >= marginal[2:])]
    assert np.allclose(peaks, [-1, 1], atol=grid.dv[0])


def test_electric_field_solves_gauss_law():
    grid = PhaseGrid(7.0, 24, (1.0, 1.0, 1.0), (3, 3, 3))
    k = 2 * np.pi / grid.length
    rho = 1 + 0.1 * np.cos(k * grid.x) + 0.05 * np.sin(3 * k * grid.x)
    f = np.broadcast_to(rho[:, None, None, None] / (27 * grid.dv3), grid.shape)
    E = State.from_distribution(grid, f).electric_field
    exact = (0.1 * np.sin(k * grid.x) / k - 0.05 * np.cos(3 * k * grid.x) / (3 * k)) / PAPER.debye_number**2
    assert np.allclose(E, exact, atol=1e-14)
    with pytest.raises(ValueError, match="shape"):
        State.from_distribution(grid, f[:3])
