"""Derivatives in both modes through a whole step and through a run."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_derivatives, slow_but

from ddco_jax import CollisionOperator, PhaseGrid, State, initial, kernels, solve, steppers
from ddco_jax.correlations import StretchedExponential
from ddco_jax.plasma.invariants import compute_invariants
from ddco_jax.plasma.state import Tally

GRID = PhaseGrid(6.0, 3, (2.5, 2.0, 2.0), (7, 6, 6))


class Gaussian(eqx.Module):
    """A radial function with two parameters."""

    height: jax.Array
    width: jax.Array

    def __call__(self, speed, density, temperature):
        return self.height * jnp.exp(-(speed**2) / (2 * self.width**2)) * density / (1 + temperature)


def kernel():
    L, M = Gaussian(jnp.asarray(0.2), jnp.asarray(2.0)), Gaussian(jnp.asarray(1.1), jnp.asarray(1.5))
    return kernels.LowRank(g0=((L, M, M),), g1=((L, M, M),), g2=((L, M, M),))


def pieces():
    f = initial.perturb(GRID, initial.bimaxwellian(GRID, 1.0, 0.7, 0.5), 0.1, 1)
    E = 0.1 * jnp.sin(2 * np.pi * GRID.x / GRID.length)
    return jnp.log(jnp.asarray(f)), E


PAPER = ("log", "central", "upwind", "midpoint")
DEFAULT = ("ratio", "eighth", "weno5", "chebyshev")
SCHEMES = [DEFAULT, PAPER]


@pytest.mark.parametrize(("force", "differences", "x_flux", "collision"), slow_but([PAPER], SCHEMES))
def test_one_step_in_both_modes(force, differences, x_flux, collision):
    """With respect to log f, E, the correlation age and all kernel parameters."""
    chosen = kernel() if collision == "midpoint" else kernels.Landau(jnp.asarray(0.3))  # the smaller program
    params, static = eqx.partition(chosen, eqx.is_inexact_array)
    log_f, E = pieces()
    rng = np.random.default_rng(0)
    probe = jnp.asarray(rng.normal(size=GRID.shape))

    def step(log_f, E, age, params):
        op = CollisionOperator(GRID, eqx.combine(params, static), force=force, differences=differences)
        stepper = steppers.Strang(GRID, op, x_flux=x_flux, buildup=StretchedExponential(), collision=collision)
        memory = jnp.zeros((len(E), 3, 3, 3))
        state = State(jnp.exp(log_f), E, age, memory, jnp.zeros(()), Tally.zero(log_f.dtype))
        end = stepper.step(state, jnp.asarray(0.02))
        return jnp.sum(probe * end.f) + jnp.sum(end.electric_field**2) + jnp.sum(end.correlation_age)

    age = jnp.asarray([0.1, 0.3, 0.5])
    assert_derivatives(step, (log_f, E, age, params), rtol=1e-5)


@pytest.mark.slow
def test_gradients_are_finite_where_the_formulas_are_singular():
    """u = 0 on the grid, c = 0 on the grid (no drift, odd counts), f below the floor, age zero."""
    grid = PhaseGrid(6.0, 2, (32.0, 4.5, 4.5), (53, 7, 7))
    v2 = sum(v**2 for v in np.meshgrid(*grid.velocities, indexing="ij"))
    f = jnp.asarray((2 * np.pi) ** -1.5 * np.exp(-v2 / 2)[None].repeat(2, 0))
    assert float(jnp.min(f)) < 1e-200
    params, static = eqx.partition((kernel(), kernels.Landau(jnp.asarray(0.3))), eqx.is_inexact_array)

    def observable(f, params):
        general, landau = eqx.combine(params, static)
        stepper = steppers.Strang(grid, CollisionOperator(grid, landau), buildup=StretchedExponential())
        state = State.from_distribution(grid, f, correlation_age=np.zeros(2))
        end = stepper.step(state, jnp.asarray(1e-3))
        energy = compute_invariants(grid, end).total_energy
        return jnp.sum(end.f**2) + energy + jnp.sum(CollisionOperator(grid, general)(f) ** 2)

    gradients = jax.jit(jax.grad(observable, argnums=(0, 1)))(f, params)
    leaves = jax.tree.leaves(gradients)
    assert all(np.all(np.isfinite(leaf)) for leaf in leaves)
    assert np.any(leaves[0] != 0)


@pytest.mark.slow
def test_through_a_run_against_finite_differences():
    """Reverse mode through the checkpointed scan of solve, with respect to a kernel prefactor and dt.

    Central differences of step h err by about h^2 and by rounding/h, 1e-10 at h = 1e-4 up to the third derivative.
    """
    log_f, _ = pieces()

    def anisotropy(prefactor, dt):
        stepper = steppers.Strang(GRID, CollisionOperator(GRID, kernels.Landau(prefactor)))
        state = State.from_distribution(GRID, jnp.exp(log_f))
        end, _ = solve(state, stepper, dt=dt, n_steps=7)
        v2 = jnp.asarray(GRID.vx)[None, :, None, None] ** 2 - jnp.asarray(GRID.vy)[None, None, :, None] ** 2
        return jnp.sum(v2 * end.f) * GRID.dx * GRID.dv3

    at = (jnp.asarray(0.05), jnp.asarray(0.03))
    reverse = jax.jit(jax.grad(anisotropy, (0, 1)))(*at)
    compiled = jax.jit(anisotropy)
    # not jacfwd: under vmap all parts of a collision step are evaluated
    along = jax.jit(lambda *direction: jax.jvp(anisotropy, at, direction)[1])
    forward = [along(jnp.asarray(a), jnp.asarray(b)) for a, b in ((1.0, 0.0), (0.0, 1.0))]
    for k, h in enumerate((1e-4, 1e-4)):
        shift = [jnp.asarray(h if i == k else 0.0) for i in range(2)]
        up = compiled(*(a + s for a, s in zip(at, shift, strict=True)))
        down = compiled(*(a - s for a, s in zip(at, shift, strict=True)))
        assert float(reverse[k]) == pytest.approx(float((up - down) / (2 * h)), rel=1e-5)
        assert float(forward[k]) == pytest.approx(float(reverse[k]), rel=1e-10)
    assert abs(float(reverse[0])) > 1e-3


def test_solve_traces_once_and_matches_plain_steps():
    traces = []
    stepper = steppers.Ampere(GRID)

    class Counting(steppers.Ampere):
        def step(self, state, dt):
            traces.append(1)
            return super().step(state, dt)

    log_f, _ = pieces()
    state = State.from_distribution(GRID, jnp.exp(log_f))
    end, history = solve(state, Counting(GRID), dt=0.02, n_steps=10)
    assert 1 <= len(traces) <= 2  # the scan over full chunks, and the rest
    plain = state
    for _ in range(10):
        plain = stepper.step(plain, jnp.asarray(0.02))
    assert np.allclose(end.f, plain.f, rtol=0, atol=1e-15)
    assert history.mass.shape == (11,)
    assert np.allclose(history["time"], 0.02 * np.arange(11))
    with pytest.raises(ValueError, match="n_steps"):
        solve(state, stepper, dt=0.02, n_steps=0)
