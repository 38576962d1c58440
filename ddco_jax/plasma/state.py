"""What evolves: the distribution, the electric field, age and memory of the correlations, the time."""

import dataclasses

import equinox as eqx
import jax.numpy as jnp
from jax.typing import ArrayLike

from ddco_jax.plasma.arrays import Array, Distribution, Float, Profile, Scalar
from ddco_jax.plasma.fields import poisson_field
from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.plasma.moments import stress_anisotropy
from ddco_jax.plasma.units import PAPER, Scales


class Tally(eqx.Module):
    """What the collision step has done since the start, over all cells or cell by cell: numbers, of the dtype of f."""

    evaluations: Float[Array, " *cells"]
    """Evaluations of C[f] in a cell."""
    limited: Float[Array, " *cells"]
    """Evaluations whose flux the entropy limiter has changed."""
    repaired: Float[Array, " *cells"]
    """Parts of a step after which f < -tolerance max f was removed or a loss of entropy made good
    (`velocity.positivity`)."""
    refused: Float[Array, " *cells"]
    """Parts of a step that were halved, since after it f was too negative, not finite, or had less entropy."""
    unfinished: Float[Array, " *cells"]
    """Steps that did not end within the largest number of parts; their f is NaN."""

    @classmethod
    def zero(cls, dtype) -> "Tally":
        """Nothing done yet."""
        return cls(*[jnp.zeros((), dtype)] * 5)


class State(eqx.Module):
    """State of the plasma, code units.  Its dtype decides the precision of everything computed from it."""

    f: Distribution
    """Distribution function, n0 V0^-3."""
    electric_field: Profile
    """E(x) at the cell centres, E0."""
    correlation_age: Profile | None
    """Age s(x) of the correlations since a quench, 1/omega_p of the local plasma; None where it does not evolve."""
    memory: Float[Array, "nx 3 3 3"]
    """What the correlations know of the stress (`correlations.memory`): the part E of its anisotropy that is new to
    them, the rate h (1/t0) with which E goes on to grow, and the anisotropy S that they saw last."""
    time: Scalar
    """t, t0."""
    tally: Tally
    """What the collision steps have done."""

    @classmethod
    def from_distribution(
        cls,
        grid: PhaseGrid,
        f: ArrayLike,
        *,
        correlation_age: ArrayLike | None = None,
        scales: Scales = PAPER,
    ) -> "State":
        """A state at t = 0 with E(0) from dE/dx = (rho - mean rho)/lambda^2.

        `correlation_age` is zero everywhere at a quench and large in an aged plasma; None (the default) leaves the
        correlations out.  f is then nothing new to them: a later change of f, by whatever means, is a kick.
        Raises ValueError where the shape of f is not that of the grid.
        """
        f = jnp.asarray(f)
        if f.shape != grid.shape:
            raise ValueError(f"f has shape {f.shape}, the grid has {grid.shape} (nx, nvx, nvy, nvz)")
        field = poisson_field(grid, jnp.sum(f, (1, 2, 3)) * grid.dv3, scales)
        age = None if correlation_age is None else jnp.asarray(correlation_age, f.dtype)
        return cls(f, field, age, _acquainted(grid, f), jnp.zeros((), f.dtype), Tally.zero(f.dtype))

    def quenched(self, grid: PhaseGrid) -> "State":
        """The state just after all velocities were drawn anew from f: f is the same, its correlations begin again."""
        age = None if self.correlation_age is None else jnp.zeros_like(self.correlation_age)
        return dataclasses.replace(self, correlation_age=age, memory=_acquainted(grid, self.f))

    def kicked(self, f: ArrayLike, matrix: ArrayLike) -> "State":
        """The state just after a kick c -> A c of all velocities, from f to the f given.

        `matrix` is A, (3, 3) or (nx, 3, 3).  What the correlations know of the stress, K, is a covariance of velocities
        and forces, of which the kick turns the velocities alone: R K, made symmetric, with R the rotation in A = R P, P
        symmetric and positive.  That P leaves K as it is was seen in MD of stretched plasmas.  A change of f without
        this counts as one that turns nothing, as small kicks and fields do.
        """
        u, _, v = jnp.linalg.svd(jnp.asarray(matrix, self.memory.dtype))
        turned = (u @ v)[..., None, :, :] @ self.memory
        memory = (turned + jnp.swapaxes(turned, -1, -2)) / 2
        return dataclasses.replace(self, f=jnp.asarray(f, self.f.dtype), memory=memory)


def _acquainted(grid: PhaseGrid, f: Distribution) -> Float[Array, "nx 3 3 3"]:
    """The memory for which f is nothing new."""
    S = stress_anisotropy(grid, f)
    return jnp.stack([jnp.zeros_like(S), jnp.zeros_like(S), S], axis=1)
