"""Encoder networks: radial functions of (|u| or |c|, rho, T) that learn, small Flax modules inside Equinox kernels.

For a one-component plasma the state enters through Gamma alone: with c-hat = (v - v-bar)/v_th, v_th^2 = kT/m,

    omega(v, v'; rho, T) = (omega_p v_th^2/n) omega-hat(c-hat, c-hat'; Gamma)

exactly, so a kernel learned at some (rho, T) holds at every other of equal Gamma.  Other interactions have no such
symmetry: there `state="free"` gives the network ln(rho) and ln(T).

Networks learn ratios to the Landau kernel with the effective-potential logarithm, which vary little: beyond the range
of the training data a kernel goes over to Landau's scaling.
"""

import itertools
from typing import Literal

import equinox as eqx
import jax.numpy as jnp
from flax import nnx

from ddco_jax.correlations.functions import GAMMA_RANGE
from ddco_jax.kernels.landau import effective_potential
from ddco_jax.plasma.arrays import Array
from ddco_jax.plasma.units import PAPER, Scales

SPEED_SCALES = (0.3, 1.0, 3.0, 8.0)
"""Speeds (v_th) at which the bounded features s^2/(s^2 + scale^2) turn over."""
FAR = 4.0
"""Relative speed (v_th) beyond which weights fall as Landau's do."""
SMALL = 0.1
"""Width of the initial weights of the last layer: a network starts close to its level."""


State = Literal["similarity", "free"]
STATES = {"similarity": 1, "free": 2}
"""State features of a network."""


class Network(nnx.Module):
    """A multilayer perceptron of bounded features: bounded at any argument."""

    def __init__(self, features: int, width: int, depth: int, level: float, rngs: nnx.Rngs):
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


def state_features(state: State, scales: Scales, density, temperature) -> list[Array]:
    """What a network is told of the local state."""
    if state == "free":
        return [jnp.log(density), jnp.log(temperature)]
    gamma = scales.coupling_parameter(density, temperature)
    return [jnp.log(jnp.clip(gamma, *GAMMA_RANGE))]


class Encoder(eqx.Module):
    """A radial function (speed, density, temperature) in physical units around a network in thermal ones.

    value = [gamma(rho, T)/(v_th^2 + speed^2/FAR^2)^(1/2 + power)]^share h(network), gamma Landau's prefactor, with
    h = exp for a weight that must stay positive and the identity for one that is squared.  So fast particles meet
    Landau's 1/|u|, whatever the network says where there are no data, and diffusion stays bounded there.
    """

    network: Network
    share: float = eqx.field(static=True, default=1.0)
    """Part of the prefactor that this function carries: 1 for a weight, 1/2 for an encoder that is squared, 0 for m."""
    power: int = eqx.field(static=True, default=0)
    """1 where the tensor it multiplies has the unit of v^2: |Pr|^2 P, Pr r^T P."""
    slow: bool = eqx.field(static=True, default=True)
    """False: falls as speed^2 below the thermal speed."""
    positive: bool = eqx.field(static=True, default=True)
    state: State = eqx.field(static=True, default="similarity")
    scales: Scales = eqx.field(static=True, default=PAPER)

    def __call__(self, speed, density, temperature):
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
    """gamma(rho, T) of a Landau kernel, learned: DD-Landau (C.1), positive like g0^2."""

    network: Network
    state: State = eqx.field(static=True, default="similarity")
    scales: Scales = eqx.field(static=True, default=PAPER)

    def __call__(self, density, temperature):
        density, temperature = jnp.asarray(density), jnp.asarray(temperature)
        features = state_features(self.state, self.scales, density, temperature)
        ratio = jnp.exp(self.network(jnp.stack(jnp.broadcast_arrays(*features), axis=-1)))
        return effective_potential(self.scales)(density, temperature) * ratio


def encoder(
    rngs: nnx.Rngs, *, width: int = 12, depth: int = 2, level: float = 0.0, state: State = "similarity", **keys
):
    """A new encoder with random parameters; its network starts near `level`."""
    return Encoder(Network(len(SPEED_SCALES) + STATES[state], width, depth, level, rngs), state=state, **keys)


def prefactor(rngs: nnx.Rngs, *, width: int = 12, depth: int = 2, state: State = "similarity", **keys) -> Prefactor:
    """A new Landau prefactor, near that of the effective-potential theory."""
    return Prefactor(Network(STATES[state], width, depth, 0.0, rngs), state=state, **keys)
