"""Stiffness of collisions in a run, estimated from its initial state, to make the collision step stable."""

import dataclasses
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ddco_jax.collisions import CollisionOperator, spectral
from ddco_jax.correlations import Markov, Record, as_record
from ddco_jax.correlations.model import Model
from ddco_jax.kernels import Kernel, Scaled, Separable, Tabulated
from ddco_jax.kernels.base import Squares, Weights
from ddco_jax.plasma.arrays import Array, Numbers, VelocityDistribution, VelocityVector
from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.plasma.units import Scales
from ddco_jax.simulation.survey import NEGLIGIBLE, CellSurvey, Survey
from ddco_jax.steppers.collision import CollisionStep, MidpointCollision, stability_interval
from ddco_jax.velocity.cell import FLOOR, Cell
from ddco_jax.velocity.positivity import tolerance

CANDIDATES = 64
"""Number of sampled ages of the correlations, from which those with the largest rates are selected."""
SPEEDS = (0.5, 6**0.5, 6.0)
"""Relative speeds |u| (v_th) that represent slow, thermal and fast pairs."""
MARGIN = 1.2
"""Least ratio of the stability interval of the chosen stages to the estimated stiffness times the step."""
MOST_STAGES = 20
"""Largest number of stages that is chosen; where it is not enough, the step is divided."""


class Stretched(Kernel):
    """A kernel whose velocity arguments are in units of `unit` (V0); its value stays in V0^2 L0^3/t0."""

    kernel: Kernel
    unit: jax.Array

    def separable(self, density: Numbers, temperature: Numbers) -> Separable:
        def of(function: Callable[[Array], Array] | None, power: int) -> Callable[[Array], Array] | None:
            return None if function is None else lambda speed: self.unit**power * function(self.unit * speed)

        products = self.kernel.separable(density, temperature)
        weights = {
            mn: Weights(of(w.isotropic, 0), of(w.perpendicular, 2), of(w.parallel, 2))
            for mn, w in products.weights.items()
        }
        return Separable(tuple(of(factor, 0) for factor in products.factors), weights)

    def radial(
        self,
        relative_speed: Array,
        peculiar_speed: Array,
        peculiar_speed_prime: Array,
        density: Numbers,
        temperature: Numbers,
    ) -> Squares:
        u, c, c_prime = (self.unit * s for s in (relative_speed, peculiar_speed, peculiar_speed_prime))
        g0, g1, g2 = self.kernel.radial(u, c, c_prime, density, temperature)
        return g0, self.unit**2 * g1, self.unit**2 * g2


def stiffness(start: Survey, step: CollisionStep, duration: float) -> float:
    """Estimate the largest `CollisionOperator.rate(...).stiffness` (1/t0) of the initial f during a run.

    The estimate is the maximum of sum_a A_aa k_a/dv_a^2 over all velocities of the box, over the extreme cells, and
    over those ages of the correlations between 0 and `duration` (t0) at which the rate of slow, thermal or fast pairs
    or of the microfield is largest.  It is NaN where f has NaN.

    It is within 7 % of the operator's stiffness, which takes the slope of log f from a fit instead of the moments.
    With more than MOST points per axis f may be merged onto fewer, which changes it by up to 3 % (46^3 ... 80^3).
    With build-up it is an upper bound, since A_aa includes the full microfield rate of all partners (1.7 times at
    20^3).

    For the midpoint rule with the log form, A_aa is multiplied by `steepness` wherever f > NEGLIGIBLE max f.  On steep
    flanks that rule becomes unstable at 1.2 (Maxwell molecules) to 4 times (Landau) the largest step that this estimate
    allows (bi-Maxwellian 1/4, dv = 0.9 widths); without `steepness` the bound is 2 to 7 times too weak.
    """
    op, cells = step.op, start.extreme()
    density, temperature = (np.array([getattr(c, key) for c in cells]) for key in ("density", "temperature"))
    ages = largest_rates(step.buildup, density, temperature, duration, step.scales)
    density, temperature = (np.repeat(x, ages.shape[1]) for x in (density, temperature))
    gamma = step.scales.coupling_parameter(density, temperature)
    now = _correlations(step.buildup, jnp.asarray(ages.ravel(), jnp.float32), jnp.asarray(gamma, jnp.float32))
    now = now.in_units(jnp.asarray(step.scales.plasma_frequency(density), jnp.float32))
    flanks = isinstance(step, MidpointCollision) and op.force == "log"
    largest = _largest_diffusion(op, cells, ages.shape[1], (density, temperature, now), flanks)
    return largest


def largest_rates(
    buildup: Model, density: np.ndarray, temperature: np.ndarray, duration: float, scales: Scales
) -> np.ndarray:
    """Ages (1/omega_p) within `duration` (t0) at which a pair or microfield rate of a cell peaks, (cells, ages)."""
    if isinstance(buildup, Markov):
        return np.zeros((len(density), 1))
    shares = np.linspace(0, 1, CANDIDATES)
    ages = scales.plasma_frequency(density)[:, None] * duration * shares
    gamma = jnp.asarray(scales.coupling_parameter(density, temperature), jnp.float32)[:, None]

    @jax.jit
    def rates(ages: Array) -> Array:
        now = _correlations(buildup, ages, gamma)
        pairs = [now.pair_rate(jnp.asarray(speed, jnp.float32)) + 0 * ages for speed in SPEEDS]
        return jnp.stack([*pairs, getattr(now, "microfield_rate", 0 * ages) + 0 * ages])

    found = np.asarray(rates(jnp.asarray(ages, jnp.float32)))
    largest = np.maximum(np.max(found, 2, keepdims=True), 1e-30)
    together = found / largest
    kinds = np.concatenate([found, [together[1] + together[3], together[0] + together[3]]])
    return ages[:, np.unique(np.argmax(kinds, 2))]


