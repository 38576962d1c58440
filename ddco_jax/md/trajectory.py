"""Trajectories made elsewhere, snapshot by snapshot and in SI units.

Readers (`dump`, `text`, `h5md`) return what a file contains.  This module identifies particles between snapshots and
determines box, time and units, in the same way for all formats.
"""

import bz2
import dataclasses
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ddco_jax.md import dump, h5md, text
from ddco_jax.md.frames import Incomplete, RawFrame, Say
from ddco_jax.md.units import NOT_SAID, Units
from ddco_jax.settings import ConfigError

COMPRESSED: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}
"""First bytes of compressed files, and what opens them."""
ZSTD = b"\x28\xb5\x2f\xfd"
RANDOM_ORDER = 0.8
"""Mean square displacement, over that between unrelated places, from which rows are not taken for particles."""
LIGHT = 299792458.0
"""Speed of light, m/s."""
TIME_TOLERANCE = 1e-3
"""Relative difference between the times of a file and those of --step-time that rounding explains."""
DAMAGED = (ValueError, KeyError, TypeError, IndexError, OSError, EOFError, RuntimeError, zlib.error, lzma.LZMAError)
"""What readers raise for damaged files."""


@dataclasses.dataclass(frozen=True)
class Reading:
    """What the user states about the files."""

    units: Units = NOT_SAID
    step_time: float | None = None
    """Time of one step, in the unit of the files."""
    species: str | None = None
    """The one type of particles that is read."""
    group: str | None = None
    """The one particles group of H5MD files that is read."""
    allow_open_box: bool = False
    """Whether a box that is not periodic is read as if it were."""


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """One time of a trajectory; rows are in the order of ids."""

    time: float
    """s."""
    lengths: np.ndarray
    """Edges of the box (3,), m."""
    positions: np.ndarray
    """From the lower corner of the box (N, 3), m."""
    velocities: np.ndarray
    """(N, 3), m/s."""
    tracked: bool = True
    """Whether a row is known to be the same particle as in the snapshot before."""


def read(files: Sequence[Path], reading: Reading, say: Say) -> Iterator[Snapshot]:
    """The snapshots of all files, in the order given; `say` records what was left out or assumed.

    Raises ConfigError, naming the file and the snapshot, for what cannot be read and what must not be guessed.
    """
    layer = _Layer(reading, say)
    previous: Snapshot | None = None
    for path in files:
        for i, raw in enumerate(_frames(path, reading, say)):
            try:
                snapshot = layer(raw)
                repeated = previous is not None and _follows(previous, snapshot)
            except ConfigError as error:
                raise ConfigError(f"{path}, snapshot {i}: {error}") from None
            if repeated:
                say(f"{path.name}: snapshot {i} repeats the one before it, as after a restart, and is left out")
                continue
            yield snapshot
            previous = snapshot
    if previous is None:
        raise ConfigError(f"{files[0] if files else 'import-md'}: no complete snapshot; give a file that holds one")


def _frames(path: Path, reading: Reading, say: Say) -> Iterator[RawFrame]:
    """The complete snapshots of a file.  Raises ConfigError, in one line, for every fault of the file."""
    whole = 0
    if not path.is_file():
        raise ConfigError(f"{path}: no such file")
    try:
        for frame in _open(path, reading, say):
            yield frame
            whole += 1
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    except (Incomplete, EOFError):
        say(f"{path.name} ends within snapshot {whole}; the {whole} whole ones before it are used")
    except DAMAGED as error:
        reason = " ".join(str(error).split())[:90]
        raise ConfigError(f"{path}: damaged after {whole} snapshots, or no trajectory ({reason})") from None


def _open(path: Path, reading: Reading, say: Say) -> Iterator[RawFrame]:
    """The snapshots of a file, whose format is recognised by its first bytes."""
    with open(path, "rb") as raw:
        start = raw.read(8)
    if start == h5md.SIGNATURE:
        yield from h5md.read(path, reading.group, say)
        return
    if reading.group is not None:
        raise ConfigError("--group: only H5MD files have groups of particles; leave it out, or use --type")
    if start.startswith(ZSTD):
        raise ConfigError("compressed by zstd, which is not read; unpack it with unzstd")
    opener: Callable[..., Any] = next((opener for magic, opener in COMPRESSED.items() if start.startswith(magic)), open)
    with opener(path, "rb") as file:
        head = file.peek(32)
        if head[8:12] == dump.MAGIC[:4]:
            yield from dump.read_raw(file)
        elif head.lstrip().startswith(text.ITEM.encode()):
            yield from text.read_dump(io.TextIOWrapper(file, "utf-8"))
        elif head.split(b"\n")[0].strip().isdigit():
            yield from text.read_xyz(io.TextIOWrapper(file, "utf-8"))
        elif head:
            raise ConfigError("no LAMMPS dump, H5MD or extended XYZ; binary dumps that name no columns: write as text")


def _follows(before: Snapshot, now: Snapshot) -> bool:
    """Whether a snapshot repeats the one before.  Raises ConfigError where it neither repeats nor follows it."""
    if not np.allclose(now.lengths, before.lengths, rtol=1e-6):
        raise ConfigError("the box changes; only runs at constant volume can be imported")
    if now.time > before.time:
        return False
    ours, theirs = np.sort(now.velocities, axis=0), np.sort(before.velocities, axis=0)
    if now.time == before.time and np.allclose(ours, theirs, rtol=1e-4, atol=1e-4 * float(ours.std())):
        return True
    raise ConfigError(
        f"time {now.time:g} s does not follow {before.time:g} s; give the files in order of time, without overlap"
    )


