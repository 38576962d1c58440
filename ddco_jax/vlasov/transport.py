"""Transport of f in phase space, Eq. (23): explicit Runge-Kutta steps that share their face values with the field law.

A step evaluates the x-fluxes X_i and the face values V_i of f along vx at its stages i and sums them with the weights
b_i of the Runge-Kutta rule:

    f_end = f - dt [div X + E_mid dV/dvx],   X = sum_i b_i X_i,   V = sum_i b_i V_i.

The field law computes E_mid from the same V (`FieldLaw`), so energy (Ampere) or momentum (Poisson) is conserved exactly
for any face values, also for those changed by a limiter.
"""

import abc
import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ddco_jax.plasma.arrays import Array, Distribution, Float, Numbers, Profile, Scalar
from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.plasma.units import Scales
from ddco_jax.vlasov import v_flux, x_flux
from ddco_jax.vlasov.v_flux import Faces


class FieldLaw(abc.ABC):
    """How the electric field follows from the face values V of f along vx."""

    @abc.abstractmethod
    def at_stage(self, field: Profile, before: Faces, now: Faces) -> Profile | None:
        """E (E0) at a stage with face values `now`; `before` is dt a_i (V_1 + ... + V_{i-1}); None: no force."""

    @abc.abstractmethod
    def midway(self, field: Profile, faces: Faces, dt: Scalar | float) -> Profile | None:
        """E_mid (E0), which acts on f over the whole step; `faces` is V; None: no force."""


PASSES = 2
"""Passes of the limiter.  Limiting changes V, and so the field for which the limits hold; each pass changes it less."""


@dataclasses.dataclass(frozen=True)
class Transport:
    """Fluxes in x and vx, the Runge-Kutta rule, and whether the sums of fluxes are limited so that f stays positive."""

    x_flux: Callable[[PhaseGrid, Distribution], Distribution]
    v_faces: Callable[[Distribution], Faces]
    reaches: tuple[float, ...]
    """Coefficients a_i: stage i is evaluated at f + dt a_i (k_1 + ... + k_{i-1})."""
    weights: tuple[float, ...]
    """Weights b_i."""
    positive: bool

    def step(
        self, grid: PhaseGrid, law: FieldLaw, f: Distribution, field: Profile, dt: Scalar | float
    ) -> tuple[Distribution, Faces, Distribution, Distribution]:
        """f after dt (t0), the face values V of the step, and the x-fluxes of the first stage and of the whole step."""

        @jax.checkpoint
        def stage(carry: tuple[Array, ...], coefficients: Array) -> tuple[tuple[Array, ...], None]:
            rates, passed, first, X, V = carry
            reach, weight, is_first = coefficients
            at = f + dt * reach * rates
            flux, faces = self.x_flux(grid, at), self.v_faces(at)
            rates = rates + rate(grid, flux, faces, law.at_stage(field, dt * reach * passed, faces))
            return (rates, passed + faces, first + is_first * flux, X + weight * flux, V + weight * faces), None

        zero, none = jnp.zeros_like(f), jnp.zeros_like(f[:, 1:])
        # a scan compiles the stage once: the fluxes of high order are slow to compile
        table = jnp.asarray(np.stack([self.reaches, self.weights, np.eye(len(self.weights))[0]], 1), f.dtype)
        (_, _, first, X, V), _ = lax.scan(stage, (zero, none, zero, zero, none), table)
        if self.positive:

            @jax.checkpoint
            def limit(fluxes: tuple[Distribution, Faces], _: None) -> tuple[tuple[Distribution, Faces], None]:
                X, V = fluxes
                return limited(grid, f, X, V, law.midway(field, V, dt), dt), None

            (X, V), _ = lax.scan(limit, (X, V), None, length=PASSES)
        return f + dt * rate(grid, X, V, law.midway(field, V, dt)), V, first, X


PAPER = Transport(x_flux.upwind, v_flux.central, (0.0, 0.5), (0.0, 1.0), False)
"""Upwind (26) and central (27) fluxes by the explicit midpoint rule."""
ACCURATE = Transport(x_flux.weno5, v_flux.sixth, (0.0, 1.0, 0.25), (1 / 6, 1 / 6, 2 / 3), True)
"""Fifth-order WENO in x, sixth order in vx, by the third-order rule of Shu and Osher (1988), kept positive."""
TRANSPORTS = {"upwind": PAPER, "weno5": ACCURATE}
"""Transport schemes by the name of the x-flux."""


def named(name: str) -> Transport:
    """The transport scheme with this x-flux; raises ValueError, with the choices, for an unknown name."""
    if name not in TRANSPORTS:
        raise ValueError(f"x_flux must be one of {tuple(TRANSPORTS)}, got {name!r}")
    return TRANSPORTS[name]


