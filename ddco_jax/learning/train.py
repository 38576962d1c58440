"""`ddco train`: fit a kernel to the rates of test functions, full batch, deterministic, resumable."""

import json
import logging
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import tqdm

from ddco_jax.kernels import store
from ddco_jax.kernels.learned import Learned, build
from ddco_jax.learning import convex
from ddco_jax.learning.coefficients import Coefficients, load_coefficients
from ddco_jax.learning.config import TrainConfig
from ddco_jax.learning.weak_form import Predictor, Run, load_runs
from ddco_jax.settings import ConfigError, RunFailed

DECAY_FLOOR = 0.01
"""Relative error of the decay of anisotropy that is added to its statistical one, in quadrature."""
CONFIG_FILE, LOSS_FILE = "config.json", "loss.json"


class Fit(NamedTuple):
    """Where a training stands."""

    model: Learned
    optimizer: optax.OptState
    step: int


def stack(runs: Sequence[Run], dtype) -> list[Predictor]:
    """Runs of equal shape stacked along a leading axis, so that each shape is one batched computation."""
    groups: dict[tuple, list[Predictor]] = {}
    for run in runs:
        groups.setdefault((run.averages.shape, run.rate.shape), []).append(Predictor.of(run, dtype))
    return [jax.tree.map(lambda *a: jnp.stack(a), *group) for group in groups.values()]


def chi_squared(model: Learned, groups: Sequence[Predictor], floor: float = 0.0, unbiased: bool = True):
    """Mean over runs of the chi^2 per datum."""

    def each(p):
        return p.chi_squared(p.rates(model.kernel, model.buildup), floor, unbiased)

    return jnp.mean(jnp.concatenate([jax.vmap(each)(g) for g in groups]))


def make_step(config: TrainConfig, groups: Sequence[Predictor], coefficients: Coefficients | None = None):
    """(initial optimizer state of a model, one step of the optimizer); jitted once."""
    t = config.training
    schedule = optax.cosine_decay_schedule(t.learning_rate, t.steps, 0.01)
    adam = optax.adamw(schedule, weight_decay=t.weight_decay, mask=decaying)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), adam)

    def losses(model, p):
        """chi^2, everything that is weighed with it, and the roughness, of one run."""
        rates = p.rates(model.kernel, model.buildup)
        chi = p.chi_squared(rates, t.error_floor, unbiased=False)
        total = chi + t.drift_weight * p.drift_squared(rates, t.error_floor)
        total = total + t.decay_weight * p.decay_squared(rates, DECAY_FLOOR)
        total = total + t.jump_weight * p.jump_squared(model.buildup)
        return jnp.stack([chi, total, p.roughness(model.kernel)])

    def objective(model, groups, coefficients):
        each = jnp.concatenate([jax.vmap(lambda p: losses(model, p))(g) for g in groups])
        chi, total, roughness = jnp.mean(each, axis=0)
        misfit = 0.0 if coefficients is None else coefficients.misfit(model.kernel)
        # the logarithm: runs of very different size of error weigh in alike from the first step to the last
        return jnp.log(total) + t.coefficient_weight * misfit + t.roughness_weight * roughness, chi

    @eqx.filter_jit
    def step(model, state, groups, coefficients):
        (_, chi), gradient = eqx.filter_value_and_grad(objective, has_aux=True)(model, groups, coefficients)
        updates, state = optimizer.update(gradient, state, eqx.filter(model, eqx.is_inexact_array))
        return eqx.apply_updates(model, updates), state, chi

    def initialise(model):
        return optimizer.init(eqx.filter(model, eqx.is_inexact_array))

    return initialise, lambda model, state: step(model, state, groups, coefficients)


def decaying(model: Learned):
    """True for the weight matrices of the kernel's networks: their size is how sharply a radial function may turn."""
    weights = jax.tree.map(lambda a: eqx.is_inexact_array(a) and a.ndim == 2, model.kernel)
    return eqx.tree_at(lambda m: m.kernel, jax.tree.map(lambda _: False, model), weights)


def train(config: TrainConfig, folder: Path, *, cache: Path | None = None, progress: bool | None = None) -> Learned:
    """Train into a folder; an interrupted training in it goes on, bitwise as if it had not stopped.

    Raises ConfigError, RunFailed where the loss is not finite.
    """
    show = sys.stderr.isatty() if progress is None else progress
    _claim(config, folder)
    runs = load_runs(config.paths(), cache or folder / "pair_averages", config.data.rounds, show, config.data.gamma)
    groups = stack(runs, jnp.float32)
    floor = config.training.coefficient_floor
    coefficients = load_coefficients(config.equilibrium_paths(), config.data.weak_coupling, floor, jnp.float32)
    if config.kernel.form == "convex":
        model = convex.fit(runs, config.kernel.buildup, config.training.error_floor)
    else:
        model = _descend(config, folder, groups, coefficients, show)
    metadata = {
        "description": config.description,
        "training_chi_squared": float(chi_squared(model, groups)),
        "runs": [run.name for run in runs],
        "coefficients_misfit": None if coefficients is None else float(coefficients.misfit(model.kernel)),
        "config": config.model_dump(mode="json"),
        "version": version("ddco-jax"),
        "jax": jax.__version__,
    }
    store.save(folder, config.kernel.model_dump(mode="json"), model, metadata)
    return model


