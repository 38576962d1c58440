"""Reads settings: TOML validated by frozen pydantic models; every error is one line that gives its remedy."""

import dataclasses
import difflib
import tomllib
import types
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, PositiveFloat, ValidationError, model_validator

from ddco_jax.plasma.units import ATOMIC_MASS, ELEMENTARY_CHARGE, PAPER, SPECIES, Scales

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
    temperature_eV: PositiveFloat
    temperature_modulation_eV: float = 0.0

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


def read(source: str, shipped: dict[str, Path], overrides: Sequence[str] = ()) -> tuple[dict[str, Any], Path]:
    """Read a TOML file, or a shipped one by name, with `section.key=value` overrides (values as in TOML).

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
    for override in overrides:
        _apply_override(data, override)
    return data, path


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
        raise ConfigError(f"{source}: {_first_error(model, error)}") from None


def tuples(value: Any) -> Any:
    """Convert JSON or TOML arrays to the tuples that a config holds, and drop None."""
    if isinstance(value, dict):
        return {k: tuples(v) for k, v in value.items() if v is not None}
    return tuple(value) if isinstance(value, list) else value


def _apply_override(data: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set {override}: write it as section.key=value")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except RecursionError:
        raise ConfigError(f"--set {key}: nested too deeply") from None
    except ValueError:
        value = text  # a bare word is a string
    *sections, last = key.strip().split(".")
    for section in sections:
        data = data.setdefault(section, {})
        if not isinstance(data, dict):
            raise ConfigError(f"--set {override}: {section} is not a section")
    data[last] = value


def _first_error(model: type[Section], error: ValidationError) -> str:
    first = error.errors()[0]
    keys, known = _walk(model, first["loc"])
    key = ".".join(keys)
    if first["type"] == "extra_forbidden":
        close = difflib.get_close_matches(keys[-1], known, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(known)}"
        if elsewhere := _elsewhere(model, key):
            hint = f"did you mean {' or '.join(elsewhere)}?"
        return f"unknown key {key}; {hint}"
    if first["type"] == "missing":
        return f"{key} is missing"
    message = first["msg"].removeprefix("Value error, ")
    given = "" if isinstance(first["input"], dict) else f", got {first['input']!r}"
    return f"{key}: {message}{given}" if key and key not in message else message


def _walk(model: type[Section], location: Sequence[str | int]) -> tuple[list[str], list[str]]:
    """The keys along an error's location, without the tags of unions, and the valid keys where it ends."""
    members: list[type[Section]] = [model]
    keys: list[str] = []
    known: list[str] = []
    for part in map(str, location):
        if len(members) > 1 and (tagged := [m for m in members if part in _kinds(m)]):
            members = tagged  # the tag of a discriminated union is not a key
            continue
        keys.append(part)
        if part.isdigit():
            continue  # a place in a list of sections is not a key
        known = sorted({k for m in members for k in m.model_fields})
        members = [s for m in members if part in m.model_fields for s in _sections(m.model_fields[part].annotation)]
    return keys, known


def _elsewhere(model: type[Section], key: str) -> list[str]:
    """The keys of the same name in other sections, of those that are nested least."""
    name = key.rpartition(".")[2]
    found = dict.fromkeys(path for path in _paths(model) if path.rpartition(".")[2] == name and path != key)
    least = min((path.count(".") for path in found), default=0)
    return [path for path in found if path.count(".") == least]


def _paths(model: type[Section], above: str = "") -> Iterator[str]:
    """All keys of a model with those of its sections, written as section.key."""
    for key, field in model.model_fields.items():
        yield above + key
        for section in _sections(field.annotation):
            yield from _paths(section, f"{above}{key}.")


def _kinds(model: type[Section]) -> tuple[str, ...]:
    field = model.model_fields.get("kind")
    return typing.get_args(field.annotation) if field else ()


def _sections(annotation: object) -> list[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType, typing.Annotated, tuple):
        return [s for a in typing.get_args(annotation) for s in _sections(a)]
    return []
