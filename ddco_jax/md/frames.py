"""One snapshot as a file holds it, whatever its format: named columns, box, step, time and units."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ddco_jax.md.units import Units
from ddco_jax.settings import ConfigError

Say = Callable[[str], None]
"""A function that records a note, one line, on data that were left out or assumed."""
SPECIES = ("type", "typelabel", "element", "species")
"""Columns that give the species of a particle."""
COLUMNS = (
    "id",
    *SPECIES,
    *(f"{axis}{suffix}" for suffix in ("", "u", "s", "su") for axis in "xyz"),
    *(f"v{axis}" for axis in "xyz"),
)
"""All columns that have a meaning here."""


class Incomplete(Exception):
    """A file ends within a snapshot."""


@dataclasses.dataclass(frozen=True)
class Box:
    """The simulation box, in the file's unit of length."""

    low: np.ndarray
    """(3,)."""
    lengths: np.ndarray
    """(3,)."""
    periodic: tuple[bool, ...] | None
    """By axis; None where the file does not state it."""
    skewed: bool = False


@dataclasses.dataclass(frozen=True)
class RawFrame:
    """One snapshot, in the file's units and the file's order of rows."""

    box: Box
    columns: Mapping[str, np.ndarray]
    """(N,) each: numbers, or text for names of species."""
    step: int | None
    time: float | None
    units: Units
    ordered: bool
    """Whether the format guarantees that a row is the same particle in every snapshot."""

    def positions(self) -> np.ndarray:
        """(N, 3), from the lower corner of the box, within one period; scaled and unwrapped columns serve as well."""
        parts = []
        for axis, low, length in zip("xyz", self.box.low, self.box.lengths, strict=True):
            name = self._first(axis, f"{axis}u", f"{axis}s", f"{axis}su")
            x = self.columns[name]
            parts.append(np.mod(x * length if "s" in name else x - low, length))
        return np.column_stack(parts)

    def velocities(self) -> np.ndarray:
        """(N, 3)."""
        return np.column_stack([self.columns[self._first(f"v{axis}")] for axis in "xyz"])

    def _first(self, *names: str) -> str:
        for name in names:
            if name in self.columns:
                return name
        what = "velocities" if names[0].startswith("v") else "positions"
        raise ConfigError(
            f"holds no {what} (column {' or '.join(names)}); dump all of them, "
            "e.g. `dump 1 all custom 10 FILE id type x y z vx vy vz`"
        )

    def rows(self, species: str | None) -> np.ndarray:
        """Which rows (N,) are of a species; all of them where there is but one.  Raises ConfigError."""
        names = [name for name in SPECIES if name in self.columns]
        n = len(next(iter(self.columns.values()), ()))
        if species is not None and not names:
            raise ConfigError("holds no column of types; leave --type out")
        found: list[str] = []
        for name in names:
            values = np.unique(self.columns[name])
            labels = [f"{value:g}" if value.dtype.kind in "fiu" else str(value) for value in values]
            if species is None and len(labels) > 1:
                shown = ", ".join(labels[:8]) + (", ..." if len(labels) > 8 else "")
                raise ConfigError(f"holds particles of {len(labels)} types ({shown}); choose one with --type")
            if species in labels:
                return self.columns[name] == values[labels.index(species)]
            found += labels
        if species is not None:
            raise ConfigError(f"--type {species}: no such particles; there are {', '.join(found[:8])}")
        return np.ones(n, bool)


def orthogonal(vectors: np.ndarray) -> tuple[np.ndarray, bool]:
    """Edge lengths (3,) of a box, and whether it is skewed, from its edge vectors, the rows of `vectors` (3, 3)."""
    lengths = np.diag(vectors).astype(float)
    return lengths, bool(np.abs(vectors - np.diag(lengths)).max() > 1e-6 * np.abs(lengths).max())


def table(rows: Sequence[str], names: Sequence[str]) -> dict[str, np.ndarray]:
    """The columns of COLUMNS in rows of text: numbers, but text for species with names.

    Raises ValueError for rows of another number of values, and where a number is none.
    """
    if len(set(names)) < len(names):
        raise ValueError("a column occurs twice")
    if any(len(row.split()) != len(names) for row in rows):
        raise ValueError("a row does not hold one value per column")
    wanted = [i for i, name in enumerate(names) if name in COLUMNS]
    text = [i for i in wanted if names[i] in SPECIES and not _is_number(rows[0].split()[i])]
    numbers = [i for i in wanted if i not in text]
    data = np.loadtxt(rows, usecols=numbers, ndmin=2, comments=None)
    columns = {names[i]: data[:, k] for k, i in enumerate(numbers)}
    return columns | {names[i]: np.array([row.split()[i] for row in rows]) for i in text}


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
