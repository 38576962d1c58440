"""The collision operator C[f] of Eq. (32): one pure function of f, the same cell by cell."""

import functools
import operator
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax

from ddco_jax.collisions import direct, spectral
from ddco_jax.correlations.buildup import Amplitude
from ddco_jax.correlations.microfield import microfield_flux, producing, share_near, smoothed
from ddco_jax.kernels import Kernel, Scaled
from ddco_jax.plasma.arrays import Array, Distribution, Float, Profile, Scalar, VelocityDistribution
from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.plasma.moments import Moments, compute_moments
from ddco_jax.velocity.differences import Forces, curvature, curvature_divergence, divergence, gradient

METHODS = ("spectral", "direct")
DIFFERENCES = {"central": 2, "fourth": 4, "compact": 2}
"""The order of D-."""
FLOOR = 1e-15
"""Least f of a cell that is told from zero, relative to its largest."""


class CollisionOperator(eqx.Module):
    """C[f] = D+ p,  p_j = dv^3 sum_j' omega_jj' f_j f_j' (q_j - q_j'),  q = D- log f, with each cell's rho, v-bar, T.

    `op(f)` returns C[f], (nx, nvx, nvy, nvz), n0 V0^-3/t0.  `op(f, amplitude)` multiplies it by amplitude(x) >= 0,
    or omega by an amplitude(x, |u|) >= 0, and adds the diffusion in the microfield that comes with it (`buildup`).

    Exact to rounding: mass, momentum and energy of every cell, whatever f does at the edge of the velocity box.
    Entropy production is non-negative (to rounding) for any positive f.  The scheme is second order in dv.

    log f needs f > 0: below `floor()`, FLOOR times the largest value in the cell, f counts as the floor in p.  That
    leaves p antisymmetric, so all conservation laws hold as before, and keeps the far corners of the box, where f is
    nothing and the gradients of its logarithm are large, from limiting the step of an explicit scheme.

    `differences="central"` is the paper's scheme.  Its D- does not see the grid's Nyquist mode, which then neither
    decays nor stays harmless where f is under-resolved.  `differences="compact"` is the mean over forward and backward
    differences along every axis: central plus a term in the curvature of log f.  It conserves as exactly, keeps the
    entropy production non-negative, damps the Nyquist mode and errs a quarter as much in the divergence, for
    19 transforms instead of 13 with an isotropic kernel and a stability limit four times as tight (tighter still
    beside steep flanks, where the log makes the relative rates large).

    `differences="fourth"` is the central scheme with a five-point D-, of fourth order where f is resolved, at the same
    cost, for a stability limit half as long.

    `method="direct"` is the O(N^2) double sum, an oracle for tests.  `cells_at_once` bounds the memory: the operator
    runs over x in groups of that many cells.
    Raises ValueError for an unknown method or a velocity axis of fewer than three points.
    """

    grid: PhaseGrid = eqx.field(static=True)
    kernel: Kernel
    method: str = eqx.field(static=True)
    differences: str = eqx.field(static=True)
    cells_at_once: int = eqx.field(static=True)

    def __init__(
        self,
        grid: PhaseGrid,
        kernel: Kernel,
        method: str = "spectral",
        *,
        differences: str = "central",
        cells_at_once: int = 1,
    ):
        if method not in METHODS:
            raise ValueError(f"method must be one of {METHODS}, got {method!r}")
        if differences not in DIFFERENCES:
            raise ValueError(f"differences must be one of {tuple(DIFFERENCES)}, got {differences!r}")
        if min(grid.nv) <= DIFFERENCES[differences]:
            needed = f"at least {DIFFERENCES[differences] + 1} points per velocity axis"
            raise ValueError(f"the collision operator needs {needed}, got nv={grid.nv}")
        self.grid, self.kernel, self.method, self.differences = grid, kernel, method, differences
        self.cells_at_once = cells_at_once

    @eqx.filter_jit
    def __call__(self, f: Distribution, amplitude: Profile | Amplitude | None = None) -> Distribution:
        """C[f]; `amplitude` (nx,) multiplies it, one non-negative number per cell; an `Amplitude`, omega."""
        if isinstance(amplitude, Amplitude):
            return self._over_cells(self._cell, f, amplitude)
        c = self._over_cells(self._cell, f)
        return c if amplitude is None else amplitude[:, None, None, None] * c

    def floor(self, f: VelocityDistribution) -> VelocityDistribution:
        """f of one cell, floored so that its logarithm exists."""
        smallest = FLOOR * lax.stop_gradient(jnp.max(f))
        return jnp.maximum(f, jnp.maximum(smallest, jnp.finfo(f.dtype).tiny))

    def forces(self, h: VelocityDistribution) -> Forces:
        """The thermodynamic forces of a functional derivative h of one cell."""
        R = curvature(self.grid, h) if self.differences == "compact" else None
        return Forces(gradient(self.grid, h, DIFFERENCES[self.differences]), R)

    def flux(self, f: VelocityDistribution, forces: Forces, amplitude: Amplitude | None = None) -> Forces:
        """The fluxes of one cell for given forces; linear in them, but for an amplitude with a spread.

        With the forces of log f they are the collision flux; with those of another functional derivative they give
        the dissipative bracket (7).
        """
        moments, positive = compute_moments(self.grid, f), self.floor(f)
        if amplitude is None or amplitude.microfield is None:
            return self._collision_flux(positive, forces, moments, amplitude)
        c = spectral.peculiar_velocity(self.grid, moments.drift, f.dtype)
        with jax.named_scope("microfield"):
            diffused = self._microfield(positive, c, moments.temperature, amplitude)
            normal = diffused(positive, forces)
        spreads = [spread for spread in (amplitude.spread, amplitude.jump) if spread is not None]
        if not spreads:
            fluxes = self._collision_flux(positive, forces, moments, amplitude)
            return jax.tree.map(lambda p, d: p + amplitude.microfield * d, fluxes, normal)
        with jax.named_scope("jumps"):
            F = smoothed(positive, c, forces.gradient, moments.temperature, jnp.stack(spreads))
            later = [(f, self.forces(jnp.log(f))) for f in F]
        now = positive, forces
        colliding, driven = now if amplitude.jump is None else later[-1], now if amplitude.spread is None else later[0]
        fluxes = self._collision_flux(colliding[0], colliding[1], moments, amplitude)
        fluxes = jax.tree.map(lambda p, d: p + amplitude.microfield * d, fluxes, diffused(*driven))
        return producing(forces, fluxes, normal)

    def _collision_flux(self, f, forces: Forces, moments: Moments, amplitude: Amplitude | None) -> Forces:
        """The fluxes of one cell by collisions alone."""
        density, drift, temperature = moments
        kernel = self.kernel if amplitude is None else Scaled(self.kernel, amplitude)
        with jax.named_scope("collision_flux"):
            if self.method == "direct":
                return direct.collision_flux(self.grid, kernel, f, forces, density, drift, temperature)
            return spectral.collision_flux(self.grid, kernel.separable(density, temperature), f, forces, drift)

    def _microfield(self, f, c, temperature, amplitude: Amplitude) -> Callable[..., Forces]:
        """What makes fluxes by diffusion in the microfield, nu = 1, of one cell out of an f and its forces."""
        near: Array | float = 1.0
        if amplitude.crossing is not None:
            speed = spectral.offset_speeds(self.grid, f.dtype) / jnp.sqrt(temperature)
            near = share_near(f, amplitude.near(speed))
        return lambda f, forces: jax.tree.map(lambda q: microfield_flux(f, c, q, temperature, near), forces)

    def dissipation(self, f: VelocityDistribution, a: VelocityDistribution, b: VelocityDistribution) -> Scalar:
        """The bracket (7) of one cell, per unit length, from the functional derivatives dA/df and dB/df."""
        products = jax.tree.map(lambda q, p: jnp.sum(q * p), self.forces(a), self.flux(f, self.forces(b)))
        return functools.reduce(operator.add, jax.tree.leaves(products)) * self.grid.dv3

    @eqx.filter_jit
    def entropy_production(self, f: Distribution) -> Profile:
        """dS/dt = (S, S)+ = dv^3 sum_j q_j . p_j >= 0 of every cell, per unit length."""

        def cell(f_cell):
            log = jnp.log(self.floor(f_cell))
            return self.dissipation(f_cell, log, log)

        return self._over_cells(cell, f)

    @eqx.filter_jit
    def diffusion(
        self, f: Distribution, points: Float[Array, "points 3"], amplitude: Profile | Amplitude | None = None
    ) -> Float[Array, "nx points 3"]:
        """Diagonal of the diffusion tensor A_aa(v) = dv^3 sum' omega_aa f' at v-bar + points * thermal speed.

        With the microfield's and `amplitude` as in C[f].  Sets the explicit stability limit; evaluated by direct sums,
        since few points are needed.
        """
        from_ = direct.velocity_points(self.grid, f.dtype)

        def cell(cell):
            f_cell, amplitude = cell
            state = compute_moments(self.grid, f_cell)
            of_speed = isinstance(amplitude, Amplitude)
            kernel = Scaled(self.kernel, amplitude) if of_speed else self.kernel

            def at(w):
                v = state.drift + w * jnp.sqrt(state.temperature)
                omega = kernel(v, from_, state.drift, state.density, state.temperature)
                return jnp.einsum("saa,s->a", omega, f_cell.reshape(-1)) * self.grid.dv3

            A = lax.map(at, points)
            if of_speed:
                return A if amplitude.microfield is None else A + amplitude.microfield * state.temperature
            return A if amplitude is None else amplitude * A

        return lax.map(cell, (f, amplitude))

    def _cell(self, f: VelocityDistribution, amplitude: Amplitude | None = None) -> VelocityDistribution:
        p, p_R = self.flux(f, self.forces(jnp.log(self.floor(f))), amplitude)
        c = divergence(self.grid, p, DIFFERENCES[self.differences])
        return c if p_R is None else c + curvature_divergence(self.grid, p_R)

    def _over_cells(self, function, *cells):
        """`function` of every cell; `cells` are pytrees with a leading axis x."""
        # checkpoint: the backward pass recomputes a cell instead of storing its transforms (the lambda: a bound
        # method would be hashed with the traced parameters of the kernel)
        cell = jax.checkpoint(lambda arguments: function(*arguments))
        if cells[0].shape[0] <= self.cells_at_once:
            return jax.vmap(cell)(cells)
        return lax.map(cell, cells, batch_size=self.cells_at_once if self.cells_at_once > 1 else None)
