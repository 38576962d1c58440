"""Weak form: pair averages and the microfield against the pointwise kernel and the operator, rates, their errors."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from helpers import slow_but
from learning_data import SMOOTH, synthetic
from young import young

from ddco_jax import CollisionOperator, PhaseGrid, initial, kernels
from ddco_jax.correlations import AGED, Quench
from ddco_jax.correlations.jumps import times, viscosity_factor
from ddco_jax.kernels.forms import SeparableForm
from ddco_jax.learning import data, losses, nodes, pairs
from ddco_jax.learning.rates import Predictor
from ddco_jax.md.test_functions import TEST_FUNCTIONS

ONE = jnp.asarray(1.0)


def pointwise(kernel, c, c_prime):
    """The pair's term of the weak form by autodiff of omega: three jvps along (e_a, -e_a)."""

    def omega(a, b):
        return kernel(a, b, jnp.zeros(3), ONE, ONE)

    def term(a, b):
        divergence = sum(jax.jvp(omega, (a, b), (e, -e))[1][i] for i, e in enumerate(jnp.eye(3)))
        gradient = jax.jacfwd(pairs.test_function)
        hessian = jax.jacfwd(gradient)
        first = (gradient(a) - gradient(b)) @ divergence
        return (first + jnp.einsum("ij,kij->k", omega(a, b), hessian(a) + hessian(b))) / 2

    return jax.vmap(term)(c, c_prime).mean(0)


@pytest.mark.parametrize(("kernel", "bound"), [(kernels.Landau(0.3), 1e-12), (SMOOTH, 3e-3)])
def test_pair_averages_are_those_of_the_pointwise_kernel(rng, kernel, bound):
    """Exact for what the spline space holds (Landau), to its slopes' error (h/width)^3/3 for a smooth kernel."""
    c = jnp.asarray(rng.normal(size=(400, 3)))
    partner = jnp.asarray(pairs._pairing(rng, 400))
    assert not (partner == jnp.arange(400)).any()
    gradient, hessian = pairs.derivatives(c)
    averages = pairs.average(c, jnp.ones(400), gradient, hessian, partner)
    values = nodes.kernel_values(kernel, ONE, ONE, ONE)
    predicted = jnp.einsum("kam,am->k", averages, values)
    direct = pointwise(kernel, c, c[partner])
    assert jnp.abs(direct).max() > 0.01
    assert jnp.abs(predicted - direct).max() < bound * jnp.abs(direct).max()


def test_averages_between_the_snapshots():
    """A beam of variance s^2/3 + 0.05 leaves a Gaussian of width 0.6 as (0.41 + s^2/3)^-2.5, slowly at first."""
    omega = 1.317
    stored = xr.Dataset(coords={"t_kept": np.linspace(0, 2.4, 13)}, attrs={"plasma_frequency": omega})
    points = omega * np.linspace(0, 1.2, 61)[:, None]

    def error(kept):
        weights = data._interpolation(kept, points)
        rate = lambda s: (1 + s**2 / 3 / 0.41) ** -2.5
        return np.abs(weights @ rate(kept) - rate(points)).max()

    thinned = omega * data.thinned(stored)["t_kept"].to_numpy()
    assert len(thinned) == 9 and thinned[-1] == omega * 2.4
    assert error(thinned) < 0.002
    start = data._interpolation(thinned, np.array([0.0, 1e-4])) @ np.sin(5 * thinned + 1)
    assert abs(start[1] - start[0]) < 1e-6  # whatever the values are: a quench has zero slope, not 5 cos(1)
    assert error(omega * stored["t_kept"].to_numpy()[::2]) > 0.005  # and 0.05 with a free slope at t = 0


