"""Response of an equilibrium to a weak kick, by Sonine expansion, at every age of the plasma.

In equilibrium, the kinetic stress decays after a weak anisotropy of the velocities as its autocorrelation function
C_kk(t)/C_kk(0), and the mean velocity of a tagged population decays as the velocity autocorrelation function.  Both are
exact at any coupling (fluctuation-dissipation theorem), and molecular dynamics gives both autocorrelations.

In thermal units, the deviation phi of f = M (1 + phi) is a vector over the polynomials of `chapman_enskog`.  C[f] is a
matrix that changes with the age of the plasma: pair collisions, those at |u| weighted by A(s; |u|), and diffusion in
the microfield.  It acts on phi minus the new part of the stress (`correlations.memory`), which is in the first entry.
For the deviation of a tagged population the matrix is that of an aged plasma (`correlations.tagged`): a quench does not
change the velocity autocorrelation, as long as f is a Maxwellian.
"""

import functools
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from ddco_jax.correlations import AGED_AGE, Correlations, Mature, NoMemory, Retardation, as_record, retardation
from ddco_jax.correlations.model import Model
from ddco_jax.correlations.tagged import Delay, Prompt, TaggedMemory
from ddco_jax.kernels.base import Kernel
from ddco_jax.kernels.chapman_enskog import (
    omega_hat,
    pair_nodes,
    remaining,
    tensor_gradients,
    vector_gradients,
)
from ddco_jax.plasma.arrays import Array, Scalar
from ddco_jax.plasma.units import PAPER

ORDER, POINTS = 3, (32, 12, 8)
"""Order of the expansion, and its quadrature points.  At order 5 with more points, responses of `ddco` at
Gamma = 0.5 ... 3 differ by 1e-4."""
INDICES = (1.5, 2.5)
"""Indices of the Sonine polynomials of vectors and of tensors."""


class Brackets(NamedTuple):
    """Relaxation rates by |u|: matrices (U, p, q) over the polynomials, first of vectors, then of tensors."""

    pairs: tuple[Array, Array]
    """By pair collisions, in omega_p."""
    field: tuple[Array, Array]
    """By diffusion in the microfield, in units of nu."""


@functools.cache
def _geometry() -> tuple[
    np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, list[np.ndarray]
]:
    """The quadrature and all factors that do not depend on the kernel.

    Returns |u| (U,); c and c' (P, 3); weights (P,); gradients at c of the vectors (P, ORDER, 3, 3) and of the tensors
    (P, ORDER, 3, 9); the latter minus those at c'; norms of the polynomials, two times (ORDER,).
    """
    c, c_prime, weight = pair_nodes(POINTS)
    u = np.linalg.norm(c - c_prime, axis=-1).reshape(POINTS[0], -1)[:, 0]
    with jax.ensure_compile_time_eval(), jax.enable_x64(True):
        vector = np.asarray(vector_gradients(jnp.asarray(c), ORDER))
        tensor, other = (np.asarray(tensor_gradients(jnp.asarray(v), ORDER)) for v in (c, c_prime))
    norms = []
    for index in INDICES:  # norm of S_p over that of S_0, in the Maxwellian average
        steps = [(p + index) / p for p in range(1, ORDER)]
        norms.append(np.cumprod([1.0, *steps]))
    return u, c, c_prime, weight, vector, tensor, tensor - other, norms


