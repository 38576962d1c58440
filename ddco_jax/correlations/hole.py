"""Correlation hole: decrease of the force gradient between two particles that move apart after a quench.

In equilibrium each particle is surrounded by a hole 1 - g(r) of one charge in the plasma.  Averaged over positions, the
force that a partner exerts is that of its hole.  After free streaming over x = |u| s, the gradient of this force is
B(x) = 3 psi'(x)/x times its value at the centre, where psi' is the field of the hole: B is 1 inside and x^-3 far
outside.  The law used here is B = [1 + x^p]^(-3/p), x in units of the hole's radius.  With the radius a it is exact in
both limits.
"""

import equinox as eqx
import jax.numpy as jnp

from ddco_jax.correlations.functions import Elementwise, polynomial, power
from ddco_jax.plasma.arrays import Array, VelocityDistribution
from ddco_jax.velocity import transforms
from ddco_jax.velocity.cell import Cell, offset_speeds

EDGE = (1.0, 0.62, 0.09)
"""Coefficients of ln p in powers of ln Gamma, for the edge of the hole 1 - g(r) of the one-component plasma.  Fitted to
the hypernetted-chain g(r), Gamma = 0.1 ... 3; the error of B is at most 0.15 (Gamma = 0.1), 0.07 (0.4 ... 3)."""


class Partners(eqx.Module):
    """B(|u|) at one age: the share of a partner's force gradient that remains, 0 ... 1."""

    path_over_radius: Array
    """s v_th/l: distance that a pair of |u| = v_th has travelled since the quench, in radii l of the hole."""
    edge: Array
    """p: how sharp the edge of the hole is."""

    def __call__(self, speed: Elementwise | float) -> Array:
        """B at speeds (v_th) that broadcast with the fields."""
        return (1 + power(speed * self.path_over_radius, self.edge)) ** (-3 / self.edge)


class Hole(eqx.Module):
    """The law of the radius l of the hole."""

    radius: Array
    """(2,): ln(l/a) in powers of ln Gamma."""

    @classmethod
    def initial(cls) -> "Hole":
        """The law at which a training starts: l = a."""
        return cls(jnp.zeros(2, jnp.float32))

    def at(self, age: Elementwise, x: Elementwise) -> Partners:
        """B at an age (1/omega_p) and x = ln Gamma."""
        # a omega_p/v_th = (3 Gamma)^(1/2)
        path = age * jnp.exp(-x / 2 - polynomial(self.radius, x, age)) / 3**0.5
        edge = jnp.exp(sum(k * x**i for i, k in enumerate(EDGE))) + 0 * age
        return Partners(path, edge)


def present(cell: Cell, partners: Partners) -> VelocityDistribution:
    """<B(|v - v'|)> over the partners v' of f, at every velocity v of the cell: 0 ... 1."""
    octant = partners(offset_speeds(cell.grid, cell.f.dtype) / jnp.sqrt(cell.temperature))
    even = (0, 0, 0)
    alone = transforms.Mixing((even,), (even,), (((0, 0),),))
    mean = transforms.convolve(cell.f[:, :, None], [transforms.kernel_spectrum(octant, even)], alone) / jnp.sum(cell.f)
    return jnp.clip(mean[:, :, 0], jnp.finfo(cell.f.dtype).eps, 1)  # rounding may exceed the bounds
