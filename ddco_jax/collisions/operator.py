"""The collision operator C[f] of Eq. (32): one pure function of f, the same cell by cell."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax

from ddco_jax.collisions import direct, spectral
from ddco_jax.correlations import AGED, Aged, Correlations, Record, as_record, entropy, hole, jumps, microfield
from ddco_jax.kernels import Kernel, Scaled
from ddco_jax.plasma.arrays import Array, Distribution, Float, Profile, Scalar, VelocityDistribution
from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.velocity.cell import Cell, floored
from ddco_jax.velocity.differences import DIFFERENCES, Differences, Forces


class CollisionOperator(eqx.Module):
    """C[f] = D+ p,  p_j = dv^3 sum_j' omega_jj' f_j f_j' (q_j - q_j'),  q = D- log f, with each cell's rho, v-bar, T.

    `op(f)` returns C[f], (nx, nvx, nvy, nvz), n0 V0^-3/t0.  `op(f, now)` takes the correlations of a young plasma into
    account: a record of `correlations`, or factor(x) >= 0, by which C is multiplied.

    Exact to rounding: mass, momentum and energy of every cell, whatever f does at the edge of the velocity box.
    Entropy production is non-negative (to rounding) for any positive f.  The scheme is second order in dv.

    log f needs f > 0: below the floor of `velocity.cell`, f counts as the floor in p.  That leaves p antisymmetric, so
    all conservation laws hold as before, and keeps the far corners of the box, where f is negligible and the gradients
    of its logarithm are large, from limiting the step of an explicit scheme.

    `differences="central"` is the paper's scheme.  Its D- does not see the grid's Nyquist mode, which then neither
    decays nor stays harmless where f is under-resolved.  `differences="compact"` is the mean over forward and backward
    differences along every axis: central plus a term in the curvature of log f.  It conserves as exactly, keeps the
    entropy production non-negative, damps the Nyquist mode and errs a quarter as much in the divergence, for
    19 transforms instead of 13 with an isotropic kernel and a stability limit four times as tight (tighter still
    beside steep flanks, where the log makes the relative rates large).  `differences="fourth"` is the central scheme
    with a five-point D-, of fourth order where f is resolved, at the same cost, for a stability limit half as long.

    `method="direct"` is the O(N^2) double sum, an oracle for tests.  `cells_at_once` bounds the memory: the operator
    runs over x in groups of that many cells.
    Raises ValueError for an unknown method or a velocity axis with too few points.
    """

    METHODS: ClassVar[tuple[str, ...]] = ("spectral", "direct")

    grid: PhaseGrid = eqx.field(static=True)
    kernel: Kernel
    method: str = eqx.field(static=True)
    differences: Differences = eqx.field(static=True)
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
        if method not in self.METHODS:
            raise ValueError(f"method must be one of {self.METHODS}, got {method!r}")
        if differences not in DIFFERENCES:
            raise ValueError(f"differences must be one of {tuple(DIFFERENCES)}, got {differences!r}")
        self.grid, self.kernel, self.method = grid, kernel, method
        self.differences, self.cells_at_once = DIFFERENCES[differences](grid), cells_at_once

    @eqx.filter_jit
    def __call__(self, f: Distribution, now: Record | Profile | None = AGED) -> Distribution:
        """C[f] of a plasma whose correlations are those of `now` (fields (nx,)); aged by default."""
        return self._over_cells(self._cell, f, as_record(now))

    def forces(self, h: VelocityDistribution) -> Forces:
        """The thermodynamic forces of a functional derivative h of one cell."""
        return self.differences.forces(h)

    def flux(self, f: VelocityDistribution, forces: Forces, now: Record) -> Forces:
        """The fluxes of one cell, Eq. (32): collisions of pairs, and in a young plasma diffusion in the microfield.

        With the forces of log f they are the collision flux; with those of another functional derivative, in an aged
        plasma, they give the dissipative bracket (7).
        """
        cell, kernel = Cell.of(self.grid, f), self._kernel(now)
        if not isinstance(now, Correlations):
            return self.collide(cell, forces, kernel)
        in_field, in_pairs = jumps.smooth(cell, forces, now.microfield_jump, now.pair_jump)
        pairs = self.collide(in_pairs, self.forces(jnp.log(in_pairs.f)), kernel)
        with jax.named_scope("microfield"):
            partners = hole.present(cell, now.partners)
            field = microfield.flux(in_field, self.forces(jnp.log(in_field.f)), partners)
            fallback = microfield.flux(cell, forces, partners)
        return entropy.limit(forces, pairs + now.microfield_rate * field, fallback)

    def collide(self, cell: Cell, forces: Forces, kernel: Kernel) -> Forces:
        """The flux p_j = dv^3 sum_j' omega_jj' f_j f_j' (q_j - q_j') of one cell by collisions of pairs."""
        with jax.named_scope("collision_flux"):
            if self.method == "direct":
                return direct.collision_flux(cell, kernel, forces)
            return spectral.collision_flux(cell, kernel.separable(cell.density, cell.temperature), forces)

    def dissipation(self, f: VelocityDistribution, a: VelocityDistribution, b: VelocityDistribution) -> Scalar:
        """The bracket (7) of one cell, per unit length, from the functional derivatives dA/df and dB/df."""
        return jnp.sum(self.forces(a) * self.flux(f, self.forces(b), AGED)) * self.grid.dv3

    @eqx.filter_jit
    def entropy_production(self, f: Distribution) -> Profile:
        """dS/dt = (S, S)+ = dv^3 sum_j q_j . p_j >= 0 of every cell, per unit length."""

        def cell(f_cell):
            log = jnp.log(floored(f_cell))
            return self.dissipation(f_cell, log, log)

        return self._over_cells(cell, f)

    @eqx.filter_jit
    def diffusion(self, f: Distribution, now: Record | Profile | None = AGED) -> Float[Array, "nx 3 nvx nvy nvz"]:
        """Diagonal of the diffusion tensor A_aa(v) = dv^3 sum' omega_aa f' of every cell at all velocities, V0^2/t0.

        With the microfield's, and `now` as in C[f].  Sets the stability limit of explicit steps.
        """

        def cell(cell):
            f_cell, now = cell
            one, kernel = Cell.of(self.grid, f_cell), self._kernel(now)
            if self.method == "direct":
                A = direct.diffusion(one, kernel)
            else:
                A = spectral.diffusion(one, kernel.separable(one.density, one.temperature))
            return A + now.microfield_rate * one.temperature if isinstance(now, Correlations) else A

        return lax.map(cell, (f, as_record(now)))

    def _kernel(self, now: Record) -> Kernel:
        """The kernel at the pair rate of `now`; of an aged plasma as it is, also one that defines omega alone."""
        return self.kernel if isinstance(now, Aged) else Scaled(self.kernel, now.pair_rate)

    def _cell(self, f: VelocityDistribution, now: Record) -> VelocityDistribution:
        return self.differences.divergence(self.flux(f, self.forces(jnp.log(floored(f))), now))

    def _over_cells(self, function, *cells):
        """`function` of every cell; `cells` are pytrees with a leading axis x."""
        # checkpoint: the backward pass recomputes a cell instead of storing its transforms (the lambda: a bound
        # method would be hashed with the traced parameters of the kernel)
        cell = jax.checkpoint(lambda arguments: function(*arguments))
        if cells[0].shape[0] <= self.cells_at_once:
            return jax.vmap(cell)(cells)
        return lax.map(cell, cells, batch_size=self.cells_at_once if self.cells_at_once > 1 else None)
