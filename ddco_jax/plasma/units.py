"""Code units (App. D of the paper): SI to code and back, and the coupling parameter.

Everything inside the package is in code units; physical units occur only here and in the settings.
"""

import dataclasses
import math
from typing import overload

import numpy as np

from ddco_jax.plasma.arrays import AnyArray, AnyNumbers, Array, Numbers

VACUUM_PERMITTIVITY = 8.8541878188e-12
"""Vacuum permittivity, F/m (CODATA 2022)."""
BOLTZMANN = 1.380649e-23
"""Boltzmann constant, J/K (exact)."""
ELEMENTARY_CHARGE = 1.602176634e-19
"""Elementary charge, C (exact)."""
ROUNDED_CHARGE = 1.6e-19
"""Elementary charge of the paper's App. D, C."""
ATOMIC_MASS = 1.66053906892e-27
"""Atomic mass constant u, kg (CODATA 2022)."""
ELECTRON_MASS = 9.1093837139e-31
"""Electron mass, kg (CODATA 2022)."""
SPECIES = {
    "electron": (ELECTRON_MASS, 1),
    "proton": (1.67262192595e-27, 1),
    "hydrogen": (1.67262192595e-27, 1),
    "deuterium": (3.3435837768e-27, 1),
    "tritium": (5.0073567512e-27, 1),
    "helium": (6.6446573450e-27, 2),
    "carbon": (12 * ATOMIC_MASS - 6 * ELECTRON_MASS, 6),
}
"""Mass (kg, CODATA 2022) and charge number of particles by name; of atoms the bare nuclei, of helium and carbon those
of 4He and 12C.  The charge is its absolute value."""


@dataclasses.dataclass(frozen=True)
class Scales:
    """The characteristic scales that define code units; the defaults are those of the paper's App. D.

    Raises ValueError if a scale is not positive.
    """

    length: float = 1e-8
    """L0, m."""
    velocity: float = 1e4
    """V0, m/s."""
    mass: float = 1.67e-27
    """m0, kg."""
    charge: float = 1.6e-19
    """q0, C."""
    density: float = 1e24
    """n0, 1/m^3."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if not getattr(self, field.name) > 0:
                raise ValueError(f"Scales.{field.name} must be positive, got {getattr(self, field.name)}")

    @property
    def time(self) -> float:
        """t0 = L0/V0, s."""
        return self.length / self.velocity

    @property
    def electric_field(self) -> float:
        """E0 = m0 V0^2/(q0 L0), V/m."""
        return self.mass * self.velocity**2 / (self.charge * self.length)

    @property
    def electron_volt(self) -> float:
        """One electron-volt, J: 1.6e-19 where the charge is a multiple of App. D's rounded e, else 1.602176634e-19.

        The temperatures of the paper are in the electron-volts of its rounded charge.
        """
        multiple = self.charge / ROUNDED_CHARGE
        rounded = round(multiple) > 0 and math.isclose(multiple, round(multiple), rel_tol=1e-9)
        return ROUNDED_CHARGE if rounded else ELEMENTARY_CHARGE

    @property
    def debye_number(self) -> float:
        """lambda = V0/(omega_p L0) at density n0, the one dimensionless parameter of Eq. (2)."""
        plasma_frequency = math.sqrt(self.density * self.charge**2 / (VACUUM_PERMITTIVITY * self.mass))
        return self.velocity / (plasma_frequency * self.length)

    @property
    def coulomb_constant(self) -> float:
        """q^2 = q0^2/(4 pi eps0) in units of m0 V0^2 L0: the potential energy of two particles is q^2/r.

        Follows from omega_p^2 = 4 pi q^2 (n0 L0^3) in code units.
        """
        return self.charge**2 / (4 * math.pi * VACUUM_PERMITTIVITY * self.mass * self.velocity**2 * self.length)

    def plasma_frequency(self, density: AnyNumbers) -> AnyNumbers:
        """omega_p in 1/t0, for code density (n0)."""
        return density**0.5 / self.debye_number

    @overload
    def debye_length(self, density: float, temperature: float) -> float: ...
    @overload
    def debye_length(self, density: AnyArray, temperature: AnyArray | float) -> AnyArray: ...
    @overload
    def debye_length(self, density: float, temperature: AnyArray) -> AnyArray: ...
    def debye_length(
        self, density: float | np.ndarray | Array, temperature: float | np.ndarray | Array
    ) -> float | np.ndarray | Array:
        """lambda_D in L0, for code density (n0) and temperature kT/m (V0^2)."""
        return self.debye_number * (temperature / density) ** 0.5

    @overload
    def coupling_parameter(self, density: float, temperature: float) -> float: ...
    @overload
    def coupling_parameter(self, density: AnyArray, temperature: AnyArray | float) -> AnyArray: ...
    @overload
    def coupling_parameter(self, density: float, temperature: AnyArray) -> AnyArray: ...
    def coupling_parameter(
        self, density: float | np.ndarray | Array, temperature: float | np.ndarray | Array
    ) -> float | np.ndarray | Array:
        """Gamma = q^2 (4 pi n/3)^(1/3)/kT, for code density (n0) and temperature kT/m (V0^2)."""
        particles = density * (self.density * self.length**3)
        return self.coulomb_constant * (4 * math.pi / 3 * particles) ** (1 / 3) / temperature

    def particle_distance(self, density: AnyNumbers) -> AnyNumbers:
        """Wigner-Seitz radius a = (3/(4 pi n))^(1/3) at a code density (n0), L0."""
        return (3 / (4 * math.pi * self.density * self.length**3) / density) ** (1 / 3)

    def landau_prefactor(self, density: Numbers) -> Numbers:
        """gamma/lnLambda of the Landau kernel gamma P/|u|: 2 pi q^4/m^2, per unit of code density.

        At n0 L0^3 = 1 this is 0.1193 (docs/references.md: gamma = 0.1193 lnLambda).  `density` only sets the array
        type: the prefactor of Eq. (8) is independent of it, because f contains the density.
        """
        return 2 * math.pi * self.coulomb_constant**2 * (self.density * self.length**3) * density**0

    def temperature_from_ev(self, temperature_ev: AnyNumbers) -> AnyNumbers:
        """Code temperature kT/m (V0^2) from kT in eV."""
        return temperature_ev * self.electron_volt / (self.mass * self.velocity**2)

    def temperature_to_ev(self, temperature: AnyNumbers) -> AnyNumbers:
        """kT in eV from the code temperature kT/m (V0^2)."""
        return temperature * (self.mass * self.velocity**2) / self.electron_volt

    def temperature_to_kelvin(self, temperature: AnyNumbers) -> AnyNumbers:
        """Temperature in kelvin from the code temperature kT/m (V0^2)."""
        return temperature * (self.mass * self.velocity**2) / BOLTZMANN


PAPER = Scales()
"""The scales of App. D: lambda = 0.76, omega_p = 1.3158/t0, q^2 = 0.13777."""