def rate(grid: PhaseGrid, X: Distribution, V: Faces, field: Profile | None) -> Distribution:
    """df/dt = -dX/dx - E dV/dvx, n0 V0^-3/t0; no flux leaves the vx axis, and `field=None` leaves the force out."""
    out = (grid.line.shifted(X, 1)[0] - X) / grid.dx
    if field is not None:
        faces = _with_edges(V)
        out = out - field[:, None, None, None] / grid.dv[0] * (faces[:, 1:] - faces[:, :-1])
    return out


def limited(
    grid: PhaseGrid, f: Distribution, X: Distribution, V: Faces, field: Profile | None, dt: Scalar | float
) -> tuple[Distribution, Faces]:
    """X and V, blended with first-order upwind fluxes where the step would make f negative (Zalesak 1979).

    The corrections to the upwind fluxes are scaled down where they would take more from a cell than the upwind step
    leaves in it.  f then stays non-negative for the given field if max|vx| dt/dx + max|E| dt/dvx <= 1.
    """
    low_X = x_flux.upwind(grid, f)
    change_X = dt / grid.dx * (X - low_X)
    low_V, change_V = V, jnp.zeros_like(_with_edges(V))
    if field is not None:
        E = field[:, None, None, None]
        low_V = jnp.where(E > 0, f[:, :-1], f[:, 1:])
        change_V = _with_edges(dt / grid.dv[0] * E * (V - low_V))
    left = jnp.maximum(f + dt * rate(grid, low_X, low_V, field), 0)
    given = _out(change_X, grid.line.shifted(change_X, 1)[0]) + _out(change_V[:, 1:], change_V[:, :-1])
    beyond = given > left
    smallest = jnp.finfo(f.dtype).tiny ** 0.5  # keeps the denominator of the derivative above zero
    share = jnp.where(beyond, left / (smallest + jnp.where(beyond, given, 1)), 1)
    X = low_X + jnp.where(change_X > 0, share, grid.line.shifted(share, -1)[0]) * (X - low_X)
    if field is not None:
        V = low_V + jnp.where(change_V[:, 1:-1] > 0, share[:, :-1], share[:, 1:]) * (V - low_V)
    return X, V


def transport_correlations(
    grid: PhaseGrid,
    scales: Scales,
    f: Distribution,
    age: Profile,
    memory: Float[Array, "nx 3 3 3"],
    first: Distribution,
    whole: Distribution,
    dt: Scalar | float,
) -> tuple[Profile, Float[Array, "nx 3 3 3"]]:
    """Age (1/omega_p) and memory of the correlations after dt: both move with the plasma, and the age grows.

    The age s obeys d(rho s)/dt = rho omega_p - d(rho v-bar s)/dx, with s taken upwind of the mass flux; the memory
    obeys the same equation without the first term.  The step is the explicit midpoint rule.  `first` and `whole` are
    the x-fluxes of f of the first stage and of the whole step, whose mass fluxes also move rho.
    """
    first, whole = (cell_density(grid, flux)[:, None] for flux in (first, whole))
    rho = cell_density(grid, f)[:, None]
    carried = jnp.concatenate([age[:, None], memory.reshape(len(age), -1)], axis=1)
    ages = jnp.zeros_like(carried[:1]).at[:, 0].set(1)

    def divergence(flux: Array, carried: Numbers = 1.0) -> Array:
        flux = flux * carried
        return (flux - grid.line.shifted(flux, 1)[0]) / grid.dx

    def upwind(flux: Array, carried: Array) -> Array:
        return jnp.where(flux > 0, carried, grid.line.shifted(carried, -1)[0])

    def growth(rho: Array) -> Array:
        return rho * scales.plasma_frequency(rho) * ages

    rho_half = rho - dt / 2 * divergence(first)
    half = (rho * carried + dt / 2 * (growth(rho) - divergence(first, upwind(first, carried)))) / rho_half
    amount = rho * carried + dt * (growth(rho_half) - divergence(whole, upwind(whole, half)))
    carried = amount / (rho - dt * divergence(whole))
    return carried[:, 0], carried[:, 1:].reshape(memory.shape)


def cell_density(grid: PhaseGrid, f: Distribution) -> Profile:
    """Density rho(x), (nx,), n0: the sum of f over the velocity grid times dv^3."""
    return jnp.sum(f, (1, 2, 3)) * grid.dv3


def _with_edges(faces: Faces) -> Distribution:
    """The face values with a zero added at either end of the vx axis, where the flux vanishes."""
    return jnp.pad(faces, ((0, 0), (1, 1), (0, 0), (0, 0)))


def _out(right: Array, left: Array) -> Array:
    """Outflow of a cell through its right and left faces; fluxes are positive to the right."""
    return jnp.maximum(right, 0) + jnp.maximum(-left, 0)
