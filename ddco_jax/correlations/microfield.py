"""Diffusion in the microfield: the effect of a quench before any collision.

Redrawn velocities are uncorrelated with the positions.  Each particle first feels the force F at its place: its
velocity spreads by <F F> t^2/2m^2, and as the particle moves, the gradient of that force slows it.  In an equilibrated
one-component plasma <F F> = m omega_p^2 kT/3 I and <grad F> = -m omega_p^2/3 I at every Gamma, so that exactly

    df/dt = nu A f,   A f = div [kT/m grad f + c f],   nu = omega_p^2 t/3   for t -> 0

for any f that is smooth on the scale of the velocities that F imparts.  Unlike collisions, the diffusion also changes
the relative speed of a pair; the energy for this is exchanged with the potential energy.  It ends when particles have
crossed the potential wells in which they started.

The microfield is not normally distributed.  Most particles feel a force below its root mean square, a few with a close
neighbour a much larger one.  So the diffusion acts on f smoothed over the velocity jumps made so far (`jumps`), with

    ell^2 = (2/b^2) int nu dt

at first.  The kurtosis of the microfield is 3 + 3/2b^2 (b^2 = 0.104 Gamma^3 if the particles around one were
independent of each other).  The tail of the microfield is the field of the nearest neighbours, so ell^2 decreases in
the time in which these move away.

nu(v) averages over the partners that are still inside the hole: it is nu(s) times the average of B over the partners
(`hole`).  The drag is the projection on {1, v} in the (nu f)-weighted product.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from ddco_jax.correlations.functions import Elementwise, polynomial, power
from ddco_jax.plasma.arrays import Array, VelocityDistribution
from ddco_jax.velocity.cell import Cell, linear_part
from ddco_jax.velocity.differences import Forces

SMALLEST_EXPONENT = 0.6
"""Lower bound on p_F, so that the diffusion ends also at weak coupling, where the data hardly constrain it.
Parametrised by an exponential: max() would have zero gradient below the bound."""
END = 6.0
"""Upper limit of the integral of nu, in tau_F."""
GAUSS = (np.array([[1.0], [0.0]]) + np.polynomial.legendre.leggauss(12)) / 2
"""Points and weights of Gauss-Legendre quadrature on [0, 1], (2, 12)."""


class NeighbourFading(eqx.Module):
    """[1 + (s/tau_l)^2]^(-p_l/2): decrease of ell^2 as the nearest neighbours move away."""

    time: Array
    """(2,): ln tau_l (1/omega_p) in powers of ln Gamma."""
    exponent: Array
    """(2,): ln p_l in powers of ln Gamma."""

    def at(self, age: Elementwise, x: Elementwise) -> Elementwise:
        """The factor of ell^2 at an age (1/omega_p) and x = ln Gamma."""
        ratio = age * jnp.exp(-polynomial(self.time, x, age))
        return jnp.exp(-jnp.exp(polynomial(self.exponent, x, age)) / 2 * jnp.log1p(ratio**2))


class Microfield(eqx.Module):
    """The law of nu = (s/3) exp(-(s/tau_F)^p_F) (omega_p), exact for s -> 0 at every Gamma, and of ell^2."""

    time: Array
    """(3,): ln tau_F (1/omega_p) in powers of ln Gamma."""
    exponent: Array
    """(3,): ln(p_F - SMALLEST_EXPONENT) in powers of ln Gamma."""
    narrowness: Array
    """(3,): ln b in powers of ln Gamma; the microfield's kurtosis is 3 + 3/2b^2."""
    neighbour_fading: NeighbourFading

    @classmethod
    def initial(cls) -> "Microfield":
        """The law at which a training starts."""
        rows = ((0.9, 0.0, 0.0), (-0.1, 0.0, 0.0), (-1.2, 1.0, 0.0), (-0.7, 0.5), (0.5, 0.0))
        time, exponent, narrowness, *fading = (jnp.array(row, jnp.float32) for row in rows)
        return cls(time, exponent, narrowness, NeighbourFading(*fading))

    def at(self, age: Elementwise, x: Elementwise) -> tuple[Elementwise, Elementwise]:
        """(nu in omega_p, ell^2 in v_th^2) at an age (1/omega_p) and x = ln Gamma."""
        tau_F = jnp.exp(polynomial(self.time, x, age))
        p_F = SMALLEST_EXPONENT + jnp.exp(polynomial(self.exponent, x, age))
        b = jnp.exp(polynomial(self.narrowness, x, age))

        def nu(s: Elementwise, tau_F: Elementwise, p_F: Elementwise) -> Elementwise:
            return s / 3 * jnp.exp(-power(s / tau_F, p_F))

        end, (points, weights) = jnp.minimum(age, END * tau_F), GAUSS.astype(age.dtype)
        mean = nu(end[..., None] * points, tau_F[..., None], p_F[..., None]) @ weights
        return nu(age, tau_F, p_F), 2 / b**2 * end * mean * self.neighbour_fading.at(age, x)


def flux(cell: Cell, forces: Forces, partners: VelocityDistribution) -> Forces:
    """p = kT/m partners f (q - Q q) for a force q of one cell, (components, nvx, nvy, nvz); no Q for the roughness.

    Q is the projection on {1, v} in the (partners f)-weighted product; `partners` is a field > 0 (`hole.present`).
    For q = D- log f at infinite resolution and partners = 1, Q q = -c m/kT.  The projection conserves momentum and
    energy to rounding on any grid, vanishes for discrete Maxwellians, and gives sum q.p = |q - Q q|^2 >= 0 in that
    product.
    """
    weight = partners * cell.f
    c, mean, slope = linear_part(weight, cell.velocity, forces[:3])
    q = forces[:3] - mean - slope * c
    return cell.temperature * weight * jnp.concatenate([q, forces[3:]])
