"""Transport coefficients as learning data: quenches hardly constrain self-diffusion, equilibrium runs do.

The coefficients are Green-Kubo integrals of MD.  At weak coupling, where theory is more accurate than MD of a few
collision times, Landau's coefficients and relaxation rates of large anisotropies take their place.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from ddco_jax.kernels.base import Kernel
from ddco_jax.kernels.chapman_enskog import transport
from ddco_jax.kernels.landau import Landau
from ddco_jax.learning import nodes
from ddco_jax.learning.data import ANISOTROPY
from ddco_jax.learning.pairs import pair_averages
from ddco_jax.md import green_kubo
from ddco_jax.md.dataset import open_dataset
from ddco_jax.plasma import particles
from ddco_jax.plasma.arrays import Array, Scalar
from ddco_jax.plasma.ocp import effective_logarithm, generalised_logarithm
from ddco_jax.plasma.units import PAPER
from ddco_jax.settings import ConfigError

SAMPLES, ROUNDS = 8192, 4
"""Particles and random pairings that sample each bi-Maxwellian."""
ORDER, POINTS = 3, (32, 12, 8)
"""Order and quadrature points of the Sonine expansion during training: accurate to 3e-4 for a smooth kernel, far below
the errors of the data."""


class Relaxation(NamedTuple):
    """Relaxation of bi-Maxwellians with Tx/Tperp = 1/4 and 4: data for the ratio of a kernel's rates to Landau's."""

    gamma: Array
    """(plasmas,)."""
    averages: Array
    """(2, 3, nodes.COUNT): pair averages of cx^2 in the two bi-Maxwellians."""
    error: Array
    """Relative error of the rates."""

    def ratios(self, kernel: Kernel) -> Array:
        """Rates of Tx - Tperp with the kernel over those with Landau's, (plasmas, 2)."""

        def at(gamma: Scalar) -> Array:
            temperature = PAPER.coupling_parameter(1.0, 1.0) / gamma
            state = (jnp.ones_like(gamma), temperature, PAPER.plasma_frequency(jnp.ones_like(gamma)))
            found, landau = (
                jnp.tensordot(self.averages, nodes.kernel_values(k, *state), 2) for k in (kernel, Landau())
            )
            return found / landau

        return jax.vmap(at)(self.gamma)


class Coefficients(NamedTuple):
    """D* and kinetic eta* of MD or theory with their relative errors, each (plasmas,)."""

    gamma: Array
    D_star: Array
    D_error: Array
    eta_star: Array
    eta_error: Array
    relaxation: Relaxation | None = None

    def misfit(self, kernel: Kernel) -> Scalar:
        """Mean square of relative difference over relative error: that of the coefficients plus that of the rates."""
        found = jax.vmap(lambda g: transport(kernel, g, order=ORDER, points=POINTS))(self.gamma)
        D = (found.D_star / self.D_star - 1) / self.D_error
        eta = (found.eta_star / self.eta_star - 1) / self.eta_error
        coefficients = (jnp.mean(D**2) + jnp.mean(eta**2)) / 2
        if self.relaxation is None:
            return coefficients
        return coefficients + jnp.mean(((self.relaxation.ratios(kernel) - 1) / self.relaxation.error) ** 2)


def load_coefficients(
    paths: Sequence[Path], weak: Sequence[float], floor: float, dtype: DTypeLike
) -> Coefficients | None:
    """Coefficients of equilibrium runs, and Landau's at the weak couplings; None where neither is given.

    `floor` is added in quadrature to the relative errors of MD, and is the relative error of theory.

    Raises ConfigError where a file holds no correlation functions.
    """
    data = [open_dataset(path) for path in paths]
    for path, run in zip(paths, data, strict=True):
        if "vacf" not in run:
            raise ConfigError(
                f"{path}: no equilibrium run; data.equilibrium takes files of `ddco md` with [correlations]"
            )
    rows = [_measured(green_kubo.transport(group)) for group in green_kubo.group(data)] if data else []
    if not (rows := rows + [_landau(gamma) for gamma in weak]):
        return None
    gamma, D, D_error, eta, eta_error = (jnp.asarray(column, dtype) for column in zip(*rows, strict=True))
    relaxation = _relaxation(weak, floor, dtype) if weak else None
    return Coefficients(gamma, D, jnp.hypot(D_error, floor), eta, jnp.hypot(eta_error, floor), relaxation)


def _relaxation(weak: Sequence[float], floor: float, dtype: DTypeLike) -> Relaxation:
    """Kernel and Landau are averaged over the same particles, so the sampling error of their ratio is 1e-3."""
    rng, averages = np.random.default_rng(3), []
    for anisotropy in (0.25, 4.0):
        c = particles.bimaxwellian(anisotropy)(rng, SAMPLES)
        averages.append(pair_averages(c, np.ones(SAMPLES), ROUNDS, rng).mean(0)[ANISOTROPY])
    return Relaxation(*(jnp.asarray(a, dtype) for a in (weak, np.stack(averages), floor)))


def _measured(result: green_kubo.Transport) -> tuple[float, ...]:
    D, eta = result.D_star, result.eta_star_kinetic
    return float(result.gamma), D.value, D.error / D.value, eta.value, eta.error / eta.value


def _landau(gamma: float) -> tuple[float, ...]:
    """Landau's converged coefficients: D* with the logarithm Xi11, eta* with Xi22/2, the logarithm of `Landau`."""
    found = transport(Landau(), gamma, order=ORDER)
    D = found.D_star * effective_logarithm(gamma) / generalised_logarithm(gamma, 1)
    return gamma, float(D), 0.0, float(found.eta_star), 0.0
