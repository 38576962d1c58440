"""Encoder networks: radial functions of (|u| or |c|, rho, T) that learn, small Flax modules inside Equinox kernels.

For a one-component plasma the state enters through Gamma alone: with c-hat = (v - v-bar)/v_th, v_th^2 = kT/m,

    omega(v, v'; rho, T) = (omega_p v_th^2/n) omega-hat(c-hat, c-hat'; Gamma)

exactly, so a kernel learned at some (rho, T) holds at every other of equal Gamma.  Other interactions have no such
symmetry: there `state="free"` gives the network ln(rho) and ln(T).
"""

import itertools
from typing import Literal

import equinox as eqx
import jax.numpy as jnp
from flax import nnx

from ddco_jax._types import Array
from ddco_jax.units import PAPER, Scales

SPEED_SCALES = (0.3, 1.0, 3.0, 8.0)
"""Speeds (v_th) at which the bounded features s^2/(s^2 + scale^2) turn over."""
GAMMA_RANGE = (0.03, 5.0)
"""ln Gamma is clipped to this range, where there are data: beyond it a kernel stays what it is at the end."""


class Network(nnx.Module):
    """A multilayer perceptron of bounded features of one speed and the state: bounded at any argument."""

    def __init__(self, width: int, depth: int, states: int, rngs: nnx.Rngs):
        sizes = [len(SPEED_SCALES) + states, *[width] * depth, 1]
        self.layers = nnx.List(
            [nnx.Linear(a, b, rngs=rngs, param_dtype=jnp.float32) for a, b in itertools.pairwise(sizes)]
        )

    def __call__(self, features: Array) -> Array:
        x = features
        for i, layer in enumerate(self.layers):
            x = x @ jnp.asarray(layer.kernel).astype(x.dtype) + jnp.asarray(layer.bias).astype(x.dtype)
            if i < len(self.layers) - 1:
                x = jnp.tanh(x)
        return x[..., 0]


class Encoder(eqx.Module):
    """A radial function (speed, density, temperature) in physical units around a network in thermal ones.

    value = (omega_p v_th^2/n)^share v_th^(-2 share power) h(network), with h = exp for a weight that must stay
    positive and the identity for one that is squared.
    """

    network: Network
    share: float = eqx.field(static=True, default=1.0)
    """Part of the prefactor that this function carries: 1 for a weight, 1/2 for an encoder that is squared, 0 for m."""
    power: int = eqx.field(static=True, default=0)
    """1 where the tensor it multiplies has the unit of v^2: |Pr|^2 P, Pr r^T P."""
    positive: bool = eqx.field(static=True, default=True)
    state: Literal["similarity", "free"] = eqx.field(static=True, default="similarity")
    scales: Scales = eqx.field(static=True, default=PAPER)

    def __call__(self, speed, density, temperature):
        density, temperature = jnp.asarray(density, speed.dtype), jnp.asarray(temperature, speed.dtype)
        square = speed**2 / temperature
        features = [square / (square + scale**2) for scale in SPEED_SCALES]
        features += [jnp.broadcast_to(f, speed.shape) for f in self._state(density, temperature)]
        value = self.network(jnp.stack(jnp.broadcast_arrays(*features), axis=-1))
        value = jnp.exp(value) if self.positive else value
        if not self.share:
            return value
        prefactor = self.scales.plasma_frequency(density) * temperature ** (1 - self.power) / density
        return prefactor**self.share * value

    def _state(self, density, temperature):
        if self.state == "free":
            return [jnp.log(density), jnp.log(temperature)]
        gamma = self.scales.coupling_parameter(density, temperature)
        return [jnp.log(jnp.clip(gamma, *GAMMA_RANGE))]


def encoder(rngs: nnx.Rngs, *, width: int = 12, depth: int = 2, state="similarity", **keys) -> Encoder:
    """A new encoder with random parameters."""
    states = 2 if state == "free" else 1
    return Encoder(Network(width, depth, states, rngs), state=state, **keys)
