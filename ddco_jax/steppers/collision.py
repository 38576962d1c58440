"""Collision steps: the explicit midpoint rule (30), and a stabilised one that keeps f positive and entropy rising."""

import abc
import dataclasses
import functools
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ddco_jax.collisions import CollisionOperator
from ddco_jax.correlations import AGED, MARKOV, Aged, NoMemory, Record, Uniform, as_record, retardation
from ddco_jax.correlations.model import Model
from ddco_jax.plasma.arrays import Distribution, Profile, VelocityDistribution
from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.plasma.moments import compute_moments, stress_anisotropy
from ddco_jax.plasma.state import State, Tally
from ddco_jax.plasma.units import PAPER, Scales
from ddco_jax.steppers.base import Stepper
from ddco_jax.velocity import positivity
from ddco_jax.velocity.cell import Cell

STAGES = np.array([0.5, 1.0])
"""Ends of the two stages of the midpoint rule, in steps."""
DAMPING = 2 / 13
"""Of the Runge-Kutta-Chebyshev step: inside the stability interval, away from 0, a step multiplies a mode by at most
1 - DAMPING/3."""
PARTS = 24
"""Most parts, refused ones included, of one collision step."""


class CollisionStep(Stepper):
    """df/dt = C[f], each cell by itself.  Mass, momentum and energy of every cell are exact to rounding.

    `buildup` gives the correlations at an age and Gamma (`correlations.model`); it is evaluated once per step, at the
    age that the state carries, which in Strang splitting is that of the collision midpoint.  Where they have a memory,
    whatever has changed f since the last step is new to it: streaming, a field, a kick by the caller.
    """

    order: ClassVar[int] = 2
    op: CollisionOperator
    buildup: Model = MARKOV
    scales: Scales = eqx.field(static=True, default=PAPER)

    @property
    def grid(self) -> PhaseGrid:
        return self.op.grid

    def step(self, state: State, dt) -> State:
        now = self.correlations(state)
        dt = jnp.asarray(dt, state.f.dtype)
        law = retardation(now)
        if isinstance(law, NoMemory) or isinstance(now, Aged | Uniform):
            f, tally = self.collide(state, now, dt)
            return dataclasses.replace(state, f=f, time=state.time + dt, tally=tally)
        # what has changed f since the last collisions is new; what collisions change, as far as the quench is forgotten
        memory = law.taught(state.memory, stress_anisotropy(self.grid, state.f), jnp.ones_like(law.rate))
        memory = law.aged(memory, dt / 2)
        f, tally = self.collide(state, dataclasses.replace(now, retardation=law.beginning(memory)), dt)
        memory = law.taught(memory, stress_anisotropy(self.grid, f), law.forgotten)
        memory = law.aged(memory, dt / 2)
        return dataclasses.replace(state, f=f, memory=memory, time=state.time + dt, tally=tally)

    @abc.abstractmethod
    def collide(self, state: State, now: Record, dt) -> tuple[Distribution, Tally]:
        """f after dt of collisions with the correlations of `now`, and what has been done since the start."""

    def correlations(self, state: State) -> Record:
        """The correlations of every cell, rates in 1/t0; aged where the state carries no age."""
        if state.correlation_age is None:
            return AGED
        density, _, temperature = compute_moments(self.grid, state.f)
        now = self.buildup(state.correlation_age, self.scales.coupling_parameter(density, temperature))
        return as_record(now).in_units(self.scales.plasma_frequency(density))


class MidpointCollision(CollisionStep):
    """The explicit midpoint rule (30), the paper's.

    Entropy grows to the order of the scheme.  Stable for dt times the stiffness (`CollisionOperator.rate`) up to 2; in
    the log form only where f is resolved, for beside steep flanks its relative rates are larger.
    `substeps` divides the step.
    """

    substeps: int = eqx.field(static=True, default=1)

    def __check_init__(self) -> None:
        if self.substeps < 1:
            raise ValueError(f"substeps must be at least 1, got {self.substeps}")

    def collide(self, state: State, now: Record, dt) -> tuple[Distribution, Tally]:
        h = dt / self.substeps

        def substep(f, _):
            # a scan, for the operator is by far the longest to compile: once instead of twice
            return lax.scan(lambda at, part: (f + part * h * self.op(at, now), None), f, STAGES.astype(f.dtype))

        f, _ = lax.scan(jax.checkpoint(substep), state.f, None, length=self.substeps)
        return f, state.tally


