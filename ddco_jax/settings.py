"""Reads settings: TOML validated by frozen pydantic models; every error is one line that gives its remedy."""

import difflib
import tomllib
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, PositiveFloat, ValidationError, model_validator

from ddco_jax.plasma.units import Scales


class ConfigError(ValueError):
    """A user error; the message is one line."""


class RunFailed(RuntimeError):
    """A simulation, MD run or training failed; the message says where or why, in one line."""


class Section(BaseModel):
    """Base of all config sections: frozen, refuses unknown keys, converts no types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class UnitsSection(Section):
    """Characteristic scales; the defaults are the paper's (App. D)."""

    length_angstrom: PositiveFloat = 100.0
    velocity_m_s: PositiveFloat = 1e4
    mass_kg: PositiveFloat = 1.67e-27
    charge_C: PositiveFloat = 1.6e-19
    density_m3: PositiveFloat = 1e24

    def build(self) -> Scales:
        """The scales in SI."""
        return Scales(self.length_angstrom * 1e-10, self.velocity_m_s, self.mass_kg, self.charge_C, self.density_m3)


class PlasmaSection(Section):
    """Mean state: T(x) = temperature_eV + temperature_modulation_eV sin(2 pi x/Lx)."""

    density_m3: PositiveFloat = 1e24
    temperature_eV: PositiveFloat
    temperature_modulation_eV: float = 0.0

    @model_validator(mode="after")
    def _positive(self) -> "PlasmaSection":
        if abs(self.temperature_modulation_eV) >= self.temperature_eV:
            raise ValueError("temperature_modulation_eV must be smaller than temperature_eV, or T(x) is not positive")
        return self


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
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
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
    except tomllib.TOMLDecodeError:
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
        known = sorted({k for m in members for k in m.model_fields})
        members = [s for m in members if part in m.model_fields for s in _sections(m.model_fields[part].annotation)]
    return keys, known


def _kinds(model: type[Section]) -> tuple[str, ...]:
    field = model.model_fields.get("kind")
    return typing.get_args(field.annotation) if field else ()


def _sections(annotation: object) -> list[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType, typing.Annotated):
        return [s for a in typing.get_args(annotation) for s in _sections(a)]
    return []
