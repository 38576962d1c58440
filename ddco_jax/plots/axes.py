"""Units of the axes: SI with prefixes chosen so that the numbers read well, or code units."""

import dataclasses
import math
from typing import Literal, NamedTuple

import numpy as np
import xarray as xr

from ddco_jax.evaluation.compare import run_scales
from ddco_jax.plasma.units import BOLTZMANN, Scales
from ddco_jax.simulation.quantities import code_unit, in_si, si_unit

AxisUnits = Literal["si", "code"]
SYMBOLS = {
    "t": "t",
    "x": "x",
    "vx": "v_x",
    "vy": "v_y",
    "vz": "v_z",
    "density": "n",
    "drift_x": "u_x",
    "temperature": "T",
    "electric_field": "E",
    "field_energy": "W_E",
    "f_vx": "f(v_x)",
    "f_vxvy": "f(v_x,v_y)",
}
"""Symbol of a variable of a result, in mathematical notation."""
PREFIXES = {
    -18: "a",
    -15: "f",
    -12: "p",
    -9: "n",
    -6: "µ",
    -3: "m",
    0: "",
    3: "k",
    6: "M",
    9: "G",
    12: "T",
    15: "P",
    18: "E",
}
"""SI prefixes by power of ten."""
LEAST = {"t": 0.5, "rate": 0.02, "temperature": 0.05}
"""Least numbers below one that read well, by variable: 0.7 ps and 0.2 eV in place of 700 fs and 200 meV."""


class Axis(NamedTuple):
    """How a variable of a result is drawn."""

    factor: float
    """What is drawn, over the value in code units."""
    symbol: str
    unit: str
    """Unit of what is drawn; "" for code units, whose `symbol` is a ratio."""

    @property
    def label(self) -> str:
        """Label of the axis."""
        return f"{self.symbol} ({self.unit})" if self.unit else self.symbol

    def text(self, value: float) -> str:
        """`symbol = value unit` of a value in code units."""
        number = f"{value * self.factor:.3g}"
        if self.unit:
            return f"{self.symbol} = {number} {self.unit}"
        symbol, _, scale = self.symbol.strip("$").partition("/")
        return f"${symbol}$ = {number} ${scale}$"


@dataclasses.dataclass(frozen=True)
class Units:
    """The units in which variables of a result, which are in code units of `scales`, are drawn."""

    scales: Scales
    code: bool
    """Code units, instead of SI."""

    @classmethod
    def of(cls, result: xr.DataTree, units: AxisUnits) -> "Units":
        """Units of the figures of a result."""
        return cls(run_scales(result), units == "code")

    def axis(self, name: str, values: xr.DataArray | np.ndarray, symbol: str = "") -> Axis:
        """The axis of a variable by its name in a result; `values` (code units) are what is to be drawn.

        `symbol` replaces the usual symbol of the variable.
        """
        symbol = symbol or SYMBOLS[name]
        if self.code:
            return Axis(1.0, f"${symbol}/{_CODE[code_unit(name)]}$", "")
        largest = float(np.max(np.abs(np.asarray(values)), initial=0.0))
        if name == "temperature":
            factor, unit = in_si(name, self.scales) * BOLTZMANN / self.scales.electron_volt, "eV"
        elif name in ("f_vx", "f_vxvy", "density"):
            powers = {"density": 0, "f_vx": 1, "f_vxvy": 2}[name]
            factor, unit = in_si(name, self.scales) * 1e3**powers, "m$^{-3}$" + _PER_SPEED[powers]
        else:
            factor, unit = in_si(name, self.scales), _UNITS.get(si_unit(name), si_unit(name))
        return Axis(*_scaled(name, factor, largest, unit, symbol))

    def rate(self, values: np.ndarray) -> tuple[float, str]:
        """Factor and unit of rates in 1/t0."""
        if self.code:
            return 1.0, "$t_0^{-1}$"
        factor, _, unit = _scaled("rate", 1 / self.scales.time, float(np.max(np.abs(values), initial=0.0)), "s", "")
        inverse = {symbol: PREFIXES[-power] for power, symbol in PREFIXES.items() if -power in PREFIXES}
        return factor, f"{inverse[unit[:-1]]}s$^{{-1}}$"


def in_powers(values: np.ndarray) -> tuple[np.ndarray, str]:
    """Numbers divided by a power of ten, and that power as the end of their label; "" for 1."""
    largest = float(np.max(np.abs(values), initial=0.0))
    power = math.floor(math.log10(largest)) if 0 < largest < math.inf else 0
    if -2 <= power <= 3:
        return values, ""
    return values / 10.0**power, f" ($10^{{{power}}}$)"


_CODE = {
    "t0": "t_0",
    "L0": "L_0",
    "V0": "V_0",
    "E0": "E_0",
    "n0": "n_0",
    "n0/V0": "(n_0/V_0)",
    "n0/V0^2": "(n_0/V_0^2)",
    "m0 V0^2/k": "(m_0V_0^2/k)",
    "m0 n0 L0 V0^2": "(m_0n_0L_0V_0^2)",
}
_UNITS = {"J/m^2": "J m$^{-2}$"}
_PER_SPEED = ("", " (km/s)$^{-1}$", " (km/s)$^{-2}$")


def _scaled(name: str, factor: float, largest: float, unit: str, symbol: str) -> tuple[float, str, str]:
    """Factor, symbol and unit with a prefix or a power of ten, so that the largest number reads well."""
    size = largest * factor
    power = math.floor(math.log10(size) + 1e-9) if 0 < size < math.inf else 0
    if name in ("density", "f_vx", "f_vxvy"):
        return factor / 10.0**power, f"${symbol}$", (f"$10^{{{power}}}$ " if power else "") + unit
    thousand = 3 * (power // 3)
    if size >= LEAST.get(name, 1.0) * 10.0 ** (thousand + 3) and (name != "temperature" or thousand < 0):
        thousand += 3
    if name in ("vx", "vy", "vz", "drift_x"):
        thousand = 3 if thousand > 0 else 0
    thousand = min(max(thousand, min(PREFIXES)), max(PREFIXES))
    return factor / 10.0**thousand, f"${symbol}$", PREFIXES[thousand] + unit
