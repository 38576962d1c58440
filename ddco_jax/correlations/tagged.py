"""Memory of the mean velocity of a tagged population: it slows down with a delay, as the correlations respond to it.

Tagged particles are a few of the plasma's own, marked by a spin state or a label, among all the others.  Their mean
velocity w relative to the plasma decays as the velocity autocorrelation function, exactly (fluctuation-dissipation
theorem).  By projection operators, as for the stress (`correlations.memory`),

    dw/dt = -nu (w - e),   e(t) = int Y(tau) w'(t - tau) dtau.

e is the part of w to which the correlations have not responded yet; all of w is new when the particles are tagged.  The
force e m/kT is taken off the force that drives the flux of the tagged particles.  At strong coupling a tagged particle
swings in the cage of its neighbours, so Y is a damped oscillation,

    Y = exp(-rate tau) [cos(swing tau) + (growth/swing) sin(swing tau)],
    de/dt = -rate e + h + dw/dt,   dh/dt = -rate h - swing^2 e + growth dw/dt.

nu is the kinetic rate times `strength`, the diffusion coefficient of the kernel over that of tagged particles.
"""

import dataclasses
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp

from ddco_jax.correlations.functions import Elementwise, log_gamma, polynomial
from ddco_jax.plasma.arrays import Array


class Delay(eqx.Module):
    """The memory of a tagged population at one Gamma; all fields are elementwise, rates in omega_p."""

    strength: Array
    """Factor of the kinetic rates of the tagged population."""
    rate: Array
    """Decay rate of Y."""
    growth: Array
    """Y'(0) + rate."""
    swing: Array
    """Angular frequency of Y."""

    def in_units(self, plasma_frequency: Elementwise | float) -> "Delay":
        """The same with rates in 1/t0, for omega_p in 1/t0."""
        rates = {name: getattr(self, name) * plasma_frequency for name in ("rate", "growth", "swing")}
        return dataclasses.replace(self, **rates)

    def begun(self, velocity: Array) -> tuple[Array, Array]:
        """e and h of a mean velocity that is new as a whole."""
        return velocity, self.growth * velocity

    def moved(self, state: tuple[Array, Array], change: Array) -> tuple[Array, Array]:
        """e and h after a change of the mean velocity."""
        new, rising = state
        return new + change, rising + self.growth * change

    def aged(self, state: tuple[Array, Array], dt: Array) -> tuple[Array, Array]:
        """e and h after a time dt (t0, rates in 1/t0) without a change of the mean velocity."""
        new, rising = state
        decay, phase = jnp.exp(-self.rate * dt), self.swing * dt
        cos, sin = decay * jnp.cos(phase), decay * jnp.sin(phase)
        return cos * new + sin / self.swing * rising, cos * rising - self.swing * sin * new


class TaggedMemory(eqx.Module):
    """The law of the memory at every Gamma."""

    strength: Array
    """(2,): ln strength in powers of ln Gamma."""
    rate: Array
    """(3,): ln rate (omega_p) in powers of ln Gamma."""
    growth: Array
    """(2,): growth/rate in powers of ln Gamma."""
    swing: Array
    """(2,): ln(swing/rate) in powers of ln Gamma."""

    @classmethod
    def initial(cls) -> "TaggedMemory":
        """The law at which a fit starts: that of the one-component plasma, to one digit."""
        numbers = ([-0.03, 0.0], [0.6, -0.8, 0.1], [-0.1, -0.4], [-0.3, 0.6])
        return cls(*(jnp.array(row, jnp.float32) for row in numbers))

    def __call__(self, gamma: Elementwise) -> Delay:
        """The memory at Gamma."""
        x = log_gamma(gamma)
        strength, rate = jnp.exp(polynomial(self.strength, x, x)), jnp.exp(polynomial(self.rate, x, x))
        swing = rate * jnp.exp(polynomial(self.swing, x, x))
        return Delay(strength, rate, rate * polynomial(self.growth, x, x), swing)


class Prompt(eqx.Module):
    """No memory: tagged particles slow down at their kinetic rate at once.  Law and record of kernels without one."""

    strength: ClassVar[float] = 1.0

    def __call__(self, gamma: Elementwise) -> "Prompt":
        """The same object, at every Gamma."""
        return self

    def in_units(self, plasma_frequency: Elementwise | float) -> "Prompt":
        """The same object: it holds no rates to convert."""
        return self

    def begun(self, velocity: Array) -> tuple[Array, Array]:
        """Zero: nothing of the velocity counts as new."""
        return jnp.zeros_like(velocity), jnp.zeros_like(velocity)

    def moved(self, state: tuple[Array, Array], change: Array) -> tuple[Array, Array]:
        """Zero, as it was."""
        return state

    def aged(self, state: tuple[Array, Array], dt: Array) -> tuple[Array, Array]:
        """Zero, as it was."""
        return state


PROMPT = Prompt()