def brackets(kernel: Kernel, gamma: Scalar) -> Brackets:
    """The rates at one coupling `gamma` (scalar); differentiable in the kernel's parameters."""
    u, c, c_prime, weight, vector, tensor, difference, norms = _geometry()
    dtype = gamma.dtype
    omega = omega_hat(
        kernel,
        jnp.asarray(c, dtype),
        jnp.asarray(c_prime, dtype),
        jnp.ones((), dtype),
        PAPER.coupling_parameter(jnp.ones((), dtype), 1.0) / gamma,
        PAPER,
    )

    def by_speed(left: ArrayLike, between: Array | None, factor: int, norm: np.ndarray) -> Array:
        """<left . between . left>/factor by |u|, (U, p, q), over the norm of the row."""
        left = jnp.asarray(left, dtype)
        product = jnp.einsum("sij,sqja->sqia", between, left) if between is not None else left
        terms = jnp.einsum("spia,sqia->spq", left, product) * jnp.asarray(weight / factor, dtype)[:, None, None]
        return terms.reshape(len(u), -1, ORDER, ORDER).sum(1) / jnp.asarray(norm, dtype)[:, None]

    pairs = by_speed(vector, omega, 3, norms[0]), by_speed(difference, omega, 20, norms[1])
    return Brackets(pairs, (by_speed(vector, None, 3, norms[0]), by_speed(tensor, None, 10, norms[1])))


def rates(found: Brackets, law: Model, age: Scalar, gamma: Scalar) -> tuple[Array, Array, Retardation | NoMemory]:
    """Relaxation matrices (p, q) of vectors and of tensors, in omega_p, at an age (1/omega_p); and the memory."""
    u = jnp.asarray(_geometry()[0], found.pairs[0].dtype)
    now = as_record(law(age, gamma))
    share, degree = now.pair_rate(u), 2 * jnp.arange(ORDER, dtype=u.dtype)
    matrices = [jnp.tensordot(share, pairs, 1) for pairs in found.pairs]
    if isinstance(now, Correlations | Mature):
        matrices = [m * remaining(now.pair_jump, lowest + degree) for lowest, m in zip((1, 2), matrices, strict=True)]
    if isinstance(now, Correlations):
        field = [now.microfield_rate * jnp.tensordot(now.partners(u), m, 1) for m in found.field]
        field = [m * remaining(now.microfield_jump, lowest + degree) for lowest, m in zip((1, 2), field, strict=True)]
        matrices = [a + b for a, b in zip(matrices, field, strict=True)]
    return matrices[0], matrices[1], retardation(now)


def response(
    kernel: Kernel,
    law: Model,
    gamma: ArrayLike,
    step: ArrayLike,
    n_steps: int,
    age: ArrayLike = 0.0,
    is_quench: ArrayLike = True,
    second: tuple[ArrayLike, ArrayLike] = (0, 0.0),
) -> Array:
    """Anisotropy of f over that of a kick at an age of the plasma, at 0, step, ... n_steps step (1/omega_p).

    With `is_quench`, the kick is the quench from which the age counts, such as a redraw of all velocities, and the law
    of the quench describes its decay.  Otherwise the kick counts as a new anisotropy in the memory of the stress.
    `second` = (k, size) is a further kick after k steps, which always counts as new.  Second order in the step.
    The result has shape (n_steps + 1,).
    """
    gamma = jnp.asarray(gamma, None if hasattr(gamma, "dtype") else float)
    numbers = [jnp.asarray(x, gamma.dtype) for x in (step, age, is_quench, *second)]
    return _response(kernel, law, gamma, n_steps, *numbers)  # numbers as arrays: one compiled program for all values


@eqx.filter_jit
def _response(
    kernel: Kernel,
    law: Model,
    gamma: Scalar,
    n_steps: int,
    step: Scalar,
    age: Scalar,
    is_quench: Scalar,
    second: Scalar,
    size: Scalar,
) -> Array:
    found, new = brackets(kernel, gamma), 1 - is_quench
    first = jnp.zeros(ORDER + 2, gamma.dtype).at[0].set(1)
    memory = rates(found, law, age, gamma)[2]
    kick = first if isinstance(memory, NoMemory) else first.at[ORDER].set(1).at[ORDER + 1].set(memory.growth)
    start = first + new * (kick - first)

    def advance(tensor: Array, k: Scalar) -> tuple[Array, Scalar]:
        tensor = tensor + jnp.where(k == second, size, 0) * kick
        _, tensors, memory = rates(found, law, age + (k + 0.5) * step, gamma)
        tensor = _cayley(with_memory(tensors, memory), tensor, step)
        return tensor, tensor[0]

    _, stress = lax.scan(advance, start, jnp.arange(n_steps, dtype=gamma.dtype))
    return jnp.concatenate([jnp.ones(1, gamma.dtype), stress])


