"""Trajectories in H5MD 1.0 and 1.1 (https://h5md.nongnu.org); each element may have steps of its own, or none."""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ddco_jax.md.frames import Box, RawFrame, Say, orthogonal
from ddco_jax.md.units import Units, from_strings, length_of
from ddco_jax.settings import ConfigError

SIGNATURE = b"\x89HDF\r\n\x1a\n"
EDGES = "box/edges"


@dataclasses.dataclass(frozen=True)
class Element:
    """An H5MD element: its data, and the step and time of each of its samples."""

    name: str
    value: Any
    """An h5py.Dataset."""
    steps: np.ndarray | None
    """(samples,); None for data that are fixed in time."""
    times: np.ndarray | None = None
    time_unit: str | None = None

    def samples_at(self, steps: np.ndarray) -> np.ndarray:
        """Which sample belongs to each step of another element, -1 where none does."""
        if self.steps is None:
            return np.zeros(len(steps), int)
        if np.array_equal(self.steps, steps):  # a restart may have written a step twice
            return np.arange(len(steps))
        where = {int(step): i for i, step in enumerate(self.steps)}
        return np.array([where.get(int(step), -1) for step in steps], int)

    def at(self, sample: int) -> np.ndarray:
        """The data of a sample."""
        return np.asarray(self.value[()] if self.steps is None else self.value[sample])

    @property
    def unit(self) -> str | None:
        """The unit of the data that the file states, or None."""
        return _text(self.value.attrs.get("unit"))


def read(path: Path, group: str | None, say: Say) -> Iterator[RawFrame]:
    """The snapshots of a particles group, wherever velocities are sampled at the steps of the positions.

    Raises ConfigError, and what h5py raises for damaged files.
    """
    try:
        import h5py
    except ImportError:
        raise ConfigError("H5MD needs h5py; install it with `pip install h5py`") from None
    with h5py.File(path, "r") as file:
        particles = _group(file, group, say)
        position = _element(particles, "position", None, say)
        if position is None:
            raise ConfigError("the particles have no positions; write them too")
        elements = {"position": position}
        for name in ("velocity", EDGES, "id", "species"):
            if (element := _element(particles, name, position, say)) is not None:
                elements[name] = element
        yield from _frames(particles, elements, say)


def _frames(particles: Any, elements: Mapping[str, Element], say: Say) -> Iterator[RawFrame]:
    for name, remedy in (("velocity", "no velocities; write them too"), (EDGES, "no edges of the box; write them too")):
        if name not in elements:
            raise ConfigError(f"holds {remedy}")
    position = elements["position"]
    steps = np.zeros(1, int) if position.steps is None else position.steps
    samples = {name: element.samples_at(steps) for name, element in elements.items()}
    if left_out := int(np.sum(samples["velocity"] < 0)):
        say(f"{left_out} of {len(steps)} snapshots are left out: they have positions but no velocities")
    units, scale = _units(elements, say)
    flags = particles["box"].attrs.get("boundary")
    periodic = None if flags is None else tuple(_text(flag) == "periodic" for flag in np.broadcast_to(flags, 3))
    for i, step in enumerate(steps):
        if samples["velocity"][i] < 0:
            continue
        if late := [name for name, at in samples.items() if at[i] < 0]:
            raise ConfigError(f"{late[0]} is not sampled at step {step}, but position is; write both at the same steps")
        edges = np.asarray(elements[EDGES].at(int(samples[EDGES][i])), float) * scale
        lengths, skewed = orthogonal(edges if edges.ndim == 2 else np.diag(edges))
        yield RawFrame(
            Box(np.zeros(3), lengths, periodic, skewed),
            _columns({name: (e, e.at(int(samples[name][i]))) for name, e in elements.items() if name != EDGES}),
            None if position.steps is None else int(step),
            0.0 if position.steps is None else None if position.times is None else float(position.times[i]),
            units,
            ordered=True,
        )


