"""Repair of negative f, the entropy guard, and the collision step that uses them."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import SMALL, assert_derivatives, random_positive

from ddco_jax import CollisionOperator, PhaseGrid, State, initial, kernels, solve, steppers
from ddco_jax.correlations import AGED
from ddco_jax.plasma.state import Tally
from ddco_jax.steppers.collision import PARTS, chebyshev_weights, stability_interval
from ddco_jax.velocity import positivity

TINY = PhaseGrid(1.0, 10, (2.2, 2.0, 2.0), (6, 5, 5))
LANDAU = kernels.Landau(0.3)


def invariants(grid, f):
    """Mass, momentum and energy of one cell, and the sums of their absolute values."""
    v = np.meshgrid(*grid.velocities, indexing="ij")
    moments = [np.asarray(f) * m for m in (np.ones_like(v[0]), *v, sum(w**2 for w in v))]
    return np.array([m.sum() for m in moments]), np.array([np.abs(m).sum() for m in moments])


def test_repair_removes_negative_values_and_keeps_the_invariants(rng):
    f = np.array(random_positive(rng, SMALL.nv)) * np.exp(0.5 * SMALL.vx)[:, None, None]
    f[rng.uniform(size=SMALL.nv) < 0.1] *= -0.1
    repaired, done = positivity.repair(SMALL, jnp.asarray(f))
    assert done == 1 and np.min(f) < -0.05 and float(jnp.min(repaired)) >= 0
    (before, size), (after, _) = invariants(SMALL, f), invariants(SMALL, repaired)
    assert np.max(np.abs(after - before) / size) < 1e-14
    # what is positive stays as it is; what is negative within the tolerance is removed, and not counted
    same, done = positivity.repair(SMALL, jnp.asarray(np.abs(f)))
    assert done == 0
    np.testing.assert_array_equal(same, np.abs(f))
    slightly = np.where(f < 0, -0.5 * positivity.tolerance(jnp.float64) * f.max(), f)
    repaired, done = positivity.repair(SMALL, jnp.asarray(slightly))
    assert done == 0 and float(jnp.min(repaired)) >= 0
    (before, size), (after, _) = invariants(SMALL, slightly), invariants(SMALL, repaired)
    assert np.max(np.abs(after - before) / size) < 1e-14


def test_a_fall_of_entropy_is_refused():
    grid = PhaseGrid(1.0, 1, (5.0, 5.0, 5.0), (16, 16, 16))
    hotter, colder = (
        jnp.asarray(start)[0]
        for start in (initial.maxwellian(grid, 1.0, 1.0), initial.bimaxwellian(grid, 1.0, 1.0, 0.5))
    )
    good = jax.jit(positivity.acceptable)
    assert good(colder, hotter) and not good(hotter, colder)
    assert good(colder, colder) and good(colder, colder * (1 + 1e-16))
    assert not good(colder, colder - 1e-9 * (hotter - colder))  # far above the rounding of the sum
    negative = hotter.at[0, 0, 0].set(-1e-4 * jnp.max(hotter))
    assert not good(colder, negative)
    assert not good(colder, colder * jnp.nan)


def test_a_small_loss_of_entropy_is_made_good():
    """By a share of the Maxwellian with the same sums; a loss that is not small stays."""
    grid = PhaseGrid(1.0, 1, (5.0, 4.0, 4.5), (12, 11, 10))
    hot, cold = (jnp.asarray(start)[0] for start in (initial.maxwellian(grid, 1.0, 1.0), plasma(grid).f))
    restore = jax.jit(lambda before, after: positivity.restore(grid, before, after))
    for before in (cold, hot + 1e-4 * (cold - hot)):
        ripple = 1e-8 * before * jnp.cos(7 * jnp.asarray(grid.vx))[:, None, None]
        after = before - 3e-7 * (positivity._maxwellian(grid, before) - before) + ripple
        assert not positivity.acceptable(before, after)
        mended, done = restore(before, after)
        assert done == 1 and positivity.acceptable(before, mended)
        assert 0 < float(jnp.max(jnp.abs(mended - after))) < 1e-4 * float(jnp.max(before))
        (wanted, size), (kept, _) = invariants(grid, after), invariants(grid, mended)
        assert np.max(np.abs(kept - wanted) / size) < 1e-14
    for untouched in (cold + 1e-3 * (cold - hot), hot):
        same, done = restore(cold, untouched)
        assert done == 0
        np.testing.assert_array_equal(same, untouched)


def test_derivatives_of_what_makes_a_loss_good():
    """The share of the Maxwellian changes with f as the loss does."""
    grid = dataclasses.replace(TINY, nx=1)
    before = plasma(grid).f[0]
    away, unit = before - positivity._maxwellian(grid, before), 1e-7

    def restored(size):
        after, done = positivity.restore(grid, before, before + unit * size * away)
        return jnp.vdot(away, after - before) / unit, done

    at = jnp.asarray(3.0)
    assert restored(at)[1] == 1
    assert_derivatives(lambda size: restored(size)[0], (at,), rtol=1e-4, eps=1e-2)


@pytest.mark.parametrize("reach", [2.0, 3.0, 5.5, 15.0])
def test_the_discrete_maxwellian_has_the_sums_of_f(reach, rng):
    """Also where the box cuts it; log M is quadratic."""
    grid = PhaseGrid(1.0, 1, (reach,) * 3, (12, 11, 10))
    v = np.meshgrid(*grid.velocities, indexing="ij")
    f = jnp.asarray(np.exp(-sum((w - 0.1) ** 2 for w in v) / 2) * (1 + 0.2 * np.tanh(v[0])))
    M = jax.jit(lambda f: positivity._maxwellian(grid, f))(f)
    (wanted, size), (kept, _) = invariants(grid, f), invariants(grid, M)
    assert np.max(np.abs(kept - wanted) / size) < 1e-14
    counts = np.asarray(M / jnp.max(M) > 1e-6).ravel()
    quadratic = np.stack([np.ones_like(v[0]), *v, sum(w**2 for w in v)]).reshape(5, -1)[:, counts].T
    log = np.log(np.asarray(M)).ravel()[counts]
    assert np.max(np.abs(log - quadratic @ np.linalg.lstsq(quadratic, log)[0])) < 1e-9
    assert float(jnp.sum(M * jnp.log(M)) - jnp.sum(f * jnp.log(f))) < -1e-5 * float(jnp.sum(f))


def chebyshev(stages, rate, y, h):
    """One step of the rule on a small problem, from its weights."""
    last = before = start = np.asarray(y)
    first = None
    for of_last, of_before, of_rate, of_first, is_first in chebyshev_weights(stages):
        now = rate(last)
        first = now if is_first else first
        moved = start + of_last * (last - start) + of_before * (before - start)
        last, before = moved + h * (of_rate * now + of_first * first), last
    return last


@pytest.mark.parametrize("stages", [2, 3, 5, 8, 12])
def test_the_rule_is_of_second_order_and_stable_as_far_as_it_says(stages):
    amplification = lambda z: chebyshev(stages, lambda y: -y, np.ones_like(z), z)  # y' = -y, steps z
    small = np.array([0.02, 0.01])
    gap = amplification(small) - (1 - small + small**2 / 2)
    assert np.all(np.abs(gap) < small**3 / 4)  # what is left is of third order
    assert stages == 2 or gap[0] / gap[1] == pytest.approx(8, abs=0.5)
    interval = stability_interval(stages)
    assert interval == pytest.approx(0.65 * (stages**2 - 1), rel=0.03)
    z = np.linspace(0, interval, 5001)
    assert np.max(np.abs(amplification(z))) <= 1 + 1e-12
    assert np.max(np.abs(amplification(z[500:-10]))) < 0.98  # damped inside
    assert abs(amplification(np.array([1.5 * interval]))[0]) > 1
    # a nonlinear equation, y' = -y^2 with y = 1/(1 + t)
    errors = []
    for n in (8, 16, 32):
        y = np.array(1.0)
        for _ in range(n):
            y = chebyshev(stages, lambda y: -(y**2), y, 1.0 / n)
        errors.append(abs(y - 0.5))
    assert np.log2(errors[1] / errors[2]) == pytest.approx(2, abs=0.2)


def plasma(grid=TINY, densities=1.0):
    """A bi-Maxwellian as wide as the box, of a density for every cell."""
    f = initial.bimaxwellian(grid, 1.0, 0.7, 0.4) * np.broadcast_to(densities, grid.nx)[:, None, None, None]
    return State.from_distribution(grid, f)


@functools.cache
def compiled(nx, stages, cells_at_once):
    """One program for all tests that differ in f, dt and the number of steps."""
    op = CollisionOperator(dataclasses.replace(TINY, nx=nx), LANDAU, cells_at_once=cells_at_once)
    step = steppers.ChebyshevCollision(op, stages=stages)
    return jax.jit(lambda state, dt, n: jax.lax.fori_loop(0, n, lambda _, s: step.step(s, dt), state))


def stepped(state, dt, stages=5, steps=1, cells_at_once=1):
    """The state after steps of the collision step alone."""
    return compiled(len(state.f), stages, cells_at_once)(state, jnp.asarray(dt), steps)


def stiffness(state):
    grid = dataclasses.replace(TINY, nx=state.f.shape[0])
    op = CollisionOperator(grid, LANDAU)
    return np.asarray(jax.jit(jax.vmap(lambda f: op.rate(f, AGED).stiffness))(state.f))


def test_a_stiff_step_is_divided():
    """Into parts as many as the stiffness asks for; more stages make one part of it, to the error in time."""
    state = plasma(dataclasses.replace(TINY, nx=1))
    dt = 0.4 * stability_interval(5) / float(stiffness(state)[0])
    few, many = (stepped(state, dt, stages) for stages in (2, 5))
    parts = float(few.tally.evaluations) / 2
    assert parts >= np.ceil(dt * float(stiffness(state)[0]) / stability_interval(2)) > 1
    assert float(many.tally.evaluations) == 5
    assert float(few.tally.unfinished) == float(many.tally.unfinished) == float(many.tally.refused) == 0
    change = float(jnp.linalg.norm(many.f - state.f))
    finer = stepped(state, dt / 8, steps=8)
    errors = [float(jnp.linalg.norm(end.f - finer.f)) / change for end in (few, many)]
    assert change > 0.05 * float(jnp.linalg.norm(state.f))
    assert max(errors) < 0.03
    for end in (few, many):
        (before, size), (after, _) = invariants(TINY, state.f[0]), invariants(TINY, end.f[0])
        assert np.max(np.abs(after - before) / size) < 1e-13


def test_a_cell_that_does_not_end_says_so():
    """Its f is NaN and it is counted; the others are as they would be without it."""
    densities = np.ones(10)
    densities[3] = 1e4
    alone, state = plasma(), plasma(densities=densities)
    dt = 0.5 * stability_interval(5) / float(np.max(stiffness(alone)))
    end, without = stepped(state, dt), stepped(alone, dt)
    assert float(end.tally.unfinished) == 1 and float(without.tally.unfinished) == 0
    assert np.all(np.isnan(end.f[3]))
    others = np.arange(10) != 3
    np.testing.assert_array_equal(end.f[others], without.f[others])
    assert float(end.tally.evaluations) == 5 * (9 + PARTS)


def test_cells_together_are_cells_alone():
    """One, two and five at a time, which divide their steps differently; what is counted is the same too."""
    state = plasma(densities=np.geomspace(0.3, 6, 10))
    dt = 0.8 * stability_interval(5) / float(np.median(stiffness(state)))
    one, *others = (stepped(state, dt, cells_at_once=n) for n in (1, 2, 5))
    assert float(one.tally.evaluations) > 5 * 12 and float(one.tally.unfinished) == 0
    for end in others:
        assert np.max(np.abs(end.f - one.f)) < 1e-13 * np.max(one.f)
        assert jax.tree.leaves(end.tally) == jax.tree.leaves(one.tally)


def test_counts_add_up_and_a_run_is_traced_once(monkeypatch):
    """Every step adds to what the state carries; neither parts nor steps nor another dt trace the operator anew."""
    traces, original = [], CollisionOperator.rate_by

    def counted(self, tables, f, now):
        traces.append(1)
        return original(self, tables, f, now)

    grid = dataclasses.replace(TINY, nx=2)
    state = plasma(grid)
    long = jnp.asarray(1.5 * stability_interval(5) / np.max(stiffness(state)))
    monkeypatch.setattr(CollisionOperator, "rate_by", counted)
    stepper = steppers.Strang(grid, CollisionOperator(grid, kernels.Landau(0.31)), "none")
    run = jax.jit(lambda state, dt: solve(state, stepper, dt=dt, n_steps=3))
    end, history = run(state, jnp.asarray(1e-3, long.dtype))
    first = len(traces)
    assert 1 <= first <= 2, first
    np.testing.assert_array_equal(history.evaluations, 5 * 2 * np.arange(4))
    assert float(end.tally.evaluations) == 30 and float(end.tally.refused) == float(end.tally.repaired) == 0
    again, history = run(end, long)
    assert len(traces) == first
    assert history.evaluations[0] == 30 and np.all(np.diff(history.evaluations) > 10)
    counts = np.array([float(x) for x in jax.tree.leaves(again.tally)])
    assert np.all(counts >= [float(x) for x in jax.tree.leaves(end.tally)]) and np.all(counts % 1 == 0)


def test_steep_flanks_stay_positive_and_entropy_rises():
    """A ball with f = 0 outside and a long step: something is repaired or refused, and nothing else is lost."""
    grid = PhaseGrid(1.0, 1, (2.2, 2.0, 2.0), (8, 8, 8))
    v2 = sum(v**2 for v in np.meshgrid(*grid.velocities, indexing="ij"))
    f = jnp.asarray(np.where(v2 < 1.0, 1.0, 0.0)[None])
    op = CollisionOperator(grid, LANDAU)
    step = jax.jit(steppers.ChebyshevCollision(op).step)
    at, tolerance = State.from_distribution(grid, f), positivity.tolerance(f.dtype)
    entropy = lambda f: -float(jnp.sum(jnp.where(f > 0, f * jnp.log(jnp.where(f > 0, f, 1)), 0)))
    for _ in range(6):
        before, at = at.f, step(at, jnp.asarray(0.05))
        assert float(jnp.min(at.f)) >= -tolerance * float(jnp.max(at.f))
        assert entropy(at.f) > entropy(before)
    assert float(at.tally.unfinished) == 0
    (start, size), (end, _) = invariants(grid, f[0]), invariants(grid, at.f[0])
    assert np.max(np.abs(end - start) / size) < 1e-13
    assert float(jnp.linalg.norm(at.f - f)) > 0.1 * float(jnp.linalg.norm(f))
    assert float(at.tally.repaired + at.tally.refused + at.tally.limited) > 0


@pytest.mark.slow
def test_derivatives_of_a_step_that_is_divided():
    """Both modes, with respect to f, the strength of the kernel and dt; parts are locally constant."""
    grid = dataclasses.replace(TINY, nx=2)
    state, probe = plasma(grid, np.array([1.0, 3.0])), jnp.asarray(np.random.default_rng(0).normal(size=grid.shape))
    one = dataclasses.replace(TINY, nx=1)
    dt = 0.7 * stability_interval(5) / float(stiffness(plasma(one))[0])

    def end(log_f, strength, dt):
        step = steppers.ChebyshevCollision(CollisionOperator(grid, kernels.Landau(strength)))
        begun = dataclasses.replace(state, f=jnp.exp(log_f), tally=Tally.zero(log_f.dtype))
        return step.step(begun, dt)

    at = (jnp.log(state.f), jnp.asarray(0.3), jnp.asarray(dt))
    assert float(jax.jit(end)(*at).tally.evaluations) > 10  # the dense cell takes several parts
    assert_derivatives(lambda *at: jnp.sum(probe * end(*at).f), at, rtol=1e-5)
