"""Small trajectories in the flavours that public tools write, and what `ddco import-md` makes of them, for its tests.

400 particles, five snapshots 0.05 ps apart (50 steps of 0.001 ps), metal units (Angstrom, ps), a box of 736.8 Angstrom
with its corner at (-10, 5, 0): all files but those that are made wrong say the same.
"""

import bz2
import gzip
import json
import lzma
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr
from helpers import ddco_here

from ddco_jax.md.dataset import open_dataset

N, L, T = 400, 736.8, 5
LOW = np.array([-10.0, 5.0, 0.0])
STEPS = np.arange(T) * 50
STEP_TIME = 0.001
KINDS = "id type x y z vx vy vz"
OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
METAL = ("--units", "metal")
STEP = ("--step-time", "0.001")
PLAIN = (*METAL, *STEP)
WORDS = {"id": "%d", "type": "%d", "ix": "%d", "iy": "%d", "iz": "%d", "element": "%s"}
"""Formats of columns that are not real numbers."""


def _truth() -> tuple[np.ndarray, np.ndarray]:
    """Unwrapped positions and velocities (snapshots, particles, 3): random kicks, free flight in between."""
    rng = np.random.default_rng(5)
    x, v = rng.uniform(0, L, (N, 3)), rng.normal(0, 43.0, (N, 3))
    v -= v.mean(0)
    path, speed = [], []
    for _ in range(T):
        path.append(x)
        speed.append(v)
        kick = rng.normal(0, 3, (N, 3))
        v = v + kick - kick.mean(0)
        x = x + v * STEP_TIME * 50
    return np.array(path), np.array(speed)


X, V = _truth()
IMAGE = np.floor(X / L).astype(int)
W = X - IMAGE * L
"""Positions within the box."""


def columns(t: int, low: np.ndarray = LOW) -> dict[str, np.ndarray]:
    """All columns of a snapshot by their names in LAMMPS."""
    ids = np.arange(1.0, N + 1)
    parts = {"": W[t] + low, "u": X[t] + low, "s": W[t] / L, "su": X[t] / L}
    named = {f"{axis}{suffix}": x[:, i] for suffix, x in parts.items() for i, axis in enumerate("xyz")}
    named |= {f"v{axis}": V[t][:, i].copy() for i, axis in enumerate("xyz")}
    named |= {f"i{axis}": IMAGE[t][:, i] for i, axis in enumerate("xyz")}
    return named | {"id": ids, "type": np.ones(N), "two": 1 + np.arange(N) % 2}


def text(
    path: Path,
    names: str = KINDS,
    *,
    head: str = "",
    timed: bool = False,
    bounds: str = "pp pp pp",
    box: str | None = None,
    frames: Sequence[int] = range(T),
    change: Callable[[dict[str, np.ndarray], int], Any] = lambda data, t: None,
) -> Path:
    """A LAMMPS dump, its rows in another order in every snapshot; `change` edits the columns of one."""
    rng = np.random.default_rng(1)
    edges = box or "".join(f"{a:.16e} {a + L:.16e}\n" for a in LOW)
    with OPENERS.get(path.suffix, open)(path, "wt") as out:
        out.write(head)
        for t in frames:
            data = columns(t)
            change(data, t)
            if timed:
                out.write(f"ITEM: TIME\n{STEPS[t] * STEP_TIME:.16g}\n")
            out.write(f"ITEM: TIMESTEP\n{STEPS[t]}\nITEM: NUMBER OF ATOMS\n{N}\nITEM: BOX BOUNDS {bounds}\n{edges}")
            out.write(f"ITEM: ATOMS {names} \n")
            layout = " ".join(WORDS.get(name, "%.10g") for name in names.split())
            for row in rng.permutation(N):
                out.write(layout % tuple(data[name][row] for name in names.split()) + " \n")
    return path


def binary(
    path: Path,
    names: str = KINDS,
    *,
    low: np.ndarray = LOW,
    tilt: tuple[float, ...] = (),
    boundary: int = 0,
    units: str = "",
    timed: bool = False,
    change: Callable[[dict[str, np.ndarray], int], Any] = lambda data, t: None,
) -> Path:
    """LAMMPS's binary dump (revision 2), from three processes."""
    order = np.random.default_rng(2).permutation(N)
    with open(path, "wb") as out:
        for t in range(T):
            data = columns(t, low)
            change(data, t)
            rows = np.column_stack([data[name] for name in names.split()])[order].astype("<f8")
            out.write(struct.pack("<q", -10) + b"DUMPCUSTOM" + struct.pack("<ii", 1, 2))
            out.write(struct.pack("<qqi6i", STEPS[t], N, bool(tilt), *(boundary,) * 6))
            out.write(np.column_stack([low, low + L]).astype("<f8").tobytes() + struct.pack(f"<{len(tilt)}d", *tilt))
            out.write(struct.pack("<ii", rows.shape[1], len(units)) + units.encode())
            out.write(struct.pack("<bd", 1, STEPS[t] * STEP_TIME) if timed else struct.pack("<b", 0))
            out.write(struct.pack("<i", len(names)) + names.encode() + struct.pack("<i", 3))
            for part in np.array_split(rows, 3):
                out.write(struct.pack("<i", part.size) + part.tobytes())
    return path


