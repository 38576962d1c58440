"""The pure solver: a fixed number of steps as one differentiable scan."""

import math

import jax
import jax.numpy as jnp
from jax import lax

from ddco_jax.plasma.invariants import Invariants, compute_invariants
from ddco_jax.plasma.state import State
from ddco_jax.steppers import Stepper


def solve(state: State, stepper: Stepper, *, dt, n_steps: int) -> tuple[State, Invariants]:
    """Advance a state by n_steps of length dt (t0).

    Returns the final state and the history: the invariants (21) of the start and of every step, stacked, n_steps + 1
    rows.  Pure, and differentiable in both modes with respect to the state, dt and the parameters in `stepper`.
    The backward pass keeps about 2 sqrt(n_steps) states and recomputes the rest.
    """
    if n_steps < 1:
        raise ValueError(f"n_steps must be at least 1, got {n_steps}")
    grid, scales = stepper.grid, stepper.scales
    dt = jnp.asarray(dt, state.f.dtype)

    @jax.checkpoint
    def one_step(state, _):
        state = stepper.step(state, dt)
        return state, compute_invariants(grid, state, scales)

    def steps(state, n):
        return lax.scan(one_step, state, None, length=n)

    first = compute_invariants(grid, state, scales)
    inner = max(1, math.isqrt(n_steps))
    outer, rest = divmod(n_steps, inner)
    state, history = lax.scan(jax.checkpoint(lambda s, _: steps(s, inner)), state, None, length=outer)
    rows = [jax.tree.map(lambda a: a[None], first), jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), history)]
    if rest:
        state, last = steps(state, rest)
        rows.append(last)
    return state, jax.tree.map(lambda *a: jnp.concatenate(a), *rows)
