"""`ddco import-md`: the dataset of `ddco md` from trajectories made elsewhere."""

import dataclasses
import json
import math
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ddco_jax.md import correlations, dataset, trajectory
from ddco_jax.md.statistics import EXTENT, Bins, Statistics, cell_of
from ddco_jax.md.trajectory import Reading, Snapshot
from ddco_jax.plasma.clone import VERSION
from ddco_jax.plasma.units import PAPER, Scales
from ddco_jax.settings import ConfigError

LARGEST_HALF = 2048
"""Most bins on each side of 0: a histogram in the (vx, vy) plane is then 128 MiB."""
DRIFT_SIGMAS = 5.0
"""Net drift, in units of its thermal noise v_th/sqrt(N), beyond which an import is refused."""


@dataclasses.dataclass(frozen=True)
class Options:
    """How a trajectory is read and what is kept; see `ddco import-md --help`."""

    reading: Reading
    scales: Scales = PAPER
    start: str = "imported"
    cells: int = 1
    bin_m_s: float = 800.0
    particles_kept: int = 8192
    remove_drift: bool = False
    lag_ps: float | None = None
    """Longest lag of correlation functions, for equilibrium trajectories; they replace the statistics of snapshots."""
    block_ps: float | None = None

    def __post_init__(self) -> None:
        positive = {"--step-time": self.reading.step_time, "--bin-m-s": self.bin_m_s}
        positive |= {"--lag-ps": self.lag_ps, "--block-ps": self.block_ps}
        for flag, value in positive.items():
            if value is not None and not 0 < value < math.inf:
                raise ConfigError(f"{flag}: must be positive and finite, got {value}")
        if self.cells < 1:
            raise ConfigError(f"--cells: must be at least 1, got {self.cells}")
        if self.particles_kept < 0:
            raise ConfigError(f"--particles-kept: must not be negative, got {self.particles_kept}")


class Notes(list[str]):
    """Notes on data that were left out or assumed: each is printed once, and all are stored with the dataset."""

    def __call__(self, note: str) -> None:
        """Take a note."""
        if note not in self:
            self.append(note)
            print(f"note: {note}", file=sys.stderr)


def scales(mass_kg: float | None, charge_C: float | None) -> Scales:
    """The paper's scales with another particle mass or charge.  Raises ConfigError."""
    for flag, value in (("--mass-kg", mass_kg), ("--charge-C", charge_C)):
        if value is not None and not 0 < value < math.inf:
            raise ConfigError(f"{flag}: must be positive and finite, got {value}")
    other = {k: v for k, v in (("mass", mass_kg), ("charge", charge_C)) if v is not None}
    return dataclasses.replace(PAPER, **other)


def import_md(files: Sequence[Path], out: Path, options: Options) -> xr.Dataset:
    """Read trajectories, measure them as `ddco md` does and write the dataset.  Raises ConfigError."""
    if out.exists():
        raise ConfigError(f"--out {out}: the file exists; choose another")
    notes = Notes()
    snapshots = _in_code_units(trajectory.read(files, options.reading, notes), options)
    measure = _correlations if options.lag_ps else _statistics
    result = measure(snapshots, options, notes)
    names = [f.name for f in files]
    result.attrs |= {"source": json.dumps(names), "versions": _versions(), "notes": json.dumps(notes)}
    dataset.write(result, out)
    return result


def _in_code_units(snapshots: Iterator[Snapshot], options: Options) -> Iterator[Snapshot]:
    """Convert from SI, set the first time to 0, and check or remove the drift of the first snapshot."""
    length, speed, time = options.scales.length, options.scales.velocity, options.scales.time
    origin = drift = None
    for s in snapshots:
        v = s.velocities / speed
        if origin is None or drift is None:
            origin, drift = s.time, v.mean(0)
            _check_first(v, drift, options)
        if options.remove_drift:
            v = v - drift
        yield Snapshot((s.time - origin) / time, s.lengths / length, s.positions / length, v, s.tracked)


def _check_first(v: np.ndarray, drift: np.ndarray, options: Options) -> None:
    thermal = math.sqrt(np.var(v, axis=0).mean())
    if thermal == 0:
        raise ConfigError("all velocities are equal, so the temperature is zero; check the columns of velocities")
    sigmas = np.abs(drift) / (thermal / math.sqrt(len(v)))
    if sigmas.max() > DRIFT_SIGMAS and not options.remove_drift:
        raise ConfigError(
            f"net drift of {np.abs(drift).max() / thermal:.2g} thermal speeds, {sigmas.max():.0f} times its noise; "
            "give --remove-drift to subtract it"
        )


