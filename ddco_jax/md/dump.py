"""LAMMPS's native binary dumps, read and written: positions and velocities of all particles in double precision."""

import dataclasses
import struct
from collections.abc import Iterator, Sequence
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np

MAGIC = b"DUMPCUSTOM"
LITTLE_ENDIAN, REVISION = 1, 2
COLUMNS = ("id", "x", "y", "z", "vx", "vy", "vz")


@dataclasses.dataclass(frozen=True)
class Frame:
    """One snapshot; rows are sorted by particle id."""

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
        return self._triple("x")

    @property
    def velocities(self) -> np.ndarray:
        """(N, 3)."""
        return self._triple("vx")

    def _triple(self, first: str) -> np.ndarray:
        i = self.columns.index(first)
        return self.data[:, i : i + 3]


def write_frame(
    path: Path, step: int, lengths: Sequence[float] | np.ndarray, positions: np.ndarray, velocities: np.ndarray
) -> None:
    """Write one snapshot of a box [0, lengths] with particle ids 1 ... N, readable by `read_dump`."""
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
        while True:
            frame = _read_frame(file)
            if frame is None:
                return
            yield frame


def read_frame(path: Path) -> Frame | None:
    """The one snapshot of a file, or None while it is not complete."""
    return next(read_frames(path), None)


def _read_frame(file: BufferedReader) -> Frame | None:
    try:
        (tag,) = _unpack(file, "<q")
        if tag != -len(MAGIC) or file.read(len(MAGIC)) != MAGIC:
            raise ValueError(f"{file.name} is not a binary LAMMPS dump of style custom")
        _unpack(file, "<ii")
        step, n, triclinic, *_ = _unpack(file, "<qqi6i")
        box = np.array(_unpack(file, "<6d")).reshape(3, 2)
        if triclinic:
            raise ValueError(f"{file.name}: only orthogonal boxes are understood")
        size, units = _unpack(file, "<ii")
        file.read(units)
        (timed,) = _unpack(file, "<b")
        file.read(8 if timed else 0)
        (length,) = _unpack(file, "<i")
        columns = tuple(file.read(length).decode().split())
        (chunks,) = _unpack(file, "<i")
        parts = []
        for _ in range(chunks):
            (values,) = _unpack(file, "<i")
            part = np.fromfile(file, "<f8", values)
            if len(part) < values:
                return None
            parts.append(part.reshape(-1, size))
    except EOFError:
        return None
    data = np.concatenate(parts)
    ids = data[:, columns.index("id")].astype(np.int64)
    if len(data) != n:
        return None
    order = np.empty(n, np.int64)
    order[np.argsort(ids, kind="stable")] = np.arange(n)
    ordered = np.empty_like(data)
    ordered[order] = data
    return Frame(step, box, columns, ordered)


def _unpack(file: BufferedReader, layout: str) -> tuple[Any, ...]:
    raw = file.read(struct.calcsize(layout))
    if len(raw) < struct.calcsize(layout):
        raise EOFError
    return struct.unpack(layout, raw)
