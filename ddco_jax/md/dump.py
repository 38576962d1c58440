"""LAMMPS's native binary dumps, read and written: positions and velocities of all particles in double precision."""

import dataclasses
import io
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ddco_jax.md.frames import COLUMNS as MEANINGFUL
from ddco_jax.md.frames import Box, Incomplete, RawFrame, orthogonal
from ddco_jax.md.units import NOT_SAID, lammps_style

MAGIC = b"DUMPCUSTOM"
LITTLE_ENDIAN, REVISION = 1, 2
COLUMNS = ("id", "x", "y", "z", "vx", "vy", "vz")
PIECE = 2**24
"""Bytes read at once."""


@dataclasses.dataclass(frozen=True)
class Frame:
    """One snapshot in the units of the file; rows are sorted by particle id."""

    step: int
    box: np.ndarray
    """(3, 2): lower and upper edge by axis."""
    columns: tuple[str, ...]
    data: np.ndarray
    """(N, columns)."""

    def __getitem__(self, name: str) -> np.ndarray:
        return self.data[:, self.columns.index(name)]

    @property
    def positions(self) -> np.ndarray:
        """(N, 3)."""
        return np.column_stack([self[name] for name in ("x", "y", "z")])

    @property
    def velocities(self) -> np.ndarray:
        """(N, 3)."""
        return np.column_stack([self[name] for name in ("vx", "vy", "vz")])


def write_frame(
    path: Path, step: int, lengths: Sequence[float] | np.ndarray, positions: np.ndarray, velocities: np.ndarray
) -> None:
    """Write one snapshot of a box [0, lengths] with particle ids 1 ... N, readable by `read_frames` and by LAMMPS."""
    n = len(positions)
    rows = np.column_stack([np.arange(1, n + 1), positions, velocities]).astype("<f8")
    box = np.column_stack([np.zeros(3), lengths]).astype("<f8")
    names = " ".join(COLUMNS).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<q", -len(MAGIC)) + MAGIC + struct.pack("<ii", LITTLE_ENDIAN, REVISION))
        file.write(struct.pack("<qqi6i", step, n, 0, *(0,) * 6) + box.tobytes())
        file.write(struct.pack("<iib", len(COLUMNS), 0, 0))  # columns, no units string, no time
        file.write(struct.pack("<i", len(names)) + names + struct.pack("<ii", 1, rows.size))
        file.write(rows.tobytes())


def read_frames(path: Path) -> Iterator[Frame]:
    """The complete snapshots of a binary dump, in order; a snapshot cut short by a kill ends the iteration.

    Raises ValueError for a file that is no such dump, or a box that is not orthogonal.
    """
    with open(path, "rb") as file:
        try:
            while (read := _read(file)) is not None:
                header, data = read
                if header.skewed:
                    raise ValueError(f"{path}: only orthogonal boxes can be read")
                ids = data[:, header.columns.index("id")]
                yield Frame(header.step, header.box, header.columns, data[np.argsort(ids, kind="stable")])
        except Incomplete:
            return


def read_frame(path: Path) -> Frame | None:
    """The one snapshot of a file, or None while it is not complete."""
    return next(read_frames(path), None)


def read_raw(file: io.BufferedIOBase) -> Iterator[RawFrame]:
    """The snapshots of any binary dump, with the units, times and boundaries that it states.

    Raises Incomplete where the file ends within one, ValueError where it is damaged or of an older kind.
    """
    units = NOT_SAID
    while (read := _read(file)) is not None:
        header, data = read
        if header.units:
            units = lammps_style(header.units)
        if len(set(header.columns)) < len(header.columns):
            raise ValueError("a column occurs twice")
        low, high = header.box.T
        box = Box(low, high - low, tuple(not any(flags) for flags in header.boundary), header.skewed)
        columns = {name: data[:, i] for i, name in enumerate(header.columns) if name in MEANINGFUL}
        yield RawFrame(box, columns, header.step, header.time, units, ordered=False)


@dataclasses.dataclass(frozen=True)
class _Header:
    step: int
    box: np.ndarray
    boundary: np.ndarray
    """(3, 2): 0 where periodic."""
    skewed: bool
    columns: tuple[str, ...]
    units: str
    time: float | None


def _read(file: io.BufferedIOBase) -> tuple[_Header, np.ndarray] | None:
    """Header and rows (N, columns) of the next snapshot; None at the end of the file."""
    if not (tag := file.read(8)):
        return None
    if len(tag) == 8 and struct.unpack("<q", tag)[0] != -len(MAGIC):
        raise ValueError("not a binary LAMMPS dump of style custom")
    if _take(file, len(MAGIC)) != MAGIC:
        raise ValueError("not a binary LAMMPS dump of style custom")
    order, revision = _unpack(file, "<ii")
    if order != LITTLE_ENDIAN or revision < REVISION:
        raise ValueError("a binary dump of another byte order, or too old to name its columns; write it as text")
    step, n, triclinic, *boundary = _unpack(file, "<qqi6i")
    box, skewed = _box(file, triclinic)
    size, units = _unpack(file, "<ii")
    style = _take(file, units).decode()
    (timed,) = _unpack(file, "<b")
    time = _unpack(file, "<d")[0] if timed else None
    (length,) = _unpack(file, "<i")
    columns = tuple(_take(file, length).decode().split())
    if size != len(columns) or n < 1:
        raise ValueError("a snapshot holds no particles, or not as many columns as it names")
    (chunks,) = _unpack(file, "<i")
    parts = [np.frombuffer(_take(file, 8 * _unpack(file, "<i")[0]), "<f8") for _ in range(chunks)]
    if sum(part.size for part in parts) != n * size:
        raise ValueError("a snapshot does not hold as many rows as it says")
    header = _Header(step, box, np.reshape(boundary, (3, 2)), skewed, columns, style, time)
    return header, np.concatenate(parts).reshape(n, size)


def _box(file: io.BufferedIOBase, triclinic: int) -> tuple[np.ndarray, bool]:
    """Edges (3, 2) of the box and whether it is skewed, from bounds, bounds and tilts, or edge vectors and origin."""
    if triclinic not in (0, 1, 2):
        raise ValueError("the kind of the box is unknown")
    if triclinic == 2:
        *vectors, x, y, z = _unpack(file, "<12d")
        lengths, skewed = orthogonal(np.reshape(vectors, (3, 3)))
        return np.column_stack([(x, y, z), np.add((x, y, z), lengths)]), skewed
    bounds = np.reshape(_unpack(file, "<6d"), (3, 2))
    return bounds, bool(triclinic and np.any(_unpack(file, "<3d")))


def _take(file: io.BufferedIOBase, size: int) -> bytes:
    """The next bytes, in pieces, so that a damaged size does not reserve memory.  Raises Incomplete at the end."""
    if size < 0:
        raise ValueError("a negative size")
    parts = []
    while size:
        part = file.read(min(size, PIECE))
        if not part:
            raise Incomplete
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _unpack(file: io.BufferedIOBase, layout: str) -> tuple[Any, ...]:
    return struct.unpack(layout, _take(file, struct.calcsize(layout)))
