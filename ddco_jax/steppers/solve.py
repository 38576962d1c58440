"""The pure solver: a fixed number of steps as one differentiable scan."""

import math

import jax
import jax.numpy as jnp
from jax import lax

from ddco_jax.plasma.arrays import Array, Scalar
from ddco_jax.plasma.invariants import Invariants, compute_invariants
from ddco_jax.plasma.line import EVERYWHERE
from ddco_jax.plasma.state import State
from ddco_jax.steppers import Stepper


def solve(state: State, stepper: Stepper, *, dt: Scalar | float, n_steps: int) -> tuple[State, Invariants]:
    """Advance a state by n_steps of length dt (t0).

    Returns the final state and the history: the invariants (21) of the initial state and after every step, stacked in
    n_steps + 1 rows.  Pure, and differentiable in forward and reverse mode with respect to the state, dt and the
    parameters in `stepper`.  The backward pass keeps about 2 sqrt(n_steps) states and recomputes the others.
    The state of a divided grid (`PhaseGrid.over`) stays divided; `grid.line.collected(state)` has the cells in order.
    Raises ValueError if n_steps is less than 1.
    """
    if n_steps < 1:
        raise ValueError(f"n_steps must be at least 1, got {n_steps}")
    line, dt = stepper.grid.line, jnp.asarray(dt, state.f.dtype)
    return line.run(_solve, stepper, state, dt, n_steps, result=(line.layout(state), EVERYWHERE))


def _solve(stepper: Stepper, state: State, dt: Scalar, n_steps: int) -> tuple[State, Invariants]:
    grid, scales = stepper.grid, stepper.scales

    def advanced(state: State) -> State:
        return stepper.step(state, dt)

    @jax.checkpoint
    def one_step(state: State, k: Array) -> tuple[State, Invariants]:
        # checkpointed inside the cond as well: an idle step fills all that a step would keep with zeros
        state = lax.cond(k < n_steps, jax.checkpoint(advanced), lambda state: state, state)
        return state, compute_invariants(grid, state, scales)

    # chunks of equal length, the last one filled up with idle steps, so that the step is compiled once
    chunk = math.isqrt(n_steps)
    numbers = jnp.arange(-(-n_steps // chunk) * chunk).reshape(-1, chunk)
    end, history = lax.scan(jax.checkpoint(lambda s, ks: lax.scan(one_step, s, ks)), state, numbers)
    first = compute_invariants(grid, state, scales)
    rows = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b.reshape(-1, *b.shape[2:])[:n_steps]]), first, history)
    return end, rows