class _Layer:
    """Makes snapshots of raw frames, and checks that later frames agree with what the first one states."""

    def __init__(self, reading: Reading, say: Say) -> None:
        self._reading, self._say = reading, say
        self._ids: np.ndarray | None = None
        self._first: tuple[RawFrame, int, tuple[float, float, float]] | None = None
        self._before: np.ndarray | None = None

    def __call__(self, raw: RawFrame) -> Snapshot:
        self._check_box(raw)
        rows = raw.rows(self._reading.species)
        if not rows.all():
            kept = f"{rows.sum():,} of {len(rows):,} particles are read, those of type {self._reading.species}"
            self._say(f"{kept}; density and Gamma are theirs alone")
        units = self._reading.units.settled(raw.units)
        if self._first is None:
            self._first = raw, int(rows.sum()), units
        first, count, first_units = self._first
        if units != first_units:
            raise ConfigError(f"{raw.units.name}, but {first.units.name} before; give files of the same units")
        if rows.sum() != count:
            raise ConfigError(f"{rows.sum()} particles, {count} before; the number must not change")
        order, tracked = self._identity(raw, rows)
        x, v = raw.positions()[order], raw.velocities()[order]
        time = self._time(raw, first)
        if not (np.isfinite(x).all() and np.isfinite(v).all() and np.isfinite(time)):
            raise ConfigError("positions, velocities or the time are not finite; check the run that wrote them")
        length, velocity, duration = units
        if (fastest := float(np.abs(v).max()) * velocity) > LIGHT:
            raise ConfigError(f"a particle moves at {fastest:.2g} m/s, faster than light; check the units")
        tracked = tracked and (self._ids is not None or self._in_order(x, raw.box.lengths))
        return Snapshot(time * duration, raw.box.lengths * length, x * length, v * velocity, tracked)

    def _check_box(self, raw: RawFrame) -> None:
        box = raw.box
        if box.skewed:
            raise ConfigError("the box is skewed; only orthogonal boxes can be imported")
        if not (np.isfinite(box.lengths).all() and np.isfinite(box.low).all() and (box.lengths > 0).all()):
            raise ConfigError(f"the box has edges of {box.lengths}; they must be positive and finite")
        if box.periodic is None:
            self._say("the boundaries of the box are not stated; it is taken as periodic")
        elif not all(box.periodic):
            axes = ", ".join(axis for axis, closed in zip("xyz", box.periodic, strict=True) if not closed)
            if not self._reading.allow_open_box:
                raise ConfigError(f"the box is not periodic along {axes}; --allow-open-box reads it as if it were")
            self._say(f"the box is not periodic along {axes}; it is taken as periodic")

    def _identity(self, raw: RawFrame, rows: np.ndarray) -> tuple[np.ndarray, bool]:
        """The rows in the order of ids, and whether a row is the same particle in every snapshot."""
        index = np.flatnonzero(rows)
        first = self._first[0] if self._first else raw
        if ("id" in raw.columns) != ("id" in first.columns):
            raise ConfigError("some snapshots hold ids and others do not; dump `id` in all of them")
        if "id" not in raw.columns:
            if raw.ordered:
                self._say("no particle ids: a row is taken for the same particle in every snapshot")
            else:
                self._say("no particle ids, so particles are not followed: no errors of rates, no single particles")
            return index, raw.ordered
        ids = raw.columns["id"][index]
        order = np.argsort(ids, kind="stable")
        ids = ids[order]
        if not np.isfinite(ids).all():
            raise ConfigError("an id is not a number; dump numbers")
        if np.any(same := ids[1:] == ids[:-1]):
            raise ConfigError(f"two particles have the id {ids[1:][same][0]:g}; ids must be unique")
        if self._ids is None:
            self._ids = ids
        if not np.array_equal(ids, self._ids):
            raise ConfigError(f"id {np.setdiff1d(ids, self._ids)[0]:g} is new; dump the same particles at all times")
        return index[order], True

    def _in_order(self, x: np.ndarray, lengths: np.ndarray) -> bool:
        """Whether rows without ids have moved less than they would appear to if their order had changed."""
        before, self._before = self._before, x
        if before is None:
            return True
        moved = x - before
        moved -= lengths * np.round(moved / lengths)
        if np.mean(np.sum(moved**2, axis=1)) < RANDOM_ORDER * np.sum(lengths**2) / 12:
            return True
        self._say("rows are not in one order, or move too far, so particles are not followed: no errors of rates")
        return False

    def _time(self, raw: RawFrame, first: RawFrame) -> float:
        """Time of a snapshot, in the unit of the file: as stated, or else its step number times `reading.step_time`."""
        step_time = self._reading.step_time
        if (raw.time is None) != (first.time is None):
            raise ConfigError("some snapshots state their time and others do not; give files of one kind")
        if raw.time is None:
            if raw.step is None or step_time is None:
                raise ConfigError("the file states steps but no times; give the time of one step with --step-time")
            return raw.step * step_time
        if step_time is not None and raw.step is not None and first.step is not None and first.time is not None:
            passed, steps = raw.time - first.time, raw.step - first.step
            if abs(passed - steps * step_time) > TIME_TOLERANCE * abs(passed):
                said = f"the file says that {steps} steps take {passed:g}"
                raise ConfigError(f"{said}, --step-time says {steps * step_time:g}; leave --step-time out")
        return raw.time
