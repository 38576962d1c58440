"""Free streaming: transport along x with no force."""

from typing import ClassVar

import equinox as eqx

from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.plasma.state import State
from ddco_jax.plasma.units import PAPER, Scales
from ddco_jax.steppers.base import Stepper, midpoint, named_x_flux


class Streaming(Stepper):
    """Explicit midpoint step of df/dt = -vx df/dx; the field stays as it is.  Mass, momentum, energy to rounding."""

    order: ClassVar[int] = 2
    grid: PhaseGrid = eqx.field(static=True)
    x_flux: str = eqx.field(static=True, default="upwind")
    scales: Scales = eqx.field(static=True, default=PAPER)

    def step(self, state: State, dt) -> State:
        E = state.electric_field
        x_flux = named_x_flux(self.x_flux)
        f, _, age = midpoint(self.grid, x_flux, self.scales, state, dt, None, lambda f_half: (None, E))
        return State(f, E, age, state.time + dt)
