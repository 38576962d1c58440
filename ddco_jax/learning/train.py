"""`ddco train`: fit a kernel to the rates of test functions, full batch, deterministic, resumable."""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import DTypeLike
from tqdm import tqdm

from ddco_jax.correlations import Quench
from ddco_jax.kernels import store
from ddco_jax.kernels.forms import ConvexForm, Learned
from ddco_jax.learning import convex, losses, memory
from ddco_jax.learning.coefficients import Coefficients, load_coefficients
from ddco_jax.learning.config import TrainConfig
from ddco_jax.learning.data import Run, load_runs
from ddco_jax.learning.rates import Predictor
from ddco_jax.md import green_kubo
from ddco_jax.md.dataset import open_dataset
from ddco_jax.plasma.arrays import Array, Scalar
from ddco_jax.plasma.clone import VERSION
from ddco_jax.plasma.files import write_text
from ddco_jax.plasma.lock import LOCK_FILE, locked
from ddco_jax.settings import ConfigError, RunFailed
from ddco_jax.simulation.checkpoint import Checkpoints, newest

DECAY_FLOOR = 0.01
"""Relative error of the decay of anisotropy that is added to its statistical one, in quadrature."""
CONFIG_FILE, LOSS_FILE = "config.json", "loss.json"


class Fit(NamedTuple):
    """State of a training."""

    model: Learned
    optimizer: optax.OptState
    step: int


def stack(runs: Sequence[Run], dtype: DTypeLike) -> list[Predictor]:
    """Runs of equal shape stacked along a leading axis, so that each shape is one batched computation."""
    groups: dict[tuple, list[Predictor]] = {}
    for run in runs:
        groups.setdefault((run.averages.shape, run.rate.shape), []).append(Predictor.of(run, dtype))
    return [jax.tree.map(lambda *a: jnp.stack(a), *group) for group in groups.values()]


@eqx.filter_jit
def chi_squared(model: Learned, groups: Sequence[Predictor], floor: float = 0.0, unbiased: bool = True) -> Scalar:
    """Mean over runs of the chi^2 per datum."""

    def each(p: Predictor) -> Scalar:
        return losses.chi_squared(p, p.rates(model.kernel, model.buildup), floor, unbiased)

    return jnp.mean(jnp.concatenate([jax.vmap(each)(g) for g in groups]))


def make_step(
    config: TrainConfig, groups: Sequence[Predictor], coefficients: Coefficients | None = None
) -> tuple[
    Callable[[Learned], optax.OptState], Callable[[Learned, optax.OptState], tuple[Learned, optax.OptState, Scalar]]
]:
    """Two functions: the initial optimizer state of a model, and one step of the optimizer, jitted once."""
    t = config.training
    schedule = optax.cosine_decay_schedule(t.learning_rate, t.steps, 0.01)
    adam = optax.adamw(schedule, weight_decay=t.weight_decay, mask=decaying)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), adam)

    def misfits(model: Learned, p: Predictor) -> Array:
        """(3,) of one run: chi^2, the weighted sum of chi^2 and the other misfits, and the roughness."""
        rates = p.rates(model.kernel, model.buildup)
        chi = losses.chi_squared(p, rates, t.error_floor, unbiased=False)
        total = chi + t.drift_weight * losses.drift_squared(p, rates, t.error_floor)
        total = total + t.decay_weight * losses.decay_squared(p, rates, DECAY_FLOOR)
        total = total + t.jump_weight * losses.jump_squared(p, model.buildup)
        return jnp.stack([chi, total, p.roughness(model.kernel)])

    def objective(
        model: Learned, groups: Sequence[Predictor], coefficients: Coefficients | None
    ) -> tuple[Scalar, Scalar]:
        each = jnp.concatenate([jax.vmap(lambda p: misfits(model, p))(g) for g in groups])
        chi, total, roughness = jnp.mean(each, axis=0)
        misfit = 0.0 if coefficients is None else coefficients.misfit(model.kernel)
        # the logarithm makes the gradient independent of the size of the misfit, from the first step to the last
        return jnp.log(total) + t.coefficient_weight * misfit + t.roughness_weight * roughness, chi

    @eqx.filter_jit
    def step(
        model: Learned, state: optax.OptState, groups: Sequence[Predictor], coefficients: Coefficients | None
    ) -> tuple[Learned, optax.OptState, Scalar]:
        (_, chi), gradient = eqx.filter_value_and_grad(objective, has_aux=True)(model, groups, coefficients)
        updates, state = optimizer.update(gradient, state, eqx.filter(model, eqx.is_inexact_array))
        return eqx.apply_updates(model, updates), state, chi

    def initialise(model: Learned) -> optax.OptState:
        return optimizer.init(eqx.filter(model, eqx.is_inexact_array))

    return initialise, lambda model, state: step(model, state, groups, coefficients)


def decaying(model: Learned) -> Learned:
    """True for the weight matrices of the kernel's networks: their size limits how sharply a radial function varies."""
    weights = jax.tree.map(lambda a: eqx.is_inexact_array(a) and a.ndim == 2, model.kernel)
    return eqx.tree_at(lambda m: m.kernel, jax.tree.map(lambda _: False, model), weights)


