"""A tagged population among all particles: its operator, its memory, and the velocity autocorrelation of MD."""

from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import SMALL, assert_derivatives, random_positive

from ddco_jax import CollisionOperator, PhaseGrid, initial, kernels, load_model
from ddco_jax.correlations import AGED, MARKOV, NO_MEMORY, Mature
from ddco_jax.correlations.tagged import PROMPT, TaggedMemory
from ddco_jax.evaluation import linear_response
from ddco_jax.kernels.forms import Learned
from ddco_jax.kernels.linear_response import tagged_response
from ddco_jax.plasma.units import PAPER
from ddco_jax.steppers import relax

MD = Path(__file__).parents[1] / "data" / "md"
NOTHING = jnp.zeros(3)
JUMPY = Mature(jnp.asarray(0.07), NO_MEMORY)
LANDAU = Learned(kernels.Landau(0.1), MARKOV, TaggedMemory.initial())
"""The memory with a kernel that compiles quickly."""
SCHEMES = {"log": ("log", "central"), "ratio": ("ratio", "eighth")}


def operator(force, method="spectral"):
    force, differences = SCHEMES[force]
    return CollisionOperator(SMALL, kernels.Landau(0.4), method, force=force, differences=differences)


def rate(op, g, f, now=AGED, new=NOTHING):
    return np.asarray(jax.jit(op.tagged_rate)(g, f, now, new))


@pytest.fixture
def pair(rng):
    """g and f of one cell, of different shape."""
    f, g = random_positive(rng, (2, *SMALL.nv), 0.1) * initial.maxwellian(SMALL, 1.0, 1.2)
    return 0.1 * g, f


@pytest.mark.parametrize("now", [AGED, JUMPY], ids=["plain", "jumps"])
@pytest.mark.parametrize("force", SCHEMES)
def test_a_share_of_all_particles_changes_as_they_do(force, now, pair):
    _, f = pair
    op = operator(force)
    expected = jax.jit(op.rate)(f, now)
    assert float(expected.limited) == 0 and np.max(np.abs(expected.rate)) > 1e-3
    np.testing.assert_allclose(
        rate(op, 0.3 * f, f, now), 0.3 * expected.rate, atol=1e-13 * float(jnp.max(jnp.abs(expected.rate)))
    )


@pytest.mark.parametrize("force", SCHEMES)
def test_it_is_the_direct_sum_and_conserves_the_number(force, pair):
    g, f = pair
    new = jnp.array([0.3, -0.2, 0.1])
    found, direct = (rate(operator(force, method), g, f, new=new) for method in ("spectral", "direct"))
    assert np.max(np.abs(found - direct)) < 1e-12 * np.max(np.abs(direct))
    assert abs(np.sum(found)) < 1e-14 * np.sum(np.abs(found))
    assert np.max(np.abs(found - rate(operator(force), g, f))) > 1e-2 * np.max(np.abs(found))  # the memory acts


def test_populations_add_up_to_all_particles(pair):
    """The rate is linear in g: what happens to the parts happens to the whole."""
    g, f = pair
    op = operator("ratio")
    parts = rate(op, g, f, JUMPY) + rate(op, f - g, f, JUMPY)
    whole = jax.jit(op.rate)(f, JUMPY).rate
    assert np.max(np.abs(parts - whole)) < 1e-12 * np.max(np.abs(whole))
    assert np.max(np.abs(rate(op, g, f, JUMPY) - 0.1 * whole)) > 1e-2 * np.max(np.abs(whole))


def velocity_autocorrelation(model, gamma, step, n_steps):
    """Mean velocity of a population that is weakly shifted, over its start, by the operator on a grid."""
    T = float(PAPER.coupling_parameter(1.0, 1.0)) / gamma
    grid = PhaseGrid(1.0, 1, (4.5 * T**0.5,) * 3, (14, 14, 14))
    f = initial.maxwellian(grid, 1.0, T)
    g = f * (1 + 0.1 * grid.vx[:, None, None] / T**0.5)
    dt = step / float(PAPER.plasma_frequency(1.0))
    end, velocity = relax(grid, model, g, f, dt, n_steps)
    assert abs(float(jnp.sum(end) / np.sum(g)) - 1) < 1e-13
    assert np.max(np.abs(velocity[:, :, 1:])) < 1e-12
    return np.asarray(velocity[:, 0, 0] / velocity[0, 0, 0])


@pytest.mark.parametrize("kernel", ["ddco", "maxwell_molecules"])
def test_the_operator_gives_the_response_of_the_expansion(kernel):
    model, gamma = load_model(kernel), 1.5
    expected = tagged_response(model.kernel, model.buildup, model.tagged, gamma, 0.1, 20)
    found = velocity_autocorrelation(model, gamma, 0.1, 20)
    assert found[-1] < 0.9
    np.testing.assert_allclose(found, expected, atol=2e-3)


@pytest.mark.slow
def test_the_response_is_of_second_order_in_dt():
    ends = [velocity_autocorrelation(LANDAU, 2.0, 0.8 / n, 2 * n)[-1] for n in (2, 4, 8)]
    assert 3.0 < (ends[0] - ends[1]) / (ends[1] - ends[2]) < 5.5


def test_the_velocity_autocorrelation_of_md_that_no_training_saw():
    """Within 0.015 to 6/omega_p; without the memory it is off by up to 0.09."""
    data = linear_response.autocorrelations(sorted((MD / "equilibrium_held_out").glob("*.nc")), 6.0)
    assert [round(each.gamma, 2) for each in data] == [0.5, 1, 2, 3]
    model = load_model("ddco")

    def off(each, tagged):
        found = tagged_response(model.kernel, model.buildup, tagged, each.gamma, 0.1, 60)
        return float(np.max(np.abs(found - each.velocity)))

    assert max(off(each, model.tagged) for each in data) < 0.015
    assert off(data[-1], PROMPT) > 0.05


def test_the_relaxation_is_differentiable():
    """By the start and by the memory, in one program."""
    grid = PhaseGrid(1.0, 1, (2.2, 2.0, 2.4), (8, 7, 8))
    f = initial.maxwellian(grid, 1.0, 0.4)

    def loss(shift, strength):
        law = eqx.tree_at(lambda m: m.tagged.strength, LANDAU, strength)
        return relax(grid, law, f * (1 + shift * grid.vx[:, None, None]), f, 0.05, 2).velocity[-1, 0, 0]

    assert_derivatives(loss, (jnp.asarray(0.2), jnp.asarray(LANDAU.tagged.strength, float)), rtol=1e-6)


def test_a_kernel_of_an_older_version_has_no_memory():
    assert load_model(Path(__file__).parent / "data" / "format_1" / "ddco").tagged == PROMPT


def test_a_step_that_is_too_long_says_so():
    grid = PhaseGrid(1.0, 1, (2.2, 2.0, 2.4), (8, 7, 8))
    f = initial.maxwellian(grid, 1.0, 0.4)
    with pytest.raises(Exception, match="take a shorter dt or more stages"):
        relax(grid, load_model("landau"), f, f, 50.0, 2)
