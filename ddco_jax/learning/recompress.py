"""Refit of any kernel by positive separable weights of a given rank, which need fewer products.

The squared form (13) of rank J' costs the fast operator J'(2J'+1) products, K positive terms cost K.  The omegas of
both kernels have the same two eigenvectors across u, so their distance is that of two eigenvalues per velocity pair.
"""

import sys
import time
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import DTypeLike
from tqdm import tqdm

from ddco_jax.collisions import CollisionOperator
from ddco_jax.kernels import store
from ddco_jax.kernels.base import Kernel
from ddco_jax.kernels.forms import Learned, SeparableForm, buildup_name, tabulated
from ddco_jax.plasma import starts
from ddco_jax.plasma.arrays import Array, Scalar, Vector
from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.plasma.units import PAPER
from ddco_jax.settings import ConfigError

GAMMAS = np.geomspace(0.05, 3.0, 16)
"""Coupling parameters at which the kernels are compared, at unit density."""
PAIRS = 512
"""Pairs of velocities at each Gamma, drawn once from a Maxwellian."""
STEPS = 1500
LEARNING_RATE = 0.02


class Recompression(NamedTuple):
    """Result of a recompression; tuples hold the value before and the value after."""

    folder: Path
    gammas: np.ndarray
    distance: np.ndarray
    """Relative rms distance of omega at each of the gammas."""
    products: tuple[int, int]
    """Number of separable products."""
    seconds: tuple[float, float]
    """Time of one evaluation of the operator at 24^3."""


def eigenvalues(kernel: Kernel, c: Vector, c_prime: Vector, density: Scalar, temperature: Scalar) -> Array:
    """The two non-zero eigenvalues of omega, (2, ...), V0^2 L0^3/t0, for pairs (..., 3) in V0.

    Perpendicular to the plane of c and c' the eigenvalue is g0^2 + g1^2 |Pr|^2, within it g0^2 + g2^2 |Pr|^2, with
    |Pr| = 2 |c x c'|/|u|.
    """
    u = jnp.linalg.norm(c - c_prime, axis=-1)
    square = 4 * jnp.sum(jnp.cross(c, c_prime) ** 2, -1) / u**2
    speeds = (u, jnp.linalg.norm(c, axis=-1), jnp.linalg.norm(c_prime, axis=-1))
    g0, g1, g2 = (jnp.broadcast_to(w, u.shape) for w in kernel.radial(*speeds, density, temperature))
    return jnp.stack([g0 + g1 * square, g0 + g2 * square])


def thermal_eigenvalues(kernel: Kernel, dtype: DTypeLike = jnp.float64) -> Array:
    """(Gamma, 2, pairs): eigenvalues of omega for fixed Maxwellian pairs at every Gamma of `GAMMAS`."""
    c = jnp.asarray(np.random.default_rng(5).standard_normal((2, PAIRS, 3)), dtype)
    one = jnp.ones((), dtype)

    def at(temperature: Scalar) -> Array:
        thermal = jnp.sqrt(temperature)
        return eigenvalues(kernel, thermal * c[0], thermal * c[1], one, temperature)

    return jax.vmap(at)(jnp.asarray(PAPER.coupling_parameter(1.0, 1.0) / GAMMAS, dtype))


def distance(values: Array, reference: Array) -> Array:
    """Relative rms distance (Gamma,) of eigenvalues (Gamma, 2, pairs) from the reference."""
    return jnp.sqrt(jnp.mean((values - reference) ** 2, (1, 2)) / jnp.mean(reference**2, (1, 2)))


def recompress(
    kernel: Kernel, form: SeparableForm, seed: int = 0, progress: bool | None = None
) -> tuple[Kernel, np.ndarray]:
    """(kernel of that form, its relative rms distance by Gamma); deterministic for a seed."""
    target = jax.jit(thermal_eigenvalues, static_argnums=1)(kernel, jnp.float32)
    schedule = optax.cosine_decay_schedule(LEARNING_RATE, STEPS, 0.01)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))
    fitted = form.build(seed).kernel

    @eqx.filter_jit
    def step(model: Kernel, state: optax.OptState) -> tuple[Kernel, optax.OptState]:
        def loss(m: Kernel) -> Scalar:
            return jnp.mean(distance(thermal_eigenvalues(m, jnp.float32), target) ** 2)

        gradient = eqx.filter_grad(loss)(model)
        updates, state = optimizer.update(gradient, state)
        return eqx.apply_updates(model, updates), state

    state = optimizer.init(eqx.filter(fitted, eqx.is_inexact_array))
    show = sys.stderr.isatty() if progress is None else progress
    for _ in tqdm(range(STEPS), unit="step", desc="recompress", disable=not show):
        fitted, state = step(fitted, state)
    return fitted, np.asarray(distance(thermal_eigenvalues(fitted, jnp.float32), target))


def recompress_learned(name: str, folder: Path, products: int, seed: int = 0) -> Recompression:
    """Recompress a learned kernel into a folder, with its build-up.

    Raises ConfigError where there is no such kernel or the folder is not empty.
    """
    try:
        learned = store.load_learned(name)
    except ValueError as missing:
        raise ConfigError(str(missing)) from None
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"--out {folder}: the folder is not empty; choose another")
    weights = learned.kernel.radial(*(jnp.ones(1),) * 3, jnp.ones(()), jnp.ones(()))
    isotropic, perpendicular, _ = (bool(np.any(np.asarray(w))) for w in weights)  # a weight that is absent stays absent
    form = SeparableForm(
        rank=products, isotropic=isotropic, perpendicular=perpendicular, buildup=buildup_name(learned.buildup)
    )
    fitted, error = recompress(learned.kernel, form, seed)
    about = {
        "description": f"{Path(name).name} recompressed to {products} positive separable products",
        "recompressed_from": Path(name).name,
        "relative_distance": dict(zip(map(str, GAMMAS.round(4)), map(float, error), strict=True)),
    }
    store.save(folder, form, Learned(fitted, learned.buildup, learned.tagged), about)
    counts, times = zip(*(_cost(tabulated(k)) for k in (learned.kernel, fitted)), strict=True)
    return Recompression(folder, GAMMAS, error, (counts[0], counts[1]), (times[0], times[1]))


def _cost(kernel: Kernel) -> tuple[int, float]:
    """Number of separable products, and the shortest time (s) of one evaluation of the operator in one cell of 24^3."""
    grid = PhaseGrid(1.0, 1, (3.0, 3.0, 3.0), (24, 24, 24))
    f = jnp.asarray(starts.maxwellian(grid, 1.0, 0.25))
    op, times = CollisionOperator(grid, kernel), []
    for _ in range(6):
        start = time.perf_counter()
        jax.block_until_ready(op(f))
        times.append(time.perf_counter() - start)
    return sum(1 + (m != n) for m, n in kernel.separable(1.0, 0.25).weights), min(times)
