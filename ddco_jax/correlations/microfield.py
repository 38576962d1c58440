"""Diffusion in the microfield: what a quench does before any collision.

Velocities drawn anew know nothing of the positions.  So each particle first feels the force F that it happens to be
in: its velocity spreads by <F F> t^2/2m^2, and as it moves down the slope of that force, it slows.  In an equilibrated
one-component plasma <F F> = m omega_p^2 kT/3 I and <grad F> = -m omega_p^2/3 I, whatever Gamma is, so that exactly

    df/dt = nu A f,   A f = div [kT/m grad f + c f],   nu = omega_p^2 t/3   for t -> 0

for any f that is smooth over the velocities that F gives.  Unlike collisions this moves a pair along its relative
velocity too, the energy coming from the potential and going back to it.  It is done when particles have crossed the
wells they started in (`buildup`).

F is not normally distributed: most particles feel less than its variance tells, a few with a close neighbour much
more.  Its tail is Holtsmark's, F^-5/2, until repulsion cuts it off.  So a narrow beam keeps a sharper core, and grows
wider wings, than diffusion gives it.  A plasma of places, each with a variance of its own and the drag that belongs to
it, is f = E[exp(tau A)] f0 over a random time tau; with the law of tau a tempered stable one of index 3/4 the jumps
are Holtsmark's with their far tail cut off, and

    df/dt = nu A F,   F = (1 - ell^2 A)^(-1/4) f = E[exp(u A)] f,   u gamma distributed, of shape 1/4 and scale ell^2:

the same diffusion, of an f that is smoothed over the velocities that particles have jumped already.  Every exp(u A) is
a Markov process that Maxwellians do not notice, so mass, momentum, energy and the growth of entropy stay as they were.
ell^2 = (2/b^2) int nu dt to begin with, 3 + 3/2b^2 being the kurtosis of the microfield (b^2 = 0.104 Gamma^3 were the
particles around one independent of each other); it may grow more slowly once the nearest, whose field the tail is, have
passed by (`buildup`).

Collisions are jumps as well: most turn a velocity a little, few a lot.  So they act on such an F too, with an ell^2 of
their own.  C[F] conserves what C[f] does and leaves Maxwellians alone.  Of a small deviation from one, F has
(1 + n ell^2)^(-1/4) in Hermite polynomials of degree n: no more than slower relaxation, which `Amplitude.stress` makes
up for exactly in shear stresses (n = 2), so that the viscosity is that of the kernel (heat conduction then 1 + ell^2/4
times as large).  That entropy grows does not follow from the sign of omega any more but is seen to (`producing`).

nu is a matter of pairs too.  The force of a partner, averaged over places, is that of a correlation hole, and what is
left of its gradient after a way x = |u| s is B(x) (`buildup.Amplitude.near`).  So nu of a velocity is nu(s) times the
average of B over its partners (`share_near`); the drag is still the projection on {1, v}, now in the (nu f)-weighted
product, and nothing else changes.
"""

import math

import jax
import jax.numpy as jnp
from jax import lax

from ddco_jax.plasma.arrays import Array, Scalar, VelocityDistribution, VelocityVector
from ddco_jax.velocity import transforms
from ddco_jax.velocity.differences import Forces

SHAPE = 0.25
"""Of the gamma distribution: 1 - 3/4, where 3/4 is half the index 3/2 of Holtsmark's law."""
NODES = 8
"""Times u at which exp(u A) is applied, each RATIO times the last, from half a cell's diffusion time to many 1/A."""
RATIO = 4
EARLIER = 40
"""Times before the first, to which exp(u A) does nothing that the grid can see."""
LIMIT = 8.0
"""Largest ratio of kT/m to the temperature by which log f slopes, either way, that the smoothing follows."""


def _project(f: VelocityDistribution, velocity: VelocityVector, q: VelocityVector):
    """(c, mean q, drag) of Q q = mean + drag c, the projection of q on {1, v} in the f-weighted product."""
    share = f / jnp.sum(f)

    def mean(x):
        return jnp.sum(share * x, axis=(-3, -2, -1), keepdims=True)

    c = velocity - mean(velocity)
    return c, mean(q), jnp.sum(share * q * c) / jnp.sum(share * c**2)


def share_near(f: VelocityDistribution, octant: VelocityDistribution) -> VelocityDistribution:
    """The average of B(|v - v'|) over v' of f, B <= 1 given at the non-negative offsets of the grid."""
    even = (0, 0, 0)
    spectra = transforms.forward(f[None])[:, :, 0]
    product = jax.vmap(lambda k, field: transforms.multiply(k, even, field))(
        transforms.kernel_spectrum(octant, even), spectra
    )
    near = transforms.inverse(product[:, :, None])[0] / jnp.sum(f)
    return jnp.clip(near, jnp.finfo(f.dtype).eps, 1)  # but for rounding it is


