"""Trajectories as text: LAMMPS dumps and extended XYZ."""

import io
import re
from collections.abc import Iterator

import numpy as np

from ddco_jax.md.frames import Box, Incomplete, RawFrame, orthogonal, table
from ddco_jax.md.units import NOT_SAID, lammps_style

ITEM = "ITEM: "
VELOCITY = ("vel", "velo", "velocity", "velocities")
"""Names of velocities in extended XYZ."""


def read_dump(file: io.TextIOWrapper) -> Iterator[RawFrame]:
    """The snapshots of a LAMMPS dump.  Raises Incomplete where it ends within one, ValueError where it is damaged."""
    units = NOT_SAID
    while (items := _items(file)) is not None:
        if "UNITS" in items:
            units = lammps_style(items["UNITS"][0].strip())  # said once, for all that follows
        if not {"TIMESTEP", "NUMBER OF ATOMS", "BOX BOUNDS"} <= items.keys():
            raise ValueError("a snapshot lacks its step, number of atoms or box")
        count = int(items["NUMBER OF ATOMS"][0])
        if count < 1:
            raise ValueError("a snapshot holds no particles")
        box = _box(items["BOX BOUNDS"])
        columns = table([_line(file) for _ in range(count)], items["ATOMS"][0].split())
        time = float(items["TIME"][0]) if "TIME" in items else None
        yield RawFrame(box, columns, int(items["TIMESTEP"][0]), time, units, ordered=False)


def read_xyz(file: io.TextIOWrapper) -> Iterator[RawFrame]:
    """The snapshots of an extended XYZ file, which states its columns in Properties and its box in Lattice."""
    while (first := file.readline()).strip():
        if not first.endswith("\n"):
            raise Incomplete
        count, comment = int(first), _line(file)
        pairs = re.findall(r'(\w+)\s*=\s*(?:"([^"]*)"|(\S+))', comment)
        says = {key.lower(): quoted or bare for key, quoted, bare in pairs}
        if "properties" not in says or "lattice" not in says:
            raise ValueError("no extended XYZ: the second line must hold Properties and Lattice")
        lengths, skewed = orthogonal(np.array(says["lattice"].split(), float).reshape(3, 3))
        periodic = tuple(flag in "Tt1" for flag in says["pbc"].split()) if "pbc" in says else None
        low = np.array(says.get("origin", "0 0 0").split(), float)
        columns = table([_line(file) for _ in range(count)], _properties(says["properties"]))
        step, time = says.get("timestep", says.get("step")), says.get("time")
        yield RawFrame(
            Box(low, lengths, periodic, skewed),
            columns,
            None if step is None else int(step),
            None if time is None else float(time),
            NOT_SAID,
            ordered=True,
        )


def _properties(text: str) -> list[str]:
    """Column names of Properties=name:kind:count:..."""
    parts, names = text.split(":"), list[str]()
    for name, count in zip(parts[::3], parts[2::3], strict=True):
        known = "" if name in ("pos", "positions") else "v" if name in VELOCITY else f"{name}."
        names += [name] if count == "1" else [known + axis for axis in "xyzabcdef"[: int(count)]]
    return names


def _line(file: io.TextIOWrapper) -> str:
    """The next line; one without its end may lack digits."""
    line = file.readline()
    if not line.endswith("\n"):
        raise Incomplete
    return line


def _items(file: io.TextIOWrapper) -> dict[str, list[str]] | None:
    """The header of a snapshot, by item; the words after BOX BOUNDS and ATOMS are the first line of their item."""
    items: dict[str, list[str]] = {}
    while "ATOMS" not in items:
        line = _line(file) if items else file.readline()
        if not line:
            return None
        if not line.strip():
            continue
        if not line.endswith("\n"):
            raise Incomplete
        if not line.startswith(ITEM):
            raise ValueError(f"no header of a LAMMPS dump: {line.strip()[:40]!r}")
        name = line.removeprefix(ITEM).strip()
        for key, lines in (("BOX BOUNDS", 3), ("ATOMS", 0)):
            if name.startswith(key):
                items[key] = [name.removeprefix(key), *(_line(file) for _ in range(lines))]
                break
        else:
            items[name] = [_line(file)]
    return items


def _box(lines: list[str]) -> Box:
    """From `pp pp pp`, `xy xz yz pp pp pp` or `abc origin pp pp pp` and three lines; old dumps have no flags."""
    words, rows = lines[0].split(), np.array([line.split() for line in lines[1:]], float)
    flags = [word for word in words if re.fullmatch("[pfsm]{2}", word)]
    periodic = tuple(flag == "pp" for flag in flags) if len(flags) == 3 else None
    if "abc" in words:
        lengths, skewed = orthogonal(rows[:, :3])
        return Box(rows[:, 3], lengths, periodic, skewed)
    return Box(rows[:, 0], rows[:, 1] - rows[:, 0], periodic, skewed=bool(np.any(rows[:, 2:])))
