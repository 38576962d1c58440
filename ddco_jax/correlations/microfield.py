"""Diffusion in the microfield: what a quench does before any collision.

Velocities drawn anew know nothing of the positions.  Each particle first feels the force F at its place: its
velocity spreads by <F F> t^2/2m^2, and as it moves down the slope of that force, it slows.  In an equilibrated
one-component plasma <F F> = m omega_p^2 kT/3 I and <grad F> = -m omega_p^2/3 I at every Gamma, so that exactly

    df/dt = nu A f,   A f = div [kT/m grad f + c f],   nu = omega_p^2 t/3   for t -> 0

for any f that is smooth over the velocities that F gives.  Unlike collisions this moves a pair along its relative
velocity too; the energy comes from the potential and goes back to it.  It ends when particles have crossed the wells
they started in.

The microfield is not normally distributed.  Most particles feel less than its variance, a few with a close neighbour
much more.  So the diffusion acts on f smoothed over the velocities that particles have jumped already (`jumps`), with

    ell^2 = (2/b^2) int nu dt

to begin with; 3 + 3/2b^2 is the kurtosis of the microfield (b^2 = 0.104 Gamma^3 if the particles around one were
independent of each other).  The tail of the microfield is the field of the nearest neighbours, and it fades once they
have passed.

nu belongs to pairs: nu of a velocity is nu(s) times the average of B over its partners (`hole`).  The drag is the
projection on {1, v} in the (nu f)-weighted product.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from ddco_jax.correlations.functions import Elementwise, polynomial, power
from ddco_jax.plasma.arrays import Array, VelocityDistribution
from ddco_jax.velocity.cell import Cell, linear_part
from ddco_jax.velocity.differences import Forces

SMALLEST_EXPONENT = 0.6
"""Lower bound on p_F: the microfield ends at weak coupling as well, where the data say little of it.  Parametrised by
an exponential: max() would have zero gradient below the bound."""
END = 6.0
"""nu is integrated up to this many tau_F."""
GAUSS = tuple(((1 + x) / 2, w / 2) for x, w in np.array(np.polynomial.legendre.leggauss(12)).T.tolist())
"""Points and weights of a quadrature on [0, 1]."""


class NeighbourFading(eqx.Module):
    """[1 + (s/tau_l)^2]^(-p_l/2): how ell^2 fades once the nearest neighbours have passed."""

    time: Array
    """(2,): ln tau_l (1/omega_p) in powers of ln Gamma."""
    exponent: Array
    """(2,): ln p_l."""

    def at(self, age: Elementwise, x: Elementwise) -> Elementwise:
        """The factor of ell^2."""
        ratio = age * jnp.exp(-polynomial(self.time, x, age))
        return jnp.exp(-jnp.exp(polynomial(self.exponent, x, age)) / 2 * jnp.log1p(ratio**2))


class Microfield(eqx.Module):
    """The law of nu = (s/3) exp(-(s/tau_F)^p_F) (omega_p), exact for s -> 0 at every Gamma, and of ell^2."""

    time: Array
    """(3,): ln tau_F (1/omega_p) in powers of ln Gamma."""
    exponent: Array
    """(3,): ln(p_F - SMALLEST_EXPONENT)."""
    narrowness: Array
    """(3,): ln b; the microfield's kurtosis is 3 + 3/2b^2."""
    neighbour_fading: NeighbourFading

    @classmethod
    def initial(cls) -> "Microfield":
        """Where a training starts."""
        rows = ((0.9, 0.0, 0.0), (-0.1, 0.0, 0.0), (-1.2, 1.0, 0.0), (-0.7, 0.5), (0.5, 0.0))
        time, exponent, narrowness, *fading = (jnp.array(row, jnp.float32) for row in rows)
        return cls(time, exponent, narrowness, NeighbourFading(*fading))

    def at(self, age: Elementwise, x: Elementwise) -> tuple[Elementwise, Elementwise]:
        """(nu in omega_p, ell^2 in v_th^2) at an age (1/omega_p) and x = ln Gamma."""
        tau_F = jnp.exp(polynomial(self.time, x, age))
        p_F = SMALLEST_EXPONENT + jnp.exp(polynomial(self.exponent, x, age))
        b = jnp.exp(polynomial(self.narrowness, x, age))

        def nu(s):
            return s / 3 * jnp.exp(-power(s / tau_F, p_F))

        end = jnp.minimum(age, END * tau_F)
        jump = 2 / b**2 * end * sum(w * nu(y * end) for y, w in GAUSS)
        return nu(age), jump * self.neighbour_fading.at(age, x)


def flux(cell: Cell, forces: Forces, partners: VelocityDistribution) -> Forces:
    """p = kT/m partners f (q - Q q) for a force q of one cell, (components, nvx, nvy, nvz).  A roughness has no Q.

    Q is the projection on {1, v} in the (partners f)-weighted product; `partners` is a field > 0 (`hole.present`).
    For q = D- log f at infinite resolution and partners = 1, Q q = -c m/kT.  The projection conserves momentum and
    energy to rounding on any grid, vanishes for discrete Maxwellians, and gives sum q.p = |q - Q q|^2 >= 0 in that
    product.
    """
    weight = partners * cell.f
    c, mean, slope = linear_part(weight, cell.velocity, forces[:3])
    q = forces[:3] - mean - slope * c
    return cell.temperature * weight * jnp.concatenate([q, forces[3:]])
