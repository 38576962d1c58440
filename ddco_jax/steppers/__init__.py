"""Time steps: one scheme per file, each a pure `step(state, dt)` with a declared `order`."""

from ddco_jax.steppers.ampere import Ampere
from ddco_jax.steppers.base import Stepper
from ddco_jax.steppers.collision import ChebyshevCollision, MidpointCollision
from ddco_jax.steppers.poisson import Poisson
from ddco_jax.steppers.strang import Strang
from ddco_jax.steppers.streaming import Streaming
from ddco_jax.steppers.tagged import Relaxation, relax

__all__ = [
    "Ampere",
    "ChebyshevCollision",
    "MidpointCollision",
    "Poisson",
    "Relaxation",
    "Stepper",
    "Strang",
    "Streaming",
    "relax",
]
