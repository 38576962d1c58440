"""Collision kernels pointwise: values, symmetries, positivity, and their separable form."""

import jax.numpy as jnp
import numpy as np
import pytest
from helpers import decaying, random_low_rank

from ddco_jax import kernels, load_kernel
from ddco_jax.collisions.spectral import transform_count
from ddco_jax.plasma.ocp import effective_logarithm, generalised_logarithm
from ddco_jax.plasma.units import PAPER

STATE = (jnp.asarray(0.8), jnp.asarray(0.3))


def all_kernels(rng):
    return {
        "landau": kernels.Landau(),
        "landau-number": kernels.Landau(0.7),
        "maxwell": kernels.MaxwellMolecules(),
        "low-rank": random_low_rank(rng),
        "isotropic": random_low_rank(rng, (2, 0, 0)),
    }


def random_rotation(rng):
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    return q * np.sign(np.diag(r))  # proper or improper


def pairs(rng, count=200):
    return (jnp.asarray(a) for a in (rng.normal(size=(count, 3)), rng.normal(size=(count, 3)), rng.normal(size=3)))


@pytest.mark.parametrize("name", ["landau", "landau-number", "maxwell", "low-rank", "isotropic"])
def test_structure(name, rng):
    """Symmetric, exchange symmetric, positive semidefinite, omega u = 0, rotation and reflection covariant (B.1)."""
    kernel = all_kernels(rng)[name]
    v, w, drift = pairs(rng)
    omega = np.asarray(kernel(v, w, drift, *STATE))
    scale = np.max(np.abs(omega), (1, 2), keepdims=True)
    assert np.all(scale > 0)
    assert np.allclose(omega / scale, np.swapaxes(omega, 1, 2) / scale, atol=1e-14)
    assert np.allclose(omega / scale, np.asarray(kernel(w, v, drift, *STATE)) / scale, atol=1e-13)
    u = np.asarray(v - w)
    projected = np.einsum("pij,pj->pi", omega / scale, u / np.linalg.norm(u, axis=1, keepdims=True))
    assert np.max(np.abs(projected)) < 1e-13
    assert np.min(np.linalg.eigvalsh(omega / scale)) > -1e-13
    U = random_rotation(rng)
    rotated = np.asarray(kernel(v @ U.T, w @ U.T, U @ drift, *STATE))
    assert np.allclose(rotated / scale, U @ omega @ U.T / scale, atol=1e-12)
    shift = jnp.asarray(rng.normal(size=3))
    shifted = np.asarray(kernel(v + shift, w + shift, drift + shift, *STATE))
    assert np.allclose(shifted / scale, omega / scale, atol=1e-11)  # Galilean invariance


def test_values_by_hand():
    """Eq. (11) for one pair where everything can be done by hand: u along x, r along y and x."""
    v, w, drift = jnp.array([2.0, 1.0, 0.0]), jnp.array([0.0, 1.0, 0.0]), jnp.zeros(3)
    one = lambda s, n, T: jnp.ones_like(s)
    constant = lambda value: lambda s, n, T: value * jnp.ones_like(s)
    g0, g1, g2 = map(constant, (1.5, 0.7, 0.4))
    kernel = kernels.LowRank(g0=((g0, one, one),), g1=((g1, one, one),), g2=((g2, one, one),))
    # g = L (M N' + N M') = 2 L; r = (2, 2, 0), Pr = (0, 2, 0)
    expected = np.diag([0.0, (2 * 1.5) ** 2 + (2 * 0.4) ** 2 * 4, (2 * 1.5) ** 2 + (2 * 0.7) ** 2 * 4])
    assert np.allclose(kernel(v, w, drift, 1.0, 1.0), expected, atol=1e-14)
    assert np.allclose(kernels.Landau(3.0)(v, w, drift, 1.0, 1.0), np.diag([0, 1.5, 1.5]), atol=1e-14)
    assert np.allclose(kernels.MaxwellMolecules()(v, w, drift, 1.0, 1.0), np.diag([0, 4 / 24, 4 / 24]), atol=1e-14)


def test_pr_squared_is_that_of_b3(rng):
    """|Pr|^2 = 2v^2 + 2v'^2 - u^2 - (v^2 - v'^2)^2/u^2, on which Eq. (B.3) rests."""
    v, w, _ = pairs(rng)
    one = lambda s, n, T: jnp.full_like(s, 0.5)
    kernel = kernels.LowRank(g1=((lambda s, n, T: jnp.ones_like(s), one, one),))
    # with g1 alone omega = g1^2 (|Pr|^2 P - Pr r^T P): its trace is g1^2 |Pr|^2, and g1 = 2 * 0.25
    trace = np.trace(np.asarray(kernel(v, w, jnp.zeros(3), 1.0, 1.0)), axis1=1, axis2=2) / 0.25
    v2, w2, u2 = (np.sum(np.asarray(a) ** 2, 1) for a in (v, w, v - w))
    assert np.allclose(trace, 2 * v2 + 2 * w2 - u2 - (v2 - w2) ** 2 / u2, rtol=1e-10)


