"""Correlations of a young plasma in the operator: microfield, hole, jumps, pair rate, entropy limiter."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_conserved, random_positive, shared_low_rank, slow_but
from young import young

from ddco_jax import CollisionOperator, PhaseGrid, kernels
from ddco_jax.correlations import AGED, Uniform, entropy, hole, jumps, microfield
from ddco_jax.velocity.cell import Cell, Maxwellian
from ddco_jax.velocity.differences import Differences

GRID = PhaseGrid(1.0, 2, (2.0, 2.2, 2.4), (7, 6, 8))
NU = jnp.array([0.7, 0.2])
FORMS = [("log", "central"), ("log", "fourth"), ("ratio", "eighth")]
HOLE = {"path": jnp.array([0.6, 2.0]), "edge": jnp.array([2.0, 4.0])}


def maxwellian(grid):
    """The same discrete Maxwellian with a drift in all cells."""
    v = np.meshgrid(*grid.velocities, indexing="ij")
    return jnp.exp(-sum((w - 0.3) ** 2 for w in v) / 1.1)[None].repeat(grid.nx, 0)


def at_cell(now, i=0):
    return jax.tree.map(lambda x: x[i], now)


@pytest.mark.parametrize("inside", [{}, HOLE], ids=["everywhere", "hole"])
@pytest.mark.parametrize("jump", [0.0, jnp.array([0.6, 4.0])], ids=["normal", "jumps"])
@pytest.mark.parametrize(("force", "differences"), slow_but([FORMS[0], FORMS[-1]], FORMS))
def test_diffusion_in_the_microfield_by_itself(rng, force, differences, jump, inside):
    """Conservation to rounding and growth of entropy for any f, and nothing for a Maxwellian."""
    alone = young(2, level=0.0, rate=NU, field_jump=jump, **inside)
    op = CollisionOperator(GRID, shared_low_rank(), force=force, differences=differences)
    f = random_positive(rng, GRID.shape)
    c = op(f, alone)
    assert_conserved(GRID, c)
    assert np.all(jnp.sum(c * jnp.log(f), (1, 2, 3)) < 0) and np.max(np.abs(c)) > 0.1
    still = op(maxwellian(GRID), alone)
    assert np.max(np.abs(still)) < 1e-13
    if np.any(jump):
        without = op(f, dataclasses.replace(alone, microfield_jump=0 * NU))
        assert np.max(np.abs(c - without)) > 0.1 * np.max(np.abs(c))


@pytest.mark.parametrize(("force", "differences"), FORMS)
def test_the_microfield_s_flux_is_a_bracket(rng, force, differences):
    """Linear in the force, symmetric and positive: sum q.p is |q - Q q|^2."""
    op = CollisionOperator(GRID, shared_low_rank(), force=force, differences=differences)
    cell = Cell.of(GRID, random_positive(rng, GRID.nv))
    partners = hole.present(cell, at_cell(young(2, **HOLE)).partners)
    a, b = (op.differences.forces(jnp.asarray(rng.normal(size=GRID.nv))) for _ in range(2))

    def bracket(a, b):
        return float(jnp.sum(a * microfield.flux(cell, b, partners)))

    assert bracket(a, b) == pytest.approx(bracket(b, a), rel=1e-10) and bracket(a, a) > 0
    assert bracket(a, 2 * a + b) == pytest.approx(2 * bracket(a, a) + bracket(a, b), rel=1e-12)


@pytest.mark.parametrize("jump", [0.0, jnp.array([0.3, 0.2])], ids=["normal", "jumps"])
@pytest.mark.parametrize("method", ["spectral", "direct"])
def test_collisions_that_are_jumps(rng, method, jump):
    """C[F] of a smoothed F: conservation to rounding, entropy, nothing for a Maxwellian; not C[f]."""
    op = CollisionOperator(GRID, shared_low_rank(), method)
    smooth = young(2, deficit=0.3, rate=NU, field_jump=jump)
    jumping = dataclasses.replace(smooth, pair_jump=jnp.array([0.05, 0.4]))
    f = random_positive(rng, GRID.shape)
    c = op(f, jumping)
    assert_conserved(GRID, c, 1e-13)
    assert np.all(jnp.sum(c * jnp.log(f), (1, 2, 3)) < 0)
    assert np.max(np.abs(op(maxwellian(GRID), jumping))) < 1e-12 * np.max(np.abs(c))
    assert np.all(np.max(np.abs(c - op(f, smooth)), (1, 2, 3)) > 0.05 * np.max(np.abs(c), (1, 2, 3)))
    # when the microfield has ended, entropy grows too
    aged = op(f, dataclasses.replace(jumping, microfield_rate=0 * NU))
    assert np.all(jnp.sum(aged * jnp.log(f), (1, 2, 3)) < 0) and np.max(np.abs(aged)) > 0.3 * np.max(np.abs(c))


ONE = jnp.ones(())


def test_the_entropy_limiter(rng):
    """It blends in just enough to make the production zero; fluxes that produce stay; slopes are finite."""
    forces, bad, good = (jnp.asarray(rng.normal(size=(3, 2, 2, 2))) for _ in range(3))

    def product(a, b):
        return float(jnp.sum(a * b))

    bad, good = (sign * np.sign(product(forces, p)) * p for p, sign in ((bad, -1), (good, 1)))
    for size in (1e-12, 1.0, 1e12):
        mixed, share = entropy.limit(forces, bad, size * good, ONE)
        assert 0 < share < 1
        assert abs(product(forces, mixed)) < 1e-14 * product(forces, good)
        assert product(mixed, mixed) <= 1.01 * product(bad, bad) and product(mixed, bad) > 0
    kept, share = entropy.limit(forces, good, bad, ONE)
    np.testing.assert_array_equal(kept, good)
    assert share == 0
    # a loss as small as that of rounding errors, the square of theirs, counts as none
    noise = 1e-31 * bad
    kept, share = entropy.limit(forces, noise, good, ONE)
    np.testing.assert_array_equal(kept, noise)
    assert share == 0 and product(forces, noise) < 0
    # where all is rounding, as at a Maxwellian, the fallback may not produce either: nothing grows
    neither, _ = entropy.limit(forces, bad, -good, ONE)
    assert product(neither, neither) <= 1.01 * product(bad, bad)
    zero = jnp.zeros_like(forces)
    for p, q in ((zero, zero), (zero, good), (bad, zero)):
        slopes = jax.grad(lambda p, q: jnp.sum(entropy.limit(forces, p, q, ONE)[0]), (0, 1))(p, q)
        assert all(np.isfinite(slope).all() for slope in slopes)


@pytest.mark.slow
def test_collisions_that_are_jumps_leave_the_viscosity():
    """On a weak shear stress C[F] is C[f], on a heat flux [(1 + 2 l^2)/(1 + 3 l^2)]^(1/4) of it: second order in dv."""
    errors = []
    for n in (20, 40):
        grid = PhaseGrid(1.0, 1, (6.0, 6.0, 6.0), (n, n, n))
        op = CollisionOperator(grid, shared_low_rank())
        v = np.meshgrid(*grid.velocities, indexing="ij")
        M = np.exp(-sum(w**2 for w in v) / 2)
        square = sum(w**2 for w in v)
        for psi, expected in ((v[0] * v[1], 1.0), (v[0] * (square - 5) / 10, (1.6 / 1.9) ** 0.25)):
            f = jnp.asarray(M * (1 + 1e-4 * psi))[None]
            rates = [float(jnp.sum(psi * op(f, now))) for now in (young(1, pair_jump=0.3), AGED)]
            assert rates[1] < 0
            errors.append(abs(rates[0] / rates[1] - expected))
    assert max(errors[2:]) < 5e-3 and np.all(np.log2(np.array(errors[:2]) / errors[2:]) > 1.5)


def gaussian(grid, widths, shift):
    """The normal distribution of these variances about a drift."""
    c = np.stack(np.meshgrid(*grid.velocities, indexing="ij")) - np.asarray(shift)[:, None, None, None]
    return c, np.exp(-np.einsum("axyz,a->xyz", c**2, 1 / widths) / 2) / np.prod(2 * np.pi * widths) ** 0.5


@pytest.mark.slow
def test_smoothing_by_the_jumps_of_the_microfield():
    """Of a normal distribution: its variances w become 1 + (w - 1) exp(-2u), u gamma distributed; second order."""
    widths, shift = np.array([0.5, 1.25, 1.25]), (0.2, -0.1, 0.3)
    y, weight = np.polynomial.legendre.leggauss(100)
    y, weight = (y + 1) / 2 * 40**0.25, weight / 2 * 40**0.25  # u = jump y^4: no singularity
    errors = []
    for n in (24, 48):
        grid = PhaseGrid(1.0, 1, (5.0, 6.0, 6.0), (n, n, n))
        c, f = gaussian(grid, widths, shift)
        cell, one = Cell.of(grid, jnp.asarray(f)), jnp.ones(())
        cell = dataclasses.replace(cell, f=jnp.asarray(f), velocity=jnp.asarray(c), temperature=one)
        equilibrium = Maxwellian.projected(cell, Differences(grid, 2).forces(jnp.log(cell.f)))
        for jump in (0.0, 0.1, 1.0):
            found, _ = (smooth.f for smooth in jumps.smooth(cell, equilibrium, jump * one, 0.5 * one))
            at = zip(jump * y**4, 4 * weight * np.exp(-(y**4)) / math.gamma(0.25), strict=True)
            expected = sum(w * gaussian(grid, 1 + (widths - 1) * np.exp(-2 * u), shift)[1] for u, w in at)
            errors.append(float(jnp.linalg.norm(found - expected) / np.linalg.norm(expected)))
            assert float(found.min()) > 0 and float(found.sum()) == pytest.approx(f.sum(), rel=1e-13)
    assert max(errors[0], errors[3]) < 1e-12 and np.all(np.array(errors[4:]) < 5e-4)
    assert np.all(np.log2(np.array(errors[1:3]) / errors[4:]) > 1.5)
    assert np.linalg.norm(expected - f) / np.linalg.norm(f) > 0.05  # it has done something


@pytest.mark.slow
def test_diffusion_in_the_microfield_is_that_of_the_formula():
    """nu div (T grad f + c f) of a bi-Maxwellian, to second order in dv, whatever the drift."""
    errors = []
    for n in (24, 48):
        grid = PhaseGrid(1.0, 1, (5.0, 6.0, 6.0), (n, n, n))
        widths = np.array([0.5, 1.25, 1.25])
        c, f = gaussian(grid, widths, (0.2, -0.1, 0.3))
        # div(T grad f + c f) = f sum_a [(c_a/w_a)^2 - 1/w_a + 1 - c_a^2/w_a] at T = 1
        w = widths[:, None, None, None]
        expected = 0.4 * f * np.sum((c / w) ** 2 - 1 / w + 1 - c**2 / w, 0)
        alone = young(1, level=0.0, rate=0.4)
        found = CollisionOperator(grid, kernels.Landau(0.3))(jnp.asarray(f)[None], alone)[0]
        errors.append(float(np.linalg.norm(found - expected) / np.linalg.norm(expected)))
    assert errors[1] < 0.06 and np.log2(errors[0] / errors[1]) > 1.8


def test_partners_that_are_still_in_the_hole(rng):
    """<B> of every velocity against the double sum over pairs, on a grid that is no cube."""
    cell = Cell.of(GRID, random_positive(rng, GRID.nv))
    B = at_cell(young(2, **HOLE)).partners
    found = hole.present(cell, B)
    v = np.stack(np.meshgrid(*GRID.velocities, indexing="ij"), -1).reshape(-1, 3)
    u = np.linalg.norm(v[:, None] - v[None], axis=-1) / float(cell.temperature) ** 0.5
    expected = (1 + (0.6 * u) ** 2.0) ** (-3 / 2.0)
    np.testing.assert_allclose(found.reshape(-1), expected @ cell.f.reshape(-1) / jnp.sum(cell.f), rtol=1e-12)
    assert B(jnp.asarray(1e3)) == pytest.approx((0.6e3) ** -3, rel=1e-4) and B(jnp.asarray(0.0)) == 1
    assert jnp.isfinite(jax.grad(B)(jnp.asarray(0.0)))


def test_a_pair_rate_of_relative_speed(rng):
    """It multiplies omega: conservation to rounding, entropy, spectral = direct; a constant one multiplies C."""
    f, kernel = random_positive(rng, GRID.shape), shared_low_rank()
    level = jnp.array([1.3, 0.4])
    slow = young(2, level, jnp.array([0.9, 0.3]), jnp.array([1.2, 2.0]))
    free, alone = dataclasses.replace(slow, microfield_rate=NU), young(2, level=0.0, rate=NU)
    op, oracle = CollisionOperator(GRID, kernel), CollisionOperator(GRID, kernel, "direct")
    c = op(f, slow)
    size = np.max(np.abs(c))
    assert np.max(np.abs(c - oracle(f, slow))) < 1e-12 * size
    np.testing.assert_allclose(op(f, free), c + op(f, alone), rtol=0, atol=1e-14 * size)
    assert np.max(np.abs(c - level[:, None, None, None] * op(f))) > 0.05 * size
    assert_conserved(GRID, c)
    assert np.all(jnp.sum(c * jnp.log(f), (1, 2, 3)) < 0)
    rise = {"progress": jnp.array([0.5, 2.0]), "exponent": jnp.array([1.5, 3.0]), "slowest": 0.3 * NU}
    rising = dataclasses.replace(slow, pairs=dataclasses.replace(slow.pairs, **rise))
    assert np.max(np.abs(op(f, rising) - oracle(f, rising))) < 1e-12 * size
    assert np.max(np.abs(op(f, rising) - c)) > 0.05 * size
    for even in (young(2, level), Uniform(level), level):
        np.testing.assert_allclose(op(f, even), level[:, None, None, None] * op(f), rtol=0, atol=1e-14 * size)
    scaled = kernels.Scaled(kernel, at_cell(slow).pair_rate)
    np.testing.assert_allclose(CollisionOperator(GRID, scaled)(f)[0], c[0], rtol=0, atol=1e-14 * size)


def test_a_kernel_that_defines_omega_alone(rng):
    """A general tensor, without separable weights, in an aged plasma by the double sum; None is an aged plasma."""

    class Tensor(kernels.Kernel):
        def __call__(self, v, v_prime, drift, density, temperature):
            return 2 * kernels.Landau(0.3)(v, v_prime, drift, density, temperature)

        def radial(self, *args):
            raise AssertionError("the double sum asks for omega alone")

        separable = radial

    f = random_positive(rng, GRID.shape)
    c = CollisionOperator(GRID, Tensor(), "direct")(f)
    expected = CollisionOperator(GRID, kernels.Landau(0.6), "direct")(f, None)
    assert_conserved(GRID, c)
    np.testing.assert_allclose(c, expected, rtol=0, atol=1e-13 * np.max(np.abs(c)))
