"""Equilibrium correlation functions of velocity, stress and displacement, block by block, and their dataset."""

import dataclasses
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import xarray as xr
from scipy import fft
from tqdm import tqdm

from ddco_jax.md import dump, lammps
from ddco_jax.md.lammps import System
from ddco_jax.plasma.files import complete

FORMAT = "ddco_jax MD correlation functions, version 1"
VIRIAL = "virial.txt"
UNITS = {
    "lag": "t0",
    "vacf": "V0^2",
    "msd": "L0^2",
    "stress_kk": "m0 V0^2/L0^3",
    "stress_kp": "m0 V0^2/L0^3",
    "stress_pp": "m0 V0^2/L0^3",
    "potential": "m0 V0^2 per particle",
    "energy": "m0 V0^2 per particle",
}


@dataclasses.dataclass(frozen=True)
class Plan:
    """How a trajectory is divided into blocks; code units."""

    system: System
    every: int
    """Steps between two samples."""
    dt: float
    frames: int
    """Samples in a block."""
    lags: int
    blocks: int
    temperature: float
    total_energy: float
    """Energy per particle, restored at the start of each block, because rare close encounters would heat a long run."""

    @property
    def interval(self) -> float:
        """Time between two samples, t0."""
        return self.every * self.dt


def run_blocks(plan: Plan, work: Path, start: Callable, show: bool) -> list[dict[str, np.ndarray]]:
    """Run the blocks not done yet, one LAMMPS process each; `start()` gives the first positions and velocities."""
    state = work / "state.bin"
    if not state.exists():
        _write_state(state, 0, plan.system, *start())
    done = len(list(work.glob("block_*.npz")))
    with tqdm(total=plan.blocks, initial=done, unit="block", desc="correlations", disable=not show) as bar:
        for b in range(done, plan.blocks):
            part, last = _run_block(plan, work / "block", state)
            v = with_energy(last.velocities, plan.total_energy - float(part["last_potential"]))
            with complete(work / f"block_{b:05d}.npz") as partial:
                with open(partial, "wb") as file:
                    np.savez(file, **part)  # type: ignore[arg-type]
                # the state first: in the other order a kill in between would make the next block a copy of this one
                _write_state(state, last.step, plan.system, last.positions, v)
            shutil.rmtree(work / "block")
            bar.update()
    return [dict(np.load(path)) for path in sorted(work.glob("block_*.npz"))]


def _run_block(plan: Plan, folder: Path, state: Path) -> tuple[dict[str, np.ndarray], dump.Frame]:
    shutil.rmtree(folder, ignore_errors=True)
    start = dump.read_frame(state)
    assert start is not None
    components = " ".join(f"c_virial[{i}]" for i in range(1, 7))
    fixes = (
        "compute virial all pressure NULL pair kspace",
        f'fix virial all ave/time {plan.every} 1 {plan.every} {components} file {VIRIAL} format " %.12g"',
    )
    segment = lammps.Segment(
        plan.system,
        state,
        start.step,
        plan.frames * plan.every,
        plan.dt,
        plan.every,
        fixes=fixes,
        single_file=True,
    )
    frames = list(lammps.run(segment, folder))
    times = {f.step: i for i, f in enumerate(frames)}
    virial = np.zeros((len(frames), 6))
    rows = np.loadtxt(folder / VIRIAL)
    virial[[times[int(s)] for s in rows[:, 0]]] = rows[:, 1:]
    lengths = np.array(plan.system.lengths)
    part = reduce_block(
        np.stack([f.positions for f in frames]),
        np.stack([f.velocities for f in frames]),
        plan.lags,
        lengths,
        plan.temperature,
        virial,
    )
    energies = lammps.thermo(folder / lammps.LOG)
    part["energy"] = energies[[0, -1], 3] / plan.system.particles
    part["last_potential"] = np.array(energies[-1, 1] / plan.system.particles)
    part["potential"] = np.array(energies[:, 1].mean() / plan.system.particles)
    return part, frames[-1]


def with_energy(velocities: np.ndarray, kinetic: float) -> np.ndarray:
    """Velocities (N, 3), V0, without drift and scaled to a kinetic energy per particle, m0 V0^2."""
    v = velocities - velocities.mean(0)
    return v * (2 * kinetic / np.einsum("na,na->n", v, v).mean()) ** 0.5


