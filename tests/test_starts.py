"""Initial distributions: derivatives, traced and concrete values, and samples of particles against the grid."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import slow_but
from jax.test_util import check_grads

from ddco_jax import PhaseGrid, initial
from ddco_jax.plasma import particles
from ddco_jax.plasma.moments import compute_moments

GRID = PhaseGrid(6.0, 2, (2.6, 2.8, 3.0), (26, 27, 28))
N, T = np.array([1.0, 0.7]), np.array([0.25, 0.3])
FINE = PhaseGrid(1.0, 1, (6.5, 6.5, 6.5), (60, 60, 60))


def bkw(grid, density, temperature):
    return initial.bkw(grid, density[0], temperature[0], 9.0)


STARTS = {
    "maxwellian": initial.maxwellian,
    "bimaxwellian": partial(initial.bimaxwellian, anisotropy=0.4, drift=(0.1, 0.0, -0.2)),
    "asymmetric_double_well": initial.asymmetric_double_well,
    "two_stream": partial(initial.two_stream, drift=0.5),
    "bump_on_tail": initial.bump_on_tail,
    "uniform_ball": initial.uniform_ball,
    "bkw": bkw,
}
FEW = ("bimaxwellian", "asymmetric_double_well", "bump_on_tail", "uniform_ball", "bkw")


def functional(f):
    """A number that sees every part of f: higher moments and the second power.

    Never compiled together with the start: fused with the broadcasts that make f, sums over all of it are wrong at
    times where jaxlib 0.10.2 runs on several threads (tensorflow issue 126812).
    """
    v = [jnp.asarray(axis, f.dtype) for axis in GRID.velocities]
    fourth = jnp.einsum("xabc,a,b,c->x", f, v[0] ** 2 + v[0], 1 + v[1], 1 - v[2] ** 2, precision="highest")
    return jnp.sum(fourth * jnp.asarray([1.0, 2.0], f.dtype)) * GRID.dv3 + jnp.sum(f**2) * GRID.dv3


@pytest.mark.parametrize("name", STARTS)
def test_traced_values_are_the_concrete_ones(name):
    start = partial(STARTS[name], GRID)
    concrete = start(N, T)
    assert isinstance(concrete, np.ndarray) and concrete.dtype == np.float64
    assert isinstance(start(jnp.asarray(N), jnp.asarray(T)), np.ndarray)
    traced = jax.jit(start)(N, T)
    assert traced.dtype == np.float64
    np.testing.assert_allclose(traced, concrete, rtol=1e-10, atol=1e-12 * concrete.max())
    if name not in ("two_stream", "bkw"):  # those have another temperature, or moments up to the grid's error
        m = compute_moments(GRID, traced)
        np.testing.assert_allclose(m.density, N, rtol=1e-12)
        np.testing.assert_allclose(m.temperature, T, rtol=1e-12)
        drift = (0.1, 0.0, -0.2) if name == "bimaxwellian" else (0.0, 0.0, 0.0)
        np.testing.assert_allclose(m.drift, np.broadcast_to(drift, (2, 3)), atol=1e-12)


@pytest.mark.parametrize("name", FEW)
def test_single_precision_stays_single(name):
    start = partial(STARTS[name], GRID)
    f, concrete = jax.jit(start)(jnp.asarray(N, jnp.float32), jnp.asarray(T, jnp.float32)), start(N, T)
    assert f.dtype == np.float32
    np.testing.assert_allclose(f, concrete, atol=2e-6 * concrete.max())


@pytest.mark.parametrize("name", slow_but(["asymmetric_double_well", "bkw"], FEW))
def test_derivatives_in_both_modes(name):
    """Against central differences of the concrete values, and JAX's own check."""
    start = partial(STARTS[name], GRID)
    traced = jax.jit(start)
    loss = lambda n, temperature: functional(traced(n, temperature))  # jaxlib 0.10.2: see functional
    check_grads(loss, (jnp.asarray(N), jnp.asarray(T)), 1, modes=("fwd", "rev"), rtol=1e-6, atol=1e-8, eps=1e-5)
    h, dn, dT = 1e-5, np.array([0.4, -0.3]), np.array([0.1, 0.2])
    along = jax.jvp(loss, (jnp.asarray(N), jnp.asarray(T)), (jnp.asarray(dn), jnp.asarray(dT)))[1]
    upper, lower = (functional(start(N + s * h * dn, T + s * h * dT)) for s in (1, -1))
    assert float(along) == pytest.approx(float(upper - lower) / (2 * h), rel=1e-7)


