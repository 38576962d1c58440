"""Checks of a run before it starts: CFL numbers, collision stability, resolution, memory, time."""

import dataclasses
import math
import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from ddco_jax.collisions import CollisionOperator
from ddco_jax.collisions.spectral import arrays_at_once
from ddco_jax.plasma.fields import poisson_field
from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.settings import ConfigError
from ddco_jax.simulation import notes
from ddco_jax.simulation.config import Config
from ddco_jax.simulation.cost import step_seconds
from ddco_jax.simulation.devices import require_cells
from ddco_jax.simulation.model import build
from ddco_jax.simulation.parameters import choices, parameters
from ddco_jax.simulation.stiffness import choose_stages, plain, stiffness
from ddco_jax.simulation.survey import Survey, survey
from ddco_jax.steppers.collision import CollisionStep, MidpointCollision, stability_interval

MOST_PARTS = 8
"""Largest number of parts per Chebyshev step that the check accepts; a run fails at `steppers.collision.PARTS`."""


def streaming_number(grid: PhaseGrid, dt: float) -> float:
    """max |vx| dt/dx, at most 1 in a stable run (the paper's CFL condition); 0 for a single cell."""
    return float(np.max(np.abs(grid.vx))) * dt / grid.dx if grid.nx > 1 else 0.0


def acceleration_number(grid: PhaseGrid, electric_field: ArrayLike, dt: float) -> float:
    """max |E| dt/dvx, at most 1 in a stable run."""
    return float(np.max(np.abs(np.asarray(electric_field)))) * dt / grid.dv[0]


@dataclasses.dataclass(frozen=True)
class CollisionStability:
    """Stability of the collision step for the stiffness of the initial state."""

    stiffness: float
    """1/t0, as estimated by `stiffness`."""
    stages: int | None
    """Stages of a Chebyshev step, configured or chosen; None for the midpoint rule."""
    parts: int
    """Substeps of the midpoint rule, or parts (a power of two) into which a Chebyshev step is divided at t = 0."""
    number: float
    """Length of a part over the longest stable one; stable up to 1."""


def collision_stability(step: CollisionStep, stiff: float, dt: float, stages: int | None) -> CollisionStability:
    """Stability of a step of length dt (t0) at stiffness `stiff` (1/t0).

    Where `stages` is None, the stages of the Chebyshev rule are chosen (`choose_stages`).
    """
    if isinstance(step, MidpointCollision):
        return CollisionStability(stiff, None, step.substeps, dt / step.substeps / 2 * stiff)
    stages = choose_stages(dt * stiff) if stages is None else stages
    excess = dt * stiff / stability_interval(stages)
    if not math.isfinite(excess):
        return CollisionStability(stiff, stages, 1, math.nan)
    parts = 2 ** max(0, math.ceil(math.log2(excess))) if excess > 0 else 1  # the stepper halves repeatedly
    return CollisionStability(stiff, stages, parts, excess / parts)


@dataclasses.dataclass(frozen=True)
class Memory:
    """Estimated memory of a run, bytes."""

    distribution: int
    """f itself."""
    transforms: int
    """Transforms, kernel spectra and fields of the collision operator, for the cells evaluated together."""
    run: int
    """A run: the states, plus the larger of the transport arrays and of `transforms`."""
    gradient: int
    """Reverse-mode gradient through the whole run, including the stored states of the checkpointed scan."""


CELL_ARRAYS = 6
"""Arrays of the size of one cell that the check makes (measured)."""
TRANSPORT_ARRAYS = {"upwind": (4, 7), "weno5": (16, 48)}
"""Arrays of the size of f that XLA keeps besides the states: for a transport step, for its gradient (measured)."""