def train(config: TrainConfig, folder: Path, *, cache: Path | None = None, progress: bool | None = None) -> Learned:
    """Train into a folder; an interrupted training is resumed, with bitwise the result of one without interruption.

    Raises ConfigError for a mistake in the settings, RunFailed where the loss is not finite, FolderInUse.
    """
    with locked(folder):
        return _train(config, folder, cache, sys.stderr.isatty() if progress is None else progress)


def _train(config: TrainConfig, folder: Path, cache: Path | None, show: bool) -> Learned:
    paths, equilibrium = config.paths(), config.equilibrium_paths()  # a wrong pattern leaves no folder behind
    _claim(config, folder)
    runs = load_runs(paths, cache or folder / "pair_averages", config.data.rounds, show, config.data.gamma)
    groups = stack(runs, jnp.float32)
    floor = config.training.coefficient_floor
    coefficients = load_coefficients(equilibrium, config.data.weak_coupling, floor, jnp.float32)
    if isinstance(config.kernel, ConvexForm):
        model = convex.fit(runs, config.kernel, config.training.error_floor)
    else:
        model = _descend(config, folder, groups, coefficients, show)
    if isinstance(model.buildup, Quench) and equilibrium:
        model = memory.fitted(model, green_kubo.group([open_dataset(path) for path in equilibrium]))
    metadata = {
        "description": config.description,
        "training_chi_squared": float(chi_squared(model, groups)),
        "runs": [run.name for run in runs],
        "coefficients_misfit": None if coefficients is None else float(coefficients.misfit(model.kernel)),
        "config": config.model_dump(mode="json"),
        "version": VERSION,
        "jax": jax.__version__,
    }
    store.save(folder, config.kernel, model, metadata)
    return model


def _descend(
    config: TrainConfig, folder: Path, groups: Sequence[Predictor], coefficients: Coefficients | None, show: bool
) -> Learned:
    """Adam, from the last checkpoint in the folder or from random parameters."""
    first = config.kernel.build(config.seed)

    # predictions are linear in the averages and only their mean is used: averaging first halves the memory traffic
    def mean(group: Predictor) -> Predictor:
        halves = (group.averages, group.jumped)
        means = tuple(jnp.mean(a, axis=1, keepdims=True) for a in halves)
        return eqx.tree_at(lambda g: (g.averages, g.jumped), group, means)

    means = [mean(group) for group in groups]
    initialise, step = make_step(config, means, coefficients)
    checkpoints = Checkpoints(folder, kept=2)
    fit = _restored(checkpoints, Fit(first, initialise(first), 0))
    past = _losses(folder)[: fit.step]
    t = config.training
    with tqdm(total=t.steps, initial=fit.step, unit="step", desc="train", disable=not show) as bar:
        while fit.step < t.steps:
            model, optimizer, loss = step(fit.model, fit.optimizer)
            past.append(float(loss))
            if not np.isfinite(past[-1]):
                raise RunFailed(f"step {fit.step}: the loss is not finite; lower training.learning_rate")
            fit = Fit(model, optimizer, fit.step + 1)
            if fit.step % t.checkpoint_every == 0 or fit.step == t.steps:
                write_text(folder / LOSS_FILE, json.dumps(past))
                checkpoints.save(fit.step, store.arrays_of((fit.model, fit.optimizer)))
            bar.set_postfix_str(f"chi2 {past[-1]:.2f}", refresh=False)
            bar.update()
    checkpoints.close()
    return fit.model


def _claim(config: TrainConfig, folder: Path) -> None:
    """Write the config into the folder.  Raises ConfigError where the folder holds another training or other files."""
    text = config.model_dump_json(indent=1)
    file = folder / CONFIG_FILE
    if file.exists():
        if file.read_text() != text:
            raise ConfigError(f"--out {folder}: holds the training of another config; choose another folder")
        return
    if any(path.name != LOCK_FILE for path in folder.iterdir()):
        raise ConfigError(f"--out {folder}: the folder is not empty; choose another")
    write_text(file, text)


def _losses(folder: Path) -> list[float]:
    file = folder / LOSS_FILE
    try:
        found = json.loads(file.read_text()) if file.exists() else []
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or not all(isinstance(loss, float) for loss in found):
        raise ConfigError(f"{file}: not a list of losses; delete it, and the training goes on without the earlier ones")
    return found


def _note(text: str) -> None:
    print(f"note: {text}", file=sys.stderr)


def _restored(checkpoints: Checkpoints, first: Fit) -> Fit:
    """The last fit, or the first where there is no checkpoint."""
    like = (first.model, first.optimizer)
    found = newest(checkpoints, lambda metadata: store.arrays_of(like), lambda step, metadata: None, _note)
    if found is None:
        return first
    step, arrays, _ = found
    model, optimizer = store.filled(like, arrays, f"checkpoint {step}")
    return Fit(model, optimizer, step)
