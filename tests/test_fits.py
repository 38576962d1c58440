"""Fitting a kernel through the solver: a synthetic 1D-3V run gives its parameters back."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from ddco_jax import CollisionOperator, PhaseGrid, State, initial, solve, steppers
from ddco_jax.kernels.separable import PositiveSeparable, Term

pytestmark = pytest.mark.slow
GRID = PhaseGrid(5.0, 3, (2.4, 2.2, 2.2), (9, 8, 8))


class Weight(eqx.Module):
    """exp(height) exp(-s^2/2 width^2 T): a positive radial function."""

    height: jax.Array
    width: float = eqx.field(static=True)

    def __call__(self, speed, density, temperature):
        return jnp.exp(self.height) * jnp.exp(-(speed**2) / (2 * self.width**2 * temperature))


def kernel(isotropic, parallel):
    return PositiveSeparable([Term(Weight(isotropic, 3.0), None, Weight(parallel, 3.0))])


@pytest.fixture(scope="module")
def problem():
    """The true logarithms of the heights, and the squared error of a run with others, with its gradient."""
    f = initial.perturb(GRID, initial.bimaxwellian(GRID, 1.0, 0.35, 0.4), 0.2, 1)
    state = State.from_distribution(GRID, jnp.asarray(f))

    def run(heights):
        stepper = steppers.Strang(GRID, CollisionOperator(GRID, kernel(*heights)), collision="midpoint")
        return solve(state, stepper, dt=0.05, n_steps=8)[0].f

    truth = np.log([0.08, 0.03])
    seen = jax.jit(run)(jnp.asarray(truth))
    assert jnp.abs(seen - state.f).max() > 0.05 * jnp.abs(state.f).max()  # the plasma has relaxed
    scale = jnp.sum((seen - state.f) ** 2)
    return truth, jax.jit(jax.value_and_grad(lambda heights: jnp.sum((run(heights) - seen) ** 2) / scale))


def fit(value_and_grad, start, fitted):
    """The logarithms of the first heights that gradients lead to, and the squared errors before and after."""

    def loss(x):
        value, gradient = value_and_grad(jnp.asarray([*x, *start[fitted:]]))
        return float(value), np.asarray(gradient)[:fitted]

    found = minimize(loss, start[:fitted], jac=True, method="BFGS", options={"gtol": 1e-6})
    assert found.success
    return found.x, loss(start[:fitted])[0], found.fun


def test_a_fit_through_the_solver_recovers_a_kernel(problem):
    truth, value_and_grad = problem
    heights, first, last = fit(value_and_grad, truth + np.array([0.7, -0.9]), 2)
    assert first > 1e-3 and last < 1e-4 * first
    np.testing.assert_allclose(np.exp(heights), np.exp(truth), rtol=0.02)


def test_a_kernel_without_the_parallel_term_does_not_fit(problem):
    """The best height of the isotropic term alone leaves 0.04 of the change of f, both terms 1e-5 of it and less."""
    truth, value_and_grad = problem
    absent = -np.inf  # exp(-inf) = 0
    _, first, last = fit(value_and_grad, np.array([truth[0] + 0.7, absent]), 1)
    assert first > 2 * last
    assert last > 1e-3