def parameters(p):
    """f in terms of anisotropy, drift along x and z, beam drift, BKW time and amplitude."""
    anisotropic = initial.bimaxwellian(GRID, 1.0, 0.25, p[0], [p[1], 0.0, p[2]])
    late = initial.bkw(GRID, 0.8, 0.25, p[4], prefactor=p[5])
    return initial.perturb(GRID, anisotropic, p[3], 2), initial.two_stream(GRID, 1.0, 0.1, p[6]) + late


@pytest.mark.slow
def test_every_parameter_is_differentiable():
    p = np.array([0.4, 0.1, -0.2, 0.05, 9.0, 1 / 20, 0.8])
    loss = lambda p, start=parameters: sum(functional(f) for f in start(p))
    traced = partial(loss, start=jax.jit(parameters))
    reverse, forward = jax.grad(traced)(p), jax.jacfwd(traced)(p)
    central = [(loss(p + h) - loss(p - h)) / (2 * h.sum()) for h in 1e-5 * np.diag(p)]
    np.testing.assert_allclose(reverse, central, rtol=1e-6)
    np.testing.assert_allclose(forward, reverse, rtol=1e-9)


def test_second_derivatives_where_a_cell_is_centred_on_the_mean():
    """An odd number of cells; d^2/du^2 of the sum of (1 + vy^2) f^2 against central differences."""
    weight = 1 + GRID.vy[None, None, :, None] ** 2
    start = lambda u: initial.maxwellian(GRID, 1.0, 0.25, [0.0, u, 0.0])
    traced, loss = jax.jit(start), lambda u, f=start: (f(u) ** 2 * weight).sum()
    h = 1e-3
    central = (loss(h) - 2 * loss(0.0) + loss(-h)) / h**2
    assert float(jax.hessian(partial(loss, f=traced))(0.0)) == pytest.approx(central, rel=1e-5)


def test_vmap_and_forms_of_drift():
    drifts = jnp.asarray([[0.1, 0.0, 0.0], [0.0, 0.3, -0.2]])
    many = jax.vmap(lambda u: initial.maxwellian(GRID, 1.0, T, u))(drifts)
    for f, u in zip(many, drifts, strict=True):
        np.testing.assert_allclose(f, initial.maxwellian(GRID, 1.0, T, u), atol=1e-12)
    np.testing.assert_array_equal(initial.maxwellian(GRID, 1.0, T, 0.1), initial.maxwellian(GRID, 1.0, T, drifts[0]))
    f = initial.bimaxwellian(GRID, N, T, 0.5, drifts)
    np.testing.assert_allclose(compute_moments(GRID, jnp.asarray(f)).drift, drifts, atol=1e-12)


def test_what_the_grid_cannot_hold_is_nan_when_traced():
    cold = jnp.asarray([0.25, 1e-4])
    f = jax.jit(partial(initial.maxwellian, GRID, 1.0))(cold)
    assert np.isfinite(f[0]).all() and np.isnan(f[1]).all()
    f = jax.jit(partial(initial.uniform_ball, GRID, 1.0))(cold)
    assert np.isfinite(f[0]).all() and np.isnan(f[1]).all()
    # a plasma much hotter than the grid is wide: Newton's method does not converge, but stays finite
    assert np.isnan(jax.jit(partial(initial.maxwellian, GRID, 1.0))(40.0)).all()
    assert np.isnan(jax.jit(partial(initial.bkw, GRID, 1.0, 0.25))(5.0)).all()
    for start in (initial.maxwellian, initial.uniform_ball, initial.four_beams):
        with pytest.raises(ValueError, match=r"too narrow.*grid\.nv"):
            start(GRID, 1.0, cold)
    with pytest.raises(ValueError, match=r"velocity box is too small.*; raise grid\.velocity_extent_m_s"):
        initial.maxwellian(GRID, 1.0, 40.0)
    with pytest.raises(ValueError, match=r"positive only from t = 5\.498 t0 on, got 5\.000"):
        initial.bkw(GRID, 1.0, 0.25, 5.0)