class ChebyshevCollision(CollisionStep):
    """The damped second-order Runge-Kutta-Chebyshev rule of `stages` stages (Sommeijer, Shampine and Verwer 1998).

    Stable for dt times the stiffness up to `stability_interval(stages)`, about 0.65 (stages^2 - 1), where the midpoint
    rule has 2.  Where the stiffness of a cell (`CollisionOperator.rate`) asks for it, the step is divided.  After each
    part negative f is removed (`positivity.repair`) and a small loss of entropy made good (`positivity.restore`).  The
    part is accepted if then f >= -tolerance max f and the entropy has not fallen, beyond rounding; else it is halved.
    With a memory of the stress (`correlations.memory`) entropy means that of f plus the mean of c.E.c m/2kT, for
    correlations that remember another f may take entropy from it.
    After PARTS parts, refused ones included, the cell counts as unfinished, and its f is NaN.  `State.tally` counts all
    of it.

    The lengths of the parts are locally constant in f, so the derivative of the step is exact.  `jax.vmap` over states
    evaluates all PARTS for every one; `jax.lax.map`, or more cells, does not.
    """

    stages: int = eqx.field(static=True, default=5)

    def __check_init__(self) -> None:
        if self.stages < 2:
            raise ValueError(f"stages must be at least 2, got {self.stages}")

    def collide(self, state: State, now: Record, dt) -> tuple[Distribution, Tally]:
        f, tally = self.op.over_groups(lambda f, now: self._step_cells(f, now, dt), state.f, now)
        return f, jax.tree.map(lambda a, b: a + jnp.sum(b), state.tally, tally)

    def _step_cells(self, f: Distribution, now: Record, dt) -> tuple[Distribution, Tally]:
        """Some cells, which divide their steps each by itself but take the parts together."""
        one, none = jnp.ones(len(f), f.dtype), jnp.zeros(len(f), f.dtype)
        potential = _each(self._potential, f, now)

        def attempt(carry):
            f, done, share, tally = carry
            ended, taken, limited = self._chebyshev(f, now, share, dt)
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
        def part(carry, _):
            return lax.cond(jnp.any(carry[1] < 1), attempt, lambda carry: carry, carry), None

        begun, start = f, (f, none, one, Tally(none, none, none, none, none))
        (f, done, _, tally), _ = lax.scan(part, start, None, length=PARTS)
        unfinished = (done < 1) & jnp.all(jnp.isfinite(begun), (1, 2, 3))
        f = jnp.where((done < 1)[:, None, None, None], jnp.asarray(jnp.nan, f.dtype), f)
        return f, dataclasses.replace(tally, unfinished=unfinished.astype(f.dtype))

    def _potential(self, f: VelocityDistribution, now: Record) -> positivity.Potential:
        """What the entropy of one cell is measured with (`correlations.memory`)."""
        memory = retardation(now)
        if isinstance(memory, NoMemory):
            return jnp.zeros((), f.dtype)
        return memory.potential(Cell.of(self.grid, f))

    def _chebyshev(self, f: Distribution, now: Record, share: Profile, dt) -> tuple[Distribution, Profile, Profile]:
        """Cells after a part of the step, what share of the step it was, and how many stages were limited.

        The part is `share` of the step, halved until its first evaluation of C[f] says that it is stable.
        """
        interval = stability_interval(self.stages)

        def stage(carry, weights):
            last, before, first, share, limited = carry
            of_last, of_before, of_rate, of_first, is_first = weights
            rate = _each(self.op.rate, last, now)
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


def _each(function, *cells):
    """`function` of cells with a leading axis; a single one is not made a batch, which costs time."""
    if len(jax.tree.leaves(cells)[0]) > 1:
        return jax.vmap(function)(*cells)
    return jax.tree.map(lambda a: a[None], function(*jax.tree.map(lambda a: a[0], cells)))


def chebyshev_polynomials(stages: int, x: float) -> np.ndarray:
    """T_j(x), T_j'(x), T_j''(x) for j = 0 ... stages, (3, stages + 1)."""
    T = np.zeros((3, stages + 1))
    T[0, :2], T[1, 1] = (1, x), 1
    for j in range(2, stages + 1):
        T[0, j] = 2 * x * T[0, j - 1] - T[0, j - 2]
        T[1, j] = 2 * T[0, j - 1] + 2 * x * T[1, j - 1] - T[1, j - 2]
        T[2, j] = 4 * T[1, j - 1] + 2 * x * T[2, j - 1] - T[2, j - 2]
    return T


def stability_interval(stages: int) -> float:
    """Largest magnitude of h times a negative eigenvalue for which the damped rule is stable."""
    w0 = 1 + DAMPING / stages**2
    T = chebyshev_polynomials(stages, w0)
    return float((w0 + 1) * T[2, -1] / T[1, -1])


def chebyshev_weights(stages: int) -> np.ndarray:
    """One row per stage j: weights of Y_{j-1} - Y_0, of Y_{j-2} - Y_0, of h C[Y_{j-1}], of h C[Y_0]; 1 in the first."""
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
