"""Trajectories made elsewhere, snapshot by snapshot: LAMMPS dumps (text, gzipped, binary) and H5MD."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ddco_jax.md import dump
from ddco_jax.settings import ConfigError

if TYPE_CHECKING:  # an optional dependency
    import MDAnalysis.coordinates.timestep

H5MD = (".h5md", ".h5")


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """One time of a trajectory, in the file's own units."""

    time: float
    """Time, or the step number where the file holds no time."""
    lengths: np.ndarray
    """Edges of the box (3,)."""
    positions: np.ndarray
    """(N, 3)."""
    velocities: np.ndarray
    """(N, 3)."""


def read(files: Sequence[Path]) -> Iterator[Snapshot]:
    """The snapshots of all files, in the order given.

    Raises ConfigError, naming the file and the snapshot, for missing velocities, a changing number of particles,
    times that do not increase, a skewed or changing box, or numbers that are not finite.
    """
    previous: Snapshot | None = None
    for path in files:
        if not path.is_file():
            raise ConfigError(f"{path}: no such file")
        for i, snapshot in enumerate(_open(path)):
            where = f"{path}, snapshot {i}"
            if not (np.isfinite(snapshot.positions).all() and np.isfinite(snapshot.velocities).all()):
                raise ConfigError(f"{where}: positions or velocities are not finite")
            if previous is not None:
                _compare(previous, snapshot, where)
            yield snapshot
            previous = snapshot
    if previous is None:
        raise ConfigError(f"{files[0] if files else 'import-md'}: no snapshot to import")


def has_times(path: Path) -> bool:
    """Whether a file holds times; LAMMPS dumps hold only step numbers."""
    return path.suffix in H5MD


def _compare(before: Snapshot, now: Snapshot, where: str) -> None:
    if len(now.positions) != len(before.positions):
        raise ConfigError(
            f"{where}: {len(now.positions)} particles, {len(before.positions)} before; the number must not change"
        )
    if not now.time > before.time:
        raise ConfigError(
            f"{where}: time {now.time:g} does not follow {before.time:g}; give the files in order of time"
        )
    if not np.allclose(now.lengths, before.lengths, rtol=1e-6):
        raise ConfigError(f"{where}: the box changes; only constant volume is understood")


def _open(path: Path) -> Iterator[Snapshot]:
    if path.suffix in H5MD:
        return _h5md(path)
    with open(path, "rb") as file:
        binary = file.read(8 + len(dump.MAGIC))[8:] == dump.MAGIC
    return _binary(path) if binary else _text(path)


def _binary(path: Path) -> Iterator[Snapshot]:
    for frame in dump.read_frames(path):
        missing = [c for c in dump.COLUMNS if c not in frame.columns]
        if missing:
            raise _no_velocities(path, "column " + ", ".join(missing))
        lengths = frame.box[:, 1] - frame.box[:, 0]
        yield Snapshot(float(frame.step), lengths, frame.positions - frame.box[:, 0], frame.velocities)


def _text(path: Path) -> Iterator[Snapshot]:
    from MDAnalysis.coordinates.LAMMPS import DumpReader

    try:
        reader = DumpReader(str(path), dt=1.0)  # dt has no effect: times are the numbers of the steps
        for ts in reader:
            yield _snapshot(path, ts, float(ts.data["step"]))
    except (ValueError, IndexError, UnicodeDecodeError, OSError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{path}: not a complete LAMMPS dump ({' '.join(str(error).split())[:90]})") from None


def _h5md(path: Path) -> Iterator[Snapshot]:
    from MDAnalysis.coordinates.H5MD import H5MDReader

    try:
        reader = H5MDReader(str(path), convert_units=False)
        for ts in reader:
            yield _snapshot(path, ts, float(ts.time))
    except (ValueError, KeyError, OSError, RuntimeError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{path}: not a readable H5MD file ({' '.join(str(error).split())[:90]})") from None


def _snapshot(path: Path, ts: "MDAnalysis.coordinates.timestep.Timestep", time: float) -> Snapshot:
    if not ts.has_velocities:
        raise _no_velocities(path, "velocities")
    if ts.dimensions is None or not np.allclose(ts.dimensions[3:], 90):
        raise ConfigError(f"{path}: needs an orthogonal periodic box")
    return Snapshot(time, ts.dimensions[:3].astype(float), ts.positions.astype(float), ts.velocities.astype(float))


def _no_velocities(path: Path, what: str) -> ConfigError:
    return ConfigError(
        f"{path}: holds no {what}; dump velocities too, e.g. `dump 1 all custom 10 FILE id x y z vx vy vz`"
    )