def _write_state(path: Path, step: int, system: System, positions: np.ndarray, velocities: np.ndarray) -> None:
    with complete(path) as partial:
        dump.write_frame(partial, step, system.lengths, positions, velocities)


def reduce_block(
    positions: np.ndarray,
    velocities: np.ndarray,
    lags: int,
    lengths: np.ndarray,
    temperature: float,
    virial: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Correlation functions of one block of samples; positions and velocities (frames, N, 3).

    `virial` (frames, 6) is the configurational part of the stress, xx yy zz xy xz yz.  Positions may be wrapped: the
    displacement between two samples is taken to be the shortest.
    """
    n, volume = velocities.shape[1], float(np.prod(lengths))
    v = velocities - velocities.mean(1, keepdims=True)
    step = np.diff(positions, axis=0)
    step -= lengths * np.round(step / lengths)
    path = np.concatenate([np.zeros((1, n, 3)), np.cumsum(step - step.mean(1, keepdims=True), axis=0)])
    out = {
        "vacf": autocorrelation(v, lags).mean((1, 2)),
        "msd": 3 * mean_square_displacement(path, lags).mean((1, 2)),
    }
    kinetic = _shear(np.stack([np.einsum("tn,tn->t", v[..., a], v[..., b]) for a, b in _PAIRS], 1) / volume)
    scale = volume / temperature
    out["stress_kk"] = scale * autocorrelation(kinetic, lags).mean(1)
    if virial is not None:
        potential = _shear(virial)
        out["stress_pp"] = scale * autocorrelation(potential, lags).mean(1)
        total = scale * autocorrelation(kinetic + potential, lags).mean(1)
        out["stress_kp"] = (total - out["stress_kk"] - out["stress_pp"]) / 2
    return out


_PAIRS = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))


def _shear(stress: np.ndarray) -> np.ndarray:
    """The five independent components of the traceless stress, each with the variance of xy; (frames, 5)."""
    xx, yy, zz, xy, xz, yz = stress.T
    return np.stack([xy, xz, yz, (xx - yy) / 2, (2 * zz - xx - yy) / 12**0.5], axis=1)


def autocorrelation(signal: np.ndarray, lags: int) -> np.ndarray:
    """<s(t) s(t + lag)> for lags 0 ... lags along the first axis: the sum over t divided by its number of terms."""
    frames = len(signal)
    size = fft.next_fast_len(frames + lags, real=True)
    spectrum = fft.rfft(signal, size, axis=0)
    sums = fft.irfft(spectrum.real**2 + spectrum.imag**2, size, axis=0)[: lags + 1]
    pairs = frames - np.arange(lags + 1)
    return sums / pairs.reshape(-1, *(1,) * (signal.ndim - 1))


def mean_square_displacement(path: np.ndarray, lags: int) -> np.ndarray:
    """<(r(t + lag) - r(t))^2> by component for lags 0 ... lags, along the first axis."""
    frames = len(path)
    r = path - path.mean(0)
    square = np.cumsum(np.concatenate([np.zeros((1, *r.shape[1:])), r**2]), axis=0)
    lag = np.arange(lags + 1)
    pairs = (frames - lag).reshape(-1, *(1,) * (r.ndim - 1))
    ends = square[frames] - square[lag] + square[frames - lag]
    return ends / pairs - 2 * autocorrelation(r, lags)


def assemble(parts: Sequence[dict[str, np.ndarray]], lags: int, interval: float, block_length: float) -> xr.Dataset:
    """All blocks in one dataset: dims (block, lag); times in t0."""
    coords = {"lag": ("lag", np.arange(lags + 1) * interval, {"units": UNITS["lag"]})}
    data = {}
    for name in ("vacf", "msd", "stress_kk", "stress_kp", "stress_pp"):
        if name in parts[0]:
            data[name] = (("block", "lag"), np.stack([p[name] for p in parts]), {"units": UNITS[name]})
    dataset = xr.Dataset(data, coords, {"block_length": block_length})
    if "potential" in parts[0]:
        dataset["potential"] = ("block", np.array([p["potential"] for p in parts]), {"units": UNITS["potential"]})
        dataset["energy"] = (("block", "end"), np.array([p["energy"] for p in parts]), {"units": UNITS["energy"]})
    return dataset
