"""Base class of the advection steps, which share the transport of f and differ in the law of the electric field."""

import abc
from typing import ClassVar

import equinox as eqx

from ddco_jax.plasma.arrays import Distribution, Profile, Scalar
from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.plasma.state import State
from ddco_jax.plasma.units import PAPER, Scales
from ddco_jax.steppers.base import Stepper
from ddco_jax.vlasov import transport
from ddco_jax.vlasov.transport import FieldLaw
from ddco_jax.vlasov.v_flux import Faces


class Advection(Stepper, FieldLaw):
    """Step of df/dt = -vx df/dx - E df/dvx, with transport of age and memory of the correlations.

    `x_flux` names the transport scheme (`vlasov.transport.TRANSPORTS`): "weno5" is of high order and keeps f positive,
    "upwind" is the paper's.  Second order in dt.
    """

    order: ClassVar[int] = 2
    grid: PhaseGrid = eqx.field(static=True)
    x_flux: str = eqx.field(static=True, default="weno5")
    scales: Scales = eqx.field(static=True, default=PAPER)

    @abc.abstractmethod
    def at_end(self, field: Profile, faces: Faces, f: Distribution, dt: Scalar | float) -> Profile:
        """E (nx,), E0, after a step, from E before it (`field`), the face values V of the step (`faces`), and new f."""

    def step(self, state: State, dt: Scalar | float) -> State:
        scheme, grid, field = transport.named(self.x_flux), self.grid, state.electric_field
        f, faces, first, whole = scheme.step(grid, self, state.f, field, dt)
        age, memory = state.correlation_age, state.memory
        if age is not None:
            age, memory = transport.transport_correlations(grid, self.scales, state.f, age, memory, first, whole, dt)
        field = self.at_end(field, faces, f, dt)
        time = state.time + dt
        return State(f, field, age, memory, time, state.tally)
