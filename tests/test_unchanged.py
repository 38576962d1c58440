"""The operator, the rates and the coefficients of four frozen kernels stay what they were, to rounding.

`data/reference.npz` was made at commit 4accad3, before the correlations became one model; `data/format_1` holds the
parameters of that commit, in the format of version 0.1.  The scheme is the paper's, stated key by key.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import slow_but

from ddco_jax import CollisionOperator, PhaseGrid, State, solve, steppers
from ddco_jax.correlations import Markov, StretchedExponential
from ddco_jax.correlations.jumps import NODES
from ddco_jax.kernels.chapman_enskog import transport
from ddco_jax.kernels.store import load_kernel, load_learned
from ddco_jax.learning import data, losses, nodes
from ddco_jax.learning.rates import Predictor
from ddco_jax.md.test_functions import TEST_FUNCTIONS

DATA = Path(__file__).parent / "data"
KERNELS = ("ddco", "ddco-paper", "dd-landau", "ddco-convex")
GRID = PhaseGrid(6.0, 2, (2.4, 2.2, 2.6), (9, 8, 8))
SAME = 1e-12
"""Largest difference over the largest value."""


@pytest.fixture(scope="module")
def reference():
    with np.load(DATA / "reference.npz", allow_pickle=False) as stored:
        return dict(stored)


def same(found, expected):
    """Equal to SAME of the maximum, which is not zero."""
    scale = np.max(np.abs(expected))
    assert scale > 0 and np.max(np.abs(np.asarray(found) - expected)) < SAME * scale


def model_of(name):
    """Kernel for the solver, learned one, and its build-up or else the one of kernels without."""
    learned = load_learned(DATA / "format_1" / name)
    buildup = StretchedExponential() if isinstance(learned.buildup, Markov) else learned.buildup
    return load_kernel(DATA / "format_1" / name), learned.kernel, buildup


@pytest.mark.parametrize("name", slow_but(["ddco", "dd-landau"], KERNELS))
def test_operator_and_step(name, reference):
    """C[f] with and without build-up, and two steps: Ampere, upwind, explicit midpoint."""
    kernel, _, buildup = model_of(name)
    method = "direct" if name == "ddco-paper" else "spectral"  # ten products take a minute to compile
    op = CollisionOperator(GRID, kernel, method, force="log", differences="central")
    f, age = jnp.asarray(reference["f"]), reference["age"]
    same(op(f), reference[f"{name}/C"])
    scheme = {"collision": "midpoint", "collision_substeps": 1}
    stepper = steppers.Strang(GRID, op, "ampere", "upwind", buildup=buildup, **scheme)
    state = State.from_distribution(GRID, f, correlation_age=age)
    same(op(f, stepper.collision.correlations(state)), reference[f"{name}/C buildup"])
    end, history = jax.jit(lambda s: solve(s, stepper, dt=0.02, n_steps=2))(state)
    for field, found in (("f", end.f), ("E", end.electric_field), ("age", end.correlation_age)):
        same(found, reference[f"{name}/{field}"])
    same(history.entropy, reference[f"{name}/entropy"])


@pytest.mark.parametrize("method, differences", [("direct", "central"), ("spectral", "fourth")])
def test_default_kernel_by_other_schemes(method, differences, reference):
    kernel, _, buildup = model_of("ddco")
    op = CollisionOperator(GRID, kernel, method, force="log", differences=differences)
    state = State.from_distribution(GRID, reference["f"], correlation_age=reference["age"])
    now = steppers.MidpointCollision(op, buildup).correlations(state)
    same(op(jnp.asarray(reference["f"]), now), reference[f"ddco/C buildup {method} {differences}"])


@pytest.mark.parametrize("name", slow_but(["ddco", "dd-landau"], KERNELS))
def test_coefficients(name, reference):
    kernel, _, _ = model_of(name)
    same(np.array(transport(kernel, jnp.asarray([0.2, 1.0, 2.5]))), reference[f"{name}/transport"])


def random_run():
    """Pair averages, interpolation and measured values without any structure, so that every term counts."""
    rng, T, I, K = np.random.default_rng(7), 4, 6, len(TEST_FUNCTIONS)
    averages, jumped = (rng.normal(size=(2, T, K, 3, nodes.COUNT)) for _ in range(2))
    microfield = 1 + 0.3 * rng.normal(size=(T, 1 + NODES, len(nodes.NEAR), K + 4, 5))
    edges = np.linspace(0, 3, I + 1)
    return data.Run(
        "random", "uniform", 1.3, 1.0, 0.2221 / 1.3, 1.3158, averages, jumped, microfield, rng.uniform(size=(I, 3, T)),
        edges[:-1, None] + np.diff(edges)[:, None] * np.array([0, 0.5, 1.0]), rng.normal(size=(I, K)), np.ones((I, K)),
        np.linspace(-1, -0.2, I + 1), np.full(I + 1, 1e-3), rng.normal(size=(I, 2)), np.ones((I, 2)),
        np.linspace(0.1, 0.5, I),
    )  # fmt: skip


@pytest.mark.parametrize("name", KERNELS)
def test_rates(name, reference):
    """Weak-form rates with and without build-up, the misfit of jumps, the roughness."""
    _, kernel, buildup = model_of(name)
    run = Predictor.of(random_run(), jnp.float64)
    same(run.rates(kernel), reference[f"{name}/rates"])
    same(run.rates(kernel, buildup), reference[f"{name}/rates buildup"])
    np.testing.assert_allclose(run.roughness(kernel), reference[f"{name}/roughness"], rtol=1e-10, atol=1e-25)
    np.testing.assert_allclose(losses.jump_squared(run, buildup), reference[f"{name}/jumps"], rtol=SAME)
