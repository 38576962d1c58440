"""Mistakes in settings, in plain words: the key, what was given, what it takes, and a near match."""

import dataclasses
import difflib
import json
import re
import types
import typing
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

MOST_SHOWN = 60
"""Most characters of a value that is shown."""
NOUNS: dict[Any, str] = {float: "number", int: "integer", str: "text"}
LIMITS = {"gt": "above", "ge": "of at least", "lt": "below", "le": "of at most"}


def explain(model: type[BaseModel], data: Any, error: ValidationError) -> str:
    """One mistake of an invalid nested dict of settings in one line, without what pydantic calls it.

    A misspelt key is told first, because the key that it stands for counts as missing.
    """
    errors = error.errors()
    first = next((e for e in errors if e["type"] == "extra_forbidden"), errors[0])
    place = _walk(model, first["loc"])
    if first["type"] == "union_tag_not_found":
        given = first["input"] if isinstance(first["input"], dict) else {}
        unknown = [key for key in given if key not in place.below]
        place = _walk(model, (*first["loc"], "kind"))
        if unknown:
            place = dataclasses.replace(place, keys=(*place.keys[:-1], unknown[0]))
        first = first | {"type": "extra_forbidden" if unknown else "missing"}
    if first["type"] == "union_tag_invalid":
        place = _walk(model, (*first["loc"], "kind"))
    key = place.key
    if first["type"] == "extra_forbidden":
        return f"unknown key {key}; {_near(model, place)}"
    if first["type"] == "value_error":
        message = first["msg"].removeprefix("Value error, ")
        return f"{key}: {message}" if key and key not in message else message
    if first["type"] == "missing" and place.missing(first["loc"]):
        if place.below:
            return f"the section [{key}] is missing; it has the keys {', '.join(place.below)}"
        return f"{key} is missing; it must be {place.takes}"
    value = _lookup(data, place.keys, first["input"])
    if place.below and value not in ((), []):
        many = any(typing.get_origin(field.annotation) is tuple for field in place.fields)
        what = f"sections, each begun by [[{key}]]" if many else f"a section, [{key}] with keys below it"
        return f"{key} must be {what}, got {shown(value)}"
    return _refused(place, value, first)


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a mistake is."""

    keys: tuple[str, ...]
    """The keys that lead to it; a digit counts the sections of a list."""
    known: tuple[str, ...]
    """The valid keys beside the last one."""
    below: tuple[str, ...]
    """The valid keys below it, if it is a section."""
    fields: tuple[FieldInfo, ...]
    """What the last key takes, in each section that may hold it."""

    @property
    def key(self) -> str:
        """The keys, written as section.key."""
        return ".".join(self.keys)

    @property
    def takes(self) -> str:
        """The valid values in words."""
        if words := self.words:
            return listed([json.dumps(word) for word in words])
        return listed(list(dict.fromkeys(values(f.annotation, f.metadata) for f in self.fields)))

    @property
    def words(self) -> list[str]:
        """The valid words, if only these are valid."""
        found = [word for field in self.fields for word in _words(field.annotation)]
        return list(dict.fromkeys(found))

    def missing(self, location: Sequence[str | int]) -> bool:
        """Whether the key itself is missing, not a number of its list."""
        return not isinstance(location[-1], int)


def _refused(place: Place, value: Any, error: Any) -> str:
    """A value that the key does not take."""
    key, given = place.key, shown(value)
    if place.words:
        close = difflib.get_close_matches(str(value).lower(), place.words, 1)
        return f"{key} = {given} is unknown; " + (
            f"did you mean {close[0]!r}?" if close else f"it must be {place.takes}"
        )
    if error["type"] == "finite_number":
        return f"{key} must be finite, got {given}"
    takes = place.takes
    if isinstance(value, tuple | list) and not value:
        return f"{key} must be {takes}, got an empty list"
    return f"{key} must be {takes}, got {given}{_hint(takes, place, value)}"


def _hint(takes: str, place: Place, value: Any) -> str:
    """How to write a value of the wrong type; empty where it is not clear."""
    count = next((n for f in place.fields if (n := _length(f.annotation))), 0)
    single = any(_length(f.annotation) == 0 for f in place.fields)
    if isinstance(value, bool):
        return ""
    if count and isinstance(value, int | float):
        return f"; write it as {shown([value] * count)}"
    if isinstance(value, float) and value.is_integer() and "integer" in takes and abs(value) < 1e15:
        return f"; write it as {int(value)}"
    if isinstance(value, str) and ("number" in takes or "integer" in takes):
        if "," in value:
            return "; write it in brackets, without quotes"
        if _numeric(value):
            return "; write it without quotes"
        return "; write the number alone: the name of the key states the unit" * bool(re.match(r"\s*[-+.]?\d", value))
    if isinstance(value, int | float) and single and "text" in takes:
        return "; write it in quotes"
    return ""


def _numeric(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def shown(value: Any) -> str:
    """A value as in TOML, shortened."""
    if isinstance(value, tuple | list):
        text = f"[{', '.join(map(shown, value))}]"
    elif isinstance(value, dict):
        text = "{" + ", ".join(f"{k} = {shown(v)}" for k, v in value.items()) + "}"
    else:
        text = json.dumps(value, ensure_ascii=False) if isinstance(value, str | bool) else str(value)
    return text if len(text) <= MOST_SHOWN else text[: MOST_SHOWN - 4] + " ..."


def values(annotation: Any, limits: Sequence[Any] = (), count: int | None = 1) -> str:
    """What a key with a type annotation takes, in words; `count` of them, or any number where it is None."""
    origin, inside = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return values(inside[0], [*annotation.__metadata__, *limits], count)
    if origin is typing.Literal:
        return listed([json.dumps(word) for word in inside])
    if origin in (typing.Union, types.UnionType):
        return listed(list(dict.fromkeys(values(a, limits, count) for a in inside if a is not type(None))))
    if origin is tuple:
        number = None if Ellipsis in inside else len(inside)
        return f"{'a list of' if number is None else number} {values(inside[0], (), number)}"
    if annotation is bool:
        return "true or false"
    adjective, after = _limits(limits)
    noun = f"{adjective}{NOUNS.get(annotation, 'section')}"
    if count != 1:
        return f"{noun}s{after}"
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}{after}"


def _limits(metadata: Sequence[Any]) -> tuple[str, str]:
    """The limits of a number in words: what comes before its noun, and what comes after."""
    flat = [n for m in metadata for n in (m.metadata if isinstance(m, FieldInfo) else [m])]
    found = {name: getattr(m, name) for m in flat for name in LIMITS if getattr(m, name, None) is not None}
    if found == {"gt": 0}:
        return "positive ", ""
    if found == {"ge": 0}:
        return "non-negative ", ""
    text = " and ".join(f"{LIMITS[name]} {limit:g}" for name, limit in found.items())
    return "", f" {text}" if text else ""


def listed(words: Sequence[str]) -> str:
    """Alternatives: a, b or c."""
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _words(annotation: Any) -> list[str]:
    """The words that an annotation names; [] where other values are valid, too."""
    if typing.get_origin(annotation) is typing.Literal:
        return [str(word) for word in typing.get_args(annotation)]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        parts = [a for a in typing.get_args(annotation) if a is not type(None)]
        found = [_words(a) for a in parts]
        return [word for words in found for word in words] if all(found) else []
    return []


def _length(annotation: Any) -> int:
    """The length of a list of fixed length that an annotation names, else 0."""
    inside = typing.get_args(annotation)
    if typing.get_origin(annotation) is tuple:
        return 0 if Ellipsis in inside else len(inside)
    return 0


def _lookup(data: Any, keys: Sequence[str], otherwise: Any) -> Any:
    """The value at a place of nested settings; the keys do not count what a list of numbers holds."""
    for key in keys:
        if isinstance(data, dict) and key in data:
            data = data[key]
        elif isinstance(data, tuple | list) and key.isdigit() and int(key) < len(data):
            data = data[int(key)]
        else:
            return otherwise
    return data


def _walk(model: type[BaseModel], location: Sequence[str | int]) -> Place:
    """The place of an error's location, without what is no key: tags of unions, numbers of a list, names of types."""
    members: list[type[BaseModel]] = [model]
    keys: list[str] = []
    known: tuple[str, ...] = ()
    fields: tuple[FieldInfo, ...] = ()
    for part in map(str, location):
        if len(members) > 1 and (tagged := [m for m in members if part in _kinds(m)]):
            members = tagged
            continue
        if not members:
            continue  # below a key: the number of a value in its list, or the name of one of its types
        keys.append(part)
        if part.isdigit():
            continue  # the place of a section in a list of sections
        known = tuple(dict.fromkeys(k for m in members for k in m.model_fields))
        fields = tuple(m.model_fields[part] for m in members if part in m.model_fields)
        members = [s for f in fields for s in _sections(f.annotation)]
    return Place(tuple(keys), known, tuple(dict.fromkeys(k for m in members for k in m.model_fields)), fields)


