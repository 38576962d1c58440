"""State of a simulation: distribution, electric field, age and memory of the correlations, time."""

import dataclasses

import equinox as eqx
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike

from ddco_jax.plasma.arrays import Array, Distribution, Float, Profile, Scalar
from ddco_jax.plasma.fields import poisson_field
from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.plasma.moments import stress_anisotropy
from ddco_jax.plasma.units import PAPER, Scales


class Tally(eqx.Module):
    """Counters of `ChebyshevCollision` steps since the start, summed over cells or per cell; dtype of f."""

    evaluations: Float[Array, " *cells"]
    """Evaluations of C[f], one per cell and stage."""
    limited: Float[Array, " *cells"]
    """Evaluations of C[f] whose flux the entropy limiter has changed."""
    repaired: Float[Array, " *cells"]
    """Accepted sub-steps after which f < -tolerance max f was removed or a small loss of entropy corrected
    (`velocity.positivity`)."""
    refused: Float[Array, " *cells"]
    """Rejected sub-steps, then halved: f after them was too negative, not finite, or had less entropy."""
    unfinished: Float[Array, " *cells"]
    """Steps that were not completed within the largest number of sub-steps; their f is NaN."""

    @classmethod
    def zero(cls, dtype: DTypeLike) -> "Tally":
        """All counters zero."""
        return cls(*[jnp.zeros((), dtype)] * 5)


class State(eqx.Module):
    """State of the plasma, code units.  The dtype of f decides the precision of everything computed from it."""

    f: Distribution
    """Distribution function, n0 V0^-3."""
    electric_field: Profile
    """E(x) at the cell centres, E0."""
    correlation_age: Profile | None
    """Age s(x) of the correlations since a quench, 1/omega_p at the local density; None if it does not evolve."""
    memory: Float[Array, "nx 3 3 3"]
    """Memory of the stress anisotropy (`correlations.memory`), stacked on axis 1: the part E of the anisotropy to
    which the correlations have not responded yet, the rate h (1/t0) at which E keeps growing, and the anisotropy S at
    the last update."""
    time: Scalar
    """t, t0."""
    tally: Tally
    """Counters of the collision steps."""

    @classmethod
    def from_distribution(
        cls,
        grid: PhaseGrid,
        f: ArrayLike,
        *,
        correlation_age: ArrayLike | None = None,
        scales: Scales = PAPER,
    ) -> "State":
        """State at t = 0 with f (n0 V0^-3) and E(0) from dE/dx = (rho - mean rho)/lambda^2.

        `correlation_age` (1/omega_p), a number or (nx,), is zero at a quench and large in an aged plasma; None (the
        default) leaves the correlations out.  The memory starts with the anisotropy of f as known and nothing new; any
        later change of f by other means than collisions counts as new.  With a divided grid (`PhaseGrid.over`) the
        arrays are made on one device, then divided.
        Raises ValueError if the shape of f is not that of the grid.
        """
        f = jnp.asarray(f)
        if f.shape != grid.shape:
            raise ValueError(f"f has shape {f.shape}, the grid has {grid.shape} (nx, nvx, nvy, nvz)")
        field = poisson_field(grid.whole, jnp.sum(f, (1, 2, 3)) * grid.dv3, scales)
        age = None if correlation_age is None else jnp.broadcast_to(jnp.asarray(correlation_age, f.dtype), (grid.nx,))
        state = cls(f, field, age, _initial_memory(grid, f), jnp.zeros((), f.dtype), Tally.zero(f.dtype))
        return grid.line.spread(state)

    def quenched(self, grid: PhaseGrid) -> "State":
        """State just after all velocities were redrawn from f: f is unchanged; age and memory are reset."""
        age = None if self.correlation_age is None else jnp.zeros_like(self.correlation_age)
        return dataclasses.replace(self, correlation_age=age, memory=_initial_memory(grid, self.f))

    def kicked(self, f: ArrayLike, matrix: ArrayLike) -> "State":
        """State just after a kick c -> A c of all velocities; `f` is the distribution after the kick.

        `matrix` is A, (3, 3) or (nx, 3, 3).  Each tensor K of the memory (E, h, S) is a covariance of velocities and
        forces, and a kick rotates only the velocities.  K therefore becomes the symmetric part of R K, with R the
        rotation in the polar decomposition A = R P, P symmetric and positive.  P leaves K unchanged, as seen in MD of
        stretched plasmas.  If f is changed without this method, the memory is not rotated, which is right for small
        kicks and for fields.
        """
        u, _, v = jnp.linalg.svd(jnp.asarray(matrix, self.memory.dtype))
        turned = (u @ v)[..., None, :, :] @ self.memory
        memory = (turned + jnp.swapaxes(turned, -1, -2)) / 2
        return dataclasses.replace(self, f=jnp.asarray(f, self.f.dtype), memory=memory)


def _initial_memory(grid: PhaseGrid, f: Distribution) -> Float[Array, "nx 3 3 3"]:
    """Memory of a plasma whose correlations have responded to f: E = h = 0, and S is the anisotropy of f."""
    S = stress_anisotropy(grid, f)
    return jnp.stack([jnp.zeros_like(S), jnp.zeros_like(S), S], axis=1)
