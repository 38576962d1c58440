"""Reads settings: TOML validated by frozen pydantic models; every error is one line that gives its remedy."""

import dataclasses
import difflib
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, PositiveFloat, ValidationError, model_validator

from ddco_jax.plasma.units import ATOMIC_MASS, ELEMENTARY_CHARGE, PAPER, SPECIES, Scales
from ddco_jax.settings.mistakes import explain

SMALLEST = 1e-100
"""Smallest number, and the inverse of the largest one, that a scale of a plasma may be in code units or SI."""


class ConfigError(ValueError):
    """A user error; the message is one line."""


class RunFailed(RuntimeError):
    """A simulation, MD run or training failed; the message says where or why, in one line."""


class Section(BaseModel):
    """Base of all config sections: frozen, refuses unknown keys, converts no types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class PlasmaSection(Section):
    """The species, and its mean state: T(x) = temperature_eV + temperature_modulation_eV sin(2 pi x/Lx).

    Without a species, particles and electron-volts are those of the paper's App. D (1.67e-27 kg, 1.6e-19 C).
    """

    species: Literal["electron", "proton", "hydrogen", "deuterium", "tritium", "helium", "carbon"] | None = None
    """Mass and charge of electrons or of bare nuclei (CODATA 2022), on a uniform background of the opposite charge.
    The electric field of a run is the force on a particle over its absolute charge."""
    mass_u: PositiveFloat | None = None
    """Instead of a species: mass of a particle, in atomic mass units."""
    charge_number: PositiveFloat | None = None
    """Instead of a species: charge of a particle over the elementary charge, without sign."""
    density_m3: PositiveFloat = 1e24
    """Mean over the box."""
    temperature_eV: PositiveFloat
    """Mean over the box; of components that state none."""
    temperature_modulation_eV: float = 0.0
    """Amplitude of a sine of one wavelength in the box, T(x) = temperature_eV + temperature_modulation_eV sin(2 pi
    x/Lx), as in the paper.  For other waves of a run, [[initial.perturbation]] with quantity = "temperature" takes its
    place; where both are given, T(x) is multiplied by 1 + amplitude cos(2 pi mode x/Lx + phase)."""

    @model_validator(mode="after")
    def _consistent(self) -> "PlasmaSection":
        if abs(self.temperature_modulation_eV) >= self.temperature_eV:
            raise ValueError("temperature_modulation_eV must be smaller than temperature_eV, or T(x) is not positive")
        given = [self.mass_u is not None, self.charge_number is not None]
        if self.species is not None and any(given):
            raise ValueError("species has a mass and a charge; leave out mass_u and charge_number, or species")
        if any(given) and not all(given):
            raise ValueError("mass_u and charge_number belong together; give both")
        return self

    @property
    def particle(self) -> tuple[float, float] | None:
        """Mass (kg) and charge (C) of a particle; None where no species is stated."""
        if self.species is not None:
            mass, number = SPECIES[self.species]
            return mass, number * ELEMENTARY_CHARGE
        if self.mass_u is None or self.charge_number is None:
            return None
        return self.mass_u * ATOMIC_MASS, self.charge_number * ELEMENTARY_CHARGE


class UnitsSection(Section):
    """Characteristic scales, in which results are.

    By default those of the paper's App. D; for a species stated in [plasma] those of the plasma, so that t0 = 1/omega_p
    and numbers are of order one.
    """

    length_angstrom: PositiveFloat | None = None
    """L0: 100, or the Debye length of the stated plasma."""
    velocity_m_s: PositiveFloat | None = None
    """V0: 1e4, or the thermal speed sqrt(kT/m) of the stated plasma."""
    mass_kg: PositiveFloat | None = None
    """m0, the mass of a particle: 1.67e-27, or that of the species in [plasma]."""
    charge_C: PositiveFloat | None = None
    """q0, the charge of a particle: 1.6e-19, or that of the species in [plasma]."""
    density_m3: PositiveFloat | None = None
    """n0: 1e24, or the density of the stated plasma."""

    def build(self, plasma: PlasmaSection) -> Scales:
        """The scales in SI, for a plasma."""
        default = PAPER if plasma.particle is None else natural(plasma.particle, plasma)
        length = default.length if self.length_angstrom is None else self.length_angstrom * 1e-10
        given = (length, self.velocity_m_s, self.mass_kg, self.charge_C, self.density_m3)
        return Scales(*(d if g is None else g for g, d in zip(given, dataclasses.astuple(default), strict=True)))


def natural(particle: tuple[float, float], plasma: PlasmaSection) -> Scales:
    """Scales of a plasma of particles of mass (kg) and charge (C): n0 its density, V0 = sqrt(kT/m), t0 = 1/omega_p."""
    mass, charge = particle
    one = Scales(mass=mass, charge=charge, density=plasma.density_m3)
    speed = one.velocity * one.temperature_from_ev(plasma.temperature_eV) ** 0.5
    return dataclasses.replace(one, velocity=speed, length=speed * one.time / one.plasma_frequency(1.0))


class PlasmaConfig(Section):
    """Settings that define a plasma and its code units."""

    units: UnitsSection = UnitsSection()
    plasma: PlasmaSection

    @model_validator(mode="after")
    def _one_species(self) -> "PlasmaConfig":
        own = [key for key in ("mass_kg", "charge_C") if getattr(self.units, key) is not None]
        if self.plasma.particle is not None and own:
            raise ValueError(f"units.{own[0]}: [plasma] states the species; leave out one of the two")
        return self

    @model_validator(mode="after")
    def _representable(self) -> "PlasmaConfig":
        """Also the powers of the scales that the equations take are numbers of double precision."""
        try:
            scales = self.scales
            values = [scales.time, scales.electric_field, scales.debye_number, scales.coulomb_constant, self.density]
            values += [scales.coulomb_constant**2, scales.temperature_from_ev(self.plasma.temperature_eV)]
            values += [scales.coupling_parameter(self.density, values[-1])]
            fine = all(SMALLEST < value < 1 / SMALLEST for value in values)
        except (ArithmeticError, ValueError):
            fine = False
        if not fine:
            raise ValueError("units: the scales of [units] and [plasma] are out of range; are they in SI?")
        return self

    @property
    def scales(self) -> Scales:
        """The characteristic scales."""
        return self.units.build(self.plasma)

    @property
    def density(self) -> float:
        """Mean density, n0."""
        return self.plasma.density_m3 / self.scales.density


def scales_of(config: dict[str, Any]) -> Scales:
    """The scales of a run or of MD, from its stored config."""
    return UnitsSection(**config.get("units", {})).build(PlasmaSection(**config["plasma"]))


Model = TypeVar("Model", bound=Section)
Overrides = Sequence[str] | Mapping[str, Any]
"""Replaced settings: texts `section.key=value` with values as in TOML, or values by section.key."""


def shipped(folder: str = "") -> dict[str, Path]:
    """The configs that come with the package, by name: of runs, or those in the folder "md" or "train"."""
    files = (resources.files("ddco_jax") / "configs" / folder).iterdir()
    return {Path(str(p)).stem: Path(str(p)) for p in sorted(files, key=str) if str(p).endswith(".toml")}


def read(source: str, shipped: dict[str, Path], overrides: Overrides = ()) -> tuple[dict[str, Any], Path]:
    """Read a TOML file, or a shipped one by name, with overrides.

    Returns the data and the path.  Raises ConfigError.
    """
    path = Path(source)
    if not path.is_file():
        if source not in shipped:
            close = difflib.get_close_matches(source, shipped, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"shipped configs: {', '.join(shipped)}"
            raise ConfigError(f"{source}: no such file or shipped config; {hint}")
        path = shipped[source]
    try:
        data = tomllib.loads(path.read_text())
    except RecursionError:
        raise ConfigError(f"{source}: not valid TOML: nested too deeply") from None
    except ValueError as error:  # also of numbers with too many digits, and of text that is not UTF-8
        raise ConfigError(f"{source}: not valid TOML: {error}") from None
    override(data, overrides)
    return data, path


def override(data: dict[str, Any], overrides: Overrides) -> None:
    """Replace settings in a nested dict.  Raises ConfigError."""
    pairs = overrides.items() if isinstance(overrides, Mapping) else map(parsed, overrides)
    for key, value in pairs:
        *sections, last = key.split(".")
        part = data
        for section in sections:
            if isinstance(part, list | tuple):  # sections of one name, numbered from 0
                part = part[int(section)] if section.isdigit() and int(section) < len(part) else None
            else:
                part = part.setdefault(section, {})
            several = isinstance(part, list | tuple) and part and all(isinstance(one, dict) for one in part)
            if not isinstance(part, dict) and not several:
                raise ConfigError(f"{key}: {section} is not a section")
        if isinstance(part, list | tuple):
            raise ConfigError(f"{key}: give the number of the section, from 0: {'.'.join(sections)}.0.{last}")
        part[last] = value


def absolute_file(data: dict[str, Any], section: str, folder: Path) -> None:
    """Make `file` of a section absolute: relative to `folder` where it exists there, else to the working directory."""
    part = data.get(section)
    if isinstance(part, dict) and isinstance(part.get("file"), str):
        beside = folder / part["file"]
        part["file"] = str((beside if beside.exists() else Path(part["file"])).resolve())


def parse(model: type[Model], data: dict[str, Any], source: str) -> Model:
    """Check a nested dict of settings.  Raises ConfigError with one line."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise ConfigError(f"{source}: {explain(model, data, error)}") from None


def tuples(value: Any) -> Any:
    """Convert JSON or TOML arrays to the tuples that a config holds, and drop None."""
    if isinstance(value, dict):
        return {k: tuples(v) for k, v in value.items() if v is not None}
    return tuple(value) if isinstance(value, list) else value


def parsed(override: str) -> tuple[str, Any]:
    """Key and value of a text `section.key=value`."""
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set {override}: write it as section.key=value")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except RecursionError:
        raise ConfigError(f"--set {key}: nested too deeply") from None
    except ValueError:
        value = text  # a bare word is a string
    return key.strip(), value
