"""The electric field: Poisson's equation and the residual of Gauss's law, on the periodic x grid."""

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import DTypeLike

from ddco_jax.plasma.arrays import Array, Profile, Scalar
from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.plasma.units import Scales


def _wavenumbers(grid: PhaseGrid, dtype: DTypeLike) -> Array:
    """Wavenumbers k of the real FFT, 1/L0; zero for the Nyquist mode, whose derivative the grid cannot represent."""
    k = 2 * np.pi * np.fft.rfftfreq(grid.nx, grid.dx)
    if grid.nx % 2 == 0:
        k[-1] = 0.0
    return jnp.asarray(k, dtype)


def poisson_field(grid: PhaseGrid, density: Profile, scales: Scales) -> Profile:
    """Solve dE/dx = (rho - mean rho)/lambda^2 spectrally; E (E0) has zero mean, `density` is rho (n0).

    The spectral inverse derivative is antisymmetric, so sum_i E_i rho_i = 0: the total force vanishes exactly.
    """
    k = _wavenumbers(grid, density.dtype)
    inverse = jnp.where(k == 0, 0, 1 / jnp.where(k == 0, 1, k)) / scales.debye_number**2
    rho_hat = jnp.fft.rfft(grid.line.profile(density))
    field = jnp.fft.irfft(lax.complex(rho_hat.imag * inverse, -rho_hat.real * inverse), grid.nx)  # rho/(i k)
    return grid.line.own(field)


def gauss_residual(grid: PhaseGrid, electric_field: Profile, density: Profile, scales: Scales) -> Scalar:
    """Residual of Gauss's law, max |dE/dx - (rho - mean rho)/lambda^2|, E0/L0, with the spectral derivative."""
    k = _wavenumbers(grid, density.dtype)
    E_hat, density = jnp.fft.rfft(grid.line.profile(electric_field)), grid.line.profile(density)
    slope = jnp.fft.irfft(lax.complex(-k * E_hat.imag, k * E_hat.real), grid.nx)
    return jnp.max(jnp.abs(slope - (density - jnp.mean(density)) / scales.debye_number**2))