def _group(file: Any, name: str | None, say: Say) -> Any:
    groups = {key: item for key, item in file["particles"].items() if "position" in item}
    shown = ", ".join(list(groups)[:8])
    if name is not None:
        if name not in groups:
            raise ConfigError(f"--group {name}: no such particles; there are {shown}")
        if others := [key for key in groups if key != name]:
            say(f"only the particles of {name} are read, not those of {', '.join(others[:8])}")
        return groups[name]
    if len(groups) != 1:
        raise ConfigError(
            f"holds {len(groups)} groups of particles ({shown}); choose one with --group NAME"
            if groups
            else "holds no positions of particles; write them too"
        )
    return next(iter(groups.values()))


def _element(particles: Any, name: str, like: Element | None, say: Say) -> Element | None:
    """An element by name; one without steps of its own has those of `like`."""
    node = particles.get(name)
    if node is None:
        return None
    if not hasattr(node, "keys"):
        return Element(name, node, None)
    value = node["value"]
    if "step" not in node and like is not None and like.steps is not None and len(value) == len(like.steps):
        return Element(name, value, like.steps)
    steps = _series(node["step"], len(value))
    times = _series(node["time"], len(value)) if "time" in node else None
    whole = min(len(value), len(steps), len(steps if times is None else times))
    if whole < max(len(value), len(steps)):
        say(f"{name}: {whole} samples are used, there are {len(value)} data and {len(steps)} steps")
    unit = _text(node["time"].attrs.get("unit")) if "time" in node else None
    return Element(name, value, steps[:whole], None if times is None else times[:whole], unit)


def _series(dataset: Any, samples: int) -> np.ndarray:
    """Step or time of each sample: listed, or an increment with an offset."""
    if dataset.shape == ():
        return np.asarray(dataset.attrs.get("offset", 0)) + np.arange(samples) * dataset[()]
    return np.asarray(dataset[()])


def _units(elements: Mapping[str, Element], say: Say) -> tuple[Units, float]:
    """The units that the file states, and the unit of the box over that of positions."""
    position = elements["position"]
    units, unknown = from_strings(position.unit, elements["velocity"].unit, position.time_unit)
    for text in unknown:
        say(f"the file's unit {text!r} is not understood; the one that you gave is used")
    edges = elements[EDGES].unit
    if edges is None or edges == position.unit:
        return units, 1.0
    ours, theirs = units.values[0], length_of(edges)
    if ours is None or theirs is None:
        raise ConfigError(f"the box is in {edges!r}, positions are in {position.unit!r}; write both in one unit")
    return units, theirs / ours


def _columns(data: Mapping[str, tuple[Element, np.ndarray]]) -> dict[str, np.ndarray]:
    """The columns of one snapshot; rows whose id is the dataset's fill value hold no particle."""
    x, v = (data[name][1] for name in ("position", "velocity"))
    if x.ndim != 2 or x.shape[1] != 3 or v.shape != x.shape:
        raise ConfigError(f"positions {x.shape} and velocities {v.shape} must both be (particles, 3)")
    columns = {axis: x[:, i].astype(float) for i, axis in enumerate("xyz")}
    columns |= {f"v{axis}": v[:, i].astype(float) for i, axis in enumerate("xyz")}
    for name in ("species", "id"):
        if name in data:
            columns[name] = np.broadcast_to(_names(*data[name]), len(x))
    if "id" in data and (fill := _fill_value(data["id"][0].value)) is not None:
        present = columns["id"] != fill
        columns = {name: column[present] for name, column in columns.items()}
    return columns


def _names(element: Element, values: np.ndarray) -> np.ndarray:
    """Species as text where the file names them by an enumeration."""
    import h5py

    names = h5py.check_enum_dtype(element.value.dtype)
    if not names:
        return values
    by_value = {value: name for name, value in names.items()}
    labels, inverse = np.unique(values, return_inverse=True)
    return np.array([by_value.get(int(label), str(label)) for label in labels])[inverse]


def _fill_value(dataset: Any) -> Any:
    """The fill value that the writer of a dataset chose, if any."""
    import h5py

    chosen = dataset.id.get_create_plist().fill_value_defined() == h5py.h5d.FILL_VALUE_USER_DEFINED
    return dataset.fillvalue if chosen else None


def _text(value: Any) -> str | None:
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    return value.decode() if isinstance(value, bytes) else None if value is None else str(value)
