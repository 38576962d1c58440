"""Collision steps: the explicit midpoint rule (30), and a stabilised rule that keeps f positive and entropy growing."""

import abc
import dataclasses
import functools
from collections.abc import Callable
from typing import ClassVar, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import PyTree

from ddco_jax.collisions import CollisionOperator
from ddco_jax.collisions.spectral import Tables
from ddco_jax.correlations import (
    AGED,
    MARKOV,
    Aged,
    Correlations,
    Mature,
    NoMemory,
    Record,
    Retardation,
    Uniform,
    as_record,
    retardation,
)
from ddco_jax.correlations.memory import Memory
from ddco_jax.correlations.model import Model
from ddco_jax.plasma.arrays import Array, Distribution, Profile, Scalar, VelocityDistribution
from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.plasma.moments import compute_moments, stress_anisotropy
from ddco_jax.plasma.state import State, Tally
from ddco_jax.plasma.units import PAPER, Scales
from ddco_jax.steppers.base import Stepper
from ddco_jax.velocity import positivity, window
from ddco_jax.velocity.cell import Cell

Result = TypeVar("Result")
STAGES = np.array([0.5, 1.0])
"""Ends of the two stages of the midpoint rule, in units of the step."""
DAMPING = 2 / 13
"""Damping of the Runge-Kutta-Chebyshev rule: inside the stability interval, away from 0, a step multiplies a mode by at
most 1 - DAMPING/3."""
PARTS = 24
"""Largest number of sub-steps, including rejected ones, of one collision step."""


class CollisionStep(Stepper):
    """Step of df/dt = C[f] in each cell.  Mass, momentum and energy of every cell are conserved to rounding.

    `buildup` gives the correlations at an age and Gamma (`correlations.model`).  It is evaluated once per step, at the
    age in the state, which in Strang splitting is the age at the midpoint of the collision step.  If the correlations
    have a memory, every change of f since the last collision step counts as new: streaming, a field, a kick by the
    caller.
    """

    order: ClassVar[int] = 2
    op: CollisionOperator
    buildup: Model = MARKOV
    scales: Scales = eqx.field(static=True, default=PAPER)

    @property
    def grid(self) -> PhaseGrid:
        return self.op.grid

    def step(self, state: State, dt: Scalar | float) -> State:
        now = self.correlations(state)
        dt = jnp.asarray(dt, state.f.dtype)
        law = retardation(now)
        if isinstance(law, NoMemory) or isinstance(now, Aged | Uniform):
            f, tally = self.collide(state, now, dt)
            return dataclasses.replace(state, f=f, time=state.time + dt, tally=tally)
        memory = law.aged(self._updated(state, law), dt / 2)
        f, tally = self.collide(state, dataclasses.replace(now, retardation=law.beginning(memory)), dt)
        # changes of f by collisions count as new with the share `law.forgotten`
        memory = law.updated(memory, stress_anisotropy(self.grid, f), law.forgotten)
        memory = law.aged(memory, dt / 2)
        return dataclasses.replace(state, f=f, memory=memory, time=state.time + dt, tally=tally)

    @abc.abstractmethod
    def collide(self, state: State, now: Record, dt: Scalar | float) -> tuple[Distribution, Tally]:
        """f after collisions for dt (t0) with the correlations of `now`, and the counters since the start."""

    def entropy_production(self, state: State) -> Profile:
        """dS/dt = dv^3 sum_j (D- log f)_j . p_j of every cell, (nx,), per unit length, as a step from `state` begins.

        It is non-negative without a memory of the stress.
        """
        now = self.correlations(state)
        law = retardation(now)
        if isinstance(now, Correlations | Mature) and not isinstance(law, NoMemory):
            now = dataclasses.replace(now, retardation=law.beginning(self._updated(state, law)))
        return self.op.entropy_production(state.f, now)

    def _updated(self, state: State, law: Retardation) -> Memory:
        """The memory before collisions: all changes of f since the last collisions count as new."""
        return law.updated(state.memory, stress_anisotropy(self.grid, state.f), jnp.ones_like(law.rate))

    def correlations(self, state: State) -> Record:
        """The correlations of every cell, rates in 1/t0; those of an aged plasma if the state has no age."""
        if state.correlation_age is None:
            return AGED
        density, _, temperature = compute_moments(self.grid, state.f)
        now = self.buildup(state.correlation_age, self.scales.coupling_parameter(density, temperature))
        return as_record(now).in_units(self.scales.plasma_frequency(density))


class MidpointCollision(CollisionStep):
    """The paper's explicit midpoint rule (30), in `substeps` equal sub-steps.

    Entropy grows up to errors of the order of the scheme.  Stable if the sub-step times the stiffness
    (`CollisionOperator.rate`) is at most 2.  In the log form this holds only where f is resolved: beside steep flanks
    its rates relative to f are larger.  Raises ValueError if `substeps` is less than 1.
    """

    substeps: int = eqx.field(static=True, default=1)

    def __check_init__(self) -> None:
        if self.substeps < 1:
            raise ValueError(f"substeps must be at least 1, got {self.substeps}")

    def collide(self, state: State, now: Record, dt: Scalar | float) -> tuple[Distribution, Tally]:
        h = dt / self.substeps

        def substep(f: Distribution, _: None) -> tuple[Distribution, None]:
            # a scan compiles the operator, by far the slowest part to compile, once instead of twice
            return lax.scan(lambda at, part: (f + part * h * self.op(at, now), None), f, STAGES.astype(f.dtype))

        f, _ = lax.scan(jax.checkpoint(substep), state.f, None, length=self.substeps)
        return f, state.tally


