"""Checks of the state, at the start and during a run; the error message names field, step and cell."""

from collections.abc import Callable, Mapping

import jax
import numpy as np

from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.plasma.invariants import Invariants, compute_invariants
from ddco_jax.plasma.state import State
from ddco_jax.plasma.units import Scales
from ddco_jax.settings import ConfigError, RunFailed
from ddco_jax.simulation.config import Config

NEGATIVE_MASS_LIMIT = 1e-3
"""Ratio of negative mass to total mass above which a run fails."""
EDGE = 1e-4
"""f at the edge of the velocity box, relative to its maximum, above which the box is too small: that of a Maxwellian at
4.3 thermal speeds."""
GROWN = 3.0
"""What is at the edge from the start is said by the notes of the check, until it has grown by this factor."""


def start(grid: PhaseGrid, state: State, scales: Scales) -> Invariants:
    """The invariants at t = 0.  Raises ConfigError where one is not finite, so that no run begins with such a state."""
    first = jax.jit(lambda s: compute_invariants(grid, s, scales))(state)
    if bad := [name for name, value in vars(first).items() if not np.all(np.isfinite(value))]:
        raise ConfigError(
            f"initial: {', '.join(bad[:3])} of the start are not finite in {state.f.dtype}: f is too large; lower "
            'plasma.density_m3 or the values of initial.file, or set precision = "float64"'
        )
    return first


def check(after: Callable[[int], State], history: dict[str, np.ndarray], first_step: int) -> None:
    """Raise RunFailed where a collision step did not finish, the state is not finite or f is too negative.

    `history` holds the rows from `first_step` on.  `after(n)` repeats the first n of these steps and returns the state,
    from which the message takes the cell.
    """
    lost = np.flatnonzero(history["unfinished"] > 0)
    if lost.size:
        x = _first(~np.isfinite(np.asarray(after(int(lost[0]) + 1).f)))[0]
        raise RunFailed(
            f"step {first_step + int(lost[0])}: the collision step of x cell {x} needs more than the largest number of "
            "sub-steps; lower time.step_ps, or raise grid.nv where f is under-resolved (`ddco check`)"
        )
    totals = history["total_energy"] + history["mass"]
    bad = np.flatnonzero(~np.isfinite(totals))
    if bad.size:
        step = int(bad[0])
        raise RunFailed(f"step {first_step + step}: {_origin(after(step), after(step + 1))}; lower time.step_ps")
    share = history["negative_mass"] / history["mass"]
    negative = np.flatnonzero(share > NEGATIVE_MASS_LIMIT)
    if negative.size:
        step = int(negative[0])
        f = np.asarray(after(step + 1).f)
        place = _words(np.unravel_index(np.argmin(f), f.shape))
        raise RunFailed(
            f"step {first_step + step}: f lost positivity, negative mass is {share[step]:.1e} of the total, the "
            f"lowest f at {place}; lower time.step_ps or raise grid.nv"
        )


class Edges:
    """Notes of a run where f reaches the edge of the velocity box, one for each axis."""

    def __init__(self, config: Config, start: Mapping[str, np.ndarray]) -> None:
        """`start` holds the first row of the history, without `velocity_edge` where version 0.1 has begun the run."""
        self._start, self._extent = start.get("velocity_edge", np.zeros(3)), config.grid.velocity_extent_m_s
        self._noted: set[int] = set()

    def __call__(self, history: Mapping[str, np.ndarray], first_step: int) -> list[str]:
        """The notes on rows of the history from `first_step` on."""
        now, found = history["velocity_edge"], []
        for axis in range(3):
            over = np.flatnonzero(beyond(now[:, axis], self._start[axis]))
            if over.size and axis not in self._noted:
                self._noted.add(axis)
                found.append(
                    f"step {first_step + int(over[0])}: f has reached the edge of the velocity box along "
                    f"v{'xyz'[axis]}, where it is {now[over[0], axis]:.1e} of its maximum ({self._start[axis]:.1e} "
                    f"at the start); raise grid.velocity_extent_m_s above {self._extent[axis]:g} there, and "
                    "grid.nv as much"
                )
        return found


def beyond(edge: np.ndarray, start: np.ndarray | np.floating) -> np.ndarray:
    """Where `velocity_edge` of a history says that the velocity box has become too small; `start` is that at t = 0."""
    return edge > np.maximum(EDGE, GROWN * np.asarray(start))


def _origin(before: State, state: State) -> str:
    """Where a state ceased to be finite in one step."""
    f, E = np.asarray(state.f), np.asarray(state.electric_field)
    bad = ~np.isfinite(f)
    if not bad.any():
        if not np.isfinite(E).all():
            return f"electric_field is not finite at {_words(np.argwhere(~np.isfinite(E))[0])}"
        return (
            f"the invariants overflow, the largest |f| is at {_words(np.unravel_index(np.argmax(np.abs(f)), f.shape))}"
        )
    if bad.all((1, 2, 3)).any():  # one step spread it over all velocities of a cell: name the largest f before the step
        x = int(np.argmax(bad.all((1, 2, 3))))
        last = np.abs(np.asarray(before.f)[x])
        cell = (x, *np.unravel_index(np.argmax(last), last.shape))
        return f"f is not finite in all of {_words(cell[:1])}, its largest value before the step was at {_words(cell)}"
    return f"f is not finite at {_words(_first(np.isinf(f) if np.isinf(f).any() else bad))}"


def _first(bad: np.ndarray) -> np.ndarray:
    """The first bad point in the cell along x that has most of them, (4,)."""
    x = int(np.argmax(bad.sum((1, 2, 3))))
    points = np.argwhere(bad[x])
    return np.array([x, *(points[0] if len(points) else (0, 0, 0))])


def _words(cell: tuple | np.ndarray) -> str:
    x, *v = (int(i) for i in cell)
    return f"x cell {x}" + (f", velocity cell ({', '.join(map(str, v))})" if v else "")