@pytest.mark.parametrize("jump", slow_but([0.4], [0.0, 0.4]))
def test_pair_averages_are_the_operator_s_rates(rng, jump):
    """(C[f], psi) of the operator on a grid against pair averages over samples of the same f; C[F] as well."""
    grid = PhaseGrid(1.0, 1, (5.0, 7.0, 7.0), (30, 32, 32))
    f = initial.bimaxwellian(grid, 1.0, 1.0, 0.25)
    op = CollisionOperator(grid, SMOOTH)
    v = np.stack(np.meshgrid(grid.vx, grid.vy, grid.vz, indexing="ij"), -1).reshape(-1, 3)
    rates, plain = (
        np.asarray(op(jnp.asarray(f), now))[0].reshape(-1) @ TEST_FUNCTIONS(v) * grid.dv3
        for now in (young(1, pair_jump=jump), AGED)
    )
    n = 40_000
    c = rng.normal(size=(n, 3)) * np.sqrt([1 / 3, 4 / 3, 4 / 3])
    c = data.symmetrise(c, "bimaxwellian", rng)
    exact = np.asarray(f)[0].reshape(-1) @ TEST_FUNCTIONS(v) * grid.dv3
    averages = pairs.pair_averages(c, data.calibrate(c, exact), 4, rng, jump)
    values = nodes.kernel_values(SMOOTH, ONE, ONE, ONE)
    factor = float(viscosity_factor(jnp.asarray(jump)))
    halves = factor * np.einsum("hkam,am->hk", averages, values)
    error = np.abs(halves[0] - halves[1]).mean() + 2e-3  # sampling, and the grid's dv^2
    k = TEST_FUNCTIONS.names.index("cx^2 cy^0 cz^0")
    assert rates[k] > 0.1  # the colder axis warms
    # polynomials of degree 4 weigh the tails: compare where the test functions are bounded
    bounded = slice(0, 47)
    assert np.abs(halves.mean(0) - rates)[bounded].max() < 6 * error
    assert halves.mean(0)[k] == pytest.approx(rates[k], rel=0.03)
    if jump:
        assert np.abs(rates / factor - plain)[bounded].max() > 10 * error


def test_calibration_gives_the_subset_the_averages_of_all(rng):
    c = rng.normal(size=(20_000, 3))
    target = TEST_FUNCTIONS(c).mean(0)
    subset = c[:2000]
    weight = data.calibrate(subset, target)
    assert weight.mean() == pytest.approx(1) and weight.min() > 0 and weight.std() < 0.3
    before = np.abs(TEST_FUNCTIONS(subset).mean(0) - target)
    after = np.abs((weight[:, None] * TEST_FUNCTIONS(subset)).mean(0) - target)
    assert after[:47].max() < 0.1 * before[:47].max()


BEAMS = ("bump_on_tail", "cold_beam")
STARTS = (*BEAMS, "bimaxwellian", "uniform", "four_beams", "uniform_ball", "asymmetric_double_well")


@pytest.mark.parametrize("start", STARTS)
def test_symmetrising_keeps_what_the_start_keeps(rng, start):
    c = rng.normal(size=(500, 3)) + 0.1
    moved = data.symmetrise(c, start, np.random.default_rng(1))
    np.testing.assert_allclose((moved**2).sum(1), (c**2).sum(1), rtol=1e-12)
    if start == "bimaxwellian":
        np.testing.assert_allclose(np.abs(moved[:, 0]), np.abs(c[:, 0]))
    if start in BEAMS:  # rotations about x only
        np.testing.assert_allclose(moved[:, 0], c[:, 0], rtol=1e-12)
        assert np.abs(moved[:, 1] - c[:, 1]).mean() > 0.5
    if start == "four_beams":  # those of a tetrahedron keep xyz, and move everything else
        np.testing.assert_allclose(moved.prod(1), c.prod(1), rtol=1e-12)
        assert np.abs(moved - c).mean() > 0.5
    if start == "asymmetric_double_well":
        assert moved is c
    else:
        assert np.abs(moved - c).max() > 0.5


