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
from ddco_jax.md.trajectory import Snapshot
from ddco_jax.plasma.units import PAPER, Scales
from ddco_jax.settings import ConfigError

UNIT_STYLES = {
    "metal": (1e-10, 1e2, 1e-12),
    "real": (1e-10, 1e5, 1e-15),
    "si": (1.0, 1.0, 1.0),
    "code": (1e-8, 1e4, 1e-12),
}
"""Length (m), velocity (m/s) and time (s) of one unit: LAMMPS styles, and the package's own code units."""
DRIFT_SIGMAS = 5.0
"""Net drift, in units of its thermal noise v_th/sqrt(N), beyond which an import is refused."""


@dataclasses.dataclass(frozen=True)
class Options:
    """How a trajectory is read and what is kept; see `ddco import-md --help`."""

    length_m: float
    velocity_m_s: float
    time_s: float
    step_time: float | None = None
    """Time of one step in the file's unit, for files that hold step numbers only."""
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
        for name in ("length_m", "velocity_m_s", "time_s", "bin_m_s"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"--{name.replace('_', '-')}: must be positive, got {getattr(self, name)}")
        if self.cells < 1:
            raise ConfigError(f"--cells: must be at least 1, got {self.cells}")


def unit_style(
    style: str | None, length_m: float | None, velocity_m_s: float | None, time_s: float | None
) -> tuple[float, float, float]:
    """Length (m), velocity (m/s) and time (s) of one unit: the given values, or else those of the named style.

    Raises ConfigError for an unknown style and for a unit that is not known.
    """
    if style is not None and style not in UNIT_STYLES:
        raise ConfigError(f"--units: no style {style!r}; there are {', '.join(UNIT_STYLES)}")
    known: tuple[float | None, ...] = UNIT_STYLES[style] if style else (None, None, None)
    given = tuple(g if g is not None else k for g, k in zip((length_m, velocity_m_s, time_s), known, strict=True))
    if None in given:
        flag = ("--length-m", "--velocity-m-s", "--time-s")[given.index(None)]
        raise ConfigError(f"{flag}: the units of the files are unknown; give --units {'|'.join(UNIT_STYLES)} or {flag}")
    return given  # type: ignore[return-value]


def scales(mass_kg: float | None, charge_C: float | None) -> Scales:
    """The paper's scales with another particle mass or charge."""
    other = {k: v for k, v in (("mass", mass_kg), ("charge", charge_C)) if v is not None}
    return dataclasses.replace(PAPER, **other)


def import_md(files: Sequence[Path], out: Path, options: Options) -> xr.Dataset:
    """Read trajectories, measure them as `ddco md` does and write the dataset.  Raises ConfigError."""
    if out.exists():
        raise ConfigError(f"--out {out}: the file exists; choose another")
    if options.step_time is None and not all(trajectory.has_times(f) for f in files):
        raise ConfigError("--step-time: LAMMPS dumps hold step numbers only; say how long a step is")
    snapshots = _in_code_units(trajectory.read(files), options)
    result = _correlations(snapshots, options) if options.lag_ps else _statistics(snapshots, options)
    result.attrs |= {"source": json.dumps([f.name for f in files]), "versions": _versions()}
    dataset.write(result, out)
    return result


def _in_code_units(snapshots: Iterator[Snapshot], options: Options) -> Iterator[Snapshot]:
    """Convert, set the first time to 0, and check or remove the drift of the first snapshot."""
    length, speed = options.length_m / options.scales.length, options.velocity_m_s / options.scales.velocity
    time = options.time_s / options.scales.time * (1.0 if options.step_time is None else options.step_time)
    origin = drift = None
    for s in snapshots:
        v = s.velocities * speed
        if origin is None or drift is None:
            origin, drift = s.time, v.mean(0)
            _check_first(v, drift, options)
        if options.remove_drift:
            v = v - drift
        yield Snapshot((s.time - origin) * time, s.lengths * length, s.positions * length, v)


def _check_first(v: np.ndarray, drift: np.ndarray, options: Options) -> None:
    thermal = math.sqrt(np.var(v, axis=0).mean())
    if thermal == 0:
        raise ConfigError("all velocities are equal: nothing to measure")
    sigmas = np.abs(drift) / (thermal / math.sqrt(len(v)))
    if sigmas.max() > DRIFT_SIGMAS and not options.remove_drift:
        raise ConfigError(
            f"net drift of {np.abs(drift).max() / thermal:.2g} thermal speeds, {sigmas.max():.0f} times its noise; "
            "give --remove-drift to subtract it"
        )


def _statistics(snapshots: Iterator[Snapshot], options: Options) -> xr.Dataset:
    first = next(snapshots)
    n, lengths = len(first.positions), first.lengths
    temperature, density, attributes = _plasma(first, options)
    cell = cell_of(first.positions[:, 0], lengths[0], options.cells)
    thermal_speed = np.sqrt([np.var(first.velocities[cell == i], axis=0).mean() for i in range(options.cells)])
    hottest = np.sqrt(np.var(first.velocities, axis=0).max()) if options.cells == 1 else thermal_speed.max() * 3**0.5
    bins = Bins.cover(options.bin_m_s / options.scales.velocity, EXTENT * float(hottest))
    measure = Statistics(lengths[0], density, thermal_speed, bins)
    subset = np.sort(np.random.default_rng(0).choice(n, min(n, options.particles_kept), replace=False))
    rows, times, kept = [], [], []
    for s in _chain(first, snapshots):
        rows.append(measure(s.positions[:, 0], s.velocities))
        times.append(s.time)
        kept.append((s.time, s.positions[subset, 0], s.velocities[subset]))
    result = dataset.replicate_dataset(
        rows,
        np.array(times),
        length=lengths[0],
        thermal_speed=thermal_speed,
        bins=bins,
        kept=tuple(np.stack(part) for part in zip(*kept, strict=True)) if len(subset) else None,  # type: ignore[arg-type]
    )
    T = result["temperature"].mean("x").to_numpy()
    if abs(T[-1] / T[0] - 1) > 0.05:
        print(
            f"note: the temperature changes by {100 * (T[-1] / T[0] - 1):+.1f} % over the trajectory", file=sys.stderr
        )
    return dataset.combine([result], attributes | {"bin_width": bins.width, "temperature": temperature})


def _correlations(snapshots: Iterator[Snapshot], options: Options) -> xr.Dataset:
    """Correlation functions of an equilibrium trajectory, in blocks."""
    assert options.lag_ps is not None
    frames = list(snapshots)
    interval = np.diff([s.time for s in frames])
    if len(frames) < 3 or not np.allclose(interval, interval[0], rtol=1e-3):
        raise ConfigError("--lag-ps: correlation functions need at least three snapshots at equal intervals")
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
    _, _, attributes = _plasma(frames[0], options, temperature)
    result.attrs |= attributes | {"format": correlations.FORMAT}
    return result


def _plasma(first: Snapshot, options: Options, temperature: float | None = None) -> tuple[float, float, dict[str, Any]]:
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
        print("note: Gamma is far from moderate coupling; are the units right?", file=sys.stderr)
    return T, density, attributes


def _chain(first: Snapshot, rest: Iterator[Snapshot]) -> Iterator[Snapshot]:
    yield first
    yield from rest


def _versions() -> str:
    return json.dumps({"ddco_jax": version("ddco-jax"), "MDAnalysis": version("MDAnalysis")})