def _descend(config: TrainConfig, folder: Path, groups, coefficients, show: bool) -> Learned:
    """Adam, from the last checkpoint in the folder or from random parameters."""
    first = build(config.kernel, config.seed)

    # the objective takes means of the two halves, in which it is linear: half the memory traffic
    def mean(group):
        halves = (group.averages, group.jumped)
        means = tuple(jnp.mean(a, axis=1, keepdims=True) for a in halves)
        return eqx.tree_at(lambda g: (g.averages, g.jumped), group, means)

    means = [mean(group) for group in groups]
    initialise, step = make_step(config, means, coefficients)
    checkpoints = _Checkpoints(folder)
    fit = checkpoints.restore(Fit(first, initialise(first), 0))
    losses = _losses(folder)[: fit.step]
    t = config.training
    with tqdm(total=t.steps, initial=fit.step, unit="step", desc="train", disable=not show) as bar:
        while fit.step < t.steps:
            model, optimizer, loss = step(fit.model, fit.optimizer)
            losses.append(float(loss))
            if not np.isfinite(losses[-1]):
                raise RunFailed(f"step {fit.step}: the loss is not finite; lower training.learning_rate")
            fit = Fit(model, optimizer, fit.step + 1)
            if fit.step % t.checkpoint_every == 0 or fit.step == t.steps:
                _write_losses(folder, losses)
                checkpoints.save(fit)
            bar.set_postfix_str(f"chi2 {losses[-1]:.2f}", refresh=False)
            bar.update()
    checkpoints.close()
    return fit.model


def _claim(config: TrainConfig, folder: Path) -> None:
    """Mark the folder with the config; refuse one that holds anything else."""
    text = config.model_dump_json(indent=1)
    file = folder / CONFIG_FILE
    if file.exists():
        if file.read_text() != text:
            raise ConfigError(f"--out {folder}: holds the training of another config; choose another folder")
        return
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"--out {folder}: the folder is not empty; choose another")
    folder.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".part")
    partial.write_text(text)
    partial.replace(file)


def _losses(folder: Path) -> list[float]:
    file = folder / LOSS_FILE
    return json.loads(file.read_text()) if file.exists() else []


def _write_losses(folder: Path, losses: list[float]) -> None:
    partial = folder / f"{LOSS_FILE}.part"
    partial.write_text(json.dumps(losses))
    partial.replace(folder / LOSS_FILE)


class _Checkpoints:
    """Model and optimizer by step (Orbax): atomic, the last two kept."""

    def __init__(self, folder: Path):
        import orbax.checkpoint as ocp

        logging.getLogger("absl").setLevel(logging.ERROR)
        self._ocp = ocp
        options = ocp.CheckpointManagerOptions(
            max_to_keep=2, enable_async_checkpointing=False, cleanup_tmp_directories=True
        )
        self._manager = ocp.CheckpointManager((folder / "checkpoints").resolve(), options=options)

    def save(self, fit: Fit) -> None:
        """All arrays of a fit, in the order of its leaves."""
        self._manager.save(fit.step, args=self._ocp.args.StandardSave(_leaves(fit)))
        self._manager.wait_until_finished()

    def restore(self, like: Fit) -> Fit:
        """The last fit, or `like` where there is none."""
        step = self._manager.latest_step()
        if step is None:
            return like
        tree = self._manager.restore(step, args=self._ocp.args.StandardRestore(_leaves(like)))
        arrays, static = eqx.partition((like.model, like.optimizer), eqx.is_array)
        leaves = [jnp.asarray(tree[str(i)]) for i in range(len(tree))]
        model, optimizer = eqx.combine(jax.tree.unflatten(jax.tree.structure(arrays), leaves), static)
        return Fit(model, optimizer, step)

    def close(self) -> None:
        self._manager.close()


def _leaves(fit: Fit) -> dict[str, jax.Array]:
    arrays = eqx.filter((fit.model, fit.optimizer), eqx.is_array)
    return {str(i): leaf for i, leaf in enumerate(jax.tree.leaves(arrays))}
