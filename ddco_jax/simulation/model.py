"""Builds grid, collision operator, stepper and initial state from a config, in code units."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from ddco_jax.collisions import CollisionOperator
from ddco_jax.correlations import AGED_AGE, Markov
from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.plasma.state import State
from ddco_jax.simulation.config import Config, ConfigError
from ddco_jax.simulation.devices import divided
from ddco_jax.steppers import Strang


@dataclasses.dataclass(frozen=True)
class Model:
    """What a run needs, built from its config; everything is in code units."""

    grid: PhaseGrid
    stepper: Strang
    dt: float
    """Time step, t0."""
    dtype: np.dtype
    age: float | None
    """Age of the correlations at t = 0, 1/omega_p; None where it does not evolve."""


def build(config: Config, devices: int = 1) -> Model:
    """Build grid, collision operator and stepper of a config, with the cells divided over some devices.

    Raises ConfigError where JAX or the device has not the precision float64 of the config, where the kernel cannot be
    loaded, where grid.nv has too few points per axis, or where there are fewer devices or fewer cells.
    """
    if config.precision == "float64" and not jax.config.read("jax_enable_x64"):
        raise ConfigError(
            'precision = "float64" needs jax.config.update("jax_enable_x64", True) before the first array, '
            'or set precision = "float32"'
        )
    if config.precision == "float64" and jax.default_backend() == "tpu":
        raise ConfigError('precision = "float64": TPUs compute in single precision; set "float32"')
    grid, kernel, c = divided(config.build_grid(), devices), config.build_kernel(), config.collisions
    try:
        op = None
        if kernel is not None:
            op = CollisionOperator(
                grid, kernel, c.method, force=c.force, differences=c.differences, cells_at_once=c.cells_at_once
            )
    except ValueError as error:
        raise ConfigError(f"grid.nv: {error}") from None
    buildup = config.build_buildup()
    stepper = Strang(
        grid,
        op,
        config.field,
        config.x_flux,
        buildup=buildup,
        collision=c.step,
        collision_stages=c.stages,
        collision_substeps=c.substeps if c.step == "midpoint" else None,
        scales=config.scales,
    )
    age = None if isinstance(buildup, Markov) else 0.0 if config.correlations == "quench" else AGED_AGE
    return Model(grid, stepper, config.dt, np.dtype(config.precision), age)


def initial_state(config: Config, model: Model) -> State:
    """The state at t = 0, in the precision of the config."""
    f = jnp.asarray(config.build_distribution(model.grid), model.dtype)
    age = None if model.age is None else np.full(model.grid.nx, model.age)
    return State.from_distribution(model.grid, f, correlation_age=age, scales=config.scales)
