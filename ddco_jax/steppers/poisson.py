"""The momentum-conserving Vlasov-Poisson step (App. A)."""

from ddco_jax.plasma.arrays import Distribution, Profile, Scalar
from ddco_jax.plasma.fields import poisson_field
from ddco_jax.plasma.moments import face_density
from ddco_jax.steppers.advection import Advection
from ddco_jax.vlasov.transport import named
from ddco_jax.vlasov.v_flux import Faces


class Poisson(Advection):
    """Advection with E from Poisson's equation at each stage.

    Mass and momentum are conserved to rounding, even if f is nonzero at the edge of the velocity box, because field and
    force use the same face values of f.  Appendix A takes one forward Euler step; the Runge-Kutta stages used here make
    the step second order and conserve the same quantities.  Total energy is conserved to the order of the scheme.
    """

    def at_stage(self, field: Profile, before: Faces, now: Faces) -> Profile:
        return self._field(now)

    def midway(self, field: Profile, faces: Faces, dt: Scalar | float) -> Profile:
        return self._field(faces)

    def at_end(self, field: Profile, faces: Faces, f: Distribution, dt: Scalar | float) -> Profile:
        return self.field(f)

    def field(self, f: Distribution) -> Profile:
        """E(x), E0, from the density of the face values of f."""
        return self._field(named(self.x_flux).v_faces(f))

    def _field(self, faces: Faces) -> Profile:
        return poisson_field(self.grid, face_density(self.grid, faces), self.scales)
