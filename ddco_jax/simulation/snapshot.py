"""What a snapshot of a run holds: moments, entropy production, electric field and marginals of f."""

from collections.abc import Callable, Set
from concurrent.futures import Executor, Future
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ddco_jax.plasma.moments import compute_moments, higher_moments
from ddco_jax.plasma.state import State
from ddco_jax.steppers import Strang


def snapshot(stepper: Strang, state: State) -> dict[str, jax.Array]:
    """Every variable of a snapshot by name, without axis t, in code units (`quantities.SNAPSHOTS`)."""
    return stepper.grid.line.run(_snapshot, stepper, state)


def _snapshot(stepper: Strang, state: State) -> dict[str, jax.Array]:
    grid, f = stepper.grid, state.f
    moments, higher = compute_moments(grid, f), higher_moments(grid, f)
    f_vxvy = jnp.sum(f, -1) * grid.dv[2]
    collision = stepper.collision
    fields = {
        "density": moments.density,
        "drift_x": moments.drift[:, 0],
        "drift": moments.drift,
        "temperature": moments.temperature,
        **higher._asdict(),
        "entropy_production": jnp.zeros_like(moments.density)
        if collision is None
        else collision.entropy_production(state),
        "electric_field": state.electric_field,
        "f_vx": jnp.sum(f_vxvy, -1) * grid.dv[1],
        "f_vxvy": f_vxvy,
        "f": f,
    }
    return fields if state.correlation_age is None else fields | {"correlation_age": state.correlation_age}


def shapes(stepper: Strang, state: State) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes and dtypes of the variables of a snapshot."""
    nx, found = stepper.grid.nx, eqx.filter_eval_shape(snapshot, stepper, state)
    return {name: jax.ShapeDtypeStruct((nx, *like.shape[1:]), like.dtype) for name, like in found.items()}


def compiling(
    stepper: Strang, state: State, names: Set[str], pool: Executor
) -> Future[Callable[[State], dict[str, np.ndarray]]]:
    """Begin to compile, in `pool`, the function of a state that returns the variables in `names` and nothing else."""

    def chosen(stepper: Strang, state: State) -> dict[str, jax.Array]:
        return {name: field for name, field in snapshot(stepper, state).items() if name in names}

    jitted: Any = eqx.filter_jit(chosen)
    lowered = jitted.lower(stepper, state)  # traced in this thread: settings of JAX may be those of a thread

    def compiled() -> Callable[[State], dict[str, np.ndarray]]:
        function, line = lowered.compile(), stepper.grid.line
        return lambda state: {k: np.asarray(v) for k, v in line.collected(function(stepper, state)).items()}

    return pool.submit(compiled)
