"""The collision operator C[f] of Eq. (32): one pure function of f, the same cell by cell."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax

from ddco_jax._types import Distribution, Profile, VelocityDistribution, VelocityVector
from ddco_jax.collisions import direct, spectral
from ddco_jax.collisions.differences import divergence, gradient
from ddco_jax.grid import PhaseGrid
from ddco_jax.kernels import Kernel
from ddco_jax.moments import compute_moments

METHODS = ("spectral", "direct")


class CollisionOperator(eqx.Module):
    """C[f] = D+ p,  p_j = dv^3 sum_j' omega_jj' f_j f_j' (q_j - q_j'),  q = D- log f, with each cell's rho, v-bar, T.

    `op(f)` returns C[f], (nx, nvx, nvy, nvz), n0 V0^-3/t0.  `op(f, amplitude)` multiplies it by amplitude(x) >= 0.

    Exact to rounding: mass, momentum and energy of every cell, whatever f does at the edge of the velocity box.
    Entropy production is non-negative (to rounding) for any positive f.  The scheme is second order in dv.

    log f needs f > 0: below `floor()`, which is the square of the machine epsilon relative to the largest value in the
    cell, f counts as the floor in p.  That leaves p antisymmetric, so all conservation laws hold as before.

    `method="direct"` is the O(N^2) double sum, an oracle for tests.  `cells_at_once` bounds the memory: the operator
    runs over x in groups of that many cells.
    Raises ValueError for an unknown method or a velocity axis of fewer than three points.
    """

    grid: PhaseGrid = eqx.field(static=True)
    kernel: Kernel
    method: str = eqx.field(static=True)
    cells_at_once: int = eqx.field(static=True)

    def __init__(self, grid: PhaseGrid, kernel: Kernel, method: str = "spectral", cells_at_once: int = 1):
        if method not in METHODS:
            raise ValueError(f"method must be one of {METHODS}, got {method!r}")
        if min(grid.nv) < 3:
            raise ValueError(f"the collision operator needs at least 3 points per velocity axis, got nv={grid.nv}")
        self.grid, self.kernel, self.method, self.cells_at_once = grid, kernel, method, cells_at_once

    def __call__(self, f: Distribution, amplitude: Profile | None = None) -> Distribution:
        """C[f]; `amplitude` (nx,) multiplies it, one non-negative number per cell."""
        c = self._over_cells(self._cell, f)
        return c if amplitude is None else amplitude[:, None, None, None] * c

    def floor(self, f: VelocityDistribution) -> VelocityDistribution:
        """f of one cell, floored so that its logarithm exists."""
        smallest = jnp.finfo(f.dtype).eps ** 2 * lax.stop_gradient(jnp.max(f))
        return jnp.maximum(f, jnp.maximum(smallest, jnp.finfo(f.dtype).tiny))

    def flux(self, f: VelocityDistribution, q: VelocityVector) -> VelocityVector:
        """The flux p of one cell for a given thermodynamic force q, (3, nvx, nvy, nvz); linear in q.

        With q = D- log f it is the collision flux; with q = D- of another functional derivative it gives the
        dissipative bracket (7).
        """
        density, drift, temperature = compute_moments(self.grid, f)
        positive = self.floor(f)
        with jax.named_scope("collision_flux"):
            if self.method == "direct":
                return direct.collision_flux(self.grid, self.kernel, positive, q, density, drift, temperature)
            separable = self.kernel.separable(density, temperature)
            return spectral.collision_flux(self.grid, separable, positive, q, drift)

    def entropy_production(self, f: Distribution) -> Profile:
        """dS/dt = (S, S)+ = dv^3 sum_j q_j . p_j >= 0 of every cell, per unit length."""

        def cell(f_cell):
            q = gradient(self.grid, jnp.log(self.floor(f_cell)))
            return jnp.sum(q * self.flux(f_cell, q)) * self.grid.dv3

        return self._over_cells(cell, f)

    def diffusion(self, f: Distribution, points) -> Distribution:
        """Diagonal of the diffusion tensor A_aa(v) = dv^3 sum' omega_aa f' at given velocities, (nx, points, 3).

        Sets the explicit stability limit; evaluated by direct sums, since few points are needed.
        """
        from_ = direct.velocity_points(self.grid, f.dtype)

        def cell(f_cell):
            state = compute_moments(self.grid, f_cell)

            def at(w):
                v = state.drift + w * jnp.sqrt(state.temperature)
                omega = self.kernel(v, from_, state.drift, state.density, state.temperature)
                return jnp.einsum("saa,s->a", omega, f_cell.reshape(-1)) * self.grid.dv3

            return lax.map(at, points)

        return lax.map(cell, f)

    def _cell(self, f: VelocityDistribution) -> VelocityDistribution:
        q = gradient(self.grid, jnp.log(self.floor(f)))
        return divergence(self.grid, self.flux(f, q))

    def _over_cells(self, function, f: Distribution):
        # checkpoint: the backward pass recomputes a cell instead of storing its transforms
        function = jax.checkpoint(function)
        if f.shape[0] <= self.cells_at_once:
            return jax.vmap(function)(f)
        return lax.map(function, f, batch_size=self.cells_at_once if self.cells_at_once > 1 else None)
