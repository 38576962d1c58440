"""Green-Kubo coefficients as learning data: quenches say little of how a tagged particle diffuses, equilibrium does."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ddco_jax._types import Array
from ddco_jax.chapman_enskog import transport
from ddco_jax.kernels.base import Kernel
from ddco_jax.md import green_kubo
from ddco_jax.md.dataset import open_dataset
from ddco_jax.settings import ConfigError

ORDER, POINTS = 3, (16, 12, 8)
"""Of the expansion during training: to 3e-4 for a smooth kernel, far below the errors of the data."""


class Coefficients(NamedTuple):
    """D* and kinetic eta* of MD with their relative errors, each (plasmas,)."""

    gamma: Array
    D_star: Array
    D_error: Array
    eta_star: Array
    eta_error: Array

    def misfit(self, kernel: Kernel):
        """Mean square of the relative differences over the errors."""
        found = jax.vmap(lambda g: transport(kernel, g, order=ORDER, points=POINTS))(self.gamma)
        D = (found.D_star / self.D_star - 1) / self.D_error
        eta = (found.eta_star / self.eta_star - 1) / self.eta_error
        return (jnp.mean(D**2) + jnp.mean(eta**2)) / 2


def load_coefficients(paths: Sequence[Path], floor: float, dtype) -> Coefficients:
    """Coefficients of equilibrium runs; `floor` is added to the relative errors, in quadrature.

    Raises ConfigError where a file holds no correlation functions.
    """
    data = [open_dataset(path) for path in paths]
    for path, run in zip(paths, data, strict=True):
        if "vacf" not in run:
            raise ConfigError(
                f"{path}: no equilibrium run; data.equilibrium takes those of `ddco md` with correlations"
            )
    results = [green_kubo.transport(group) for group in green_kubo.group(data)]

    def column(values):
        return jnp.asarray(list(values), dtype)

    def relative(estimate):
        return ((estimate.error / estimate.value) ** 2 + floor**2) ** 0.5

    return Coefficients(
        column(r.gamma for r in results),
        column(r.D_star.value for r in results),
        column(relative(r.D_star) for r in results),
        column(r.eta_star_kinetic.value for r in results),
        column(relative(r.eta_star_kinetic) for r in results),
    )
