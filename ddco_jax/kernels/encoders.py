"""Encoder networks: trainable radial functions of (|u| or |c|, rho, T), small Flax modules inside Equinox kernels.

For a one-component plasma the state enters through Gamma alone: with c-hat = (v - v-bar)/v_th, v_th^2 = kT/m,

    omega(v, v'; rho, T) = (omega_p v_th^2/n) omega-hat(c-hat, c-hat'; Gamma)

exactly, so a kernel learned at some (rho, T) holds at every other state of equal Gamma.  Other interactions lack this
symmetry: for them `state="free"` gives the network ln(rho) and ln(T).

Networks learn ratios to the Landau kernel with the effective-potential logarithm.  These ratios vary little, and beyond
the range of the training data a kernel approaches Landau's scaling.
"""

import itertools
from typing import Any, Literal

import equinox as eqx
import jax.numpy as jnp
from flax import nnx

from ddco_jax.correlations.functions import GAMMA_RANGE
from ddco_jax.kernels.landau import effective_potential
from ddco_jax.plasma.arrays import Array, Numbers
from ddco_jax.plasma.units import PAPER, Scales

SPEED_SCALES = (0.3, 1.0, 3.0, 8.0)
"""Speeds (v_th) at which the bounded features s^2/(s^2 + scale^2) turn over."""
FAR = 4.0
"""Relative speed (v_th) beyond which weights fall like those of the Landau kernel."""
SMALL = 0.1
"""Standard deviation of the initial weights of the last layer: small, so that a network starts close to its level."""


State = Literal["similarity", "free"]
STATES = {"similarity": 1, "free": 2}
"""Number of state features of a network."""


class Network(nnx.Module):
    """A multilayer perceptron (tanh) of bounded features, so its value is bounded at any speed."""

    def __init__(self, features: int, width: int, depth: int, level: float, rngs: nnx.Rngs) -> None:
        sizes = [features, *[width] * depth]
        last = nnx.Linear(
            sizes[-1],
            1,
            kernel_init=nnx.initializers.normal(SMALL),
            bias_init=nnx.initializers.constant(level),
            rngs=rngs,
        )
        self.layers = nnx.List([*(nnx.Linear(a, b, rngs=rngs) for a, b in itertools.pairwise(sizes)), last])

    def __call__(self, features: Array) -> Array:
        x = features
        for i, layer in enumerate(self.layers):
            x = x @ jnp.asarray(layer.kernel).astype(x.dtype) + jnp.asarray(layer.bias).astype(x.dtype)
            if i < len(self.layers) - 1:
                x = jnp.tanh(x)
        return x[..., 0]


def state_features(state: State, scales: Scales, density: Numbers, temperature: Numbers) -> list[Array]:
    """Inputs of a network that describe the local state: ln Gamma (clipped to GAMMA_RANGE), or ln(rho) and ln(T).

    The latter are in App. D's units, in which a network learns them.
    """
    if state == "free":
        n, T = scales.density / PAPER.density, (scales.velocity / PAPER.velocity) ** 2
        return [jnp.log(n * density), jnp.log(T * temperature)]
    gamma = scales.coupling_parameter(density, temperature)
    return [jnp.log(jnp.clip(gamma, *GAMMA_RANGE))]


class Encoder(eqx.Module):
    """A radial function of (speed, density, temperature) in code units, made of a network in thermal units.

    value = [gamma(rho, T)/(v_th^2 + speed^2/FAR^2)^(1/2 + power)]^share h(network), gamma Landau's prefactor, with
    h = exp for a weight that must stay positive and the identity for one that is squared.  So the kernel scales like
    Landau's 1/|u| at high speed, where there are no data, and the diffusion of fast particles stays bounded.
    """

    network: Network
    share: float = eqx.field(static=True, default=1.0)
    """Exponent of the Landau factor: 1 for a weight, 1/2 for an encoder that is squared, 0 for m."""
    power: int = eqx.field(static=True, default=0)
    """1 if the tensor that it multiplies has the unit of v^2 (|Pr|^2 P, Pr r^T P), else 0."""
    slow: bool = eqx.field(static=True, default=True)
    """If False, the value falls as speed^2 below the thermal speed."""
    positive: bool = eqx.field(static=True, default=True)
    state: State = eqx.field(static=True, default="similarity")
    scales: Scales = eqx.field(static=True, default=PAPER)

    def __call__(self, speed: Array, density: Numbers, temperature: Numbers) -> Array:
        density, temperature = jnp.asarray(density, speed.dtype), jnp.asarray(temperature, speed.dtype)
        square = speed**2 / temperature
        features = [square / (square + scale**2) for scale in SPEED_SCALES]
        features += state_features(self.state, self.scales, density, temperature)
        value = self.network(jnp.stack(jnp.broadcast_arrays(*features), axis=-1))
        value = jnp.exp(value) if self.positive else value
        value = value if self.slow else value * square / (1 + square)
        if not self.share:
            return value
        gamma = effective_potential(self.scales)(density, temperature)
        return (gamma / (temperature + speed**2 / FAR**2) ** (0.5 + self.power)) ** self.share * value


class Prefactor(eqx.Module):
    """Learned gamma(rho, T) > 0 of a Landau kernel, V0^3 L0^3/t0: DD-Landau (C.1)."""

    network: Network
    state: State = eqx.field(static=True, default="similarity")
    scales: Scales = eqx.field(static=True, default=PAPER)

    def __call__(self, density: Numbers, temperature: Numbers) -> Array:
        density, temperature = jnp.asarray(density), jnp.asarray(temperature)
        features = state_features(self.state, self.scales, density, temperature)
        ratio = jnp.exp(self.network(jnp.stack(jnp.broadcast_arrays(*features), axis=-1)))
        return effective_potential(self.scales)(density, temperature) * ratio


def encoder(
    rngs: nnx.Rngs, *, width: int = 12, depth: int = 2, level: float = 0.0, state: State = "similarity", **keys: Any
) -> Encoder:
    """A new encoder with random parameters; its network starts near `level`."""
    return Encoder(Network(len(SPEED_SCALES) + STATES[state], width, depth, level, rngs), state=state, **keys)


def prefactor(
    rngs: nnx.Rngs, *, width: int = 12, depth: int = 2, state: State = "similarity", **keys: Any
) -> Prefactor:
    """A new Landau prefactor with random parameters, near that of the effective-potential theory."""
    return Prefactor(Network(STATES[state], width, depth, 0.0, rngs), state=state, **keys)
