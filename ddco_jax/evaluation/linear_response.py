"""Relaxation after kicks, compared with MD: weak kicks, pairs of kicks, kicks of a relaxing plasma, second quenches.

The argument `verdict` is data/verdict.toml, parsed; its sections [response] and [kicks] give files, times and targets.
"""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from scipy.interpolate import make_interp_spline

from ddco_jax.collisions import CollisionOperator
from ddco_jax.correlations import AGED_AGE
from ddco_jax.correlations.model import Model
from ddco_jax.kernels.base import Kernel
from ddco_jax.kernels.linear_response import aged_response, response, tagged_response
from ddco_jax.kernels.store import load_kernel, load_law, load_model
from ddco_jax.learning.memory import normalised
from ddco_jax.md import green_kubo
from ddco_jax.md.dataset import open_dataset
from ddco_jax.plasma import starts
from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.plasma.state import State
from ddco_jax.plasma.units import PAPER
from ddco_jax.steppers import Strang

INTERVAL = 0.1
"""Interval (1/omega_p) of the times at which autocorrelations are compared, and time step of the prediction."""
EXTENT, POINTS, STEP = 6.4, 28, 0.05
"""Solver runs with kicks: half extent (thermal speeds), points per axis, time step (1/omega_p)."""
LEAST = 1e-10
"""Smallest f, relative to max f, when f is stretched: its logarithm is interpolated."""


@dataclasses.dataclass(frozen=True)
class Autocorrelation:
    """Autocorrelation functions of one equilibrium plasma at multiples of INTERVAL."""

    gamma: float
    time: np.ndarray
    """1/omega_p."""
    stress: np.ndarray
    """C_kk(t)/C_kk(0) of the kinetic stress."""
    stress_error: np.ndarray
    """Standard error of `stress`."""
    velocity: np.ndarray
    """<v(0).v(t)>/<v^2>."""


def autocorrelations(paths: Sequence[Path], last: float) -> list[Autocorrelation]:
    """Read the autocorrelations of MD files up to `last` (1/omega_p); runs of one Gamma are joined."""
    time = np.arange(round(last / INTERVAL) + 1) * INTERVAL
    found = []
    for data in green_kubo.group([open_dataset(path) for path in paths]):
        lag = data["lag"].to_numpy() * data.attrs["plasma_frequency"]
        columns = [*normalised(data["stress_kk"].to_numpy()), normalised(data["vacf"].to_numpy())[0]]
        values = [np.interp(time, lag, column) for column in columns]
        found.append(Autocorrelation(float(data.attrs["coupling_parameter"]), time, *values))
    return found


def weak_kicks(verdict: dict, name: str, data: Autocorrelation) -> dict[str, Any]:
    """Compare a kernel's response to weak kicks with the autocorrelations of one plasma.

    The row has the largest differences of the stress after one kick of a fresh and of an aged plasma, that of the
    velocity, the ratios of the viscosities eta(omega), and the largest differences of the response to two kicks from
    the sum of two responses.
    """
    section, steps = verdict["response"], len(data.time) - 1
    kernel, law = load_kernel(name), load_law(name)
    fresh = response(kernel, law, data.gamma, INTERVAL, steps)
    aged = aged_response(kernel, law, data.gamma, INTERVAL, steps)
    allowed = np.maximum(section["target_stress"], 2 * data.stress_error)
    early = data.time <= section["last_velocity_time"] + 1e-9
    row: dict[str, Any] = {"kernel": name, "gamma": round(data.gamma, 3), "time": data.time.round(3).tolist()}
    for kind, found in (("fresh", fresh), ("aged", aged)):
        off = np.asarray(found) - data.stress
        row[kind] = np.asarray(found).round(4).tolist()
        row[f"{kind}, largest difference"] = round(float(np.abs(off).max()), 4)
        row[f"{kind}, over what is allowed"] = round(float((np.abs(off) / allowed).max()), 3)
    row["md"], row["md_error"] = data.stress.round(4).tolist(), data.stress_error.round(4).tolist()
    for omega in section["frequencies"]:
        model, md = (viscosity(np.asarray(c), omega) for c in (aged, data.stress))
        row[f"eta({omega:g})/eta_md"] = round(float(abs(model) / abs(md)), 4)
    velocity = tagged_response(kernel, law, load_model(name).tagged, data.gamma, INTERVAL, steps)
    off = (np.asarray(velocity) - data.velocity)[early]
    row["velocity, largest difference"] = round(float(np.abs(off).max()), 4)
    for apart in section["apart"]:
        for size in (1.0, -1.0):
            row[f"kick of {size:g} after {apart:g}"] = two_kicks(kernel, law, data, apart, size)
    return row


def viscosity(stress: np.ndarray, omega: float) -> complex:
    """int C(t) exp(i omega t) dt (1/omega_p) of an autocorrelation at multiples of INTERVAL; omega in omega_p."""
    time = np.arange(len(stress)) * INTERVAL
    return complex(np.trapezoid(stress * np.exp(1j * omega * time), time))


