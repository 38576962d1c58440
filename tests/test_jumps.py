"""What the jumps of tracked particles tell about the tail of the microfield."""

import dataclasses
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from helpers import slow_but
from young import young

from ddco_jax.kernels.store import load_learned
from ddco_jax.learning import jumps, nodes
from ddco_jax.md.dataset import open_dataset

HELD_OUT = Path(__file__).parents[1] / "data" / "md" / "held_out"


def test_the_tail_of_jumps_is_measured_whatever_slows_and_spreads_them_besides(rng):
    """Normal jumps of random variance 2 tau, tau gamma distributed: <cos k.jump> = (1 + theta k^2)^-shape."""
    n, shape, theta = 40_000, 0.5, 0.06
    before = rng.normal(size=(n, 3)) * [0.5, 1.0, 1.3] + 0.2
    jump = np.sqrt(2 * rng.gamma(shape, theta, (n, 3))) * rng.normal(size=(n, 3)) + 0.3 * rng.normal(size=(n, 3))
    snapshots = np.stack([before, 0.9 * before + jump, before])
    edges = np.array([0.0, 0.25, 0.5, 2 * jumps.UNTIL])
    value, error, first = jumps.measured(snapshots, edges[[0, 2, 3]], edges)
    J = shape * np.log1p(theta * jumps.WAVES**2) / jumps.WAVES**2  # the normal part is the same at every k
    assert np.isinf(error[[0, 2]]).all() and (error[1] < 0.05 * (J[0] - J[1:])).all()
    assert np.abs(value[1] - (J[0] - J[1:])).max() < 4 * error[1].max()
    assert first[1] == pytest.approx(J[0] + 0.3**2 / 2, rel=0.02)


def test_the_tail_of_jumps_that_a_build_up_makes():
    """nu <B> (1 + ell^2 k^2)^-1/4, summed over the intervals."""
    interval, shape = np.array([0.2, 0.3]), (2, 3)
    share = jnp.asarray(np.tile([1 / 6, 4 / 6, 1 / 6], (2, 1)))
    partners = jnp.asarray(np.tile(np.eye(len(nodes.NEAR))[[2, 5]].mean(0), (*shape, 1)))  # half at each of two speeds
    waves = jumps.WAVES**2
    tail = 0.7 * np.diff(-((1 + 0.3 * waves[[[0, 1], [0, 2]]]) ** -0.25), axis=1)[:, 0]
    for path in (0.0, 1.5):
        now = young(shape, deficit=0.2, rate=0.7, field_jump=0.3, path=path)
        near = np.mean((1 + (path * nodes.NEAR[[2, 5]]) ** 2) ** -1.5)
        found = jumps.predicted(now, partners, share, jnp.asarray(interval), jnp.zeros(2))
        np.testing.assert_allclose(found, np.cumsum(interval)[:, None] * near * tail, rtol=1e-12)
    # collisions make up for what is missing of J(k_1), with a tail of their own
    J = np.cumsum(interval) * near * 0.7 * (1 + 0.3 * waves[0]) ** -0.25
    measured = jnp.asarray(J + np.array([0.2, 0.3]))
    jumping = dataclasses.replace(now, pair_jump=jnp.full(shape, 0.1))
    more = jumps.predicted(jumping, partners, share, jnp.asarray(interval), measured) - found
    late = (1 + 0.1 * waves) ** -0.25
    np.testing.assert_allclose(more, np.outer([0.2, 0.3], 1 - late[1:] / late[0]), rtol=1e-9)


@pytest.mark.parametrize("gamma", slow_but([1.3], [0.8, 1.3, 1.95]))
def test_the_default_kernel_makes_the_jumps_of_runs_it_has_not_seen(gamma):
    """The law of nu and ell^2 against tracked particles of a held-out run, over J(k_1) - J(k) at 0.2 ... 0.8 t0."""
    data = open_dataset(HELD_OUT / f"gamma_{gamma:g}_uniform_ball.nc").isel(replicate=0, x=0)
    omega, thermal = float(data.attrs["plasma_frequency"]), float(data["thermal_speed"])
    times = data["t_kept"].to_numpy()[:5] * omega
    c = data["velocity"].to_numpy()[:5] / thermal
    value, error, first = jumps.measured(c, times, times)
    # pairs of the start, for the share of partners that are near; it changes little over these times
    i = np.random.default_rng(3).permutation(len(c[0]))
    phi = nodes.cardinal("near", jnp.linalg.norm(jnp.asarray(c[0] - c[0][i]), axis=-1)).mean(0)
    fine = np.linspace(0, times[-1], 201)
    points = np.stack([fine[:-1], (fine[:-1] + fine[1:]) / 2, fine[1:]], 1)
    buildup = load_learned("ddco").buildup
    now = buildup(jnp.asarray(points), jnp.full(points.shape, gamma))
    share = jnp.asarray(np.tile([1 / 6, 4 / 6, 1 / 6], (200, 1)))
    measured = jnp.asarray(np.repeat(first, 50))
    found = np.asarray(jumps.predicted(now, phi, share, jnp.asarray(np.diff(fine)), measured))[49::50]
    known = np.isfinite(error)
    assert known.sum() >= 6 and (np.abs(found - value)[known] < 0.15 * value[known] + 3 * error[known]).all()
    assert (value[known] > 4 * error[known]).all()
