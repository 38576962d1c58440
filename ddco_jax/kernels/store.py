"""Kernels by name, and learned kernels on disk: a specification in JSON beside named arrays, no pickle.

A folder holds `kernel.json` (format, form of the kernel, metadata) and `parameters.npz`, whose arrays are named after
the place of each parameter in the model, and one `parameters_seed_N.npz` per further seed.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import PyTree

from ddco_jax.correlations import MARKOV
from ddco_jax.correlations.model import Model
from ddco_jax.correlations.tagged import PROMPT
from ddco_jax.kernels import numbered
from ddco_jax.kernels.base import Kernel
from ddco_jax.kernels.convex import Convex
from ddco_jax.kernels.forms import KernelForm, Learned, form_of, in_units, tabulated
from ddco_jax.kernels.landau import Landau, classical, effective_potential
from ddco_jax.kernels.maxwell import MaxwellMolecules
from ddco_jax.plasma.files import complete, file_hash, read_json, sealed, write_text
from ddco_jax.plasma.units import PAPER, Scales

Tree = TypeVar("Tree")
FORMAT = 3
"""Format of a stored kernel.  Format 1 numbered its arrays (`numbered`); "quench" in format 2 is now "quench_0.1"."""
NAMED: dict[str, tuple[Callable[[Scales], Kernel], str]] = {
    "landau": (
        lambda scales: Landau(effective_potential(scales)),
        "Landau, lnLambda = Xi22/2 of the effective-potential theory (positive at every Gamma)",
    ),
    "landau-classical": (
        lambda scales: Landau(classical(scales)),
        "Landau, lnLambda = -ln(sqrt(3) Gamma^1.5), for Gamma < 0.69",
    ),
    "maxwell_molecules": (lambda scales: MaxwellMolecules(), "|u|^2 P/24, for which the BKW solution is exact"),
}
"""Constructor and one-line description of the analytic kernels."""
SPECIFICATION, PARAMETERS, MEMBERS = "kernel.json", "parameters.npz", "parameters_seed_*.npz"


def analytic(name: str, scales: Scales = PAPER, prefactor: float | None = None) -> Kernel:
    """An analytic kernel by name; `prefactor` (gamma of P/|u|, kappa of |u|^2 P, code units) replaces its own."""
    kernel = NAMED[name][0](scales)
    return kernel if prefactor is None else type(kernel)(prefactor)


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


def trained_gamma(name: str) -> tuple[float, float] | None:
    """Lowest and highest Gamma of the MD that a kernel of the package was trained on; None for an analytic one."""
    if name in NAMED:
        return None
    found = [float(run.split("_")[1]) for run in metadata(pretrained()[name])["runs"]]
    return min(found), max(found)


def held_out(name: str) -> dict[str, float]:
    """The largest errors of a kernel on MD outside its training, by measure; {} without any (`scripts/verdict.py`)."""
    file = _folder() / "held_out.json"
    return json.loads(file.read_text()).get(name, {}) if file.exists() else {}


def load_model(name_or_folder: str | Path, scales: Scales = PAPER) -> Learned:
    """A collision model: a kernel and the law by which its correlations build up, for `steppers.Strang(grid, model)`.

    `name_or_folder` is a kernel of the package (`ddco kernels` lists them) or the folder of a training.  The kernel,
    `model.kernel`, is in the code units of `scales`, with its networks tabulated for the solver; the law,
    `model.buildup`, is `MARKOV` (none) for an analytic kernel.  The model is a pytree: `jax.grad` differentiates with
    respect to all its parameters.  The law acts where the state has an age of its correlations: `correlation_age=0.0`
    at a quench, 1e4 in a plasma that has long relaxed.
    Raises ValueError for an unknown kernel; the message lists the known names.

    Examples:
        >>> import ddco_jax as ddco
        >>> model = ddco.load_model("ddco")
        >>> grid = ddco.PhaseGrid(1.0, 1, v_max=(2.5, 2.5, 2.5), nv=(10, 10, 10))
        >>> stepper = ddco.steppers.Strang(grid, model, field="none")
        >>> f = ddco.initial.bimaxwellian(grid, density=1.0, temperature=0.2)
        >>> state = ddco.State.from_distribution(grid, f, correlation_age=0.0)
        >>> end, history = ddco.solve(state, stepper, dt=0.02, n_steps=2)
        >>> bool(abs(history.kinetic_energy[-1] / history.kinetic_energy[0] - 1) < 1e-13)
        True
    """
    name = str(name_or_folder)
    if name in NAMED:
        return Learned(analytic(name, scales), MARKOV)
    learned = load_learned(name)
    return Learned(tabulated(in_units(learned.kernel, scales)), learned.buildup, learned.tagged)


def load_kernel(name_or_folder: str | Path, scales: Scales = PAPER) -> Kernel:
    """The kernel of `load_model` alone.  Raises ValueError for an unknown kernel; the message lists the known names."""
    return load_model(name_or_folder, scales).kernel


def load_law(name_or_folder: str | Path) -> Model:
    """The law of the correlations learned with a kernel; `MARKOV` for an analytic kernel.

    Raises ValueError for an unknown kernel.
    """
    return MARKOV if str(name_or_folder) in NAMED else load_learned(name_or_folder).buildup


def load_learned(name_or_folder: str | Path) -> Learned:
    """A learned kernel with its build-up, networks not tabulated.  Raises ValueError for an unknown kernel."""
    return load_ensemble(name_or_folder)[0]


def load_ensemble(name_or_folder: str | Path) -> list[Learned]:
    """A learned kernel, followed by those of further seeds in its folder; their spread is its uncertainty.

    Raises ValueError in one line for a folder without a kernel, or whose arrays do not match the specification.
    """
    name = str(name_or_folder)
    folder = pretrained().get(name, Path(name))
    file = folder / SPECIFICATION
    if not file.is_file():
        raise ValueError(f"no kernel {name!r}; there are {', '.join(names())}, or the folder of a training")
    try:
        form, numbers = _form(read_json(file))
    except ValueError as error:
        message = str(error)
        raise ValueError(message if message.startswith(str(file)) else f"{file}: {message}") from None
    like, members = form.build(0), (folder / PARAMETERS, *sorted(folder.glob(MEMBERS)))
    return [_filled(like, path, numbers) for path in members]


def _form(stored: Any) -> tuple[KernelForm, numbered.Names]:
    """The form of a stored kernel, and the names of its arrays if they are numbered, else {}."""
    if not isinstance(stored, dict) or not isinstance(stored.get("kernel"), dict):
        raise ValueError("holds no specification of a kernel; copy the folder again")
    found = stored.get("format", numbered.FORMAT)
    if found in (2, FORMAT):
        specification = dict(stored["kernel"])
        if found == 2 and specification.get("buildup") == "quench":
            specification["buildup"] = "quench_0.1"
        return form_of(specification), {}
    if found != numbered.FORMAT:
        raise ValueError(f"this version reads formats up to {FORMAT}, not {found!r}; is there a newer one?")
    form = form_of(numbered.specification(stored["kernel"]))
    return form, numbered.names(form)


def arrays_of(model: PyTree) -> dict[str, jax.Array]:
    """The arrays of a model, named after their place, such as `kernel.terms.0.isotropic.network.layers.1.bias`."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(eqx.filter(model, eqx.is_array))
    names = [jax.tree_util.keystr(path, simple=True, separator=".").removesuffix(".value") for path, _ in leaves]
    return {name: leaf for name, (_, leaf) in zip(names, leaves, strict=True)}


