"""Notes on a run that passes its checks, one line each: resolution, Gamma, positivity, recurrence, build-up."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ddco_jax.correlations.functions import GAMMA_RANGE
from ddco_jax.kernels import store
from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.simulation.components import Components
from ddco_jax.simulation.config import Config
from ddco_jax.simulation.survey import Survey
from ddco_jax.velocity.differences import DIFFERENCES, MOST_GROWN, Differences

RESOLVED, RESOLVED_BY_HIGH_ORDER = 0.7, 1.0
"""Largest ratio of dv to the width of the narrowest feature at which an initial state counts as resolved: for low-order
differences, and for the ratio form of order 6 or 8.  At order 8 with Landau's kernel, the error of f(vx, vy) of the
asymmetric double well (Gamma = 1.3, 0.4 t0) is 0.005 at a ratio of 1.1 and 0.013 at 1.3."""
WIDE_ENOUGH = 5.5
"""Smallest recommended half extent of the velocity box, thermal speeds."""
SHORT_BOX = "the box"
"""How the note on a box that is too short begins."""
ROUNDED = 1e-3
"""Mean drift over the largest that counts as none."""
LONG_CELL = 20
"""Mean free paths, or Debye lengths without collisions, in a cell along x above which a note says that it is long."""
LEARNED_RANGE = (0.05, 3.0)
"""Range of Gamma in the training data of the shipped kernels."""
UNLIKE = 0.3
"""Ratio of the temperature of the narrowest part of f to that of all of f, below which a note says that this part is
more strongly coupled."""


def resolved_spacing(config: Config) -> float:
    """Largest ratio of dv to the width of the narrowest feature that the scheme of a config resolves."""
    c = config.collisions
    high = c.kernel == "none" or (c.force == "ratio" and c.differences in ("sixth", "eighth"))
    return RESOLVED_BY_HIGH_ORDER if high else RESOLVED


def notes(config: Config, grid: PhaseGrid, start: Survey, report: dict[str, Any]) -> list[str]:
    """All notes on a run, from its config, its initial state and the numbers of its check `report`."""
    found = []
    if not report["resolved"]:
        least = 1 / resolved_spacing(config)
        found.append(
            f"under-resolved: the narrowest feature of the initial f has a width below {least:.2g} dv; raise grid.nv"
        )
    found += [
        *_extent(config, start, report["extent_over_thermal_speed"]),
        *_box(config, grid, start),
        *_cells(config, grid, report.get("plasma", {})),
        *_current(config),
    ]
    if config.collisions.kernel not in ("none", *store.NAMED):
        found += [*_gamma(*report["coupling_parameter"]), *_parts(start)]
    return [*found, *_positivity(config, report), *_recurrence(config, grid, start, report), *_buildup(config)]


def _extent(config: Config, start: Survey, extents: Sequence[float]) -> list[str]:
    """A note where the velocity box cuts a Maxwellian of the spread of f, which collisions would make of f.

    Without collisions the dynamics is in vx alone, and beams stay beams: the box may be as narrow as f(vx) is.
    """
    collides, limit = config.collisions.kernel != "none", WIDE_ENOUGH * 0.98
    reached = min(extents[: 3 if collides else 1])
    cut = collides or max(cell.edge for cell in start.cells) > math.exp(-(limit**2) / 2)
    if reached >= limit or not cut:
        return []
    half = [v * max(1, WIDE_ENOUGH / e) for v, e in zip(config.grid.velocity_extent_m_s, extents, strict=True)]
    wanted = ", ".join(f"{float(f'{v:.3g}'):g}" for v in half)
    return [
        f"the velocity box reaches {reached:.3g} standard deviations of f in the hottest cell (drifts of components "
        f"included); set grid.velocity_extent_m_s = [{wanted}] to reach {WIDE_ENOUGH:g}"
    ]


def _box(config: Config, grid: PhaseGrid, start: Survey) -> list[str]:
    """A note where the box is shorter than the distance between particles; a single cell stands for any length."""
    distance = config.scales.particle_distance(float(np.mean(start.density)))
    if grid.nx == 1 or grid.length >= distance:
        return []
    metres, key = config.scales.length, "length_m" if config.grid.length_m is not None else "length_angstrom"
    return [
        f"{SHORT_BOX}, {grid.length * metres:.3g} m, is shorter than the distance between particles, "
        f"a = {distance * metres:.3g} m; is grid.{key} or plasma.density_m3 wrong?"
    ]


def _cells(config: Config, grid: PhaseGrid, plasma: dict[str, Any]) -> list[str]:
    """A note where a cell is far longer than the mean free path, or without collisions than the Debye length.

    It needs the parameters of the `plasma`.
    """
    if grid.nx == 1 or not plasma:
        return []
    collides = config.collisions.kernel != "none"
    longest = plasma["mean_free_path" if collides else "debye_length"]["code"][1]
    if grid.dx <= LONG_CELL * longest or (not collides and config.field == "none"):
        return []
    what = (
        "mean free paths long: f is nearly a Maxwellian in every cell, the plasma is hydrodynamic, and steep gradients"
        if collides
        else "Debye lengths long: charge separation and Landau damping"
    )
    return [
        f"a cell along x, {grid.dx * config.scales.length:.3g} m, is {grid.dx / longest:,.0f} {what} are not resolved; "
        "is grid.length_m too large, or grid.nx too small?"
    ]


def _current(config: Config) -> list[str]:
    """A note where the components have a mean drift along x, in the field of Ampere's law."""
    if config.field != "ampere" or not isinstance(config.initial, Components):
        return []
    parts = config.initial.component
    drift, largest = math.fsum(p.fraction * p.drift_m_s[0] for p in parts), max(abs(p.drift_m_s[0]) for p in parts)
    if abs(drift) <= ROUNDED * largest:
        return []
    return [
        f"the components have a mean drift of {drift:.3g} m/s along x, a current: its field oscillates with omega_p "
        "and changes the momentum; a drift in which the others move against it has none"
    ]


