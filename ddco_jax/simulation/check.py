"""What limits a run before it starts: CFL numbers, collision stability, resolution, memory."""

import dataclasses
import math
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from ddco_jax.collisions import CollisionOperator
from ddco_jax.collisions.spectral import arrays_at_once
from ddco_jax.correlations import Markov
from ddco_jax.plasma.fields import poisson_field
from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.plasma.state import State
from ddco_jax.settings import ConfigError
from ddco_jax.simulation.config import Config
from ddco_jax.simulation.run import build
from ddco_jax.steppers import MidpointCollision
from ddco_jax.velocity.cell import FLOOR

RESOLVED = 0.7
"""Largest dv over thermal width for which the starts count as resolved."""
WIDE_ENOUGH = 5.5
"""Smallest half extent over thermal speed."""
AGES = 13
"""Ages of the correlations at which a quench's rates are looked at."""


def streaming_number(grid: PhaseGrid, dt: float) -> float:
    """max |vx| dt/dx; at most 1 (the paper's CFL condition)."""
    return float(np.max(np.abs(grid.vx))) * dt / grid.dx if grid.nx > 1 else 0.0


def acceleration_number(grid: PhaseGrid, electric_field, dt: float) -> float:
    """max |E| dt/dvx; at most 1."""
    return float(np.max(np.abs(np.asarray(electric_field)))) * dt / grid.dv[0]


def collision_number(step: MidpointCollision, f, dt: float, duration: float = 0.0) -> float:
    """dt/2 max_v k sum_a A_aa(v)/dv_a^2 of a substep, at most 1 for the explicit midpoint step of length dt.

    A is the diffusion tensor.  k sum A_aa/dv_a^2 bounds the eigenvalues of D+ A D-, k being that of the differences;
    the maximum is taken over all velocities where f counts as different from zero, in every cell, and where
    correlations build up over the ages that they have within a quench of that `duration`: rates pass their kinetic
    values, and at first there is the microfield.  NaN where the operator gives one.
    """
    f, differences = jnp.asarray(f), step.op.differences
    op = CollisionOperator(step.op.grid, step.op.kernel)  # by transforms, also where the run takes the double sum
    density = jnp.sum(f, (1, 2, 3)) * op.grid.dv3
    last = step.scales.plasma_frequency(density) * duration
    ages = [None] if isinstance(step.buildup, Markov) else [share * last for share in np.linspace(0, 1, AGES)]
    zero = jnp.zeros((), f.dtype)
    counts = ~(f <= FLOOR * jnp.max(f, (1, 2, 3), keepdims=True))  # NaN counts
    squares = jnp.asarray(op.grid.dv, f.dtype)[:, None, None, None] ** 2

    @eqx.filter_jit
    def largest(op, now):
        return jnp.max(jnp.where(counts, jnp.sum(op.diffusion(f, now) / squares, 1), 0))

    records = [step.correlations(State(f, jnp.zeros_like(density), age, zero)) for age in ages]
    A = np.array([float(largest(op, now)) for now in records])
    return float(dt / step.substeps / 2 * differences.largest_eigenvalue * np.max(A))


@dataclasses.dataclass(frozen=True)
class Memory:
    """Estimates in bytes."""

    distribution: int
    """f itself."""
    transforms: int
    """The collision operator's transforms, kernel spectra and fields of the cells evaluated together."""
    run: int
    """A run: f, its stages, and the transforms of the cells evaluated together."""
    gradient: int
    """Reverse-mode gradient through the whole run: the stored states of the checkpointed scan on top of that."""


