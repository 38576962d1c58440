"""The energy-conserving Vlasov-Ampere step (25)-(27)."""

from ddco_jax.plasma.arrays import Distribution, Profile, Scalar
from ddco_jax.plasma.moments import face_current
from ddco_jax.steppers.advection import Advection
from ddco_jax.vlasov.v_flux import Faces


class Ampere(Advection):
    """Advection with dE/dt = -J/lambda^2, where J uses the same face values of f as the velocity flux.

    Mass and total energy are conserved to rounding, even if f is nonzero at the edge of the velocity box.  Momentum
    conservation and Gauss's law hold to the order of the scheme.
    """

    def at_stage(self, field: Profile, before: Faces, now: Faces) -> Profile:
        return field - self._charge(before)

    def midway(self, field: Profile, faces: Faces, dt: Scalar | float) -> Profile:
        return field - dt / 2 * self._charge(faces)

    def at_end(self, field: Profile, faces: Faces, f: Distribution, dt: Scalar | float) -> Profile:
        return field - dt * self._charge(faces)

    def _charge(self, faces: Faces) -> Profile:
        return face_current(self.grid, faces) / self.scales.debye_number**2