def _gamma(low: float, high: float) -> list[str]:
    """A note where Gamma is outside the training range of the learned kernels."""
    first, last = LEARNED_RANGE
    found = f"Gamma = {low:.3g} ... {high:.3g}, but the kernel was learned at {first:g} ... {last:g}"
    if low < GAMMA_RANGE[0] or high > GAMMA_RANGE[1]:
        return [f"{found}; beyond {GAMMA_RANGE[0]:g} ... {GAMMA_RANGE[1]:g} it has the parameters of the nearer end"]
    if low < first * 0.999 or high > last * 1.001:
        return [f"{found}; beyond this range it is extrapolated"]
    return []


def _parts(start: Survey) -> list[str]:
    """A note where a beam or well is much colder than all of f, whose temperature sets the Gamma of the kernel."""
    ratio = min(float(np.min(c.widths)) ** 2 / c.temperature for c in start.cells)
    if ratio >= UNLIKE:
        return []
    return [
        f"the narrowest beam or well has {ratio:.2g} times the temperature of all of f; the kernel is evaluated at the "
        f"Gamma of all of f, and the Gamma of that part is up to {1 / ratio:.2g} times as large"
    ]


def _positivity(config: Config, report: dict[str, Any]) -> list[str]:
    """A note where advection may make f negative; with collisions an advection step is half a time step.

    There is no note where the step is refused because of one of the two numbers.
    """
    if max(report["streaming_number"], report["acceleration_number"]) > 1:
        return []
    steps = 1 if config.collisions.kernel == "none" else 2
    total = (report["streaming_number"] + report["acceleration_number"]) / steps
    if config.x_flux != "weno5" or total <= 1:
        return []
    return [
        f"max|vx| dt/dx + max|E| dt/dvx = {total:.2f} in an advection step exceeds 1: f may turn negative; "
        "lower time.step_ps"
    ]


def _recurrence(config: Config, grid: PhaseGrid, start: Survey, report: dict[str, Any]) -> list[str]:
    """A note where the run is longer than the recurrence time 2 pi/(k dvx) of free streaming on the velocity grid.

    There is no note where collisions prevent it: diffusion A damps a mode of wave number k by exp(-A k^2 t^3/3).
    """
    back, duration = grid.length / grid.dv[0], config.time.steps * config.dt
    if grid.nx == 1 or duration <= back:
        return []
    if report["stiffness"] > 0:
        c = config.collisions
        k = Differences(grid, DIFFERENCES[c.differences], c.force == "ratio").largest_eigenvalue * MOST_GROWN
        diffusion = report["stiffness"] / k / sum(1 / dv**2 for dv in grid.dv)  # lower estimate of A_xx
        if diffusion * (2 * math.pi / grid.dv[0]) ** 2 * back / 3 > 1:
            return []
    picoseconds = config.scales.time * 1e12
    return [
        f"the run is longer than the recurrence time 2 pi/(k dvx) = {back * picoseconds:.3g} ps of free streaming "
        "(k = 2 pi/length), and collisions are too weak to prevent it; raise grid.nv along vx"
    ]


def _buildup(config: Config) -> list[str]:
    """A note on what buildup = "auto" has chosen, and why."""
    if config.collisions.kernel == "none" or config.collisions.buildup != "auto":
        return []
    kind = config.initial.kind
    if config.correlations == "quench":
        start = "a sum of components" if kind == "components" else f'initial.kind = "{kind}"'
        because = f"{start} is no equilibrium"
        return [f'collisions.buildup = "auto" means "quench": correlations build up from t = 0, because {because}']
    why = {
        "maxwellian": "a Maxwellian is an equilibrium",
        "components": "one Maxwellian is an equilibrium",
        "bkw": "the BKW solution holds for collisions without memory",
        "array": "nothing is known of the age of an array",
    }[kind]
    return [f'collisions.buildup = "auto" means "aged": correlations are fully developed at t = 0, because {why}']