def memory(grid: PhaseGrid, op: CollisionOperator | None, itemsize: int, n_steps: int) -> Memory:
    """Memory that a run and a gradient through it need, estimated from the arrays that are alive at once."""
    f = math.prod(grid.shape) * itemsize
    transforms = 0
    if op is not None:
        cell = math.prod(grid.nv) * itemsize
        arrays = arrays_at_once(op.kernel.separable(1.0, 1.0))
        transforms = min(op.cells_at_once, grid.nx) * cell * arrays
    run = 5 * f + transforms
    inner = max(1, math.isqrt(n_steps))
    return Memory(f, transforms, run, run + 3 * transforms + (n_steps // inner + inner + 6) * f)


def thermal_widths(grid: PhaseGrid, f: np.ndarray) -> np.ndarray:
    """Width of the narrowest feature of f along each axis and cell, (nx, 3), V0.

    Taken from the curvature of log f at the peak of the marginal: for a normal it is its standard deviation, for a
    double well that of the narrower well.
    """
    widths = np.empty((grid.nx, 3))
    for axis, dv in enumerate(grid.dv):
        marginal = f.sum(tuple(a for a in (1, 2, 3) if a != axis + 1))
        with np.errstate(divide="ignore"):
            log = np.log(np.maximum(marginal, marginal.max(1, keepdims=True) * 1e-6))
        curvature = -(log[:, 2:] - 2 * log[:, 1:-1] + log[:, :-2]) / dv**2
        significant = marginal[:, 1:-1] > 0.1 * marginal.max(1, keepdims=True)
        widths[:, axis] = np.maximum(np.max(np.where(significant, curvature, 0), 1), 1e-12) ** -0.5
    return widths


def check_report(config: Config) -> dict[str, Any]:
    """Stability numbers (each must be at most 1), coupling, resolution and memory.  Raises ConfigError."""
    model = build(config)
    grid, dt, scales = model.grid, model.dt, config.scales
    f = config.build_distribution(grid)
    density = f.sum((1, 2, 3)) * grid.dv3
    T = config.temperature(grid)
    collision = model.stepper.collision
    op = None if collision is None else collision.op
    sampled = _representative_cells(T)
    number = 0.0
    if collision is not None:
        gamma = scales.coupling_parameter(density, T)
        if (
            config.collisions.kernel == "landau-classical"
            and config.collisions.prefactor is None
            and gamma.max() > 0.69
        ):
            raise ConfigError(
                f"collisions.kernel: the classical Coulomb logarithm is not positive at Gamma = {gamma.max():.2f}; "
                'use kernel = "landau"'
            )
        number = collision_number(collision, f[sampled].astype(model.dtype), dt, config.time.steps * dt)
    E = np.zeros(grid.nx) if config.field == "none" else np.asarray(poisson_field(grid, jnp.asarray(density), scales))
    widths = thermal_widths(grid, f)
    needed = memory(grid, op, model.dtype.itemsize, config.time.steps)
    thermal = np.sqrt(_axis_temperatures(grid, f))
    hottest = np.maximum(thermal.max(0), np.sqrt(np.max(T)))
    return {
        "grid": list(grid.shape),
        "points": int(np.prod(grid.shape)),
        "time_step_t0": dt,
        "steps": config.time.steps,
        "coupling_parameter": [float(g) for g in _span(scales.coupling_parameter(density, T))],
        "streaming_number": streaming_number(grid, dt),
        "acceleration_number": acceleration_number(grid, E, dt),
        "collision_number": number,
        "extent_over_thermal_speed": [float(x) for x in np.asarray(grid.v_max) / hottest],
        "spacing_over_thermal_width": [float(x) for x in np.asarray(grid.dv) / widths.min(0)],
        "resolved": bool(np.all(np.asarray(grid.dv) / widths.min(0) <= RESOLVED * 1.02)),
        "memory_distribution_bytes": needed.distribution,
        "memory_transforms_bytes": needed.transforms,
        "memory_run_bytes": needed.run,
        "memory_gradient_bytes": needed.gradient,
    }


def refuse(report: dict[str, Any]) -> None:
    """Raise ConfigError where a stability number is beyond its limit; the message gives the largest step."""
    limits = {
        "streaming_number": "CFL: max|vx| dt/dx",
        "acceleration_number": "CFL: max|E| dt/dvx",
        "collision_number": "collision stability: dt/2 max k sum A_aa/dv_a^2",
    }
    for key, what in limits.items():
        if not report[key] <= 1:
            if math.isnan(report[key]):
                raise ConfigError(f"{what} is not a number; is f resolved, and the kernel made for this Gamma?")
            largest = report["time_step_t0"] / report[key]
            raise ConfigError(f"time.step_ps: {what} = {report[key]:.2f} exceeds 1; take at most {largest:.3g} t0")


def _representative_cells(temperature: np.ndarray) -> np.ndarray:
    """The coldest, the middle and the hottest cell: diffusion is monotone in temperature between them."""
    order = np.argsort(temperature)
    return np.unique(order[[0, len(order) // 2, -1]])


def _axis_temperatures(grid, f: np.ndarray) -> np.ndarray:
    """<(v_a - v-bar_a)^2> per cell and axis, (nx, 3)."""
    out = []
    for axis, v in enumerate(grid.velocities):
        marginal = f.sum(tuple(a for a in (1, 2, 3) if a != axis + 1))
        weight = marginal.sum(1)
        mean = marginal @ v / weight
        out.append(marginal @ v**2 / weight - mean**2)
    return np.stack(out, 1)


def _span(values) -> tuple[float, float]:
    return np.min(values), np.max(values)
