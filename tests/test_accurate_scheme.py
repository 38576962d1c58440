"""The default scheme under hard cases: far tails, hot tails, random distributions, the Nyquist mode over many steps."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import slow_but

from ddco_jax import CollisionOperator, PhaseGrid, State, initial, load_kernel, steppers
from ddco_jax.correlations import AGED, MARKOV
from ddco_jax.kernels.store import load_learned
from ddco_jax.plasma.moments import power_moments
from ddco_jax.simulation.stiffness import choose_stages
from ddco_jax.steppers.collision import stability_interval
from ddco_jax.velocity.positivity import ROUNDINGS, tolerance

KERNELS = ("landau", "ddco")


def invariants(grid, f):
    """Mass, momentum and energy of every cell, (nx, 5)."""
    m = power_moments(grid, f)
    energy = m[:, 2, 0, 0] + m[:, 0, 2, 0] + m[:, 0, 0, 2]
    return jnp.stack([m[:, 0, 0, 0], m[:, 1, 0, 0], m[:, 0, 1, 0], m[:, 0, 0, 1], energy], 1)


def f_log_f(f):
    return jnp.where(f > 0, f * jnp.log(jnp.where(f > 0, f, 1)), 0)


@pytest.mark.parametrize(("dtype", "reach"), [(np.float64, 26.0), (np.float32, 15.0)])
def test_far_tails_stay_finite(dtype, reach):
    """A box of many thermal speeds, in which f underflows: C and the step are finite, and C conserves."""
    grid = PhaseGrid(1.0, 1, (reach, reach, reach), (40, 40, 40))
    v = np.meshgrid(*grid.velocities, indexing="ij")
    f = np.exp(-((v[0] - 0.4) ** 2) / 2 - v[1] ** 2 / 2.5 - v[2] ** 2 / 2)[None]
    assert f.min() < 1e-100
    op = CollisionOperator(grid, load_kernel("landau"))
    state = State.from_distribution(grid, jnp.asarray(f, dtype))
    rate = jax.jit(lambda f: op.rate(f, AGED))(state.f[0])
    assert np.all(np.isfinite(rate.rate)) and float(jnp.max(jnp.abs(rate.rate))) > 1e-4
    eps = float(jnp.finfo(dtype).eps)
    gone = np.abs(invariants(grid, rate.rate[None])) / invariants(grid, jnp.abs(rate.rate)[None])[:, [0, 4, 4, 4, 4]]
    assert np.max(gone) < 1000 * eps
    end = jax.jit(lambda s: steppers.ChebyshevCollision(op).step(s, jnp.asarray(0.1, dtype)))(state)
    assert np.all(np.isfinite(end.f)) and float(end.tally.unfinished) == 0


@pytest.mark.slow
def test_a_hot_tail_stays_positive():
    """A tenth of the plasma with 2.5 times the temperature: nothing is repaired, and the tail cools."""
    grid = PhaseGrid(1.0, 1, (9.0, 9.0, 9.0), (30, 30, 30))
    v2 = sum(v**2 for v in np.meshgrid(*grid.velocities, indexing="ij"))
    f = 0.9 * np.exp(-v2 / 2) / (2 * np.pi) ** 1.5 + 0.1 * np.exp(-v2 / 5) / (5 * np.pi) ** 1.5
    op = CollisionOperator(grid, load_kernel("landau"))
    state = State.from_distribution(grid, jnp.asarray(f)[None])
    step = jax.jit(lambda s: steppers.ChebyshevCollision(op).step(s, jnp.asarray(0.5)))
    for _ in range(10):
        state = step(state)
        assert float(jnp.min(state.f)) >= 0
    assert float(state.tally.repaired) == float(state.tally.refused) == float(state.tally.unfinished) == 0
    fourth = [float(jnp.sum(g * v2**2) * grid.dv3) for g in (f, state.f[0])]
    assert fourth[1] < 0.99 * fourth[0]


def random_distributions(rng, grid, count):
    """Positive f without symmetry: Maxwellians of random widths and drift times random factors, steep and flat."""
    v = np.stack(np.meshgrid(*grid.velocities, indexing="ij"))
    out = []
    for _ in range(count):
        width, drift = rng.uniform(0.3, 1.2, 3), 0.4 * rng.normal(size=3)
        log = -np.sum((v - drift[:, None, None, None]) ** 2 / (2 * width[:, None, None, None] ** 2), 0)
        out.append(np.exp(log + rng.uniform(0, 2.5) * rng.normal(size=grid.nv)))
    f = np.stack(out)
    return jnp.asarray(f / (f.sum((1, 2, 3), keepdims=True) * grid.dv3))


@pytest.mark.optimised
@pytest.mark.slow
@pytest.mark.parametrize("name", KERNELS)
def test_random_steps_keep_positivity_entropy_and_the_invariants(name):
    """5,000 steps of each kernel, with build-up where it has one, at the stability limit and below."""
    rng = np.random.default_rng(7)
    grid = PhaseGrid(1.0, 50, (2.2, 2.2, 2.2), (10, 9, 8))
    buildup = MARKOV if name == "landau" else load_learned(name).buildup
    op = CollisionOperator(grid, load_kernel(name))
    stages = 5
    step = steppers.ChebyshevCollision(op, buildup, stages=stages)

    @jax.jit
    def advance(state, share):
        stiffness = jnp.max(jax.lax.map(lambda f: op.rate(f, AGED).stiffness, state.f))
        dt = share * stability_interval(stages) / stiffness
        end = step.step(state, dt)
        gained = jnp.sum(f_log_f(state.f) - f_log_f(end.f), (1, 2, 3))
        size = jnp.sum(jnp.abs(f_log_f(state.f)), (1, 2, 3))
        before, after = invariants(grid, state.f), invariants(grid, end.f)
        return (
            end,
            jnp.min(gained / size),
            jnp.min(end.f),
            jnp.max(jnp.abs(after - before) / before[:, [0, 4, 4, 4, 4]]),
        )

    for draw in range(20):
        age = jnp.asarray(rng.uniform(0.05, 3, grid.nx))
        state = State.from_distribution(grid, random_distributions(rng, grid, grid.nx), correlation_age=age)
        start = state.f
        for _ in range(5):
            state, gained, least, moved = advance(state, jnp.asarray(rng.uniform(0.2, 1)))
            assert float(gained) >= -ROUNDINGS * jnp.finfo(state.f.dtype).eps
            assert float(least) >= -tolerance(state.f.dtype) * float(jnp.max(state.f))
            assert float(moved) < 1e-13
        assert float(state.tally.unfinished) == 0
        assert float(jnp.linalg.norm(state.f - start)) > 0.05 * float(jnp.linalg.norm(start)), draw


@pytest.mark.optimised
@pytest.mark.slow
def test_the_nyquist_mode_stays_bounded():
    """2,000 steps from a Maxwellian with a ripple on the grid: the ripple goes, and nothing takes its place."""
    grid = PhaseGrid(1.0, 1, (5.5, 5.5, 5.5), (14, 14, 14))
    ripple = 1 + 0.1 * (-1.0) ** np.arange(14)[None, :, None, None]
    op = CollisionOperator(grid, load_kernel("landau"))
    state = State.from_distribution(grid, jnp.asarray(initial.maxwellian(grid, 1.0, 1.0) * ripple))
    dt = 0.5 * stability_interval(5) / float(jax.jit(lambda f: op.rate(f, AGED).stiffness)(state.f[0]))
    step = steppers.ChebyshevCollision(op)

    @jax.jit
    def advance(state):
        def body(state, _):
            state = step.step(state, jnp.asarray(dt))
            sign = 1 - 2 * (jnp.arange(14) % 2).astype(state.f.dtype)
            marginal = jnp.sum(state.f[0], (1, 2))
            return state, jnp.sum(marginal * sign) / jnp.sum(marginal)

        return jax.lax.scan(body, state, None, length=2000)

    state, share = advance(state)
    share = np.abs(np.asarray(share))
    assert share[0] > 1e-3 and np.max(share) <= share[0]
    assert share[-1] < 1e-3 * share[0]
    assert float(state.tally.unfinished) == 0


@pytest.mark.parametrize("stiffness", slow_but([30.0], [1.0, 30.0, 200.0]))
def test_the_chosen_stages_are_the_fewest(stiffness):
    stages = choose_stages(stiffness)
    assert stability_interval(stages) >= 1.2 * stiffness
    assert stages == 2 or stability_interval(stages - 1) < 1.2 * stiffness


def test_production_is_that_of_the_operator_that_runs():
    """Amplitude, microfield and jumps enter the entropy production: it is -sum log f C[f] at every age."""
    grid = PhaseGrid(1.0, 2, (2.2, 2.0, 2.0), (9, 8, 8))
    f = random_distributions(np.random.default_rng(0), grid, 2)
    op = CollisionOperator(grid, load_kernel("ddco"))
    step = steppers.ChebyshevCollision(op, load_learned("ddco").buildup)
    state = State.from_distribution(grid, f, correlation_age=jnp.array([0.1, 1.0]))
    now = step.correlations(state)
    found = op.entropy_production(f, now)
    expected = -np.sum(np.log(f) * op(f, now), (1, 2, 3)) * grid.dv3
    assert np.allclose(found, expected, rtol=1e-10) and np.all(found > 0)
    aged = op.entropy_production(f)
    assert abs(float(found[0] / aged[0]) - 1) > 0.2
    old = dataclasses.replace(state, correlation_age=None)
    assert step.correlations(old) is AGED
