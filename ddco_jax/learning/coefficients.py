"""Coefficients as learning data: quenches say little of how a tagged particle diffuses, equilibrium does.

They are Green-Kubo's, and Landau's at couplings so weak that theory is better than any MD of a few collision times.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ddco_jax._types import Array
from ddco_jax.chapman_enskog import transport
from ddco_jax.kernels.base import Kernel
from ddco_jax.kernels.landau import Landau, effective_logarithm, generalised_logarithm
from ddco_jax.md import green_kubo
from ddco_jax.md.dataset import open_dataset
from ddco_jax.settings import ConfigError

ORDER, POINTS = 3, (32, 12, 8)
"""Of the expansion during training: to 3e-4 for a smooth kernel, far below the errors of the data."""


class Coefficients(NamedTuple):
    """D* and kinetic eta* of MD or theory with their relative errors, each (plasmas,)."""

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


def load_coefficients(paths: Sequence[Path], weak: Sequence[float], floor: float, dtype) -> Coefficients | None:
    """Coefficients of equilibrium runs and of Landau at the weak couplings; None without either.

    `floor` is added to the relative errors, in quadrature, and is the error of theory.  Raises ConfigError where a
    file holds no correlation functions.
    """
    data = [open_dataset(path) for path in paths]
    for path, run in zip(paths, data, strict=True):
        if "vacf" not in run:
            raise ConfigError(
                f"{path}: no equilibrium run; data.equilibrium takes those of `ddco md` with correlations"
            )
    rows = [_measured(green_kubo.transport(group)) for group in green_kubo.group(data)] if data else []
    if not (rows := rows + [_landau(gamma) for gamma in weak]):
        return None
    gamma, D, D_error, eta, eta_error = (jnp.asarray(column, dtype) for column in zip(*rows, strict=True))
    return Coefficients(gamma, D, jnp.hypot(D_error, floor), eta, jnp.hypot(eta_error, floor))


def _measured(result: green_kubo.Transport) -> tuple[float, ...]:
    D, eta = result.D_star, result.eta_star_kinetic
    return float(result.gamma), D.value, D.error / D.value, eta.value, eta.error / eta.value


def _landau(gamma: float) -> tuple[float, ...]:
    """Landau's converged coefficients: D* with Xi11, eta* with Xi22/2, which `Landau` has."""
    found = transport(Landau(), gamma, order=ORDER)
    D = found.D_star * effective_logarithm(gamma) / generalised_logarithm(gamma, 1)
    return gamma, float(D), 0.0, float(found.eta_star), 0.0