class ChebyshevCollision(CollisionStep):
    """The damped second-order Runge-Kutta-Chebyshev rule with `stages` stages (Sommeijer, Shampine and Verwer 1998).

    Stable for dt times the stiffness up to `stability_interval(stages)`, about 0.65 (stages^2 - 1); the midpoint rule
    has 2.  If the stiffness of a cell (`CollisionOperator.rate`) requires it, the step is divided into sub-steps
    ("parts").  After each sub-step negative f is removed (`positivity.repair`) and a small loss of entropy corrected
    (`positivity.restore`).  The sub-step is accepted if then f >= -tolerance max f and the entropy has not fallen by
    more than rounding; otherwise it is repeated with half the length.  With a memory of the stress
    (`correlations.memory`) this entropy is that of f plus the mean of c.E.c m/2kT, because the correlations may lower
    the entropy of f alone.  If the step is not complete after PARTS sub-steps, including rejected ones, the cell counts
    as unfinished and its f is NaN.  `State.tally` counts evaluations, corrections, rejections and unfinished steps.

    Each cell is stepped in the smallest velocity window that holds its f (`velocity.window`).

    The lengths of the sub-steps are locally constant in f, so the derivative of the step is exact.  `jax.vmap` over
    states evaluates all PARTS sub-steps for every state; `jax.lax.map`, or more cells in one state, avoids this.
    Raises ValueError if `stages` is less than 2.
    """

    stages: int = eqx.field(static=True, default=5)

    def __check_init__(self) -> None:
        if self.stages < 2:
            raise ValueError(f"stages must be at least 2, got {self.stages}")

    def collide(self, state: State, now: Record, dt: Scalar | float) -> tuple[Distribution, Tally]:
        f, tally = self.op.over_groups(lambda f, now: self._in_windows(f, now, dt), state.f, now)
        return f, jax.tree.map(lambda a, b: a + self.grid.line.sum(b), state.tally, tally)

    def _in_windows(self, f: Distribution, now: Record, dt: Scalar | float) -> tuple[Distribution, Tally]:
        """`_step_cells` in the smallest window (`velocity.window`) that covers f of all these cells."""
        available = window.sizes(self.grid)
        first, number = window.needed(f)

        def inside(size: window.Size, f: Distribution, now: Record) -> tuple[Distribution, Tally]:
            start = window.starts(self.grid, size, first, number)
            step = dataclasses.replace(self, op=self.op.on(window.grid_of(self.grid, size)))
            moved, tally = step._step_cells(window.cut(f, start, size), now, dt)
            return window.pasted(f, start, moved), tally

        parts = [functools.partial(inside, size) for size in available[:-1]]
        all_of_it = functools.partial(self._step_cells, dt=dt)
        return lax.switch(window.smallest(available, number), [*parts, all_of_it], f, now)

    def _step_cells(self, f: Distribution, now: Record, dt: Scalar | float) -> tuple[Distribution, Tally]:
        """f and counters of some cells after the step; each chooses its own sub-steps, all take them in one loop."""
        one, none = jnp.ones(len(f), f.dtype), jnp.zeros(len(f), f.dtype)
        potential, tables = _each(self._potential, f, now), _each(self.op.tables, f, now)

        def attempt(
            carry: tuple[Distribution, Profile, Profile, Tally],
        ) -> tuple[Distribution, Profile, Profile, Tally]:
            f, done, share, tally = carry
            ended, taken, limited = self._chebyshev(f, now, tables, share, dt)
            moved, repaired = _each(lambda f: positivity.repair(self.grid, f), ended)
            moved, restored = _each(functools.partial(positivity.restore, self.grid), f, moved, potential)
            good = _each(positivity.acceptable, f, moved, potential) & (done < 1)
            active = (done < 1).astype(f.dtype)
            told = Tally(
                tally.evaluations + self.stages * active,
                tally.limited + limited * active,
                tally.repaired + jnp.where(good, jnp.maximum(repaired, restored), 0),
                tally.refused + jnp.where(good, 0, active),
                tally.unfinished,
            )
            done = jnp.where(good, done + taken, done)
            share = jnp.minimum(jnp.where(good, 2 * taken, taken / 2), 1 - done)
            return jnp.where(good[:, None, None, None], moved, f), done, share, told

        @jax.checkpoint
        def part(
            carry: tuple[Distribution, Profile, Profile, Tally], _: None
        ) -> tuple[tuple[Distribution, Profile, Profile, Tally], None]:
            # checkpointed inside the cond as well: a branch not taken fills all that the other would keep with zeros
            return lax.cond(jnp.any(carry[1] < 1), jax.checkpoint(attempt), lambda carry: carry, carry), None

        begun, start = f, (f, none, one, Tally(none, none, none, none, none))
        (f, done, _, tally), _ = lax.scan(part, start, None, length=PARTS)
        unfinished = (done < 1) & jnp.all(jnp.isfinite(begun), (1, 2, 3))
        f = jnp.where((done < 1)[:, None, None, None], jnp.asarray(jnp.nan, f.dtype), f)
        return f, dataclasses.replace(tally, unfinished=unfinished.astype(f.dtype))

    def _potential(self, f: VelocityDistribution, now: Record) -> positivity.Potential:
        """Potential in the entropy of one cell (`correlations.memory`), (nvx, nvy, nvz); 0 without a memory."""
        memory = retardation(now)
        if isinstance(memory, NoMemory):
            return jnp.zeros((), f.dtype)
        return memory.potential(Cell.of(self.grid, f))

    def _chebyshev(
        self, f: Distribution, now: Record, tables: Tables, share: Profile, dt: Scalar | float
    ) -> tuple[Distribution, Profile, Profile]:
        """f after one sub-step, its length relative to dt, and how many of its stages were limited, per cell.

        The length is `share` dt, halved until it is stable according to the stiffness at the first stage.
        """
        interval = stability_interval(self.stages)

        def stage(
            carry: tuple[Distribution, Distribution, Distribution, Profile, Profile], weights: Array | np.ndarray
        ) -> tuple[tuple[Distribution, Distribution, Distribution, Profile, Profile], None]:
            last, before, first, share, limited = carry
            of_last, of_before, of_rate, of_first, is_first = weights
            rate = _each(self.op.rate_by, tables, last, now)
            first = jnp.where(is_first > 0, rate.rate, first)
            excess = lax.stop_gradient(share * dt * rate.stiffness / interval)
            halvings = jnp.ceil(jnp.log2(jnp.minimum(jnp.maximum(excess, 1), 2.0**PARTS))).astype(jnp.int32)
            share = jnp.where(is_first > 0, jnp.ldexp(share, -halvings), share)
            moved = of_last * (last - f) + of_before * (before - f)
            driven = (share * dt)[:, None, None, None] * (of_rate * rate.rate + of_first * first)
            limited = limited + (rate.limited > 0).astype(f.dtype)
            return (f + moved + driven, last, first, share, limited), None

        start = (f, f, jnp.zeros_like(f), share, jnp.zeros_like(share))
        (ended, _, _, share, limited), _ = lax.scan(stage, start, chebyshev_weights(self.stages).astype(f.dtype))
        return ended, share, limited