def aged_response(kernel: Kernel, law: Model, gamma: ArrayLike, step: ArrayLike, n_steps: int) -> Array:
    """The response of an aged plasma at 0, step, ... n_steps step (1/omega_p), (n_steps + 1,)."""
    return response(kernel, law, gamma, step, n_steps, AGED_AGE, False)


def tagged_response(
    kernel: Kernel, law: Model, tagged: TaggedMemory | Prompt, gamma: ArrayLike, step: ArrayLike, n_steps: int
) -> Array:
    """Mean velocity of a tagged population over its start, at 0, step, ... n_steps step (1/omega_p), (n_steps + 1,).

    It is the model's velocity autocorrelation function.  Second order in the step.
    """
    gamma = jnp.asarray(gamma, None if hasattr(gamma, "dtype") else float)
    return _tagged_response(kernel, law, tagged, gamma, jnp.asarray(step, gamma.dtype), n_steps)


@eqx.filter_jit
def _tagged_response(
    kernel: Kernel, law: Model, tagged: TaggedMemory | Prompt, gamma: Scalar, step: Scalar, n_steps: int
) -> Array:
    vectors, memory = rates(brackets(kernel, gamma), law, jnp.asarray(AGED_AGE, gamma.dtype), gamma)[0], tagged(gamma)
    start = jnp.zeros(ORDER + 2, gamma.dtype).at[0].set(1)
    if isinstance(memory, Delay):
        vectors, start = memory.strength * vectors, start.at[ORDER].set(1).at[ORDER + 1].set(memory.growth)
    matrix = with_memory(vectors, memory)

    def advance(vector: Array, _: None) -> tuple[Array, Scalar]:
        vector = _cayley(matrix, vector, step)
        return vector, vector[0]

    _, velocity = lax.scan(advance, start, None, length=n_steps)
    return jnp.concatenate([jnp.ones(1, gamma.dtype), velocity])


def with_memory(matrix: Array, memory: Retardation | NoMemory | Delay | Prompt) -> Array:
    """Matrix R of dy/dt = -R y for y = (phi_0 ... phi_p, e, h), (ORDER + 2, ORDER + 2).

    Collisions, `matrix` (p, q), act on phi with phi_0 - e in place of phi_0; e and h obey the equations of
    `correlations.memory`, or of `correlations.tagged`.
    """
    whole = jnp.zeros((ORDER + 2, ORDER + 2), matrix.dtype).at[:ORDER, :ORDER].set(matrix)
    if isinstance(memory, NoMemory | Prompt):
        return whole
    whole = whole.at[:ORDER, ORDER].set(-matrix[:, 0])
    counted, swing = (1.0, memory.swing) if isinstance(memory, Delay) else (memory.forgotten, 0.0)
    driven = counted * whole[0]
    whole = whole.at[ORDER].add(driven).at[ORDER + 1].add(memory.growth * driven)
    whole = whole.at[ORDER, ORDER].add(memory.rate).at[ORDER, ORDER + 1].add(-1)
    return whole.at[ORDER + 1, ORDER + 1].add(memory.rate).at[ORDER + 1, ORDER].add(swing**2)


def _cayley(matrix: Array, state: Array, step: Scalar) -> Array:
    """One step (1/omega_p) of d state/dt = -matrix state by the trapezoidal rule."""
    one = jnp.eye(len(state), dtype=state.dtype)
    return jnp.linalg.solve(one + step / 2 * matrix, (one - step / 2 * matrix) @ state)