def test_zero_relative_velocity_is_harmless(rng):
    v = jnp.asarray(rng.normal(size=3))
    for kernel in all_kernels(rng).values():
        assert np.all(np.asarray(kernel(v, v, jnp.zeros(3), *STATE)) == 0)


@pytest.mark.parametrize("rank, products", [(1, 3), (2, 10), (3, 21)])
def test_number_of_products(rank, products, rng):
    """J' triples in one g make 3, 10, 21 symmetric products (DESIGN section 3)."""
    kernel = random_low_rank(rng, (0, rank, 0))
    assert sum(1 if m == n else 2 for m, n in kernel.separable(*STATE).weights) == products


def test_shared_functions_share_parameters_and_transforms():
    M, N, L = decaying(1.0), decaying(2.0), decaying(3.0)
    shared = kernels.LowRank(g1=((L, M, N),), g2=((L, M, N),))
    apart = kernels.LowRank(g1=((L, M, N),), g2=((L, decaying(1.0), decaying(2.0)),))
    assert len(shared.functions) == 3
    assert len(apart.functions) == 5
    # factors M^2, MN, N^2: 24 forward and 9 inverse transforms each
    assert transform_count(shared.separable(*STATE)) == (72, 27)
    # those in g2 alone 12 and 12
    assert transform_count(apart.separable(*STATE)) == (72 + 36, 27 + 36)
    assert transform_count(kernels.Landau().separable(*STATE)) == (4, 9)
    # an isotropic weight takes 4 more, and 3 inverse ones
    assert transform_count(kernels.LowRank(g2=((L, M, M),)).separable(*STATE)) == (12, 12)
    assert transform_count(kernels.LowRank(g0=((L, M, M),), g2=((L, M, M),)).separable(*STATE)) == (16, 15)


def test_separable_form_equals_pointwise(rng):
    """The products, summed over (m, n), give the pointwise omega through Pr = 2 Pc'."""
    kernel = random_low_rank(rng)
    v, w, drift = pairs(rng, 50)
    c, c_ = v - drift, w - drift
    u = c - c_
    speed = jnp.linalg.norm(u, axis=1)
    P = jnp.eye(3) - u[:, :, None] * u[:, None, :] / speed[:, None, None] ** 2
    Pc = 2 * jnp.einsum("pij,pj->pi", P, c_)
    outer = Pc[:, :, None] * Pc[:, None, :]
    square = jnp.sum(Pc**2, 1)[:, None, None]
    factors, weights = kernel.separable(*STATE)
    total = 0.0
    for (m, n), weight in weights.items():
        for a, b in {(m, n), (n, m)}:
            chi = factors[a](jnp.linalg.norm(c, axis=1)) * factors[b](jnp.linalg.norm(c_, axis=1))
            l0, l1, l2 = (0 * speed if l is None else l(speed) for l in weight)
            tensor = l0[:, None, None] * P + l1[:, None, None] * (square * P - outer) + l2[:, None, None] * outer
            total = total + chi[:, None, None] * tensor
    expected = kernel(v, w, drift, *STATE)
    assert np.allclose(total, expected, rtol=0, atol=1e-12 * np.max(np.abs(expected)))


def test_coulomb_logarithms():
    """The table of docs/references.md, monotone between, and the classical one with its change of sign."""
    table = {0.1: (2.639, 6.257), 0.5: (0.836, 2.203), 0.773: (0.544, 1.464), 1.0: (0.411, 1.117), 5.0: (0.0499, 0.134)}
    for gamma, expected in table.items():
        values = [float(generalised_logarithm(jnp.asarray(gamma), order)) for order in (1, 2)]
        assert values == pytest.approx(expected, rel=1e-10)
    # below 0.1: Stanton-Murillo values 3.654 and 8.354 at Gamma = 0.05, scaled to match at 0.1
    unscaled = {0.05: (3.654, 8.354)}
    for order in (1, 2):
        scale = float(generalised_logarithm(jnp.asarray(0.05), order)) / unscaled[0.05][order - 1]
        assert 0.97 < scale < 0.98
    gamma = jnp.geomspace(0.01, 30, 400)
    logarithm = effective_logarithm(gamma)
    assert np.all(np.asarray(logarithm) > 0)
    assert np.all(np.diff(logarithm) < 0)
    assert float(kernels.classical().logarithm(jnp.asarray(1.0))) == pytest.approx(-np.log(np.sqrt(3)))
    T = PAPER.temperature_from_ev(0.2)
    expected = 0.1193 * float(effective_logarithm(jnp.asarray(PAPER.coupling_parameter(1.0, T))))
    assert float(kernels.effective_potential()(jnp.asarray(1.0), jnp.asarray(T))) == pytest.approx(expected, rel=1e-3)


def test_names_and_mistakes():
    assert isinstance(load_kernel("landau"), kernels.Landau)
    with pytest.raises(ValueError, match="landau, "):
        load_kernel("boltzmann")
    with pytest.raises(ValueError, match="at least one"):
        kernels.LowRank()
    with pytest.raises(TypeError, match=r"\(L, M, N\)"):
        kernels.LowRank(g0=((1.0, 2.0, 3.0),))
    with pytest.raises(TypeError, match=r"\(L, M, N\)"):
        kernels.LowRank(g0=((decaying(1.0), decaying(1.0)),))
