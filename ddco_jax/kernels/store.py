"""Kernels by name, and learned kernels on disk: a specification in JSON beside plain arrays, no pickle."""

import json
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ddco_jax.kernels.base import Kernel
from ddco_jax.kernels.landau import Landau, MaxwellMolecules, classical
from ddco_jax.kernels.learned import KernelSection, Learned, build, tabulated
from ddco_jax.settings import parse

NAMED: dict[str, tuple[Callable[[], Kernel], str]] = {
    "landau": (Landau, "Landau, lnLambda = Xi22/2 of the effective-potential theory (positive at every Gamma)"),
    "landau-classical": (lambda: Landau(classical()), "Landau, lnLambda = -ln(sqrt(3) Gamma^1.5), for Gamma < 0.69"),
    "maxwell_molecules": (MaxwellMolecules, "|u|^2 P/24, for which the BKW solution is exact"),
}
"""Constructor and one-line description of the analytic kernels."""
SPECIFICATION, PARAMETERS, MEMBERS = "kernel.json", "parameters.npz", "parameters_seed_*.npz"


def _folder() -> Path:
    return Path(str(resources.files("ddco_jax") / "pretrained"))


def pretrained() -> dict[str, Path]:
    """The learned kernels that come with the package, by name."""
    return {p.parent.name: p.parent for p in sorted(_folder().glob(f"*/{SPECIFICATION}"))}


def names() -> list[str]:
    """All kernels that come with the package."""
    return [*NAMED, *pretrained()]


def describe(name: str) -> str:
    """One line about a kernel of the package."""
    return NAMED[name][1] if name in NAMED else metadata(pretrained()[name])["description"]


def held_out(name: str) -> dict[str, float]:
    """The largest errors of a kernel on MD that it never saw; empty where none are stored (`scripts/verdict.py`)."""
    file = _folder() / "held_out.json"
    return json.loads(file.read_text()).get(name, {}) if file.exists() else {}


def load_kernel(name_or_folder: str | Path) -> Kernel:
    """A kernel of the package by name, or a learned one from its folder, ready for the solver: networks by table.

    Raises ValueError that lists the names there are.
    """
    name = str(name_or_folder)
    return NAMED[name][0]() if name in NAMED else tabulated(load_learned(name).kernel)


def load_learned(name_or_folder: str | Path) -> Learned:
    """A learned kernel with its build-up, networks as they are.  Raises ValueError where there is none."""
    return load_ensemble(name_or_folder)[0]


def load_ensemble(name_or_folder: str | Path) -> list[Learned]:
    """A learned kernel and those of other seeds that come with it: their spread is its uncertainty."""
    name = str(name_or_folder)
    folder = pretrained().get(name, Path(name))
    if not (folder / SPECIFICATION).is_file():
        raise ValueError(f"no kernel {name!r}; there are {', '.join(names())}, or the folder of a training")
    specification = json.loads((folder / SPECIFICATION).read_text())["kernel"]
    like = build(parse(KernelSection, specification, str(folder / SPECIFICATION)), 0)
    return [_filled(like, path) for path in (folder / PARAMETERS, *sorted(folder.glob(MEMBERS)))]


def _filled(like: Learned, path: Path) -> Learned:
    """A model of the same structure with the arrays of a file."""
    arrays, static = eqx.partition(like, eqx.is_array)
    with np.load(path, allow_pickle=False) as stored:
        leaves = [jnp.asarray(stored[str(i)]) for i in range(len(stored.files))]
    if [a.shape for a in leaves] != [a.shape for a in jax.tree.leaves(arrays)]:
        raise ValueError(f"{path} does not fit {SPECIFICATION} beside it")
    return eqx.combine(jax.tree.unflatten(jax.tree.structure(arrays), leaves), static)


def metadata(folder: Path) -> dict[str, Any]:
    """Data, seeds, errors and versions of a learned kernel."""
    return json.loads((folder / SPECIFICATION).read_text())["metadata"]


def save(folder: Path, specification: dict[str, Any], learned: Learned, about: dict[str, Any]) -> None:
    """Write a learned kernel; the specification last, so that a folder with one is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    leaves = jax.tree.leaves(eqx.filter(learned, eqx.is_array))
    with open(folder / f"{PARAMETERS}.part", "wb") as file:
        np.savez(file, allow_pickle=False, **{str(i): np.asarray(leaf) for i, leaf in enumerate(leaves)})
    (folder / f"{PARAMETERS}.part").replace(folder / PARAMETERS)
    text = json.dumps({"kernel": specification, "metadata": about}, indent=1)
    (folder / f"{SPECIFICATION}.part").write_text(text + "\n")
    (folder / f"{SPECIFICATION}.part").replace(folder / SPECIFICATION)
