"""The momentum-conserving Vlasov-Poisson step (App. A)."""

from typing import ClassVar

import equinox as eqx

from ddco_jax.plasma.fields import poisson_field
from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.plasma.moments import face_density
from ddco_jax.plasma.state import State
from ddco_jax.plasma.units import PAPER, Scales
from ddco_jax.steppers.base import Stepper, midpoint, named_x_flux


class Poisson(Stepper):
    """Explicit midpoint step with E from Poisson's equation at each stage.

    Mass and momentum are exact to rounding, also with f nonzero at the velocity edge, since the field comes from the
    same face values as the force.  Appendix A takes one forward Euler step; the midpoint stage makes it
    second order at the same conservation.  Total energy holds to the order of the scheme.
    """

    order: ClassVar[int] = 2
    grid: PhaseGrid = eqx.field(static=True)
    x_flux: str = eqx.field(static=True, default="upwind")
    scales: Scales = eqx.field(static=True, default=PAPER)

    def field(self, f):
        """E(x) from the face-valued density of f."""
        return poisson_field(self.grid, face_density(self.grid, f), self.scales)

    def step(self, state: State, dt) -> State:
        def field_midway(f_half):
            E_half = self.field(f_half)
            return E_half, E_half

        x_flux = named_x_flux(self.x_flux)
        f, _, age = midpoint(self.grid, x_flux, self.scales, state, dt, self.field(state.f), field_midway)
        return State(f, self.field(f), age, state.time + dt)