def _each(function: Callable[..., Result], *cells: PyTree) -> Result:
    """`function` applied to each of the cells on the leading axis; without vmap for a single cell, which is faster."""
    if len(jax.tree.leaves(cells)[0]) > 1:
        return jax.vmap(function)(*cells)
    alone = function(*jax.tree.map(lambda a: lax.squeeze(a, [0]), cells))
    return jax.tree.map(lambda a: lax.expand_dims(a, [0]), alone)


def chebyshev_polynomials(stages: int, x: float) -> np.ndarray:
    """Chebyshev polynomials T_j(x), T_j'(x), T_j''(x) for j = 0 ... stages, (3, stages + 1)."""
    T = np.zeros((3, stages + 1))
    T[0, :2], T[1, 1] = (1, x), 1
    for j in range(2, stages + 1):
        T[0, j] = 2 * x * T[0, j - 1] - T[0, j - 2]
        T[1, j] = 2 * T[0, j - 1] + 2 * x * T[1, j - 1] - T[1, j - 2]
        T[2, j] = 4 * T[1, j - 1] + 2 * x * T[2, j - 1] - T[2, j - 2]
    return T


def stability_interval(stages: int) -> float:
    """Largest |h lambda|, with h the step and lambda a negative eigenvalue, for which the damped rule is stable."""
    w0 = 1 + DAMPING / stages**2
    T = chebyshev_polynomials(stages, w0)
    return float((w0 + 1) * T[2, -1] / T[1, -1])


def chebyshev_weights(stages: int) -> np.ndarray:
    """Rows (stages, 5): weights of Y_{j-1} - Y_0, Y_{j-2} - Y_0, h C[Y_{j-1}], h C[Y_0]; then 1 for stage 1, else 0."""
    w0 = 1 + DAMPING / stages**2
    T = chebyshev_polynomials(stages, w0)
    w1 = T[1, -1] / T[2, -1]
    b = np.full(stages + 1, T[2, 2] / T[1, 2] ** 2)
    b[2:] = T[2, 2:] / T[1, 2:] ** 2
    a = 1 - b * T[0]
    rows = [[0.0, 0.0, b[1] * w1, 0.0, 1.0]]
    for j in range(2, stages + 1):
        of_rate = 2 * b[j] * w1 / b[j - 1]
        rows.append([2 * b[j] * w0 / b[j - 1], -b[j] / b[j - 2], of_rate, -a[j - 1] * of_rate, 0.0])
    return np.array(rows)
