"""Free streaming: transport along x with no force."""

from ddco_jax.plasma.arrays import Distribution, Profile, Scalar
from ddco_jax.steppers.advection import Advection
from ddco_jax.vlasov.v_flux import Faces


class Streaming(Advection):
    """Step of df/dt = -vx df/dx with constant E(x).  Mass, momentum and energy are conserved to rounding."""

    def at_stage(self, field: Profile, before: Faces, now: Faces) -> None:
        return None

    def midway(self, field: Profile, faces: Faces, dt: Scalar | float) -> None:
        return None

    def at_end(self, field: Profile, faces: Faces, f: Distribution, dt: Scalar | float) -> Profile:
        return field