def filled(like: Tree, arrays: Mapping[str, ArrayLike], source: str) -> Tree:
    """A model with the structure of `like` and the named arrays.  Raises ValueError where names or shapes differ."""
    expected = arrays_of(like)
    for name in {**expected, **arrays}:
        if name not in arrays:
            raise ValueError(f"{source}: the parameter {name} is missing")
        if name not in expected:
            raise ValueError(f"{source}: {name} is no parameter of this form of kernel")
        if (found := np.shape(arrays[name])) != expected[name].shape:
            raise ValueError(f"{source}: {name} has shape {found}, not {expected[name].shape}")
    structure = jax.tree.structure(eqx.filter(like, eqx.is_array))
    leaves = [jnp.asarray(arrays[name]) for name in expected]
    return eqx.combine(jax.tree.unflatten(structure, leaves), eqx.filter(like, eqx.is_array, inverse=True))


def _filled(like: Learned, path: Path, numbers: numbered.Names) -> Learned:
    """The model `like` with the arrays of a file, which are named or, in format 1, numbered.

    Raises ValueError for an unreadable file, values that are not finite real numbers, or arrays that do not fit.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except MemoryError:
        raise
    except Exception:  # zipfile and NumPy raise errors of many kinds where a file is damaged
        raise ValueError(f"{path}: not a readable file of arrays (.npz without objects)") from None
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray) or array.dtype.kind != "f" or not np.isfinite(array).all():
            raise ValueError(f"{path}: {name} must hold finite real numbers")
    if not any(name.startswith("tagged.") for name in arrays):  # written before there was such a memory
        like = dataclasses.replace(like, tagged=PROMPT)
    learned = filled(like, numbered.renamed(arrays, numbers, path) if numbers else arrays, str(path))
    if isinstance(learned.kernel, Convex) and np.min(learned.kernel.coefficients) < 0:
        raise ValueError(f"{path}: a coefficient is negative, so the kernel is not positive semidefinite")
    return learned


def copied(name_or_folder: str, target: Path) -> dict[str, str]:
    """Copy a learned kernel into a folder; returns the hashes of its files by name.  Raises ValueError without one."""
    source = pretrained().get(name_or_folder, Path(name_or_folder))
    for name in (PARAMETERS, SPECIFICATION):
        try:
            content = (source / name).read_bytes()
        except OSError as error:
            raise ValueError(f"{source / name}: cannot be read ({error.strerror})") from None
        with complete(target / name) as partial:
            partial.write_bytes(content)
    return {name: file_hash(target / name) for name in (PARAMETERS, SPECIFICATION)}


def require_unchanged(folder: Path, hashes: Mapping[str, str]) -> None:
    """Raise ValueError in one line where a file of a folder is missing or has another hash."""
    for name, expected in hashes.items():
        if not (folder / name).is_file():
            raise ValueError(f"{folder / name} is missing")
        if file_hash(folder / name) != expected:
            raise ValueError(f"{folder / name} was changed after it was written")


def metadata(folder: Path) -> dict[str, Any]:
    """Data, seeds, errors and versions of a learned kernel."""
    return read_json(folder / SPECIFICATION)["metadata"]


def save(folder: Path, form: KernelForm, learned: Learned, about: dict[str, Any]) -> None:
    """Write a learned kernel.  The specification is written last: a folder that has one is complete."""
    with complete(folder / PARAMETERS) as partial, open(partial, "wb") as file:
        np.savez(file, allow_pickle=False, **{name: np.asarray(a) for name, a in arrays_of(learned).items()})
    text = json.dumps(sealed({"format": FORMAT, "kernel": dataclasses.asdict(form), "metadata": about}), indent=1)
    write_text(folder / SPECIFICATION, text + "\n")
