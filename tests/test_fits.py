"""Fitting a kernel through the solver: a synthetic 1D-3V run gives its parameters back."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ddco_jax import CollisionOperator, PhaseGrid, State, initial, solve, steppers
from ddco_jax.kernels.separable import PositiveSeparable, Term

GRID = PhaseGrid(5.0, 3, (2.4, 2.2, 2.2), (9, 8, 8))


class Weight(eqx.Module):
    """exp(height) exp(-s^2/2 width^2 T): a positive radial function."""

    height: jax.Array
    width: float = eqx.field(static=True)

    def __call__(self, speed, density, temperature):
        return jnp.exp(self.height) * jnp.exp(-(speed**2) / (2 * self.width**2 * temperature))


def kernel(isotropic, parallel):
    return PositiveSeparable([Term(Weight(isotropic, 3.0), None, Weight(parallel, 3.0))])


def test_gradient_descent_through_the_solver_recovers_a_kernel():
    f = initial.perturb(GRID, initial.bimaxwellian(GRID, 1.0, 0.35, 0.4), 0.2, 1)
    state = State.from_distribution(GRID, jnp.asarray(f))

    def run(heights):
        stepper = steppers.Strang(GRID, CollisionOperator(GRID, kernel(*heights)))
        return solve(state, stepper, dt=0.05, n_steps=8)[0].f

    truth = jnp.log(jnp.asarray([0.08, 0.03]))
    seen = run(truth)
    assert jnp.abs(seen - state.f).max() > 0.05 * jnp.abs(state.f).max()  # the plasma has relaxed
    scale = jnp.sum((seen - state.f) ** 2)

    @jax.jit
    def loss(heights):
        return jnp.sum((run(heights) - seen) ** 2) / scale

    with jax.numpy_dtype_promotion("standard"):
        optimizer = optax.adam(optax.cosine_decay_schedule(0.2, 60, 0.02))
        heights = truth + jnp.asarray([0.7, -0.9])
        optimizer_state = optimizer.init(heights)
        value_and_grad = jax.jit(jax.value_and_grad(loss))
        losses = []
        for _ in range(60):
            value, gradient = value_and_grad(heights)
            losses.append(float(value))
            updates, optimizer_state = optimizer.update(gradient, optimizer_state)
            heights = optax.apply_updates(heights, updates)
    assert losses[0] > 1e-3 and losses[-1] < 1e-4 * losses[0]
    np.testing.assert_allclose(jnp.exp(heights), jnp.exp(truth), rtol=0.02)


def test_a_wrong_kernel_does_not_fit():
    """Without the parallel part the same descent would be stuck: the data tell the terms apart."""
    f = jnp.asarray(initial.bimaxwellian(GRID, 1.0, 0.35, 0.4))
    rates = [
        CollisionOperator(GRID, kernel(jnp.log(jnp.asarray(a)), jnp.log(jnp.asarray(b))))(f)
        for a, b in ((0.08, 1e-12), (1e-12, 0.03))
    ]
    cosine = float(jnp.sum(rates[0] * rates[1]) / jnp.sqrt(jnp.sum(rates[0] ** 2) * jnp.sum(rates[1] ** 2)))
    assert 0 < cosine < 0.99
    assert pytest.approx(1.0) != cosine
