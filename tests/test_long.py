"""Runs of 5,000 steps conserve to rounding: drifts grow no faster than a random walk of one rounding per step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from ddco_jax import CollisionOperator, PhaseGrid, State, initial, kernels, steppers
from ddco_jax.plasma.invariants import compute_invariants

GRID = PhaseGrid(6.0, 4, (2.0, 2.0, 2.0), (8, 8, 8))
STEPS, ROWS = 5000, 100


def drifts(field, precision):
    """Largest changes over the run of mass, total energy (relative) and momentum (3,) (over sqrt(2 M E_K)), in units of
    sqrt(STEPS) roundings; and the invariants, one row each STEPS/ROWS steps."""
    density = 1 + 0.2 * np.cos(2 * np.pi * GRID.x / GRID.length)
    f = jnp.asarray(initial.bimaxwellian(GRID, density, np.full(GRID.nx, 0.3), 0.7), precision)
    op = CollisionOperator(GRID, kernels.Landau(0.1))
    stepper = steppers.Strang(GRID, op, field, collision_stages=2)
    state, dt = State.from_distribution(GRID, f), jnp.asarray(0.02, precision)

    @jax.jit
    def advance(state):
        return lax.fori_loop(0, STEPS // ROWS, lambda _, state: stepper.step(state, dt), state)

    measure = jax.jit(lambda state: compute_invariants(GRID, state))
    rows = [measure(state)]
    for _ in range(ROWS):
        state = advance(state)
        rows.append(measure(state))
    history = {name: np.array([getattr(row, name) for row in rows], np.float64) for name in vars(rows[0])}
    change = {name: np.max(np.abs(history[name] - history[name][0]), 0) for name in history}
    mass, energy, kinetic = (history[name][0] for name in ("mass", "total_energy", "kinetic_energy"))
    scale = np.sqrt(STEPS) * np.finfo(precision).eps
    found = change["mass"] / mass, change["total_energy"] / energy, change["momentum"] / np.sqrt(2 * mass * kinetic)
    return *(x / scale for x in found), history


@pytest.mark.slow
@pytest.mark.optimised
@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("field", ["ampere", "poisson"])
def test_drifts_are_those_of_rounding(field, precision):
    """Mass always, energy with Ampère, momentum along x with Poisson, across it always (docs/performance.md)."""
    mass, energy, momentum, history = drifts(field, precision)
    print(f"{field}, {precision}: mass {mass:.2f}, energy {energy:.2f}, momentum {momentum}")
    assert mass <= 1 and np.all(momentum[1:] <= 1)
    assert energy <= 1 if field == "ampere" else momentum[0] <= 1
    assert history["field_energy"][-1] < 1e-3 * history["field_energy"][0]  # a damped wave, and relaxation
    assert history["entropy"][-1] > history["entropy"][0] + 0.1 and history["evaluations"][-1] > 1e4
