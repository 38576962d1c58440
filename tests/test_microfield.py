"""Diffusion in the microfield, collisions that are jumps, amplitudes of |u|: conservation, entropy, formulas."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import random_positive, shared_low_rank

from ddco_jax import CollisionOperator, PhaseGrid, kernels
from ddco_jax.collisions import spectral
from ddco_jax.correlations import microfield
from ddco_jax.correlations.buildup import Amplitude
from ddco_jax.velocity.differences import Forces, gradient

NU = jnp.array([0.7, 0.2])


HOLE = {"crossing": jnp.array([0.6, 2.0]), "edge": jnp.array([2.0, 4.0])}


@pytest.mark.parametrize("hole", [{}, HOLE], ids=["everywhere", "hole"])
@pytest.mark.parametrize("spread", [None, jnp.array([0.6, 4.0])], ids=["normal", "spread"])
@pytest.mark.parametrize("differences", ["central", "compact", "fourth"])
def test_diffusion_in_the_microfield_by_itself(rng, differences, spread, hole):
    """Conservation to rounding and entropy for any f, nothing for a Maxwellian, the bracket symmetric and >= 0."""
    grid = PhaseGrid(1.0, 2, (2.0, 2.2, 2.4), (7, 6, 8))
    alone = Amplitude(jnp.zeros(2), jnp.zeros(2), jnp.ones(2), NU, spread, **hole)
    op = CollisionOperator(grid, shared_low_rank(), differences=differences)
    f = random_positive(rng, grid.shape)
    c = op(f, alone)
    v = np.meshgrid(*grid.velocities, indexing="ij")
    for invariant in (np.ones_like(v[0]), *v, sum(w**2 for w in v)):
        assert np.all(np.abs(np.sum(invariant * c, (1, 2, 3))) < 1e-14 * np.sum(np.abs(invariant * c), (1, 2, 3)))
    assert np.all(jnp.sum(c * jnp.log(f), (1, 2, 3)) < 0)
    maxwellian = jnp.exp(-sum((w - 0.3) ** 2 for w in v) / 1.1)[None]
    still = op(jnp.concatenate([maxwellian, maxwellian]), alone)
    assert np.max(np.abs(still)) < 1e-13 * np.max(maxwellian) and np.max(np.abs(c)) > 0.1
    if spread is not None:  # then it is no bracket
        assert np.max(np.abs(c - op(f, dataclasses.replace(alone, spread=None)))) > 0.1 * np.max(np.abs(c))
        return
    a, b = (op.forces(jnp.asarray(rng.normal(size=grid.nv))) for _ in range(2))
    cell = jax.tree.map(lambda x: x[0], alone)

    def bracket(a, b):
        return sum(float(jnp.sum(x * y)) for x, y in zip(a, op.flux(f[0], b, cell), strict=True) if x is not None)

    assert bracket(a, b) == pytest.approx(bracket(b, a), rel=1e-10) and bracket(a, a) > 0


@pytest.mark.parametrize("spread", [None, jnp.array([0.3, 0.2])], ids=["normal", "spread"])
@pytest.mark.parametrize("method", ["spectral", "direct"])
def test_collisions_that_are_jumps(rng, method, spread):
    """C[F] of a smoothed F: conservation to rounding, entropy, nothing for a Maxwellian; not C[f]."""
    grid = PhaseGrid(1.0, 2, (2.0, 2.2, 2.4), (7, 6, 8))
    op = CollisionOperator(grid, shared_low_rank(), method)
    smooth = Amplitude(jnp.ones(2), 0.3 * jnp.ones(2), jnp.ones(2), NU, spread)
    jumps = dataclasses.replace(smooth, jump=jnp.array([0.05, 0.4]))
    v = np.meshgrid(*grid.velocities, indexing="ij")
    f = random_positive(rng, grid.shape)
    c = op(f, jumps)
    for invariant in (np.ones_like(v[0]), *v, sum(w**2 for w in v)):
        assert np.all(np.abs(np.sum(invariant * c, (1, 2, 3))) < 1e-13 * np.sum(np.abs(invariant * c), (1, 2, 3)))
    assert np.all(jnp.sum(c * jnp.log(f), (1, 2, 3)) < 0)
    maxwellian = jnp.exp(-sum((w - 0.3) ** 2 for w in v) / 1.1)[None]
    assert np.max(np.abs(op(jnp.concatenate([maxwellian, maxwellian]), jumps))) < 1e-12 * np.max(np.abs(c))
    assert np.all(np.max(np.abs(c - op(f, smooth)), (1, 2, 3)) > 0.05 * np.max(np.abs(c), (1, 2, 3)))
    aged = op(f, dataclasses.replace(jumps, microfield=0 * NU))  # when the microfield is over, entropy grows too
    assert np.all(jnp.sum(aged * jnp.log(f), (1, 2, 3)) < 0) and np.max(np.abs(aged)) > 0.3 * np.max(np.abs(c))


def test_fluxes_that_would_lose_entropy_are_mixed_with_others(rng):
    """As little of them as makes it zero, of any size; fluxes that produce stay as they are; gradients are finite."""
    forces, bad, good = (Forces(jnp.asarray(rng.normal(size=(3, 5))), None) for _ in range(3))

    def product(a, b):
        return float(jnp.sum(a.gradient * b.gradient))

    def times(a, number):
        return Forces(number * a.gradient, None)

    bad, good = (times(p, sign * np.sign(product(forces, p))) for p, sign in ((bad, -1), (good, 1)))
    for size in (1e-12, 1.0, 1e12):
        mixed = microfield.producing(forces, bad, times(good, size))
        assert abs(product(forces, mixed)) < 1e-14 * product(forces, good)
        assert product(mixed, mixed) <= 1.01 * product(bad, bad) and product(mixed, bad) > 0
    np.testing.assert_array_equal(microfield.producing(forces, good, bad).gradient, good.gradient)
    zero = jnp.zeros((3, 5))

    def total(p, q):
        return jnp.sum(microfield.producing(forces, Forces(p, None), Forces(q, None)).gradient)

    for p, q in ((zero, zero), (zero, good.gradient), (bad.gradient, zero)):
        assert all(np.isfinite(slope).all() for slope in jax.grad(total, (0, 1))(p, q))


def test_collisions_that_are_jumps_leave_the_viscosity():
    """On a weak shear stress C[F] is C[f], on a heat flux [(1 + 2 l^2)/(1 + 3 l^2)]^(1/4) of it: second order in dv."""
    spread, errors = jnp.array([0.3]), []
    for n in (20, 40):
        grid = PhaseGrid(1.0, 1, (6.0, 6.0, 6.0), (n, n, n))
        op = CollisionOperator(grid, shared_low_rank())
        one = jnp.ones(1)
        jumps = Amplitude(one, 0 * one, one, 0 * one, jump=spread)
        v = np.meshgrid(*grid.velocities, indexing="ij")
        M = np.exp(-sum(w**2 for w in v) / 2)
        square = sum(w**2 for w in v)
        for psi, expected in ((v[0] * v[1], 1.0), (v[0] * (square - 5) / 10, (1.6 / 1.9) ** 0.25)):
            f = jnp.asarray(M * (1 + 1e-4 * psi))[None]
            rates = [float(jnp.sum(psi * op(f, a))) for a in (jumps, dataclasses.replace(jumps, jump=None))]
            assert rates[1] < 0
            errors.append(abs(rates[0] / rates[1] - expected))
    assert max(errors[2:]) < 5e-3 and np.all(np.log2(np.array(errors[:2]) / errors[2:]) > 1.5)


def gaussian(grid, widths, shift):
    """The normal distribution of these variances about a drift."""
    c = np.stack(np.meshgrid(*grid.velocities, indexing="ij")) - np.asarray(shift)[:, None, None, None]
    return c, np.exp(-np.einsum("axyz,a->xyz", c**2, 1 / widths) / 2) / np.prod(2 * np.pi * widths) ** 0.5


def test_smoothing_by_the_jumps_of_the_microfield():
    """Of a normal distribution: its variances w become 1 + (w - 1) exp(-2u), u gamma distributed; second order."""
    widths, shift = np.array([0.5, 1.25, 1.25]), (0.2, -0.1, 0.3)
    y, weight = np.polynomial.legendre.leggauss(100)
    y, weight = (y + 1) / 2 * 40**0.25, weight / 2 * 40**0.25  # u = spread y^4: no singularity
    errors = []
    for n in (24, 48):
        grid = PhaseGrid(1.0, 1, (5.0, 6.0, 6.0), (n, n, n))
        c, f = gaussian(grid, widths, shift)
        q = gradient(grid, jnp.log(f))
        for spread in (0.0, 0.1, 1.0):
            both = microfield.smoothed(jnp.asarray(f), jnp.asarray(c), q, jnp.ones(()), jnp.array([spread, 0.5]))
            found = both[0]
            at = zip(spread * y**4, 4 * weight * np.exp(-(y**4)) / math.gamma(0.25), strict=True)
            expected = sum(w * gaussian(grid, 1 + (widths - 1) * np.exp(-2 * u), shift)[1] for u, w in at)
            errors.append(float(jnp.linalg.norm(found - expected) / np.linalg.norm(expected)))
            assert float(found.min()) > 0 and float(found.sum()) == pytest.approx(f.sum(), rel=1e-13)
    assert max(errors[0], errors[3]) < 1e-12 and np.all(np.array(errors[4:]) < 5e-4)
    assert np.all(np.log2(np.array(errors[1:3]) / errors[4:]) > 1.5)
    with_spread = np.array([np.linalg.norm(expected - f) / np.linalg.norm(f)])
    assert with_spread > 0.05  # it has done something


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
        one = jnp.ones(1)
        alone = Amplitude(0 * one, 0 * one, one, 0.4 * one)
        found = CollisionOperator(grid, kernels.Landau(0.3))(jnp.asarray(f)[None], alone)[0]
        errors.append(float(np.linalg.norm(found - expected) / np.linalg.norm(expected)))
    assert errors[1] < 0.06 and np.log2(errors[0] / errors[1]) > 1.8


def test_the_microfield_of_pairs_still_in_each_other_s_hole(rng):
    """nu of every velocity against the double sum over pairs, on a grid that is no cube."""
    grid = PhaseGrid(1.0, 1, (2.0, 2.2, 2.4), (7, 6, 8))
    f = random_positive(rng, grid.nv)
    cell = jax.tree.map(lambda a: a[0], Amplitude(*jnp.zeros((2, 1)), jnp.ones(1), jnp.ones(1), None, *HOLE.values()))
    found = microfield.share_near(f, cell.near(spectral.offset_speeds(grid, f.dtype)))
    v = np.stack(np.meshgrid(*grid.velocities, indexing="ij"), -1).reshape(-1, 3)
    u = np.linalg.norm(v[:, None] - v[None], axis=-1)
    B = (1 + (0.6 * u) ** 2.0) ** (-3 / 2.0)
    np.testing.assert_allclose(found.reshape(-1), B @ f.reshape(-1) / jnp.sum(f), rtol=1e-12)
    far = cell.near(jnp.asarray(1e3))
    assert far == pytest.approx((0.6e3) ** -3, rel=1e-4) and cell.near(jnp.asarray(0.0)) == 1
    assert jnp.isfinite(jax.grad(cell.near)(jnp.asarray(0.0)))


def test_an_amplitude_of_relative_speed(rng):
    """It multiplies omega: conservation to rounding, entropy, spectral = direct; at a constant it multiplies C."""
    grid = PhaseGrid(1.0, 2, (2.0, 2.2, 2.4), (7, 6, 8))
    f, kernel = random_positive(rng, grid.shape), shared_low_rank()
    slow = Amplitude(jnp.array([1.3, 0.4]), jnp.array([0.9, 0.3]), jnp.array([1.2, 2.0]))
    free = dataclasses.replace(slow, microfield=NU)
    alone = Amplitude(0 * slow.total, slow.deficit, slow.width, NU)
    op, oracle = CollisionOperator(grid, kernel), CollisionOperator(grid, kernel, "direct")
    c = op(f, slow)
    assert np.max(np.abs(c - oracle(f, slow))) < 1e-12 * np.max(np.abs(c))
    np.testing.assert_allclose(op(f, free), c + op(f, alone), rtol=0, atol=1e-14 * np.max(np.abs(c)))
    assert np.max(np.abs(c - slow.total[:, None, None, None] * op(f))) > 0.05 * np.max(np.abs(c))
    v = np.meshgrid(*grid.velocities, indexing="ij")
    for invariant in (np.ones_like(v[0]), *v, sum(w**2 for w in v)):
        assert np.all(np.abs(np.sum(invariant * c, (1, 2, 3))) < 1e-14 * np.sum(np.abs(invariant * c), (1, 2, 3)))
    assert np.all(jnp.sum(c * jnp.log(f), (1, 2, 3)) < 0)
    far = dataclasses.replace(slow, progress=jnp.array([0.5, 2.0]), exponent=jnp.array([1.5, 3.0]), slowest=0.3 * NU)
    assert np.max(np.abs(op(f, far) - oracle(f, far))) < 1e-12 * np.max(np.abs(c))
    assert np.max(np.abs(op(f, far) - c)) > 0.05 * np.max(np.abs(c))
    even = Amplitude(slow.total, 0 * slow.deficit, slow.width)
    np.testing.assert_allclose(op(f, even), op(f, slow.total), rtol=0, atol=1e-14 * np.max(np.abs(c)))
    aged = kernels.Scaled(kernel, jax.tree.map(lambda a: a[0], slow))
    np.testing.assert_allclose(CollisionOperator(grid, aged)(f)[0], c[0], rtol=0, atol=1e-14 * np.max(np.abs(c)))
