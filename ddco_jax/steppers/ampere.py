"""The energy-conserving Vlasov-Ampere step (25)-(27)."""

from typing import ClassVar

import equinox as eqx

from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.plasma.moments import face_current
from ddco_jax.plasma.state import State
from ddco_jax.plasma.units import PAPER, Scales
from ddco_jax.steppers.base import Stepper, midpoint, named_x_flux


class Ampere(Stepper):
    """Explicit midpoint step with dE/dt = -J/lambda^2.

    Mass and total energy are exact to rounding, also with f nonzero at the velocity edge, since J is the sum over
    the same face values as the velocity flux.  Momentum and Gauss's law hold to the order of the scheme.
    """

    order: ClassVar[int] = 2
    grid: PhaseGrid = eqx.field(static=True)
    x_flux: str = eqx.field(static=True, default="upwind")
    scales: Scales = eqx.field(static=True, default=PAPER)

    def step(self, state: State, dt) -> State:
        E = state.electric_field

        def field_midway(f_half):
            E_end = E - dt / self.scales.debye_number**2 * face_current(self.grid, f_half)
            return (E + E_end) / 2, E_end

        x_flux = named_x_flux(self.x_flux)
        f, E_end, age = midpoint(self.grid, x_flux, self.scales, state, dt, E, field_midway)
        return State(f, E_end, age, state.time + dt)