def test_diffusion_in_the_microfield_against_moments(rng):
    """<T lap psi - c.grad psi> of monomials, momentum and energy standing still whatever is near."""
    c = rng.normal(size=(4000, 3)) * np.sqrt([1 / 3, 4 / 3, 4 / 3])
    weight = rng.uniform(0.5, 1.5, 4000)
    averages = pairs.microfield_averages(c, weight)[0]
    found = pairs.microfield_rates(averages.sum(0))
    c = c - np.average(c, axis=0, weights=weight)
    T = np.average((c**2).sum(1), weights=weight) / 3
    x2, x4 = (np.average(c[:, 0] ** k, weights=weight) for k in (2, 4))
    name = TEST_FUNCTIONS.names.index
    assert found[name("cx^2 cy^0 cz^0")] == pytest.approx(2 * (T - x2), rel=1e-5)
    assert found[name("cx^4 cy^0 cz^0")] == pytest.approx(12 * T * x2 - 4 * x4, rel=0.05)  # psi is of c, not c - <c>
    some = np.einsum("m,mkx->kx", rng.uniform(0, 1, len(nodes.NEAR)), averages)
    rates = pairs.microfield_rates(np.concatenate([some[-pairs.CONSERVED :], some]))
    assert jnp.abs(rates[: pairs.CONSERVED]).max() < 1e-5 and jnp.abs(rates[pairs.CONSERVED :]).max() > 0.1


@pytest.mark.slow
def test_jumps_in_the_microfield_are_those_of_the_operator(rng):
    """What is learned from is what the solver does: rates of all test functions, from particles and on the grid."""
    widths, n = np.array([0.5, 1.25, 1.25]), 100_000
    found = pairs.microfield_averages(rng.normal(size=(n, 3)) * np.sqrt(widths), np.ones(n))
    everywhere, half = np.ones(len(nodes.NEAR)), (1 + (nodes.NEAR / 2) ** 2.5) ** (-3 / 2.5)
    grid = PhaseGrid(1.0, 1, (5.0, 6.2, 6.2), (44, 40, 40))
    c = np.stack(np.meshgrid(*grid.velocities, indexing="ij"), -1)
    f = jnp.asarray(np.exp(-np.sum(c**2 / widths, -1) / 2) / np.prod(2 * np.pi * widths) ** 0.5)[None]
    psi, rates = TEST_FUNCTIONS(c), []
    for jump, near in ((0.0, everywhere), (0.3, everywhere), (3.0, everywhere), (0.3, half)):
        path = 0.0 if near is everywhere else 0.5
        alone = young(1, level=0.0, rate=1.0, field_jump=jump, path=path, edge=2.5)
        change = np.asarray(CollisionOperator(grid, kernels.Landau(0.0))(f, alone))[0]
        rates.append(np.einsum("xyz,xyzk->k", change, psi) * grid.dv3)
        smoothing = times(jnp.asarray(jump), jnp.asarray(pairs.FIRST))
        predicted = pairs.microfield_rates(np.einsum("n,m,nmkx->kx", smoothing, near, found))
        scale = np.sqrt(np.mean(rates[-1] ** 2))
        assert np.sqrt(np.mean((predicted - rates[-1]) ** 2)) < 0.03 * scale
    moved = [np.sqrt(np.mean((r - rates[0]) ** 2) / np.mean(rates[0] ** 2)) for r in rates[1:]]
    assert moved[0] > 0.05 and moved[1] > 0.3  # jumps matter
    assert np.sqrt(np.mean((rates[3] - rates[1]) ** 2) / np.mean(rates[1] ** 2)) > 0.3  # so does the hole