def h5md(
    path: Path,
    *,
    edges: str = "each",
    linear: bool = False,
    ids: bool = False,
    timed: bool = True,
    units: tuple[str, str] | None = ("Angstrom", "Angstrom ps-1"),
    scale: float = 1.0,
    groups: Sequence[str] = ("all",),
    boundary: bytes = b"periodic",
    shuffled: bool = False,
) -> Path:
    """H5MD; the second group moves 20 times as fast; `edges` are `fixed`, those of `each` snapshot or `vectors`."""
    orders = [np.random.default_rng(10 + t).permutation(N) if ids or shuffled else np.arange(N) for t in range(T)]
    with h5py.File(path, "w") as file:
        file.create_group("h5md").attrs["version"] = [1, 1]
        for factor, name in zip((1.0, 20.0), groups, strict=False):
            group = file.create_group(f"particles/{name}")
            box = group.create_group("box")
            box.attrs["dimension"], box.attrs["boundary"] = 3, np.array([boundary] * 3)
            if edges == "fixed":
                box["edges"] = np.full(3, L * scale)
            elif edges == "vectors":  # as GROMACS and MDAnalysis write them
                box["edges/value"] = np.array([np.eye(3) * L * scale] * T)
            else:
                _element(box, "edges", np.full((T, 3), L * scale), linear=False, timed=timed)
            for key, data, unit in (("position", W * scale, 0), ("velocity", V * scale * factor, 1)):
                element = _element(group, key, _rows(data, orders), linear=linear, timed=timed)
                if units:
                    element["value"].attrs["unit"] = units[unit]
            if ids:
                _element(group, "id", _rows(np.arange(1, N + 1)[None].repeat(T, 0), orders), linear=False, timed=timed)
    return path


def _rows(data: np.ndarray, orders: Sequence[np.ndarray]) -> np.ndarray:
    return np.array([rows[order] for rows, order in zip(data, orders, strict=True)])


def _element(parent: h5py.Group, name: str, value: np.ndarray, *, linear: bool, timed: bool) -> h5py.Group:
    element = parent.create_group(name)
    element["value"] = value
    element["step"] = 50 if linear else STEPS
    if timed:
        element["time"] = 50 * STEP_TIME if linear else STEPS * STEP_TIME
        element["time"].attrs["unit"] = "ps"
    return element


def xyz(path: Path, *, ids: bool = True, shuffled: bool = True, pbc: str = ' pbc="T T T"') -> Path:
    """Extended XYZ as OVITO and ASE write it, velocities before positions."""
    rng, lattice = np.random.default_rng(3), " ".join(f"{q:.10g}" for q in (np.eye(3) * L).ravel())
    with open(path, "w") as out:
        for t in range(T):
            kinds = "species:S:1:" + "id:I:1:" * ids + "velo:R:3:force:R:3:pos:R:3"
            origin = " ".join(f"{q:g}" for q in LOW)
            time = f'Time={STEPS[t] * STEP_TIME:.10g} Timestep={STEPS[t]} Origin="{origin}"'
            out.write(f'{N}\nLattice="{lattice}" Properties={kinds} {time}{pbc}\n')
            for i in rng.permutation(N) if shuffled else range(N):
                numbers = " ".join(f"{q:.10g}" for q in (*V[t, i], 0, 0, 0, *(W[t, i] + LOW)))
                out.write("H " + f"{i + 1} " * ids + numbers + "\n")
    return path


def imported(folder: Path, files: list[Path], flags: tuple[str, ...] = PLAIN) -> tuple[xr.Dataset, list[str]]:
    """The dataset and its notes, which are those that were printed."""
    out = folder / f"{files[0].name}.nc"
    out.unlink(missing_ok=True)
    _, printed = ddco_here("import-md", *files, "--out", out, *flags, cwd=folder)
    data = open_dataset(out)
    notes = json.loads(data.attrs["notes"])
    assert [line for line in printed.splitlines() if line.startswith("note: ")] == [f"note: {note}" for note in notes]
    return data, notes


def refused(folder: Path, files: list[Path], flags: tuple[str, ...] = PLAIN) -> str:
    """The one line with which an import ends; nothing is written."""
    _, error = ddco_here("import-md", *files, "--out", folder / "no.nc", *flags, cwd=folder, expect=2)
    lines = [line for line in error.splitlines() if not line.startswith(("note: ", "N = "))]
    assert len(lines) == 1 and lines[0].startswith("ddco: ") and not (folder / "no.nc").exists(), error
    return lines[0]


def assert_same(data: xr.Dataset, reference: xr.Dataset, without: tuple[str, ...] = ()) -> None:
    """All variables to the ten digits that text holds; the order of particles as well, unless left out."""
    assert set(reference.variables) == set(data.variables) | set(without) and not set(without) & set(data.variables)
    for name in data.data_vars:
        np.testing.assert_allclose(data[name], reference[name], rtol=2e-7, atol=1e-8, err_msg=str(name))
    assert data.attrs["coupling_parameter"] == pytest.approx(reference.attrs["coupling_parameter"], rel=1e-9)
