"""The energy-conserving Vlasov-Ampere step (25)-(27)."""

from ddco_jax.plasma.moments import face_current
from ddco_jax.steppers.advection import Advection


class Ampere(Advection):
    """dE/dt = -J/lambda^2, with J of the face values that the velocity flux has.

    Mass and total energy are exact to rounding, also with f nonzero at the velocity edge.  Momentum and Gauss's law
    hold to the order of the scheme.
    """

    def at_stage(self, field, before, now):
        return field - self._charge(before)

    def midway(self, field, faces, dt):
        return field - dt / 2 * self._charge(faces)

    def at_end(self, field, faces, f, dt):
        return field - dt * self._charge(faces)

    def _charge(self, faces):
        return face_current(self.grid, faces) / self.scales.debye_number**2
