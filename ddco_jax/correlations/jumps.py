"""Smoothing by jumps: changes of velocity in the microfield and in collisions have heavy tails.

Treat the plasma as a mixture of sites with different force variances, each with its own drag: f = E[exp(tau A)] f0
over a random time tau, A f = div [kT/m grad f + c f].  The tail of the microfield is Holtsmark's, F^-5/2, until
repulsion cuts it off.  With a tempered stable law of index 3/4 for tau the jumps have Holtsmark's law with its far tail
cut off, and

    df/dt = nu A F,   F = (1 - ell^2 A)^(-1/4) f = E[exp(u A)] f,   u gamma distributed, of shape 1/4 and scale ell^2:

the same diffusion, acting on f smoothed over the velocity jumps that particles have made so far.  exp(uA) is a Markov
semigroup with the Maxwellian as its stationary state, so mass, momentum and energy are still conserved, and the entropy
still grows.

Collisions act on another F, with the constant ell^2 = COLLISION_JUMP.  C[F] conserves what C[f] does and vanishes for
Maxwellians.  A small deviation from a Maxwellian that is a Hermite polynomial of degree n is (1 + n ell^2)^(-1/4) times
as large in F, and relaxes more slowly by that factor.  `viscosity_factor` compensates this exactly for shear stresses
(n = 2), so that the viscosity is that of the kernel; heat conduction is then 1 + ell^2/4 times as large.  For C[F] the
H-theorem does not follow from the sign of omega; the entropy limiter enforces it (`entropy`).
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ddco_jax.plasma.arrays import Array, Float, Scalar
from ddco_jax.velocity.cell import Cell, Maxwellian

COLLISION_JUMP = 0.07
"""ell^2 of collisions, v_th^2: tracked particles of MD, Gamma = 0.4 ... 1.8, have J(4) - J(1) = -0.17 ... -0.19 J(1)
between 1 and 1.6/omega_p (`learning.jumps`).  Part of that comes from the difference between the collisions of fast and
of slow particles.  Test functions are wider than these jumps and hardly distinguish 0.07 from 0.10."""
SHAPE = 0.25
"""Shape of the gamma distribution: 1 - 3/4, where 3/4 is half the index 3/2 of Holtsmark's law."""
NODES = 8
"""Number of times u at which exp(uA) is applied, from half a cell's diffusion time to many relaxation times 1/A."""
RATIO = 4
"""Each time u is this multiple of the previous one."""
EARLIER = 40
"""Number of times u before the first.  At these exp(uA) f = f on the grid, so their weight counts as no smoothing."""


def viscosity_factor(jump: Float[Array, "..."]) -> Float[Array, "..."]:
    """(1 + 2 ell^2)^(1/4): the factor of omega with which C[F] has the viscosity of C[f]."""
    return (1 + 2 * jump) ** 0.25


def smooth(cell: Cell, equilibrium: Maxwellian, *jumps: Scalar) -> tuple[Cell, ...]:
    """The cell with F = (1 - ell^2 A)^(-1/4) f in place of f, for each ell^2 (v_th^2) of `jumps`.

    Along each axis exp(uA) is a Markov matrix of jumps between neighbours whose stationary state is the `equilibrium`.
    Errors O(dv^2); the gamma distribution is represented at times a factor RATIO apart.
    """
    thermal = jnp.sqrt(cell.temperature)
    steepness = cell.temperature / equilibrium.temperature
    axes = [equilibrium.axis(cell, axis) / thermal for axis in range(3)]
    first = jnp.min(jnp.stack([x[1] - x[0] for x in axes])) ** 2 / 8
    steps = tuple(jnp.eye(len(x), dtype=x.dtype) + first * generator(x, steepness) for x in axes)
    weights = times(jnp.stack(jumps), first).T[..., None, None, None]

    def node(carry: tuple[Array, tuple[Array, ...]], weight: Array) -> tuple[tuple[Array, tuple[Array, ...]], None]:
        F, steps = carry
        moved = cell.f
        for axis, p in enumerate(steps):
            moved = jnp.moveaxis(jnp.tensordot(p, moved, ((1,), (axis,)), precision="highest"), 0, axis)
        F = F + weight * moved
        for _ in range(round(math.log2(RATIO))):
            steps = tuple(jnp.matmul(p, p, precision="highest") for p in steps)
        return (F, steps), None

    (F, _), _ = lax.scan(node, (weights[0] * cell.f, steps), weights[1:])
    return tuple(cell.with_f(f) for f in F)


def times(jump: Float[Array, "..."], first: Scalar) -> Float[Array, "... nodes"]:
    """Weights (..., 1 + NODES) of no smoothing and of u = first, RATIO first, ... for each ell^2; their sum is 1."""
    j = jnp.arange(-EARLIER, NODES + EARLIER // 4, dtype=first.dtype)
    u = first * jnp.exp(math.log(RATIO) * j)
    scale = jump[..., None] + jnp.finfo(first.dtype).eps * first
    weight = jax.nn.softmax(SHAPE * jnp.log(u) - u / scale)
    none, inside, beyond = jnp.split(weight, [EARLIER, EARLIER + NODES], axis=-1)
    last = inside[..., -1:] + jnp.sum(beyond, -1, keepdims=True)
    return jnp.concatenate([jnp.sum(none, -1, keepdims=True), inside[..., :-1], last], axis=-1)


def generator(c: Float[Array, " points"], slope: Scalar) -> Float[Array, "points points"]:
    """d^2/dc^2 + slope d/dc c in thermal units, on the points of one axis: jumps to neighbours in detailed balance.

    Columns add up to zero.  Rates up and down are (2/dc^2)/(1 + e^z) and (2/dc^2)/(1 + e^-z) with z the fall of
    log M between the two points.
    """
    z = slope * (c[1:] ** 2 - c[:-1] ** 2) / 2
    rate = 2 / (c[1] - c[0]) ** 2
    up, down = rate * jax.nn.sigmoid(-z), rate * jax.nn.sigmoid(z)
    n = len(c)
    lower, upper = (jnp.asarray(np.eye(n, n - 1, k), c.dtype) for k in (0, -1))
    # every jump takes its rate from one point and adds it to the neighbour
    return jnp.matmul(upper - lower, (up * lower - down * upper).T, precision="highest")
