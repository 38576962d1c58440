"""Lists of what comes with the package: configs and kernels."""

import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from ddco_jax import settings
from ddco_jax.evaluation import tables
from ddco_jax.kernels import store

FOLDERS = {
    "": ("runs", "ddco run NAME"),
    "md": ("molecular dynamics", "ddco md NAME --out FILE"),
    "train": ("trainings", "ddco train NAME --out FOLDER"),
}
"""What the shipped configs of a folder are for, and the command that takes them."""


def configs() -> dict[str, dict[str, str]]:
    """The descriptions of the shipped configs by name: of runs, of molecular dynamics, of trainings."""
    return {
        what: {name: tomllib.loads(path.read_text())["description"] for name, path in settings.shipped(folder).items()}
        for folder, (what, _) in FOLDERS.items()
    }


def configs_table(found: Mapping[str, Mapping[str, str]]) -> str:
    """The result of `configs` as text."""
    commands = dict(FOLDERS.values())
    width = max(len(name) for group in found.values() for name in group)
    parts = [
        "\n".join([f"{what}: {commands[what]}", *(f"  {name:{width}s}  {about}" for name, about in group.items())])
        for what, group in found.items()
    ]
    return "\n\n".join(parts)


def kernels() -> list[dict[str, Any]]:
    """The kernels of the package: name, description, Gamma of the training (null for analytic ones), errors."""
    return [
        {
            "name": name,
            "description": store.describe(name),
            "trained_gamma": store.trained_gamma(name),
            "held_out": store.held_out(name),
        }
        for name in store.names()
    ]


def kernels_table(found: Sequence[Mapping[str, Any]]) -> str:
    """The result of `kernels` as text: a table of numbers, then a line about each kernel."""

    def cell(row: Mapping[str, Any], measure: str) -> str:
        return f"{row['held_out'][measure]:.3g}" if measure in row["held_out"] else "-"

    measures = list(dict.fromkeys(m for row in found for m in row["held_out"]))
    lines = [["kernel", "trained on Gamma", *measures]]
    for row in found:
        gamma = "analytic" if row["trained_gamma"] is None else "{:g} ... {:g}".format(*row["trained_gamma"])
        lines.append([row["name"], gamma, *(cell(row, m) for m in measures)])
    notes = [
        "chi2: mean square of the error of rates over the noise of MD that no kernel was trained on, of N particles.",
        "excess: error of f(vx), f(vx, vy) beyond that noise.  Largest values over the cases; 1 and 0 are perfect.",
    ]
    about = tables.listing({row["name"]: row["description"] for row in found})
    return "\n".join([tables.columns(lines), *notes, "", about])
