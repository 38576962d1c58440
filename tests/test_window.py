"""Velocity windows: collisions on the part of the grid that holds f are those on the whole grid."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import slow_but

from ddco_jax import CollisionOperator, PhaseGrid, State, kernels, steppers
from ddco_jax.kernels.store import load_kernel
from ddco_jax.plasma.moments import compute_moments
from ddco_jax.velocity import window

GRID = PhaseGrid(6.0, 3, (4.0, 4.0, 4.4), (40, 40, 44))
DRIFTS = ((0.3, -0.2, 0.1), (-0.6, 0.0, 0.4), (0.0, 0.0, 0.0))


def start(widths=(0.2, 0.22, 0.5)):
    """Three cells, each with two Maxwellians; only the last needs the whole grid."""
    v = np.stack(np.meshgrid(*GRID.velocities, indexing="ij"))
    cells = []
    for width, drift in zip(widths, DRIFTS, strict=True):
        parts = [
            share * np.exp(-sum((v[a] - u * (a == 0) - drift[a]) ** 2 for a in range(3)) / (2 * w**2)) / w**3
            for share, u, w in ((0.6, width, 0.8 * width), (0.4, -width, 1.1 * width))
        ]
        cells.append(sum(parts))
    f = np.stack(cells)
    return jnp.asarray(f / f.sum((1, 2, 3), keepdims=True) / GRID.dv3)


@pytest.fixture
def whole(monkeypatch):
    """Within this context the only window is the grid."""

    @contextlib.contextmanager
    def context():
        with monkeypatch.context() as patch:
            patch.setattr(window, "sizes", lambda grid: [grid.nv])
            yield

    return context


def test_sizes():
    assert window.sizes(GRID) == [(30, 30, 33), GRID.nv]
    assert window.sizes(PhaseGrid(1.0, 1, (4.0,) * 3, (28,) * 3)) == [(28, 28, 28)]
    assert [n for n, _, _ in window.sizes(PhaseGrid(1.0, 1, (4.0,) * 3, (64,) * 3))] == [48, 64]
    assert window.sizes(PhaseGrid(1.0, 1, (8.0,) * 3, (200,) * 3))[0] == (36, 36, 36)


def test_a_window_holds_all_of_f():
    """With a margin; a cell with a NaN, and one that fills the grid, take the whole grid."""
    f, available = start(), window.sizes(GRID)
    first, number = window.needed(f)
    chosen = [int(window.smallest(available, number[i : i + 1])) for i in range(3)]
    assert chosen == [0, 0, 1]
    size = available[0]
    at = window.starts(GRID, size, first, number)[:2]
    inside = window.cut(f[:2], at, size)
    outside = window.pasted(f[:2], at, jnp.zeros_like(inside))
    assert np.max(outside) <= window.EMPTY * np.max(f) and np.max(outside) > 0
    assert np.array_equal(window.pasted(outside, at, inside), f[:2])
    edges = [inside.take(i, axis) for axis in (1, 2, 3) for i in (0, window.MARGIN - 1, -window.MARGIN, -1)]
    assert max(float(jnp.max(edge)) for edge in edges) <= window.EMPTY * np.max(f)
    spoiled = f.at[0, 0, 0, 0].set(jnp.nan)
    assert int(window.smallest(available, window.needed(spoiled)[1][:1])) == 1


@pytest.mark.parametrize("name", slow_but(["landau"], ["landau", "ddco"]))
def test_collisions_in_a_window_are_those_on_the_grid(name):
    """To 1e-10 of the largest rate, without any rate outside."""
    op = CollisionOperator(GRID, load_kernel(name))
    f, size = start()[:2], window.sizes(GRID)[0]
    at = window.starts(GRID, size, *window.needed(f))
    rates = jax.jit(lambda f: op(f))(f)
    inside = jax.jit(lambda f: op.on(window.grid_of(GRID, size))(f))(window.cut(f, at, size))
    found = window.pasted(jnp.zeros_like(f), at, inside)
    scale = np.max(np.abs(rates), (1, 2, 3), keepdims=True)
    assert np.max(np.abs(found - rates) / scale) < 1e-10
    assert np.min(scale) > 1e-3


@pytest.mark.slow
@pytest.mark.optimised
@pytest.mark.parametrize("at_once", [1, 3])
def test_steps_in_windows_are_those_on_the_grid(at_once, whole):
    """Of cells with different windows, one after another and together; conserved to rounding."""
    f, op = start(), CollisionOperator(GRID, kernels.Landau(), cells_at_once=at_once)
    state, step = State.from_distribution(GRID, f), steppers.ChebyshevCollision(op)
    ended = jax.jit(lambda state: step.step(state, 0.02))(state).f
    with whole():
        expected = jax.jit(lambda state: step.step(state, 0.02))(state).f
    assert np.max(np.abs(ended - expected)) < 1e-10 * np.max(f)
    assert np.max(np.abs(expected - f)) > 1e-3 * np.max(f)
    untouched = [np.array_equal(ended[i, 0], f[i, 0]) for i in range(3)]  # a face of the box, outside of windows
    assert untouched == ([True, True, False] if at_once == 1 else [False] * 3)  # together: the whole grid
    for before, after in zip(compute_moments(GRID, f), compute_moments(GRID, ended), strict=True):
        assert np.max(np.abs(after - before)) < 1e-14


@pytest.mark.slow
def test_gradients_through_windows(monkeypatch):
    """With a window of 12 of 16 points, which leaves out values up to 1e-6 of the largest."""
    monkeypatch.setattr(window, "EMPTY", 1e-6)
    monkeypatch.setattr(window, "MARGIN", 1)
    monkeypatch.setattr(window, "LEAST", 12)
    grid = PhaseGrid(1.0, 1, (4.0, 4.0, 4.0), (16, 16, 16))
    v2 = sum(v**2 for v in np.meshgrid(*grid.velocities, indexing="ij"))
    vx, f = jnp.asarray(grid.velocities[0])[:, None, None], jnp.asarray(np.exp(-v2 / 0.7**2))[None]
    assert window.sizes(grid) == [(12, 12, 12), grid.nv]
    assert int(window.smallest(window.sizes(grid), window.needed(f)[1])) == 0
    step = steppers.ChebyshevCollision(CollisionOperator(grid, kernels.Landau()), stages=2)

    def anisotropy(height):
        return jnp.sum(vx**4 * step.step(State.from_distribution(grid, f * (1 + height * vx**2)), 0.01).f)

    found, forward = jax.jit(jax.grad(anisotropy))(0.1), jax.jit(anisotropy)
    expected = (forward(0.1001) - forward(0.0999)) / 2e-4
    assert abs(found / expected - 1) < 1e-6 and abs(expected) > 1e-3
