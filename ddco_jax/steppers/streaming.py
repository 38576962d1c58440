"""Free streaming: transport along x with no force."""

from ddco_jax.steppers.advection import Advection


class Streaming(Advection):
    """Step of df/dt = -vx df/dx with constant E(x).  Mass, momentum and energy are conserved to rounding."""

    def at_stage(self, field, before, now):
        return None

    def midway(self, field, faces, dt):
        return None

    def at_end(self, field, faces, f, dt):
        return field
