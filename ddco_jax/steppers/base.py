"""The contract of a time step, and the explicit midpoint rule that the advection steps share."""

import abc
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

import equinox as eqx

from ddco_jax.plasma.arrays import Distribution, Profile
from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.plasma.state import State
from ddco_jax.plasma.units import Scales
from ddco_jax.vlasov.transport import XFlux, age_amount_rate, cell_density, vlasov_rate
from ddco_jax.vlasov.x_flux import X_FLUXES


class Stepper(eqx.Module):
    """A scheme that advances a state by dt."""

    order: ClassVar[int]
    """Order of convergence in dt."""

    if TYPE_CHECKING:  # fields of the schemes: read-only here

        @property
        def grid(self) -> PhaseGrid: ...

        @property
        def scales(self) -> Scales: ...

    @abc.abstractmethod
    def step(self, state: State, dt) -> State:
        """The state dt later.  Pure and differentiable; dt in t0."""


def named_x_flux(name: str) -> XFlux:
    """The x-flux of that name; ValueError names the choices."""
    if name not in X_FLUXES:
        raise ValueError(f"x_flux must be one of {tuple(X_FLUXES)}, got {name!r}")
    return X_FLUXES[name]


def midpoint(
    grid: PhaseGrid,
    x_flux: XFlux,
    scales: Scales,
    state: State,
    dt,
    field_now: Profile | None,
    field_midway: Callable[[Distribution], tuple[Profile | None, Profile]],
) -> tuple[Distribution, Profile, Profile | None]:
    """Explicit midpoint rule for f and the correlation age.

    `field_midway` takes f at t + dt/2 and returns the field that accelerates the whole step, and the field at its end.
    Returns (f, field, correlation age) at t + dt.
    """
    rate, mass_flux = vlasov_rate(grid, x_flux, state.f, field_now)
    f_half = state.f + dt / 2 * rate
    field, field_end = field_midway(f_half)
    rate_half, mass_flux_half = vlasov_rate(grid, x_flux, f_half, field)
    f = state.f + dt * rate_half
    age = state.correlation_age
    if age is None:
        return f, field_end, None
    rho, rho_half = cell_density(grid, state.f), cell_density(grid, f_half)
    age_half = (rho * age + dt / 2 * age_amount_rate(grid, scales, rho, mass_flux, age)) / rho_half
    amount = rho * age + dt * age_amount_rate(grid, scales, rho_half, mass_flux_half, age_half)
    return f, field_end, amount / cell_density(grid, f)
