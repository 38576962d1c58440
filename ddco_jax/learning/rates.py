"""Rates of the test functions that a kernel predicts: the flux of the operator, term by term, in weak form."""

from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from ddco_jax.correlations import MARKOV, Correlations, Record, as_record
from ddco_jax.correlations.jumps import times
from ddco_jax.correlations.model import Model
from ddco_jax.kernels import Kernel
from ddco_jax.learning import nodes
from ddco_jax.learning.data import SIMPSON, Run
from ddco_jax.learning.pairs import FIRST, microfield_rates
from ddco_jax.plasma.arrays import Array, Scalar

AnyRecord = TypeVar("AnyRecord", bound=Record)


class Predictor(eqx.Module):
    """Everything about one run that prediction and loss need, as arrays; shapes as in `Run`."""

    averages: jnp.ndarray
    jumped: jnp.ndarray
    microfield: jnp.ndarray
    """(I, 3, 1 + NODES, near, K + 4, 5): `microfield_averages` at the Simpson points."""
    interpolation: jnp.ndarray
    times: jnp.ndarray
    rate: jnp.ndarray
    error: jnp.ndarray
    anisotropy: jnp.ndarray
    anisotropy_error: jnp.ndarray
    jump: jnp.ndarray
    jump_error: jnp.ndarray
    jump_first: jnp.ndarray
    density: jnp.ndarray
    temperature: jnp.ndarray
    plasma_frequency: jnp.ndarray
    gamma: jnp.ndarray

    @classmethod
    def of(cls, run: Run, dtype: DTypeLike) -> "Predictor":
        """The arrays of a run in the precision `dtype`."""
        names = [name for name in Run._fields if name not in ("name", "start", "microfield")]
        microfield = np.einsum("iqt,tnmkx->iqnmkx", run.interpolation, run.microfield, optimize=True)
        return cls(microfield=jnp.asarray(microfield, dtype), **{n: jnp.asarray(getattr(run, n), dtype) for n in names})

    def correlations(self, buildup: Model) -> Record:
        """The correlations at the Simpson points, fields (I, 3)."""
        return as_record(buildup(self.times, jnp.broadcast_to(self.gamma, self.times.shape)))

    @property
    def share(self) -> Array:
        """Simpson's weights, (I, 3)."""
        return jnp.asarray([weight for _, weight in SIMPSON], self.averages.dtype) * jnp.ones_like(self.times)

    def rates(self, kernel: Kernel, buildup: Model = MARKOV) -> Array:
        """Predicted rates (2, I, K) per omega_p t, from the two independent halves of the pair averages.

        The terms are those of `CollisionOperator.rate` without its entropy limiter, which is not linear in f.
        """
        now = self.correlations(buildup)
        if not isinstance(now, Correlations):
            return self.collide(self.averages, kernel, now)
        return self.collide(self.jumped, kernel, now) + self.diffuse(now)

    def collide(self, averages: Array, kernel: Kernel, now: Record) -> Array:
        """Rates (2, I, K) due to collisions, from pair averages (2, T, K, 3, nodes.COUNT)."""
        values = nodes.kernel_values(kernel, self.density, self.temperature, self.plasma_frequency)
        values = values.astype(averages.dtype).reshape(3, len(nodes.RELATIVE), -1)
        speeds = jnp.asarray(np.maximum(nodes.RELATIVE, nodes.SMALLEST), averages.dtype)
        shares = self.share[..., None] * _along_last(now).pair_rate(speeds)
        by_speed = averages.reshape(*averages.shape[:-1], *values.shape[1:])
        by_speed = jnp.sum(by_speed * values, axis=(3, 5))  # twenty times as fast as einsum
        return jnp.einsum("iqu,iqt,htku->hik", shares, self.interpolation, by_speed)

    def diffuse(self, now: Correlations) -> Array:
        """Rates (I, K) due to diffusion in the microfield."""
        share = self.share
        smoothing = times(now.microfield_jump, jnp.asarray(FIRST, share.dtype))
        partners = _along_last(now).partners(jnp.asarray(nodes.NEAR, share.dtype))
        weights = (smoothing[..., :, None] * partners[..., None, :]).reshape(*share.shape, -1)
        averages = jnp.einsum("iqz,iqzx->iqx", weights, self.microfield.reshape(*weights.shape, -1))
        rates = microfield_rates(averages.reshape(*share.shape, *self.microfield.shape[-2:]))
        return jnp.einsum("iq,iqk->ik", share * now.microfield_rate, rates)

    def roughness(self, kernel: Kernel) -> Scalar:
        """Relative mean square difference between the kernel and its spline at this run's Gamma (`nodes.roughness`)."""
        return nodes.roughness(kernel, self.density, self.temperature, self.plasma_frequency)


def _along_last(now: AnyRecord) -> AnyRecord:
    """The record with a last axis of length 1 added to every field, to broadcast with speeds."""
    return jax.tree.map(lambda a: a[..., None], now)
