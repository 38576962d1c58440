"""Free streaming: transport along x with no force."""

from ddco_jax.steppers.advection import Advection


class Streaming(Advection):
    """df/dt = -vx df/dx; the field stays as it is.  Mass, momentum and energy are exact to rounding."""

    def at_stage(self, field, before, now):
        return None

    def midway(self, field, faces, dt):
        return None

    def at_end(self, field, faces, f, dt):
        return field
