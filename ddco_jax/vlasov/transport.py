"""The right-hand side of the Vlasov equation (23) and the transport of the correlation age."""

from collections.abc import Callable

import jax.numpy as jnp

from ddco_jax.plasma.arrays import Distribution, Profile
from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.plasma.units import Scales

XFlux = Callable[[PhaseGrid, Distribution], Distribution]


def acceleration(grid: PhaseGrid, electric_field: Profile, f: Distribution) -> Distribution:
    """E df/dvx by the conservative central flux G_{j+1/2} = E (f_j + f_{j+1})/2 of Eq. (27), with none at the edges."""
    inner = (f[:, 1:] + f[:, :-1]) / 2
    faces = jnp.pad(inner, ((0, 0), (1, 1), (0, 0), (0, 0)))
    return electric_field[:, None, None, None] / grid.dv[0] * (faces[:, 1:] - faces[:, :-1])


def vlasov_rate(
    grid: PhaseGrid, x_flux: XFlux, f: Distribution, electric_field: Profile | None
) -> tuple[Distribution, Profile]:
    """(-vx df/dx - E df/dvx, mass flux at the faces i + 1/2).  `electric_field=None` leaves the force out."""
    faces = x_flux(grid, f)
    rate = (jnp.roll(faces, 1, 0) - faces) / grid.dx
    if electric_field is not None:
        rate = rate - acceleration(grid, electric_field, f)
    return rate, jnp.sum(faces, (1, 2, 3)) * grid.dv3


def cell_density(grid: PhaseGrid, f: Distribution) -> Profile:
    """rho(x), n0."""
    return jnp.sum(f, (1, 2, 3)) * grid.dv3


def age_amount_rate(grid: PhaseGrid, scales: Scales, density: Profile, mass_flux: Profile, age: Profile) -> Profile:
    """d(rho s)/dt = rho omega_p - d(rho v-bar s)/dx, s taken upwind of the mass flux that moves rho itself."""
    carried = mass_flux * jnp.where(mass_flux > 0, age, jnp.roll(age, -1))
    return density * scales.plasma_frequency(density) - (carried - jnp.roll(carried, 1)) / grid.dx
