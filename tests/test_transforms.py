"""D-, D+ and the odd-frequency transforms against plain sums."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import SMALL

from ddco_jax import PhaseGrid
from ddco_jax.velocity import transforms
from ddco_jax.velocity.differences import DIFFERENCES, Differences

each_order = pytest.mark.parametrize("order", DIFFERENCES.values())


@each_order
def test_forces_are_exact_on_quadratics_up_to_the_edge(order, rng):
    """The gradient of every order; the roughness of a quadratic is zero."""
    forces = Differences(SMALL, order, damped=True).forces
    v = np.stack(np.meshgrid(*SMALL.velocities, indexing="ij"))
    assert np.allclose(forces(jnp.asarray(np.sum(v**2, 0) / 2)), [*v, *np.zeros_like(v)], atol=4e-14)
    A, b = rng.normal(size=(3, 3)), rng.normal(size=3)
    h = np.einsum("iabc,ij,jabc->abc", v, A, v) + np.einsum("i,iabc->abc", b, v)
    exact = np.einsum("ij,jabc->iabc", A + A.T, v) + b[:, None, None, None]
    assert np.allclose(forces(jnp.asarray(h)), [*exact, *np.zeros_like(v)], atol=2e-13)
    assert np.array_equal(Differences(SMALL, order).forces(jnp.asarray(h)), forces(jnp.asarray(h))[:3])


@each_order
def test_gradient_is_of_its_order(order):
    """Exact on polynomials of degree `order` where its stencil fits, and on no more."""
    grid = PhaseGrid(1.0, 1, (2.0, 2.0, 2.0), (12, 9, 9))
    x, inner = grid.vx[:, None, None], slice(order // 2, 12 - order // 2)

    def error(power):
        h = jnp.asarray(np.broadcast_to(x**power, grid.nv))
        off = Differences(grid, order).forces(h)[0] - power * x ** (power - 1)
        return float(np.max(np.abs(off[inner])) / np.max(np.abs(x[inner])) ** (power - 1))

    assert all(error(power) < 1e-12 for power in range(1, order + 1))
    assert error(order + 1) > 1e-6


@each_order
def test_the_forces_see_the_nyquist_mode_only_where_damped(order):
    """Its roughness is +-1/dv where the stencil fits, its gradient zero."""
    grid = PhaseGrid(1.0, 1, (2.0, 2.0, 2.0), (12, 9, 9))
    differences = Differences(grid, order, damped=True)
    mode = (-1.0) ** np.arange(12)[:, None, None] * np.ones(grid.nv)
    forces = differences.forces(jnp.asarray(mode))
    inner = slice(4, -4)
    assert np.allclose(forces[:3, inner], 0, atol=1e-14)
    assert np.allclose(np.abs(forces[3, inner]), 1 / grid.dv[0], rtol=1e-13)
    assert np.allclose(forces[4:], 0, atol=1e-13)


@each_order
@pytest.mark.parametrize("damped", [False, True])
def test_divergence_is_the_negative_transpose(order, damped, rng):
    differences = Differences(SMALL, order, damped)
    h, p = (jnp.asarray(rng.normal(size=s)) for s in (SMALL.nv, (6 if damped else 3, *SMALL.nv)))
    left = jnp.sum(differences.forces(h) * p)
    right = -jnp.sum(h * differences.divergence(p))
    assert left == pytest.approx(float(right), rel=1e-12)


@each_order
@pytest.mark.parametrize("damped", [False, True])
def test_the_largest_eigenvalue_is_that_of_waves(order, damped):
    """Of -D+ D- dv^2 along one axis, away from its edges; the one-sided D- at an edge of constant weight exceeds it."""
    grid = PhaseGrid(1.0, 1, (2.0, 2.0, 2.0), (20, 3, 3))
    differences = Differences(grid, order, damped)

    @jax.jit
    def middle(k):
        wave = jnp.broadcast_to(jnp.cos(k * (jnp.arange(20.0) - 10.0))[:, None, None], grid.nv)
        return -differences.divergence(differences.forces(wave))[10, 1, 1] * grid.dv[0] ** 2

    symbol = jax.vmap(middle)(jnp.linspace(0.0, np.pi, 400))
    assert float(jnp.max(symbol)) == pytest.approx(differences.largest_eigenvalue, rel=1e-3)


def test_central_differences_are_the_printed_ones(rng):
    """In the interior D+ is the central difference (32)."""
    p = jnp.asarray(rng.normal(size=(3, *SMALL.nv)))
    d = Differences(SMALL, 2).divergence(p)
    j = (3, 4, 3)
    printed = sum(
        (p[a][tuple(np.add(j, np.eye(3, dtype=int)[a]))] - p[a][tuple(np.subtract(j, np.eye(3, dtype=int)[a]))])
        / (2 * SMALL.dv[a])
        for a in range(3)
    )
    assert d[j] == pytest.approx(float(printed), rel=1e-13)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="order must be one of"):
        Differences(SMALL, 3)
    with pytest.raises(ValueError, match="3 points"):
        Differences(PhaseGrid(1.0, 1, (1, 1, 1), (8, 2, 8)), 2)


SHAPE = (4, 5, 3)


def plain_convolution(octant, parity, g):
    """sum_j' K_{j-j'} g_j' over all offsets of the grid, with K even or odd along each axis."""
    out = np.zeros(g.shape)
    for j, j_ in itertools.product(np.ndindex(*g.shape), repeat=2):
        offset = np.subtract(j, j_)
        sign = np.prod([np.sign(o) if odd else 1 for o, odd in zip(offset, parity, strict=True)])
        out[j] += sign * octant[tuple(abs(offset))] * g[j_]
    return out


def random_octant(rng, parity):
    octant = rng.normal(size=SHAPE)
    for axis, odd in enumerate(parity):
        if odd:
            octant[(slice(None),) * axis + (0,)] = 0
    return octant


@pytest.mark.parametrize("dense_limit, slab", [(96, 2**19), (96, 1), (0, 2**19)])
def test_convolutions_are_plain_sums(dense_limit, slab, rng, monkeypatch):
    """Fields and outputs of every parity, so kernels too; without wrap-around; dense, slab by slab, and by FFT."""
    monkeypatch.setattr(transforms, "DENSE_LIMIT", dense_limit)
    monkeypatch.setattr(transforms, "SLAB", slab)
    parities = list(itertools.product((0, 1), repeat=3))
    g, kernels, terms, expected = rng.normal(size=(8, *SHAPE)), [], [], []
    for o, output in enumerate(parities):
        fields = (o, (3 * o + 1) % 8)  # two fields for each output: every field and every parity of kernels occurs
        terms.append([])
        expected.append(np.zeros(SHAPE))
        for field in fields:
            parity = tuple(int(a != b) for a, b in zip(output, parities[field], strict=True))
            octant = random_octant(rng, parity)
            terms[-1].append((field, len(kernels)))
            kernels.append(transforms.kernel_spectrum(jnp.asarray(octant), parity))
            expected[-1] += plain_convolution(octant, parity, g[field])
    mixing = transforms.Mixing(tuple(parities), tuple(parities), tuple(map(tuple, terms)))
    found = transforms.convolve(jnp.asarray(np.moveaxis(g, 0, 2)), kernels, mixing)
    assert np.allclose(np.moveaxis(found, 2, 0), expected, atol=1e-12)
    assert np.min(np.max(np.abs(expected), (1, 2, 3))) > 1
