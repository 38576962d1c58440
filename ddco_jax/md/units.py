"""Units of trajectories: those that the user gives, those that a file states, and how the two are combined."""

import dataclasses
import re
from collections.abc import Sequence

from ddco_jax.settings import ConfigError

UNIT_STYLES: dict[str, tuple[float, float, float]] = {
    "metal": (1e-10, 1e2, 1e-12),
    "real": (1e-10, 1e5, 1e-15),
    "si": (1.0, 1.0, 1.0),
    "cgs": (1e-2, 1e-2, 1.0),
    "electron": (5.29177210903e-11, 5.29177210903e-11 / 1.03275e-15, 1e-15),
    "micro": (1e-6, 1.0, 1e-6),
    "nano": (1e-9, 1.0, 1e-9),
    "code": (1e-8, 1e4, 1e-12),
}
"""Length (m), velocity (m/s) and time (s) of one unit: LAMMPS styles, and the package's own code units."""
FLAGS = ("--length-m", "--velocity-m-s", "--time-s")
PREFIXES = {"": 1.0, "k": 1e3, "c": 1e-2, "m": 1e-3, "u": 1e-6, "n": 1e-9, "p": 1e-12, "f": 1e-15, "a": 1e-18}
SYMBOLS: dict[str, tuple[float, int, int]] = {
    **dict.fromkeys(("Ang", "A", "Å", "Angstrom", "angstrom"), (1e-10, 1, 0)),
    **{f"{prefix}m": (factor, 1, 0) for prefix, factor in PREFIXES.items()},
    **{f"{prefix}s": (factor, 0, 1) for prefix, factor in PREFIXES.items()},
}
"""Value in SI, power of length, power of time."""
DIMENSIONS = ((1, 0), (1, -1), (0, 1))
"""Powers of length and of time in a length, a velocity and a time."""
EQUAL = 1e-6
"""Largest relative difference between two values of a unit that are the same."""


@dataclasses.dataclass(frozen=True)
class Units:
    """Length (m), velocity (m/s) and time (s) of one unit, None where it is not known."""

    values: tuple[float | None, float | None, float | None] = (None, None, None)
    name: str = ""
    """The words in which the user or the file states them, for messages."""

    def settled(self, stated: "Units") -> tuple[float, float, float]:
        """The values of the user and those that a file states, together.

        Raises ConfigError where the two contradict each other, and where neither says what a unit is.
        """
        reduced = stated.name == "units lj" and self.name.startswith("--units") and "code" not in self.name
        pairs = list(zip(self.values, stated.values, strict=True))
        if reduced or any(mine and its and abs(mine / its - 1) > EQUAL for mine, its in pairs):
            raise ConfigError(f"the file says {stated.name}, you say {self.name}; leave {self.name} out")
        length, velocity, time = (its if mine is None else mine for mine, its in pairs)
        if length is None or velocity is None or time is None:
            flag = FLAGS[(length, velocity, time).index(None)]
            raise ConfigError(f"the units are unknown; give --units {'|'.join(UNIT_STYLES)} or {flag}")
        return length, velocity, time


NOT_SAID = Units()


def given(
    style: str | None, length_m: float | None = None, velocity_m_s: float | None = None, time_s: float | None = None
) -> Units:
    """Units given by the user: a style, and single values that replace those of the style.  Raises ConfigError."""
    if style is not None and style not in UNIT_STYLES:
        raise ConfigError(f"--units: no style {style!r}; there are {', '.join(UNIT_STYLES)}")
    single = (length_m, velocity_m_s, time_s)
    for flag, value in zip(FLAGS, single, strict=True):
        if value is not None and not 0 < value < float("inf"):
            raise ConfigError(f"{flag}: must be positive and finite, got {value}")
    names = [f"--units {style}"] if style else []
    names += [f"{flag} {value:g}" for flag, value in zip(FLAGS, single, strict=True) if value is not None]
    known: Sequence[float | None] = UNIT_STYLES[style] if style else (None, None, None)
    length, velocity, time = (k if one is None else one for one, k in zip(single, known, strict=True))
    return Units((length, velocity, time), ", ".join(names))


def lammps_style(name: str) -> Units:
    """The units of a LAMMPS style that a dump names; `lj` and unknown styles have no physical values."""
    known = name in UNIT_STYLES and name != "code"
    return Units(UNIT_STYLES[name] if known else (None, None, None), f"units {name}")


def from_strings(length: str | None, velocity: str | None, time: str | None) -> tuple[Units, list[str]]:
    """Units of H5MD attributes such as `nm`, `nm ps-1` and `ps`, and the strings that are not understood."""
    texts = (length, velocity, time)
    a, b, c = (None if t is None else _value(t, d) for t, d in zip(texts, DIMENSIONS, strict=True))
    unknown = [t for t, value in zip(texts, (a, b, c), strict=True) if t is not None and value is None]
    return Units((a, b, c), "units " + ", ".join(t for t in texts if t is not None)), unknown


def length_of(text: str) -> float | None:
    """Metres of a unit of length such as `nm`; None where it is not understood."""
    return _value(text, DIMENSIONS[0])


def _value(text: str, dimension: tuple[int, int]) -> float | None:
    value, length, time, sign = 1.0, 0, 0, 1
    for token in re.findall(r"[^\s/*]+|/", text):
        if token == "/":
            sign = -1
            continue
        number, symbol = re.fullmatch(r"(\d+\.?\d*)([+-]\d+)?", token), re.fullmatch(r"(\D+?)\^?([+-]?\d+)?", token)
        if number:
            value *= float(number[1]) ** int(number[2] or 1)
        elif symbol and symbol[1] in SYMBOLS:
            factor, of_length, of_time = SYMBOLS[symbol[1]]
            power = sign * int(symbol[2] or 1)
            value, length, time = value * factor**power, length + of_length * power, time + of_time * power
        else:
            return None
    return value if (length, time) == dimension else None
