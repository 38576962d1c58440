"""Run-time checks of the state; the error message names field, step and cell."""

import numpy as np

from ddco_jax.plasma.state import State
from ddco_jax.settings import RunFailed

NEGATIVE_MASS_LIMIT = 1e-3
"""Ratio of negative mass to total mass above which a run fails."""


def check(state: State, history: dict[str, np.ndarray], first_step: int) -> None:
    """Raise RunFailed where a collision step did not finish, the state is not finite or f is too negative.

    `history` holds the rows from `first_step` on.
    """
    lost = np.flatnonzero(history["unfinished"] > 0)
    if lost.size:
        raise RunFailed(
            f"step {first_step + int(lost[0])}: the collision step of a cell needs more than the largest number of "
            "sub-steps; lower time.step_ps, or raise grid.nv where f is under-resolved (`ddco check`)"
        )
    totals = history["total_energy"] + history["mass"]
    bad = np.flatnonzero(~np.isfinite(totals))
    if bad.size or not np.all(np.isfinite(totals)):
        raise RunFailed(_locate(state, first_step + int(bad[0])))
    share = history["negative_mass"] / history["mass"]
    worst = int(np.argmax(share))
    if share[worst] > NEGATIVE_MASS_LIMIT:
        raise RunFailed(
            f"step {first_step + worst}: f lost positivity, negative mass is {share[worst]:.1e} of the total; "
            "lower time.step_ps or raise grid.nv"
        )


def _locate(state: State, step: int) -> str:
    fields = {"electric_field": state.electric_field, "f": state.f}
    for name, values in fields.items():
        where = np.argwhere(~np.isfinite(np.asarray(values)))
        if where.size:
            cell = ", ".join(str(int(i)) for i in where[0])
            axes = "x, vx, vy, vz" if name == "f" else "x"
            return f"step {step}: {name} is not finite at cell ({cell}) of ({axes}); lower time.step_ps"
    return f"step {step}: the invariants are not finite; lower time.step_ps"
