"""D-, D+ and the odd-frequency transforms against plain sums."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
from helpers import SMALL

from ddco_jax.velocity import transforms
from ddco_jax.velocity.differences import Central, gradient


def test_gradient_is_exact_on_quadratics_up_to_the_edge(rng):
    v = np.stack(np.meshgrid(*SMALL.velocities, indexing="ij"))
    assert np.allclose(gradient(SMALL, jnp.asarray(np.sum(v**2, 0) / 2)), v, atol=2e-14)
    A, b = rng.normal(size=(3, 3)), rng.normal(size=3)
    h = np.einsum("iabc,ij,jabc->abc", v, A, v) + np.einsum("i,iabc->abc", b, v)
    exact = np.einsum("ij,jabc->iabc", A + A.T, v) + b[:, None, None, None]
    assert np.allclose(gradient(SMALL, jnp.asarray(h)), exact, atol=1e-13)


def test_divergence_is_the_negative_transpose(rng):
    h, p = (jnp.asarray(rng.normal(size=s)) for s in (SMALL.nv, (3, *SMALL.nv)))
    left = jnp.sum(gradient(SMALL, h) * p)
    right = -jnp.sum(h * Central(SMALL).divergence(p))
    assert left == pytest.approx(float(right), rel=1e-13)
    # in the interior it is the printed central difference (32)
    d = Central(SMALL).divergence(p)
    j = (3, 4, 3)
    printed = sum(
        (p[a][tuple(np.add(j, np.eye(3, dtype=int)[a]))] - p[a][tuple(np.subtract(j, np.eye(3, dtype=int)[a]))])
        / (2 * SMALL.dv[a])
        for a in range(3)
    )
    assert d[j] == pytest.approx(float(printed), rel=1e-13)


@pytest.mark.parametrize("dense_limit", [0, 96])
@pytest.mark.parametrize("shape", [(5, 6, 7), (8, 8, 8)])
def test_round_trip(shape, dense_limit, rng, monkeypatch):
    monkeypatch.setattr(transforms, "DENSE_LIMIT", dense_limit)
    g = jnp.asarray(rng.normal(size=(3, *shape)))
    assert np.allclose(transforms.inverse(transforms.forward(g)), g, atol=1e-14 * 8)


def test_dense_and_fft_transforms_are_the_same(rng, monkeypatch):
    g = jnp.asarray(rng.normal(size=(2, 6, 7, 9)))
    dense = transforms.forward(g)
    monkeypatch.setattr(transforms, "DENSE_LIMIT", 0)
    assert np.allclose(transforms.forward(g), dense, atol=1e-13)
    assert np.allclose(transforms.inverse(dense), g, atol=1e-13)


@pytest.mark.parametrize("parity", list(itertools.product((0, 1), repeat=3)))
def test_convolution_with_even_and_odd_kernels(parity, rng):
    """K * g by the transforms equals the plain sum over offsets, without wrap-around."""
    shape = (4, 5, 3)
    octant = rng.normal(size=shape)
    for axis, odd in enumerate(parity):
        if odd:
            octant[(slice(None),) * axis + (0,)] = 0
    g = rng.normal(size=shape)
    expected = np.zeros(shape)
    for j, j_ in itertools.product(np.ndindex(*shape), np.ndindex(*shape)):
        offset = np.subtract(j, j_)
        sign = np.prod([np.sign(o) if odd else 1 for o, odd in zip(offset, parity, strict=True)])
        expected[j] += sign * octant[tuple(abs(offset))] * g[j_]
    spectrum = transforms.kernel_spectrum(jnp.asarray(octant), parity)
    fields = transforms.forward(jnp.asarray(g)[None])
    product = jnp.stack([transforms.multiply(spectrum[m], parity, fields[m][:, 0]) for m in range(shape[0])])
    assert np.allclose(transforms.inverse(product[:, :, None])[0], expected, atol=1e-12)
