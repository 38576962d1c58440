"""The variables of a result: what each is, its unit in code units and in SI, and its axes."""

from collections.abc import Callable
from typing import NamedTuple

from ddco_jax.plasma.units import BOLTZMANN, ELEMENTARY_CHARGE, VACUUM_PERMITTIVITY, Scales


class Quantity(NamedTuple):
    """A variable of a result."""

    long_name: str
    unit: str
    """Its code unit, a key of `UNITS`."""
    dims: tuple[str, ...] = ()
    """Its axes after t; of an axis of the grid its own."""


UNITS: dict[str, tuple[str, Callable[[Scales], float]]] = {
    "1": ("1", lambda s: 1.0),
    "t0": ("s", lambda s: s.time),
    "L0": ("m", lambda s: s.length),
    "V0": ("m/s", lambda s: s.velocity),
    "E0": ("V/m", lambda s: s.electric_field),
    "E0/L0": ("V/m^2", lambda s: s.electric_field / s.length),
    "n0": ("m^-3", lambda s: s.density),
    "n0/V0": ("s/m^4", lambda s: s.density / s.velocity),
    "n0/V0^2": ("s^2/m^5", lambda s: s.density / s.velocity**2),
    "n0/V0^3": ("s^3/m^6", lambda s: s.density / s.velocity**3),
    "m0 n0 L0": ("kg/m^2", lambda s: s.mass * s.density * s.length),
    "m0 n0 L0 V0": ("kg/(m s)", lambda s: s.mass * s.density * s.length * s.velocity),
    "m0 n0 L0 V0^2": ("J/m^2", lambda s: s.mass * s.density * s.length * s.velocity**2),
    "m0 n0 V0^2": ("Pa", lambda s: s.mass * s.density * s.velocity**2),
    "m0 n0 V0^3": ("W/m^2", lambda s: s.mass * s.density * s.velocity**3),
    "m0 V0^2/k": ("K", lambda s: s.mass * s.velocity**2 / BOLTZMANN),
    "k n0 L0": ("J/(K m^2)", lambda s: BOLTZMANN * s.density * s.length),
    "k n0/t0": ("W/(K m^3)", lambda s: BOLTZMANN * s.density / s.time),
}
"""The SI unit of each code unit, and its size in it; k is Boltzmann's constant."""

AXES = {
    "t": Quantity("time", "t0"),
    "x": Quantity("position, cell centres", "L0", ("x",)),
    "vx": Quantity("velocity along x", "V0", ("vx",)),
    "vy": Quantity("velocity along y", "V0", ("vy",)),
    "vz": Quantity("velocity along z", "V0", ("vz",)),
}
COMPONENTS = {
    "axis": Quantity("component of a vector, first of a tensor", "1", ("axis",)),
    "other_axis": Quantity("second component of a tensor", "1", ("other_axis",)),
}
"""Axes of vectors and tensors, whose coordinates are x, y, z."""
HISTORY = {
    "mass": Quantity("mass per area", "m0 n0 L0"),
    "momentum": Quantity("momentum per area", "m0 n0 L0 V0", ("axis",)),
    "kinetic_energy": Quantity("kinetic energy per area", "m0 n0 L0 V0^2"),
    "field_energy": Quantity("energy of the electric field per area", "m0 n0 L0 V0^2"),
    "total_energy": Quantity("kinetic and field energy per area", "m0 n0 L0 V0^2"),
    "entropy": Quantity("entropy per area, the integral of -k f log f with f in n0/V0^3", "k n0 L0"),
    "gauss_residual": Quantity("largest residual of Gauss's law", "E0/L0"),
    "negative_mass": Quantity("mass per area where f < 0", "m0 n0 L0"),
    "velocity_nyquist": Quantity("largest share of the Nyquist mode along each velocity axis", "1", ("axis",)),
    "velocity_edge": Quantity("largest f at the ends of each velocity axis, over its maximum", "1", ("axis",)),
    "evaluations": Quantity("evaluations of C[f] of one cell since the start", "1"),
    "entropy_limited": Quantity("evaluations whose flux the entropy limiter has changed", "1"),
    "repaired": Quantity("parts of collision steps with a repair of f", "1"),
    "refused": Quantity("parts of collision steps that were rejected", "1"),
    "unfinished": Quantity("collision steps of a cell that did not end", "1"),
}
SNAPSHOTS = {
    "density": Quantity("number density", "n0", ("x",)),
    "drift_x": Quantity("mean velocity along x", "V0", ("x",)),
    "drift": Quantity("mean velocity", "V0", ("x", "axis")),
    "temperature": Quantity("temperature, the mean of the three axes", "m0 V0^2/k", ("x",)),
    "axis_temperature": Quantity("temperature along each axis", "m0 V0^2/k", ("x", "axis")),
    "stress": Quantity("pressure tensor n m <c_i c_j>", "m0 n0 V0^2", ("x", "axis", "other_axis")),
    "heat_flux": Quantity("heat flux n m <c_i c^2>/2", "m0 n0 V0^3", ("x", "axis")),
    "entropy_production": Quantity("entropy production of the collisions per volume", "k n0/t0", ("x",)),
    "electric_field": Quantity("electric field, as force over the absolute charge of a particle", "E0", ("x",)),
    "correlation_age": Quantity("age of the correlations times the local plasma frequency", "1", ("x",)),
    "f_vx": Quantity("distribution of vx", "n0/V0", ("x", "vx")),
    "f_vxvy": Quantity("distribution of vx and vy", "n0/V0^2", ("x", "vx", "vy")),
    "f": Quantity("distribution function", "n0/V0^3", ("x", "vx", "vy", "vz")),
}
QUANTITIES = AXES | COMPONENTS | HISTORY | SNAPSHOTS
"""Every variable of a result by name; c is the velocity relative to the mean, < > the mean over f."""

SCALES = {
    "length": "length_m",
    "velocity": "velocity_m_s",
    "mass": "mass_kg",
    "charge": "charge_C",
    "density": "density_m3",
    "time": "time_s",
    "electric_field": "electric_field_V_m",
    "electron_volt": "electron_volt_J",
}
"""Names of the scales (`plasma.units.Scales`) in the attributes of a result."""
CONSTANTS = {
    "boltzmann_J_K": BOLTZMANN,
    "vacuum_permittivity_F_m": VACUUM_PERMITTIVITY,
    "elementary_charge_C": ELEMENTARY_CHARGE,
}
"""Constants (CODATA 2022) in the attributes of a result; the electron-volt of its config is among the scales."""


def code_unit(name: str) -> str:
    """The code unit of a variable."""
    return QUANTITIES[name].unit


def si_unit(name: str) -> str:
    """The SI unit of a variable."""
    return UNITS[code_unit(name)][0]


def in_si(name: str, scales: Scales) -> float:
    """The code unit of a variable, in its SI unit."""
    return UNITS[code_unit(name)][1](scales)
