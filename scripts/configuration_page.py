"""Writes docs/configuration.md: every key of run, MD and training configs, from the models that check them.

python scripts/configuration_page.py
"""

import ast
import dataclasses
import inspect
import itertools
import textwrap
import typing
from pathlib import Path

from pydantic_core import PydanticUndefined

from ddco_jax.kernels import forms
from ddco_jax.learning.config import TrainConfig
from ddco_jax.md.config import MDConfig
from ddco_jax.plasma.files import write_text
from ddco_jax.settings import Section
from ddco_jax.settings.mistakes import values
from ddco_jax.simulation.config import Config

PAGE = Path(__file__).parents[1] / "docs" / "configuration.md"
LEAD = """# Configuration

TOML in physical units. Unknown keys are refused with a pointer to the nearest known one. On the command line
`--set section.key=value` overrides a key. Made by `python scripts/configuration_page.py` from the models that check a
config.
"""


def documented(cls: type) -> dict[str, str]:
    """The string below each field of a class and of those it inherits from."""
    found: dict[str, str] = {}
    for owner in reversed(cls.__mro__):
        if owner is object or owner.__module__.startswith(("pydantic", "builtins")):
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0].body
        for field, below in itertools.pairwise(body):
            text = below.value.value if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) else None
            if isinstance(field, ast.AnnAssign) and isinstance(text, str):
                found[field.target.id] = " ".join(text.split())
    return found


def cell(value) -> str:
    """A default."""
    if value is PydanticUndefined or value is dataclasses.MISSING:
        return "required"
    if value is None:
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`" if value != "" else '`""`'


def rows(cls: type) -> list[str]:
    """A table of the keys of one section."""
    texts, lines = documented(cls), ["| key | values | default | |", "| --- | --- | --- | --- |"]
    if dataclasses.is_dataclass(cls):
        hints = typing.get_type_hints(cls)
        fields = [(f.name, values(hints[f.name]), f.default) for f in dataclasses.fields(cls)]
    else:
        fields = [
            (name, values(f.annotation, f.metadata), f.default)
            for name, f in cls.model_fields.items()
            if not sections(f.annotation)
        ]
    for name, takes, default in fields:
        lines.append(f"| `{name}` | {takes} | {cell(default)} | {texts.get(name, '')} |".replace("|u|", "\\|u\\|"))
    return lines if fields else []


def sections(annotation) -> list[type]:
    """The sections that a key may hold."""
    if inspect.isclass(annotation):
        known = issubclass(annotation, Section) or annotation in forms.FORMS.values()
        return [annotation] if known else []
    return [s for a in typing.get_args(annotation) for s in sections(a)]


def tag(cls: type) -> str:
    """The `kind` or `form` that distinguishes a section from the others that a key may hold."""
    hints = typing.get_type_hints(cls)
    choices = next(typing.get_args(hints[name]) for name in ("kind", "form") if name in hints)
    return f", {choices[0]}" if len(choices) == 1 else ", named"


def described(cls: type, path: str = "", which: str = "") -> list[str]:
    """A section and those in it."""
    lines = [f"### `{path}`{which}", ""] if path else []
    lines += [" ".join((cls.__doc__ or "").split()), ""] if path else []
    if table := rows(cls):
        lines += [*table, ""]
    fields = {} if dataclasses.is_dataclass(cls) else cls.model_fields
    for name, field in fields.items():
        inside = sections(field.annotation)
        below = f"{path.strip('[]')}.{name}".lstrip(".")
        below = f"[[{below}]]" if typing.get_origin(field.annotation) is tuple else f"[{below}]"
        for part in inside:
            lines += described(part, below, tag(part) if len(inside) > 1 else "")
    return lines


def main() -> None:
    lines = [LEAD]
    for title, model in (("A run", Config), ("Molecular dynamics", MDConfig), ("Training", TrainConfig)):
        lines += [f"## {title}", "", *described(model)]
    write_text(PAGE, "\n".join(lines).rstrip() + "\n")


if __name__ == "__main__":
    main()
