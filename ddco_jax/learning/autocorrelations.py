"""Autocorrelations of equilibrium runs as learning data: how stress and velocity relax after a weak kick."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from ddco_jax.correlations import AGED_AGE
from ddco_jax.correlations.model import Model
from ddco_jax.kernels.base import Kernel
from ddco_jax.kernels.linear_response import Response, response
from ddco_jax.plasma.arrays import Array

STEP, STEPS = 0.2, 62
"""Interval (1/omega_p) and number of the times that are compared, and of the steps of the prediction."""
UNTIL = 6.4
"""1/omega_p: up to this time velocities are compared; the later ones are small and follow from D*."""
STRESS_FLOOR, VELOCITY_FLOOR = 0.0075, 0.005
"""Added to the statistical errors, in quadrature."""


class Autocorrelations(NamedTuple):
    """Normalised autocorrelations with errors, (plasmas, STEPS + 1)."""

    gamma: Array
    stress: Array
    stress_error: Array
    velocity: Array
    velocity_error: Array

    @classmethod
    def of(cls, groups: Sequence[xr.Dataset], dtype) -> "Autocorrelations":
        """From equilibrium runs (`md.green_kubo.group`)."""
        rows = []
        for data in groups:
            times = data["lag"].to_numpy() * data.attrs["plasma_frequency"]
            row = [data.attrs["coupling_parameter"]]
            for name in ("stress_kk", "vacf"):
                row += [np.interp(np.arange(STEPS + 1) * STEP, times, a) for a in normalised(data[name].to_numpy())]
            rows.append(row)
        gamma, stress, stress_error, velocity, velocity_error = (
            jnp.asarray(np.array(c), dtype) for c in zip(*rows, strict=True)
        )
        return cls(
            gamma,
            stress,
            jnp.hypot(stress_error, STRESS_FLOOR),
            velocity,
            jnp.hypot(velocity_error, VELOCITY_FLOOR),
        )

    def predicted(self, kernel: Kernel, law: Model) -> tuple[Response, Response]:
        """Responses of a fresh and of an aged plasma, (plasmas, STEPS + 1)."""

        def of(gamma, age, told):
            return response(kernel, law, gamma, STEP, STEPS, age, told)

        ages, told = jnp.array([0, AGED_AGE], self.gamma.dtype), jnp.array([1, 0], self.gamma.dtype)
        both = jax.vmap(jax.vmap(of, (0, None, None)), (None, 0, 0))(self.gamma, ages, told)
        return jax.tree.map(lambda a: a[0], both), jax.tree.map(lambda a: a[1], both)

    def misfit(self, kernel: Kernel, law: Model):
        """Mean square of the differences over the errors, of the stress, fresh and aged, and of velocities."""
        fresh, aged = self.predicted(kernel, law)
        early = round(UNTIL / STEP)
        stress = sum(jnp.mean(((r.stress - self.stress) / self.stress_error) ** 2) for r in (fresh, aged))
        velocity = (fresh.velocity - self.velocity) / self.velocity_error
        return stress / 2 + jnp.mean(velocity[:, : early + 1] ** 2)


def normalised(blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Autocorrelation over its start, and its standard error, from blocks (block, lag)."""
    mean = blocks.mean(0)
    deviation = (blocks - blocks[:, :1] * (mean / mean[0])) / mean[0]
    return mean / mean[0], deviation.std(0, ddof=1) / len(blocks) ** 0.5