def test_a_quench_begins_with_diffusion_in_the_microfield():
    """nu = omega_p s/3 for s -> 0 at every Gamma, nothing later; in 1/t0 for the operator; ell^2 grows and fades."""
    quench = Quench.initial()
    fading = dataclasses.replace(quench.microfield.neighbour_fading, exponent=jnp.array([-30.0, 0.0], jnp.float32))
    lasting = dataclasses.replace(quench, microfield=dataclasses.replace(quench.microfield, neighbour_fading=fading))
    for gamma in (0.05, 1.0, 3.0):
        s = jnp.array([0.0, 1e-6, 30.0])
        now, kept = quench(s, jnp.full(3, gamma)), lasting(s, jnp.full(3, gamma)).microfield_jump
        np.testing.assert_allclose(now.microfield_rate[:2], [0.0, 1e-6 / 3], rtol=1e-3)
        assert 0 <= now.microfield_rate[2] < 1e-3
        b = math.exp(sum(float(k) * math.log(gamma) ** i for i, k in enumerate(quench.microfield.narrowness)))
        np.testing.assert_allclose(kept[:2], [0.0, 1e-12 / 3 / b**2], rtol=1e-3)
        assert kept[2] > 100 * kept[1]
        faded = now.microfield_jump
        assert 0 < faded[2] < 0.1 * kept[2] and abs(faded[1] / kept[1] - 1) < 1e-5
        np.testing.assert_allclose(now.in_units(2.0).microfield_rate, 2 * now.microfield_rate)
        slope = jax.grad(lambda s, gamma=gamma: quench(s[None], gamma * ONE[None]).microfield_rate[0])
        assert jnp.isfinite(slope(ONE * 0))


def test_rates_of_a_young_plasma_are_those_of_the_scaled_kernel_and_the_microfield(rng):
    """The sums over the knots of |u| that make them cheap, against omega scaled at one age, and the terms by hand."""
    model = SeparableForm(buildup="quench").build(3)
    run = synthetic(rng, model.kernel, 1.3, "bimaxwellian")  # particles jumped or not are the same here
    predictor = Predictor.of(run._replace(times=np.full_like(run.times, 0.7)), jnp.float64)
    now = model.buildup(0.7 * ONE, 1.3 * ONE)
    found = predictor.rates(model.kernel, model.buildup)
    pairs_alone = predictor.rates(kernels.Scaled(model.kernel, now.pair_rate))
    smoothing = times(now.microfield_jump, jnp.asarray(pairs.FIRST))
    left = now.partners(jnp.asarray(nodes.NEAR))
    assert left[0] == 1 and 0 < left[-1] < 0.2 and np.all(np.diff(left) < 0)
    field = pairs.microfield_rates(jnp.einsum("n,m,nmkx->kx", smoothing, left, run.microfield[0]))
    expected = pairs_alone + now.microfield_rate * field
    assert jnp.abs(found - expected).max() < 1e-6 * jnp.abs(expected).max()
    whole = pairs.microfield_rates(jnp.einsum("n,nmkx->kx", smoothing, run.microfield[0]))
    assert jnp.abs(field - whole).max() > 0.1 * jnp.abs(whole).max()  # the hole matters
    assert jnp.abs(now.microfield_rate * field).max() > 0.1 * jnp.abs(pairs_alone).max()


def test_decay_of_anisotropy_counts_the_relative_error_of_a_forward_solution(rng):
    """Rates larger by a share e: ln(Tx - Tperp) is off by e ln(q/q0), weighed by the errors."""
    kernel = SeparableForm().build(11).kernel
    run = synthetic(rng, kernel, 1.0, "bimaxwellian")
    predictor = Predictor.of(run, jnp.float64)
    q = run.anisotropy
    assert 0.1 < 1 - q[-1] / q[0] < 0.8  # it decays, and something is left

    def rates(share, predictor=predictor):
        return predictor.rates(kernel, lambda s, g: (1 + share) * (1 - jnp.exp(-((s / 0.5) ** 1.2))))

    assert losses.decay_squared(predictor, rates(0.0), 0.01) < 1e-20
    expected = 0.1 * np.log(q[1:] / q[0])
    np.testing.assert_allclose(losses.decay_error(predictor, rates(0.1)), expected, rtol=0.02)
    expected = np.mean(expected**2 / ((1e-3 / q[1:]) ** 2 + 0.01**2))
    assert losses.decay_squared(predictor, rates(0.1), 0.01) == pytest.approx(expected, rel=0.02)
    cube = Predictor.of(synthetic(rng, kernel, 1.0, "uniform"), jnp.float64)
    assert losses.decay_squared(cube, rates(0.1, cube), 0.01) == 0