def memory(grid: PhaseGrid, op: CollisionOperator | None, itemsize: int, n_steps: int, x_flux: str = "weno5") -> Memory:
    """Estimate the memory of a run, and of a gradient through it, from the arrays that exist at the same time.

    `itemsize` is the size of one value, bytes.
    """
    f = math.prod(grid.shape) * itemsize
    transforms = 0
    if op is not None:
        cell = math.prod(grid.nv) * itemsize
        arrays = arrays_at_once(op.kernel.separable(1.0, 1.0))
        transforms = min(op.cells_at_once, grid.nx) * cell * arrays
    forward, backward = TRANSPORT_ARRAYS[x_flux]
    run = 5 * f + max(forward * f, transforms)
    inner = max(1, math.isqrt(n_steps))
    return Memory(f, transforms, run, (n_steps // inner + inner + 6 + backward) * f + 3 * transforms)


def check_report(config: Config, *, plasma: bool = False, devices: int = 1) -> dict[str, Any]:
    """Stability numbers, coupling, resolution, memory and notes; `refuse` applies the limits.  Raises ConfigError.

    With `plasma`, also the parameters of the plasma, of which the collision time takes seconds to compile, what the
    config chooses (`parameters`), and the expected time of a step on this machine, without compilation (`cost`).  f is
    evaluated one cell at a time, for a few representative cells (for all cells of an array): this takes seconds and
    some hundred MiB on any grid.  Memory and time are those of each of `devices` over which the cells are divided,
    without their exchanges.
    """
    refuse_size(config)
    model = build(config)
    grid, dt, collision = model.grid, model.dt, model.stepper.collision
    require_cells(grid, devices)
    start = survey(config, grid)
    gamma = _coupling(config, start)
    stability = CollisionStability(0.0, None, 1, 0.0)
    if collision is not None:
        stiff = stiffness(start, collision, config.time.steps * dt)
        stability = collision_stability(collision, stiff, dt, config.collisions.stages)
    E = np.zeros(grid.nx)
    if config.field != "none":
        E = np.asarray(poisson_field(grid, jnp.asarray(start.density), config.scales))
    op = None if collision is None else collision.op
    part = dataclasses.replace(grid, nx=-(-grid.nx // devices))  # of the device with most cells
    needed = memory(part, op, model.dtype.itemsize, config.time.steps, config.x_flux)
    thermal = np.sqrt([np.maximum(c.axis_temperatures, c.temperature) for c in start.cells]).max(0)
    spacing = np.asarray(grid.dv) / np.min([c.widths for c in start.cells], 0)
    resolved = notes.resolved_spacing(config)
    report = {
        "grid": list(grid.shape),
        "points": int(np.prod(grid.shape)),
        "devices": devices,
        "time_step_t0": dt,
        "time_step_ps": config.time.step_ps,
        "steps": config.time.steps,
        "coupling_parameter": [float(gamma.min()), float(gamma.max())],
        "streaming_number": streaming_number(grid, dt),
        "acceleration_number": acceleration_number(grid, E, dt),
        "collision_number": stability.number,
        "stiffness": stability.stiffness,
        "stages": stability.stages,
        "parts": stability.parts,
        "extent_over_thermal_speed": [float(x) for x in np.asarray(grid.v_max) / thermal],
        "resolved_spacing": resolved,
        "spacing_over_thermal_width": [float(x) for x in spacing],
        "resolved": bool(np.all(spacing[: 1 if collision is None else 3] <= resolved * 1.02)),
        "memory_distribution_bytes": needed.distribution,
        "memory_transforms_bytes": needed.transforms,
        "memory_run_bytes": needed.run,
        "memory_gradient_bytes": needed.gradient,
    }
    if plasma:
        kernel = None if op is None else plain(op.kernel)
        report |= {"plasma": parameters(config, grid, start, kernel), "choices": choices(config)}
        evaluations = stability.parts * (stability.stages or 2)
        filled = [c.filled for c in start.cells]
        report["seconds_per_step"] = step_seconds(part, collision, evaluations, model.dtype, config.x_flux, filled)
    return report | {"notes": notes.notes(config, grid, start, report)}


def _coupling(config: Config, start: Survey) -> np.ndarray:
    """Gamma of the surveyed cells.  Raises ConfigError where the classical Coulomb logarithm is not positive."""
    gamma = np.array([config.scales.coupling_parameter(c.density, c.temperature) for c in start.cells])
    c = config.collisions
    if c.kernel == "landau-classical" and c.prefactor is None and gamma.max() > 0.69:
        raise ConfigError(
            f"collisions.kernel: the classical Coulomb logarithm is not positive at Gamma = {gamma.max():.2f}; "
            'use kernel = "landau"'
        )
    return gamma


def refuse_size(config: Config) -> None:
    """Raise ConfigError where not even the check of a config fits into the memory of this machine."""
    cell, nx = 8 * math.prod(config.grid.nv), config.grid.nx
    needed = CELL_ARRAYS * cell + CELL_ARRAYS * 8 * (nx + sum(config.grid.nv))
    if needed > (present := present_memory()):
        key = "grid.nv" if cell > 8 * nx else "grid.nx"
        raise ConfigError(f"{key}: {_gigabytes(needed, present)} for one cell of f alone; take fewer points")


def present_memory() -> int:
    """Memory of this machine, bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _gigabytes(needed: int, present: int) -> str:
    return f"the grid needs {needed / 2**30:,.1f} GiB of memory, this machine has {present / 2**30:,.1f} GiB,"


def refuse(report: dict[str, Any]) -> None:
    """Raise ConfigError where a stability number exceeds its limit.

    The message states the number that exceeds its limit most, and the largest time step (ps) that meets all limits; or,
    where cells are crossed too fast and the box is shorter than the distance of particles, that.
    """
    limits = {
        "streaming_number": "CFL: max|vx| dt/dx",
        "acceleration_number": "CFL: max|E| dt/dvx",
        "collision_number": "collision stability: dt/2 times the largest rate of diffusion on the velocity grid",
    }
    if bad := [what for key, what in limits.items() if math.isnan(report[key])]:
        raise ConfigError(f"{bad[0]} is not a number; raise grid.nv, or choose a kernel for this Gamma")
    excess = {key: report[key] for key in limits}
    if report["stages"] is not None:  # parts is a power of two, of which the collision number does not fill the last
        excess["parts"] = report["parts"] * report["collision_number"] / MOST_PARTS
    worst, number = max(excess.items(), key=lambda item: item[1])
    if number <= 1:
        return
    remedy = f"take at most {_rounded_down(report['time_step_ps'] / number):.3g} ps"
    if worst == "parts":
        raise ConfigError(
            f"time.step_ps: collision stability: {report['stages']} stages would divide each step into "
            f"{report['parts']} parts, more than {MOST_PARTS}; {remedy}, or more collisions.stages"
        )
    if worst == "streaming_number" and (short := [n for n in report.get("notes", ()) if n.startswith(notes.SHORT_BOX)]):
        raise ConfigError(short[0])
    more = ", or more collisions.substeps" if worst == "collision_number" else ""
    raise ConfigError(f"time.step_ps: {limits[worst]} = {number:.3f} exceeds 1; {remedy}{more}")


def _rounded_down(value: float) -> float:
    """The largest number of three digits that is not above a value; 0 for 0."""
    if value == 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(value)) - 2)
    return math.floor(value / unit) * unit


def refuse_memory(report: dict[str, Any]) -> None:
    """Raise ConfigError where a run does not fit into this machine, or, with an accelerator, f in double precision."""
    on_host = jax.default_backend() == "cpu"
    needed = report["memory_run_bytes"] if on_host else 2 * 8 * report["points"]
    if needed > (present := present_memory()):
        raise ConfigError(f"grid.nv: {_gigabytes(needed, present)} for a run; take fewer points or lower grid.nx")
