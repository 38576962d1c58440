"""Strang splitting of advection and collisions (24)."""

import dataclasses
from collections.abc import Callable
from typing import ClassVar, Literal

import equinox as eqx
import jax

from ddco_jax.collisions import CollisionOperator
from ddco_jax.correlations import MARKOV
from ddco_jax.correlations.model import Model
from ddco_jax.kernels.forms import Learned
from ddco_jax.plasma.arrays import Scalar
from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.plasma.state import State
from ddco_jax.plasma.units import PAPER, Scales
from ddco_jax.steppers.ampere import Ampere
from ddco_jax.steppers.base import Stepper
from ddco_jax.steppers.collision import ChebyshevCollision, CollisionStep, MidpointCollision
from ddco_jax.steppers.poisson import Poisson
from ddco_jax.steppers.streaming import Streaming
from ddco_jax.vlasov import transport

FIELDS: dict[str, Callable[..., Stepper]] = {"ampere": Ampere, "poisson": Poisson, "none": Streaming}
"""Advection steps by the name of their field law."""


class Strang(Stepper):
    """Half a step of advection, a step of collisions, half a step of advection.

    `op` is a collision operator, or a kernel with its law of correlations (`load_model`), of which an operator with
    default options is made.  `op=None` leaves collisions out and takes the advection in one step; `field="none"` leaves
    the electric force out.  A homogeneous plasma is nx = 1 with field="none"; its advection only raises the age of the
    correlations.  `collision` names the collision step: "chebyshev", with `collision_stages` (default 5), or the
    paper's "midpoint", with `collision_substeps` (default 1; see `steppers.collision`).  `buildup` is the law of the
    correlations in this step, by default that of the model; an operator has none.
    Conserves mass always, total energy with field="ampere", momentum with field="poisson".
    Raises ValueError for an unknown field, x_flux or collision, for stages or substeps that the collision step does not
    have, and for an operator made for another grid.
    """

    order: ClassVar[int] = 2
    grid: PhaseGrid = eqx.field(static=True)
    advection: Stepper
    collision: CollisionStep | None
    scales: Scales = eqx.field(static=True)

    def __init__(
        self,
        grid: PhaseGrid,
        op: CollisionOperator | Learned | None,
        field: str = "ampere",
        x_flux: str = "weno5",
        *,
        buildup: Model | None = None,
        collision: Literal["chebyshev", "midpoint"] = "chebyshev",
        collision_stages: int | None = None,
        collision_substeps: int | None = None,
        scales: Scales = PAPER,
    ) -> None:
        if field not in FIELDS:
            raise ValueError(f"field must be one of {tuple(FIELDS)}, got {field!r}")
        transport.named(x_flux)
        if collision not in ("chebyshev", "midpoint"):
            raise ValueError(f"collision must be chebyshev or midpoint, got {collision!r}")
        if (collision_stages if collision == "midpoint" else collision_substeps) is not None:
            raise ValueError("collision_stages belongs to the chebyshev step, collision_substeps to the midpoint step")
        law = MARKOV if buildup is None else buildup
        if isinstance(op, Learned):
            law = op.buildup if buildup is None else buildup
            op = CollisionOperator(grid, op.kernel)
        if op is not None and op.grid != grid:
            raise ValueError("the collision operator was made for another grid; make it for the grid of the stepper")
        self.grid, self.scales = grid, scales
        self.advection = FIELDS[field](grid, x_flux, scales)
        self.collision = None
        if op is not None and collision == "midpoint":
            given = {} if collision_substeps is None else {"substeps": collision_substeps}
            self.collision = MidpointCollision(op, law, scales, **given)
        elif op is not None:
            given = {} if collision_stages is None else {"stages": collision_stages}
            self.collision = ChebyshevCollision(op, law, scales, **given)

    def step(self, state: State, dt: Scalar | float) -> State:
        if self.collision is None:
            return self.advection.step(state, dt)
        time = state.time + dt
        with jax.named_scope("advection"):
            state = self.advection.step(state, dt / 2)
        with jax.named_scope("collision"):
            state = self.collision.step(state, dt)
        with jax.named_scope("advection"):
            state = self.advection.step(state, dt / 2)
        return dataclasses.replace(state, time=time)
