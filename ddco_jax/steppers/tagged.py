"""Relaxation of a tagged population in a steady plasma: what spin-tagged ions of an ultracold plasma show."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax

from ddco_jax.collisions import CollisionOperator
from ddco_jax.correlations import AGED, AGED_AGE, NO_MEMORY, Aged, Mature, Quench, Undisturbed
from ddco_jax.correlations.tagged import Delay, Prompt
from ddco_jax.kernels.forms import Learned
from ddco_jax.plasma.arrays import Array, Distribution, Float, Scalar, VelocityDistribution
from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.plasma.moments import compute_moments
from ddco_jax.plasma.units import PAPER, Scales
from ddco_jax.steppers.collision import chebyshev_weights, stability_interval


class Relaxation(NamedTuple):
    """A tagged population after its relaxation, and its mean velocity on the way."""

    g: Distribution
    """(nx, nvx, nvy, nvz), as it was given."""
    velocity: Float[Array, "steps nx 3"]
    """At 0, dt, ... n_steps dt, V0."""


@eqx.filter_jit
def relax(
    grid: PhaseGrid,
    model: Learned,
    g: Distribution,
    f: Distribution,
    dt: Scalar | float,
    n_steps: int,
    *,
    stages: int = 8,
    scales: Scales = PAPER,
) -> Relaxation:
    """Let a tagged population g relax for n_steps dt (t0) by collisions with all particles f, which stay as they are.

    Tagged particles are a few of the plasma's own, (nx, nvx, nvy, nvz): only the shape of g matters.  f is a steady
    state of every cell, usually a Maxwellian.  There is no streaming and no field: they act on g and f alike.
    `model` comes from `load_model`; the memory of its tagged populations (`correlations.tagged`) begins at t = 0.  The
    number of particles is conserved to rounding.  Second order in dt.  `stages` are those of the Chebyshev rule.
    Raises an error at run time where dt is too long for a stable step with so many stages.

    Examples:
        >>> import ddco_jax as ddco
        >>> grid = ddco.PhaseGrid(1.0, 1, v_max=(2.5, 2.5, 2.5), nv=(12, 12, 12))
        >>> f = ddco.initial.maxwellian(grid, density=1.0, temperature=0.3)
        >>> g = f * (1 + 0.3 * grid.vx[:, None, None])
        >>> end, velocity = ddco.steppers.relax(grid, ddco.load_model("ddco"), g, f, dt=0.05, n_steps=2)
        >>> bool(0 < velocity[2, 0, 0] < velocity[1, 0, 0] < velocity[0, 0, 0])
        True
    """
    op = CollisionOperator(grid, model.kernel)
    f = jnp.asarray(f)
    g = jnp.asarray(g, f.dtype)
    density, _, temperature = compute_moments(grid, f)
    gamma = scales.coupling_parameter(density, temperature)
    memory = model.tagged(gamma).in_units(scales.plasma_frequency(density))
    now = Undisturbed(NO_MEMORY)(jnp.full_like(gamma, AGED_AGE), gamma) if isinstance(model.buildup, Quench) else AGED
    dt = jnp.asarray(dt, f.dtype)

    @jax.checkpoint
    def cell(given: tuple[Array, Array, Aged | Mature, Delay | Prompt]) -> tuple[Array, Array]:
        g, f, now, memory = given
        return _relaxed(op, g, f, now, memory, dt, n_steps, stages)

    end, velocity = lax.map(cell, (g, f, now, memory))
    return Relaxation(end, jnp.swapaxes(velocity, 0, 1))


def _relaxed(
    op: CollisionOperator,
    g: VelocityDistribution,
    f: VelocityDistribution,
    now: Aged | Mature,
    memory: Delay | Prompt,
    dt: Scalar,
    n_steps: int,
    stages: int,
) -> tuple[VelocityDistribution, Float[Array, "steps 3"]]:
    """`relax` of one cell."""
    weights = jnp.asarray(chebyshev_weights(stages), f.dtype)
    unstable = memory.strength * dt * op.rate(f, now).stiffness > stability_interval(stages)
    dt = eqx.error_if(dt, unstable, "the step is too long to be stable; take a shorter dt or more stages")

    def mean(g: VelocityDistribution) -> Float[Array, "3"]:
        return compute_moments(op.grid, g)[1]

    def step(carry: tuple[Array, tuple[Array, Array]], _: None) -> tuple[tuple[Array, tuple[Array, Array]], Array]:
        g, new = carry
        new, begun = memory.aged(new, dt / 2), mean(g)

        def stage(carry: tuple[Array, Array, Array], weight: Array) -> tuple[tuple[Array, Array, Array], None]:
            last, before, first = carry
            of_last, of_before, of_rate, of_first, is_first = weight
            rate = memory.strength * op.tagged_rate(last, f, now, memory.moved(new, mean(last) - begun)[0])
            first = jnp.where(is_first > 0, rate, first)
            moved = of_last * (last - g) + of_before * (before - g) + dt * (of_rate * rate + of_first * first)
            return (g + moved, last, first), None

        ended, _ = lax.scan(jax.checkpoint(stage), (g, g, jnp.zeros_like(g)), weights)
        w = mean(ended[0])
        return (ended[0], memory.aged(memory.moved(new, w - begun), dt / 2)), w

    start = mean(g)
    ended, velocity = lax.scan(step, (g, memory.begun(start - mean(f))), None, length=n_steps)
    return ended[0], jnp.concatenate([start[None], velocity])
