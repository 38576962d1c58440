"""The momentum-conserving Vlasov-Poisson step (App. A)."""

from ddco_jax.plasma.fields import poisson_field
from ddco_jax.plasma.moments import face_density
from ddco_jax.steppers.advection import Advection
from ddco_jax.vlasov.transport import named


class Poisson(Advection):
    """E from Poisson's equation at each stage.

    Mass and momentum are exact to rounding, also with f nonzero at the velocity edge, since the field comes from the
    same face values as the force.  Appendix A takes one forward Euler step; the midpoint stage makes it
    second order at the same conservation.  Total energy holds to the order of the scheme.
    """

    def at_stage(self, field, before, now):
        return self._field(now)

    def midway(self, field, faces, dt):
        return self._field(faces)

    def at_end(self, field, faces, f, dt):
        return self.field(f)

    def field(self, f):
        """E(x) from the density of the face values of f."""
        return self._field(named(self.x_flux).v_faces(f))

    def _field(self, faces):
        return poisson_field(self.grid, face_density(self.grid, faces), self.scales)