def _correlations(buildup: Model, ages: Array, gamma: Array) -> Record:
    """The record of the correlations at ages (1/omega_p) and Gamma, in single precision."""
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), as_record(buildup(ages, gamma)))


def _largest_diffusion(op: CollisionOperator, cells: list[CellSurvey], ages: int, states: tuple, flanks: bool) -> float:
    """max_v sum_a A_aa k_a/dv_a^2 (1/t0) over the cells, each at the given number of ages.

    With `flanks`, A_aa is multiplied by `steepness`.  `states` holds density, temperature and correlations of every
    cell at every age, flattened.
    """
    patches = [patch for cell in cells for patch in cell.patches]
    each = len(cells[0].patches)
    points = PhaseGrid(
        1.0,
        1,
        tuple(n * dv / 2 for n, dv in zip(patches[0].masses.shape, op.grid.dv, strict=True)),
        patches[0].masses.shape,
    )
    differences = dataclasses.replace(op.differences, grid=points)

    def largest(kernel: Kernel, item: tuple[Array, Array, Array, Array, Array, Record]) -> Array:
        masses, counts, unit, density, temperature, now = item
        steep = steepness(masses, unit) if flanks else 1.0
        cell = Cell.of(points, masses / points.dv3)
        amplified = Scaled(kernel, now.pair_rate)
        A = spectral.diffusion(cell, Stretched(amplified, unit).separable(density, temperature))
        field = getattr(now, "microfield_rate", 0.0) * temperature
        rates = (A + field) * steep
        matters = masses > tolerance(np.float64) * jnp.max(masses)
        total = jnp.zeros_like(masses)
        for axis, dv in enumerate(op.grid.dv):
            fall = unit * cell.axis(axis) * dv / temperature
            total = total + rates[axis] * differences.eigenvalue(fall, axis, matters) / dv**2
        return jnp.max(jnp.where(counts, total, 0))

    @eqx.filter_jit
    def over_all(
        kernel: Kernel,
        masses: Array,
        counts: Array | np.ndarray,
        units: Array,
        which: Array,
        arguments: tuple[Array, Array, Record],
    ) -> Array:
        def one(item: tuple[Array, Array, tuple[Array, Array, Record]]) -> Array:
            place, unit, arguments = item
            return largest(kernel, (masses[place], counts[place], unit, *arguments))

        return jnp.max(lax.map(one, (which, units, arguments)))

    # patch p of cell c at age a: item (c, a, p)
    places = np.arange(len(patches)).reshape(len(cells), 1, each)
    which = np.broadcast_to(places, (len(cells), ages, each)).ravel()
    arguments = jax.tree.map(lambda x: jnp.repeat(jnp.asarray(x, jnp.float32), each, axis=0), states)
    masses, counts = (np.stack([getattr(p, key) for p in patches]) for key in ("masses", "counts"))
    units = jnp.asarray([patches[p].stretch for p in which], jnp.float32)
    return float(
        over_all(plain(op.kernel), jnp.asarray(masses, jnp.float32), counts, units, jnp.asarray(which), arguments)
    )


def steepness(f: VelocityDistribution, stretch: Numbers) -> VelocityVector:
    """(f_{j+1} + f_{j-1})/2f_j along each axis, at least 1, (3, ...); 1 where f is negligible.

    By this factor the relative rates of the log form, those of f^(-1/2) D+ A f D- f^(-1/2), exceed those of D+ A D-.
    The points of f are `stretch` grid spacings apart; the ratios are those of neighbours on the grid.
    """
    f = jnp.maximum(f, FLOOR * jnp.max(f))
    padded, inner = jnp.pad(f, 1, mode="edge"), (slice(1, -1),) * 3
    means = []
    for axis in range(3):
        risen = [(jnp.roll(padded, shift, axis)[inner] / f) ** (1 / stretch) for shift in (1, -1)]
        means.append(jnp.maximum(sum(risen) / 2, 1))
    return jnp.where(f > NEGLIGIBLE * jnp.max(f), jnp.stack(means), 1)


def plain(kernel: Kernel) -> Kernel:
    """The kernel with its tables replaced by their functions: on few points tables save no time, but compile slowly."""

    def is_table(node: object) -> bool:
        return isinstance(node, Tabulated)

    return jax.tree.map(lambda node: node.function if is_table(node) else node, kernel, is_leaf=is_table)


def choose_stages(step_times_stiffness: float) -> int:
    """Smallest number of Chebyshev stages that is stable with MARGIN, at most MOST_STAGES."""
    for stages in range(2, MOST_STAGES):
        if step_times_stiffness * MARGIN <= stability_interval(stages):
            return stages
    return MOST_STAGES
