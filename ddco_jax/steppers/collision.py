"""The explicit midpoint collision step (30)."""

from typing import ClassVar

import equinox as eqx
import jax
import numpy as np
from jax import lax

from ddco_jax.collisions import CollisionOperator
from ddco_jax.correlations import AGED, MARKOV, Record, as_record
from ddco_jax.correlations.model import Model
from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.plasma.moments import compute_moments
from ddco_jax.plasma.state import State
from ddco_jax.plasma.units import PAPER, Scales
from ddco_jax.steppers.base import Stepper

STAGES = np.array([0.5, 1.0])
"""Ends of the two stages of the midpoint rule, in steps."""


class MidpointCollision(Stepper):
    """df/dt = C[f] by the explicit midpoint rule, each cell by itself.

    Mass, momentum and energy of every cell are exact to rounding (they are linear in f); entropy grows to the order of
    the scheme.  Stable for dt max sum_a A_aa/dv_a^2 <= 2 with A the diffusion tensor (`ddco check`).

    `buildup` gives the correlations at an age and Gamma (`correlations.model`); it is evaluated once per step, at the
    age that the state carries, which in Strang splitting is that of the collision midpoint.
    `substeps` divides the step: steep, under-resolved distributions need shorter collision steps than the linear
    limit says, since the relative rate of change is largest in the cells beside a peak.
    """

    order: ClassVar[int] = 2
    op: CollisionOperator
    buildup: Model = MARKOV
    scales: Scales = eqx.field(static=True, default=PAPER)
    substeps: int = eqx.field(static=True, default=1)

    @property
    def grid(self) -> PhaseGrid:
        return self.op.grid

    def correlations(self, state: State) -> Record:
        """The correlations of every cell, rates in 1/t0; aged where the state carries no age."""
        if state.correlation_age is None:
            return AGED
        density, _, temperature = compute_moments(self.grid, state.f)
        now = self.buildup(state.correlation_age, self.scales.coupling_parameter(density, temperature))
        return as_record(now).in_units(self.scales.plasma_frequency(density))

    def step(self, state: State, dt) -> State:
        now = self.correlations(state)
        h = dt / self.substeps

        def substep(f, _):
            # a scan, for the operator is by far the longest to compile: once instead of twice
            return lax.scan(lambda at, part: (f + part * h * self.op(at, now), None), f, STAGES.astype(f.dtype))

        f, _ = lax.scan(jax.checkpoint(substep), state.f, None, length=self.substeps)
        return State(f, state.electric_field, state.correlation_age, state.time + dt)