SAMPLED = (
    "maxwellian",
    "symmetric_double_well",
    "asymmetric_double_well",
    "bump_on_tail",
    "cold_beam",
    "four_beams",
    "uniform_ball",
)


@pytest.mark.parametrize("name", [*SAMPLED, "bimaxwellian"])
def test_particles_and_grid_have_the_same_moments(name, rng):
    """All moments <cx^i cy^j cz^k> up to the fourth order, within five standard errors of the samples."""
    if name == "bimaxwellian":
        f, sample = initial.bimaxwellian(FINE, 1.0, 1.0, 0.3), particles.bimaxwellian(0.3)
    else:
        f, sample = getattr(initial, name)(FINE, 1.0, 1.0), getattr(particles, name)
    n, c = 200_000, [FINE.velocities[k][None] ** np.arange(5)[:, None] for k in range(3)]
    on_grid = np.einsum("abc,ia,jb,kc->ijk", f[0], *c, optimize=True) * FINE.dv3
    drawn = sample(rng, n)
    # the smoothed edge of the ball and the Maxwellian around it: about one per cent in the fourth order
    slack = 0.02 if name == "uniform_ball" else 1e-3
    for i, j, k in itertools.product(range(5), repeat=3):
        if i + j + k <= 4:
            values = drawn[:, 0] ** i * drawn[:, 1] ** j * drawn[:, 2] ** k
            assert abs(values.mean() - on_grid[i, j, k]) < 5 * values.std() / n**0.5 + slack, (i, j, k)


def test_the_ball_is_uniform_inside_and_nearly_empty_outside():
    grid, T = PhaseGrid(1.0, 2, (3.0, 3.0, 3.2), (60, 61, 64)), np.array([0.25, 0.36])
    f = initial.uniform_ball(grid, N, T)
    m = compute_moments(grid, jnp.asarray(f))
    np.testing.assert_allclose(m.density, N, rtol=1e-12)
    np.testing.assert_allclose(m.temperature, T, rtol=1e-12)
    assert np.abs(m.drift).max() < 1e-13
    speed = np.sqrt(sum(v**2 for v in np.meshgrid(*grid.velocities, indexing="ij")))
    for n, t, g in zip(N, T, f, strict=True):
        radius, uniform = (5 * t) ** 0.5, n / (4 / 3 * np.pi * (5 * t) ** 1.5)
        np.testing.assert_allclose(g[speed < radius - 0.15], uniform, rtol=0.05)
        assert g.min() > 0 and g[speed > radius + 0.25].max() < 0.01 * uniform


STREAMS = {
    "maxwellian": [0.060143602597438485, 1.3402152455545335, -0.49220651855132963],
    "bimaxwellian": [0.04252794924163761, 1.498406196770755, -0.5503036172246422],
    "symmetric_double_well": [0.7892912410018558, -1.461246489070125, -0.773114081760272],
    "asymmetric_double_well": [0.8828463716944552, -1.5022336447636946, -0.8141012374538414],
    "bump_on_tail": [-0.14911152003284867, 0.10364245476025381, -0.9148288124829725],
    "cold_beam": [-0.037122955610642105, 0.11562272051110598, -1.0205759439594992],
    "four_beams": [-1.1285273040674233, 1.0939651007485012, -0.8699416491251556],
    "uniform": [-1.7138112575190776, 1.112767882947887, 1.0290786879480134],
    "uniform_ball": [0.0870969017060441, 1.9408314511571416, -0.7127884083080375],
}


@pytest.mark.parametrize("name", STREAMS)
def test_random_streams_do_not_change(name):
    """The third of five particles drawn with seed 7: MD runs can be repeated from their config."""
    sample = particles.bimaxwellian(0.4) if name == "bimaxwellian" else getattr(particles, name)
    np.testing.assert_allclose(sample(np.random.default_rng(7), 5)[2], STREAMS[name], rtol=1e-14)


def test_the_bkw_solution_is_homogeneous():
    grid = PhaseGrid(1.0, 12, (3.0, 3.0, 3.0), (12, 12, 12))
    with pytest.raises(ValueError, match="must be numbers"):
        initial.bkw(grid, 1.0, np.linspace(0.3, 0.5, 12), 8.0)