def microfield_flux(
    f: VelocityDistribution, velocity: VelocityVector, q: VelocityVector, diffusion, near=1.0
) -> VelocityVector:
    """p = diffusion near f (q - Q q) for a force q = D- h of one cell, Q the projection on {1, v} in the (near f)-
    weighted product; near is a field > 0, or 1.

    For h = log f of infinite resolution and near = 1, Q q = -c m/kT.  Taking the projection instead conserves momentum
    and energy to rounding on any grid, vanishes for discrete Maxwellians, and leaves sum q.p >= 0: it is
    |q - Q q|^2 in that product.
    """
    c, mean, drag = _project(near * f, velocity, q)
    return diffusion * near * f * (q - mean - drag * c)


def smoothed(
    f: VelocityDistribution, velocity: VelocityVector, q: VelocityVector, temperature: Scalar, spread: Array
) -> Array:
    """F = (1 - spread A)^(-1/4) f of one cell for every spread (k,), positive, (k, nvx, nvy, nvz).

    `velocity` (3, nvx, nvy, nvz), q = D- log f.

    Along each axis exp(u A) is a Markov matrix of jumps between neighbours that leaves the discrete Maxwellian of f's
    own mean slope of log f as it is.  Errors O(dv^2); the gamma distribution is cut into times a factor RATIO apart.
    """
    c, mean, drag = _project(f, velocity, q)
    slope = jnp.clip(-drag * temperature, 1 / LIMIT, LIMIT)  # 1 but for the grid's errors
    thermal = jnp.sqrt(temperature)
    axes = []
    for axis in range(3):
        index: list = [0, 0, 0]
        index[axis] = slice(None)
        axes.append((c[axis][tuple(index)] - mean[axis, 0, 0, 0] * temperature / slope) / thermal)
    smallest = jnp.min(jnp.stack([x[1] - x[0] for x in axes])) ** 2
    first = smallest / 8
    steps = tuple(jnp.eye(len(x), dtype=f.dtype) + first * generator(x, slope) for x in axes)
    weights = times(spread, first).T[..., None, None, None]

    def node(carry, weight):
        F, steps = carry
        moved = f
        for axis, p in enumerate(steps):
            moved = jnp.moveaxis(jnp.tensordot(p, moved, ((1,), (axis,)), precision="highest"), 0, axis)
        F = F + weight * moved
        for _ in range(round(math.log2(RATIO))):
            steps = tuple(jnp.matmul(p, p, precision="highest") for p in steps)
        return (F, steps), None

    (F, _), _ = lax.scan(node, (weights[0] * f, steps), weights[1:])
    return F


def producing(forces: Forces, fluxes: Forces, otherwise: Forces) -> Forces:
    """The fluxes, mixed with as much of others, which produce entropy, as keeps theirs from producing less than none.

    The others are made as large as the fluxes.  Diffusion in the microfield needs nothing of them where the grid
    resolves f, since exp(u A) brings f nearer to its Maxwellian; C[F] has no such theorem.
    """

    def product(x, y):
        return sum(jnp.sum(a * b) for a, b in zip(jax.tree.leaves(x), jax.tree.leaves(y), strict=True))

    gained = product(forces, fluxes)
    lost, smallest = jnp.where(gained < 0, -gained, 0), jnp.finfo(gained.dtype).tiny ** 0.5  # 1/smallest^2 is finite
    size = jnp.where(gained < 0, product(fluxes, fluxes), 1)  # no square root at 0, which has no derivative
    scale = jnp.sqrt(size / jnp.maximum(product(otherwise, otherwise), smallest))
    share = lost / jnp.maximum(lost + scale * product(forces, otherwise), smallest)
    return jax.tree.map(lambda p, q: p + share * (scale * q - p), fluxes, otherwise)


def times(spread: Array, first: Scalar) -> Array:
    """Weights (..., 1 + NODES) of no smoothing and of the times first, RATIO first, ...; their sum is 1."""
    j = jnp.arange(-EARLIER, NODES + EARLIER // 4, dtype=first.dtype)
    u = first * jnp.exp(math.log(RATIO) * j)
    scale = spread[..., None] + jnp.finfo(first.dtype).eps * first
    weight = jax.nn.softmax(SHAPE * jnp.log(u) - u / scale)
    none, inside, beyond = jnp.split(weight, [EARLIER, EARLIER + NODES], axis=-1)
    last = inside[..., -1:] + jnp.sum(beyond, -1, keepdims=True)
    return jnp.concatenate([jnp.sum(none, -1, keepdims=True), inside[..., :-1], last], axis=-1)


def generator(c: Array, slope: Scalar) -> Array:
    """d^2/dc^2 + slope d/dc c in thermal units, on the points of one axis: jumps to neighbours in detailed balance.

    Columns add up to zero.  Rates up and down are (2/dc^2)/(1 + e^z) and (2/dc^2)/(1 + e^-z) with z the fall of
    log M between the two.
    """
    z = slope * (c[1:] ** 2 - c[:-1] ** 2) / 2
    rate = 2 / (c[1] - c[0]) ** 2
    up, down = rate * jax.nn.sigmoid(-z), rate * jax.nn.sigmoid(z)
    zero = jnp.zeros(1, c.dtype)
    out = jnp.concatenate([up, zero]) + jnp.concatenate([zero, down])
    return jnp.diag(down, 1) + jnp.diag(up, -1) - jnp.diag(out)
