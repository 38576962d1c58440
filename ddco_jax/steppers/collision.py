"""The explicit midpoint collision step (30)."""

from collections.abc import Callable
from typing import ClassVar

import equinox as eqx
import jax
from jax import lax

from ddco_jax.collisions import CollisionOperator
from ddco_jax.correlations.buildup import Amplitude
from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.plasma.moments import compute_moments
from ddco_jax.plasma.state import State
from ddco_jax.plasma.units import PAPER, Scales
from ddco_jax.steppers.base import Stepper


class MidpointCollision(Stepper):
    """df/dt = a C[f] by the explicit midpoint rule, each cell by itself.

    Mass, momentum and energy of every cell are exact to rounding (they are linear in f); entropy grows to the order of
    the scheme.  Stable for dt max sum_a A_aa/dv_a^2 <= 2 with A the diffusion tensor (`stability.collision_number`).

    `buildup` is A(s; Gamma) >= 0, a function of (correlation age, Gamma), or of |u| as well; it is evaluated once per
    step, at the age that the state carries, which in Strang splitting is that of the collision midpoint.
    `substeps` divides the step: steep, under-resolved distributions need shorter collision steps than the linear
    limit says, since the relative rate of change is largest in the cells beside a peak.
    """

    order: ClassVar[int] = 2
    op: CollisionOperator
    buildup: Callable | None = None
    scales: Scales = eqx.field(static=True, default=PAPER)
    substeps: int = eqx.field(static=True, default=1)

    @property
    def grid(self) -> PhaseGrid:
        return self.op.grid

    def amplitude(self, state: State):
        """a(x) of the state, or None where the build-up of correlations is off."""
        if self.buildup is None or state.correlation_age is None:
            return None
        density, _, temperature = compute_moments(self.grid, state.f)
        a = self.buildup(state.correlation_age, self.scales.coupling_parameter(density, temperature))
        return a.in_units(self.scales.plasma_frequency(density)) if isinstance(a, Amplitude) else a

    def step(self, state: State, dt) -> State:
        a = self.amplitude(state)
        h = dt / self.substeps

        def substep(f, _):
            f_half = f + h / 2 * self.op(f, a)
            return f + h * self.op(f_half, a), None

        f, _ = lax.scan(jax.checkpoint(substep), state.f, None, length=self.substeps)
        return State(f, state.electric_field, state.correlation_age, state.time + dt)
