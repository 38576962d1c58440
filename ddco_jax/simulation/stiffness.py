"""How stiff collisions are in a run: what its collision step must be stable for, estimated from the start."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ddco_jax.collisions import CollisionOperator, spectral
from ddco_jax.correlations import Markov, Record, as_record
from ddco_jax.correlations.model import Model
from ddco_jax.kernels import Kernel, Scaled, Separable, Tabulated
from ddco_jax.kernels.base import Weights
from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.plasma.units import Scales
from ddco_jax.simulation.survey import NEGLIGIBLE, CellSurvey, Survey
from ddco_jax.steppers.collision import CollisionStep, MidpointCollision, stability_interval
from ddco_jax.velocity.cell import FLOOR, Cell
from ddco_jax.velocity.positivity import tolerance

CANDIDATES = 64
"""Ages of the correlations among which those with the largest rates are looked for."""
SPEEDS = (0.5, 6**0.5, 6.0)
"""|u| (v_th) of pairs that are slow, thermal and fast."""
MARGIN = 1.2
"""By how much the stability interval of the chosen stages exceeds the estimate."""
MOST_STAGES = 20
"""Beyond these the step is divided."""


class Stretched(Kernel):
    """A kernel of velocities in units of `unit` (V0), its value in V0^2 L0^3/t0 as ever."""

    kernel: Kernel
    unit: jax.Array

    def separable(self, density, temperature) -> Separable:
        def of(function, power):
            return None if function is None else lambda speed: self.unit**power * function(self.unit * speed)

        products = self.kernel.separable(density, temperature)
        weights = {
            mn: Weights(of(w.isotropic, 0), of(w.perpendicular, 2), of(w.parallel, 2))
            for mn, w in products.weights.items()
        }
        return Separable(tuple(of(factor, 0) for factor in products.factors), weights)

    def radial(self, relative_speed, peculiar_speed, peculiar_speed_prime, density, temperature):
        u, c, c_prime = (self.unit * s for s in (relative_speed, peculiar_speed, peculiar_speed_prime))
        g0, g1, g2 = self.kernel.radial(u, c, c_prime, density, temperature)
        return g0, self.unit**2 * g1, self.unit**2 * g2


def stiffness(start: Survey, step: CollisionStep, duration: float) -> float:
    """Largest `CollisionOperator.rate(...).stiffness` of the start, 1/t0, with the correlations of a whole run.

    max_v sum_a A_aa k_a/dv_a^2 over all velocities of the box and the extreme cells, at those ages between 0 and
    `duration` at which the rate of slow, thermal or fast pairs or of the microfield is largest.  NaN where f has NaN.

    Within 7 % of the operator's, whose flanks are those of a fit, not of the moments.  Beyond MOST points per axis f
    may be merged, which changes it by up to 3 % (46^3 ... 80^3).
    With build-up it is an upper bound, as A_aa has the microfield's whole rate, from all partners (1.7 times at 20^3).

    For the midpoint rule with the log form A_aa counts `steepness` times wherever f > NEGLIGIBLE max f.  There the rule
    blows up on steep flanks from 1.2 (Maxwell molecules) to 4 times (Landau) the step at which this estimate forbids it
    (bi-Maxwellian 1/4, dv = 0.9 widths); the bare bound is 2 to 7 times too weak.
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


def largest_rates(buildup: Model, density, temperature, duration: float, scales: Scales) -> np.ndarray:
    """Ages (1/omega_p) within `duration` (t0) at which some rate of some cell is largest, (cells, ages)."""
    if isinstance(buildup, Markov):
        return np.zeros((len(density), 1))
    shares = np.linspace(0, 1, CANDIDATES)
    ages = scales.plasma_frequency(density)[:, None] * duration * shares
    gamma = jnp.asarray(scales.coupling_parameter(density, temperature), jnp.float32)[:, None]

    @jax.jit
    def rates(ages):
        now = _correlations(buildup, ages, gamma)
        pairs = [now.pair_rate(jnp.asarray(speed, jnp.float32)) + 0 * ages for speed in SPEEDS]
        return jnp.stack([*pairs, getattr(now, "microfield_rate", 0 * ages) + 0 * ages])

    found = np.asarray(rates(jnp.asarray(ages, jnp.float32)))
    largest = np.maximum(np.max(found, 2, keepdims=True), 1e-30)
    together = found / largest
    kinds = np.concatenate([found, [together[1] + together[3], together[0] + together[3]]])
    return ages[:, np.unique(np.argmax(kinds, 2))]


def _correlations(buildup: Model, ages, gamma) -> Record:
    """The record at ages and Gamma, in single precision."""
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), as_record(buildup(ages, gamma)))


def _largest_diffusion(op: CollisionOperator, cells: list[CellSurvey], ages: int, states: tuple, flanks: bool) -> float:
    """max_v sum_a A_aa k_a/dv_a^2 over the cells, each at so many ages (1/t0).

    `flanks`: with their `steepness`.  `states` holds density, temperature and correlations, cell by age.
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

    def largest(kernel, item):
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
    def over_all(kernel, masses, counts, units, which, arguments):
        def one(item):
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
        over_all(_plain(op.kernel), jnp.asarray(masses, jnp.float32), counts, units, jnp.asarray(which), arguments)
    )


def steepness(f, stretch):
    """(f_{j+1} + f_{j-1})/2f_j along each axis, at least 1, (3, ...); 1 where f is negligible.

    By so much the log form's relative rates, those of f^(-1/2) D+ A f D- f^(-1/2), are larger than those of D+ A D-.
    Points are `stretch` grid points apart.
    """
    f = jnp.maximum(f, FLOOR * jnp.max(f))
    padded, inner = jnp.pad(f, 1, mode="edge"), (slice(1, -1),) * 3
    means = []
    for axis in range(3):
        risen = [(jnp.roll(padded, shift, axis)[inner] / f) ** (1 / stretch) for shift in (1, -1)]
        means.append(jnp.maximum(sum(risen) / 2, 1))
    return jnp.where(f > NEGLIGIBLE * jnp.max(f), jnp.stack(means), 1)


def _plain(kernel: Kernel) -> Kernel:
    """The kernel without tables: on so few points they save nothing, and they take seconds to compile."""

    def is_table(node) -> bool:
        return isinstance(node, Tabulated)

    return jax.tree.map(lambda node: node.function if is_table(node) else node, kernel, is_leaf=is_table)


def choose_stages(step_times_stiffness: float) -> int:
    """Fewest stages of a Chebyshev step that is stable with a margin; MOST_STAGES where none are enough."""
    for stages in range(2, MOST_STAGES):
        if step_times_stiffness * MARGIN <= stability_interval(stages):
            return stages
    return MOST_STAGES