def _near(model: type[BaseModel], place: Place) -> str:
    """Which key an unknown one may stand for: a longer or near one, or one of the same name in another section."""
    name = place.keys[-1]
    if place.key in set(_paths(model)):
        return f"it does not go with the other keys of [{'.'.join(place.keys[:-1])}]"
    if longer := [key for key in place.known if len(name) > 2 and key.startswith(name)]:
        return f"did you mean {listed(list(map(repr, longer)))}?"
    found = dict.fromkeys(path for path in _paths(model) if path.rpartition(".")[2] == name and path != place.key)
    least = min((path.count(".") for path in found), default=0)
    if elsewhere := [path for path in found if path.count(".") == least]:
        return f"did you mean {' or '.join(elsewhere)}?"
    by_lower = {key.lower(): key for key in place.known}
    close = difflib.get_close_matches(name.lower(), by_lower, 1)
    return f"did you mean {by_lower[close[0]]!r}?" if close else f"known keys: {', '.join(sorted(place.known))}"


def _paths(model: type[BaseModel], above: str = "") -> Iterator[str]:
    """All keys of a model with those of its sections, written as section.key."""
    for key, field in model.model_fields.items():
        yield above + key
        for section in _sections(field.annotation):
            yield from _paths(section, f"{above}{key}.")


def _kinds(model: type[BaseModel]) -> tuple[str, ...]:
    field = model.model_fields.get("kind")
    return typing.get_args(field.annotation) if field else ()


def _sections(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType, typing.Annotated, tuple):
        return [s for a in typing.get_args(annotation) for s in _sections(a)]
    return []