def _statistics(snapshots: Iterator[Snapshot], options: Options, notes: Notes) -> xr.Dataset:
    """Moments, histograms and, where particles are followed, the rates of one trajectory."""
    first = next(snapshots)
    n, lengths = len(first.positions), first.lengths
    temperature, density, attributes = _plasma(first, options, notes)
    cell = cell_of(first.positions[:, 0], lengths[0], options.cells)
    if (np.bincount(cell, minlength=options.cells) < 2).any():
        raise ConfigError(f"--cells: {options.cells} leave a cell without particles; choose fewer")
    thermal_speed = np.sqrt([np.var(first.velocities[cell == i], axis=0).mean() for i in range(options.cells)])
    hottest = np.sqrt(np.var(first.velocities, axis=0).max()) if options.cells == 1 else thermal_speed.max() * 3**0.5
    bins = Bins.cover(options.bin_m_s / options.scales.velocity, EXTENT * float(hottest))
    if bins.half > LARGEST_HALF:
        raise ConfigError(
            f"--bin-m-s: {2 * bins.half:,} bins of {options.bin_m_s:g} m/s along each axis; "
            "check the units, or choose wider bins"
        )
    measure = Statistics(lengths[0], density, thermal_speed, bins)
    subset = np.sort(np.random.default_rng(0).choice(n, min(n, options.particles_kept), replace=False))
    rows, times, kept, tracked = [], [], [], True
    for s in _chain(first, snapshots):
        rows.append(measure(s.positions[:, 0], s.velocities))
        times.append(s.time)
        kept.append((s.time, s.positions[subset, 0], s.velocities[subset]))
        tracked = tracked and (s.tracked or len(rows) == 1)
    if len(rows) == 1:
        notes("one snapshot: no rates")
    if not tracked:  # the errors of rates come from the changes of single particles
        rows = [{name: value for name, value in row.items() if name != "psi_change_covariance"} for row in rows]
    result = dataset.replicate_dataset(
        rows,
        np.array(times),
        length=lengths[0],
        thermal_speed=thermal_speed,
        bins=bins,
        kept=tuple(np.stack(part) for part in zip(*kept, strict=True)) if tracked and len(subset) else None,  # type: ignore[arg-type]
    )
    T = result["temperature"].mean("x").to_numpy()
    if abs(T[-1] / T[0] - 1) > 0.05:
        notes(f"the temperature changes by {100 * (T[-1] / T[0] - 1):+.1f} % over the trajectory")
    return dataset.combine([result], attributes | {"bin_width": bins.width, "temperature": temperature})


def _correlations(snapshots: Iterator[Snapshot], options: Options, notes: Notes) -> xr.Dataset:
    """Correlation functions of an equilibrium trajectory, in blocks."""
    assert options.lag_ps is not None
    frames = list(snapshots)
    if not all(s.tracked for s in frames):
        raise ConfigError("--lag-ps: correlation functions need particle ids; dump `id` too")
    interval = np.diff([s.time for s in frames])
    if len(frames) < 3 or not np.allclose(interval, interval[0], rtol=1e-3):
        raise ConfigError(
            "--lag-ps: correlation functions need three snapshots at equal intervals; dump these, or leave it out"
        )
    picosecond = 1e-12 / options.scales.time
    lags = round(options.lag_ps * picosecond / interval[0])
    block = len(frames) if options.block_ps is None else round(options.block_ps * picosecond / interval[0]) + 1
    if lags < 1 or block <= lags or block > len(frames):
        raise ConfigError(
            f"--lag-ps, --block-ps: need interval <= lag < block <= trajectory; the interval is "
            f"{interval[0] / picosecond:.3g} ps, the trajectory {(len(frames) - 1) * interval[0] / picosecond:.4g} ps"
        )
    lengths = frames[0].lengths
    temperature = float(np.mean([np.var(s.velocities, axis=0).mean() for s in frames]))
    parts = [
        correlations.reduce_block(
            np.stack([s.positions for s in frames[i : i + block]]),
            np.stack([s.velocities for s in frames[i : i + block]]),
            lags,
            lengths,
            temperature,
        )
        for i in range(0, len(frames) - block + 1, block - 1)
    ]
    result = correlations.assemble(parts, lags, float(interval[0]), (block - 1) * float(interval[0]))
    _, _, attributes = _plasma(frames[0], options, notes, temperature)
    result.attrs |= attributes | {"format": correlations.FORMAT}
    return result


def _plasma(
    first: Snapshot, options: Options, notes: Notes, temperature: float | None = None
) -> tuple[float, float, dict[str, Any]]:
    """Temperature (V0^2), density (n0) and the attributes derived from them."""
    n = len(first.positions)
    per_volume = n / float(np.prod(first.lengths))  # particles per L0^3
    density = per_volume / (options.scales.density * options.scales.length**3)
    T = float(np.var(first.velocities, axis=0).mean()) if temperature is None else temperature
    gamma = float(options.scales.coupling_parameter(density, T))
    attributes = dataset.metadata(
        "",
        density=density,
        number_density=per_volume,
        temperature=T,
        coupling_parameter=gamma,
        plasma_frequency=float(options.scales.plasma_frequency(density)),
        length=float(first.lengths[0]),
        transverse_length=float(first.lengths[1]),
        particles=n,
        start=options.start,
    )
    print(f"N = {n:,}, density {density:.4g} n0, temperature {T:.4g} V0^2, Gamma = {gamma:.4g}", file=sys.stderr)
    if not 1e-4 < gamma < 1e3:
        notes("Gamma is far from moderate coupling; are the units right?")
    return T, density, attributes


def _chain(first: Snapshot, rest: Iterator[Snapshot]) -> Iterator[Snapshot]:
    yield first
    yield from rest


def _versions() -> str:
    return json.dumps({"ddco_jax": VERSION, "numpy": version("numpy")})