def two_kicks(kernel: Kernel, law: Model, data: Autocorrelation, apart: float, size: float) -> float:
    """Largest difference of the response to two kicks from C(t + apart) + size C(t), in a fresh and an aged plasma.

    The first kick has size 1, the second `size`, `apart` (1/omega_p) later.
    """
    first, steps = round(apart / INTERVAL), len(data.time) - 1
    truth = data.stress[first:] + size * data.stress[: len(data.stress) - first]
    worst = 0.0
    for is_quench in (True, False):
        age = 0.0 if is_quench else AGED_AGE
        found = response(kernel, law, data.gamma, INTERVAL, steps, age, is_quench, (first, size))
        worst = max(worst, float(np.abs(np.asarray(found)[first + 1 :] - truth[1:]).max()))
    return round(worst, 4)


def kicked(name: str, path: Path) -> dict[str, Any]:
    """Anisotropy Tx - Tperp of a relaxing bi-Maxwellian with a kick, from the solver and from molecular dynamics.

    Differences are relative to the anisotropy just before or just after the kick, whichever is larger.
    """
    md = open_dataset(path).load()
    config = json.loads(md.attrs["config"])
    kick, gamma = config["kick"], float(md.attrs["coupling_parameter"])
    omega, at = float(md.attrs["plasma_frequency"]), float(kick["time_ps"])
    axis = md["temperature_axis"].mean("replicate").to_numpy()[:, 0]
    measured = axis[:, 0] - axis[:, 1:].mean(-1)
    error = (2 * axis[:, 0] ** 2 + axis[:, 1] * axis[:, 2]) ** 0.5 / md.attrs["particles"] ** 0.5
    times = md["t"].to_numpy()
    model = np.concatenate(list(_relaxing(name, gamma, config["start"]["anisotropy"], kick, times * omega, at * omega)))
    model = model * float(md.attrs["temperature"])
    after = times > at + 1e-6
    k = int(np.argmin(np.abs(times - at)))
    size = np.abs(measured[k - 1 : k + 1]).max()
    off = np.abs((model - measured)[after]) / size
    return {
        "kernel": name,
        "case": path.stem,
        "time": times.round(4).tolist(),
        "model": (model / measured[0]).round(5).tolist(),
        "md": (measured / measured[0]).round(5).tolist(),
        "md_error": np.abs(error / measured[0]).round(5).tolist(),
        "largest difference": round(float(off.max()), 4),
    }


def _relaxing(
    name: str, gamma: float, anisotropy: float, kick: dict, times: np.ndarray, at: float
) -> Iterator[np.ndarray]:
    """Yield (Tx - Tperp)/T at the `times` (1/omega_p) before the kick at `at`, then at those after it."""
    T = float(PAPER.coupling_parameter(1.0, 1.0)) / gamma
    omega = float(PAPER.plasma_frequency(1.0))
    grid = PhaseGrid(10.0, 1, v_max=(EXTENT * T**0.5,) * 3, nv=(POINTS,) * 3)
    stepper = Strang(grid, CollisionOperator(grid, load_kernel(name)), field="none", buildup=load_law(name))
    f = starts.bimaxwellian(grid, 1.0, T, anisotropy)
    state = State.from_distribution(grid, f, correlation_age=np.zeros(1))
    first = times < at - 1e-6
    found, state = _anisotropies(stepper, state, np.append(times[first], at) / omega)
    yield found[:-1] / T
    state = kicked_state(grid, state, kick, f)
    found, _ = _anisotropies(stepper, state, times[~first] / omega)
    yield found / T


def kicked_state(grid: PhaseGrid, state: State, kick: dict, start: ArrayLike) -> State:
    """The state just after a kick as [kick] of `ddco md` defines it; a redraw sets f to `start`."""
    if kick["kind"] == "redraw":
        return dataclasses.replace(state, f=jnp.asarray(start, state.f.dtype)).quenched(grid)
    if kick["kind"] == "swap":
        return state.kicked(jnp.swapaxes(state.f, 1, 2), np.eye(3)[[1, 0, 2]])
    f = np.asarray(state.f[0])
    axes = [(f.sum(tuple({0, 1, 2} - {a})) * v**2).sum() for a, v in enumerate(grid.velocities)]
    stretch = np.array([kick["factor"] ** 0.5, 1, 1])
    stretch = stretch * (sum(axes) / (stretch**2 * axes).sum()) ** 0.5
    log = np.log(np.maximum(f, LEAST * f.max()))
    for a, v in enumerate(grid.velocities):
        from_where = v / stretch[a]
        log = make_interp_spline(v, np.moveaxis(log, a, 0), k=3)(np.clip(from_where, v[0], v[-1]))
        log[np.abs(from_where) > v[-1]] = np.log(LEAST * f.max())  # f is negligible outside the box
        log = np.moveaxis(log, 0, a)
    moved = np.exp(log)
    return state.kicked((moved * f.sum() / moved.sum())[None], np.diag(stretch))


def _anisotropies(stepper: Strang, state: State, times: np.ndarray) -> tuple[np.ndarray, State]:
    """Tx - Tperp (V0^2) at the times (t0), and the last state; the given state is at the first time."""
    grid = stepper.grid
    step = jax.jit(lambda s, dt: stepper.step(s, dt))
    rows = []
    for k, time in enumerate(times):
        if k:
            gap = time - times[k - 1]
            n = max(1, round(gap * float(PAPER.plasma_frequency(1.0)) / STEP))
            for _ in range(n):
                state = step(state, gap / n)
        f = np.asarray(state.f[0])
        T = [(f.sum(tuple({0, 1, 2} - {a})) * v**2).sum() / f.sum() for a, v in enumerate(grid.velocities)]
        rows.append(T[0] - (T[1] + T[2]) / 2)
    return np.array(rows), state
