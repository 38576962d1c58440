"""The collision operator C[f] of Eq. (32): a pure function of f that acts on each spatial cell separately."""

import functools
from collections.abc import Callable
from typing import ClassVar, NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import PyTree

from ddco_jax.collisions import direct, spectral
from ddco_jax.collisions.spectral import Tables
from ddco_jax.correlations import (
    AGED,
    Aged,
    Correlations,
    Mature,
    NoMemory,
    Record,
    Retardation,
    Uniform,
    as_record,
    entropy,
    hole,
    jumps,
    microfield,
    retardation,
)
from ddco_jax.kernels import Kernel, Scaled
from ddco_jax.plasma.arrays import (
    Array,
    Distribution,
    Float,
    Profile,
    Scalar,
    VelocityDistribution,
    VelocityVector,
)
from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.velocity.cell import Cell, Maxwellian, floored
from ddco_jax.velocity.differences import DIFFERENCES, Differences, Forces
from ddco_jax.velocity.force import FORCES
from ddco_jax.velocity.positivity import tolerance

Result = TypeVar("Result")


class Fluxes(NamedTuple):
    """Forces and fluxes of one spatial cell."""

    cell: Cell
    """f with its moments."""
    forces: Forces
    """D- log f; the entropy production is their product with the fluxes."""
    fluxes: Forces
    """p of Eq. (32)."""
    diffusion: VelocityVector
    """Diagonal A_aa of the diffusion tensor, V0^2/t0."""
    limited: Scalar
    """Share of the flux that the entropy limiter has replaced, 0 ... 1."""
    equilibrium: Maxwellian
    """M, the local equilibrium."""


class Rate(NamedTuple):
    """C[f] of one cell, with the numbers that a time step needs."""

    rate: VelocityDistribution
    """C[f], n0 V0^-3/t0."""
    stiffness: Scalar
    """Bound on the magnitude of the eigenvalues of dC/df, 1/t0: the maximum over velocities of sum_a A_aa k_a/dv_a^2,
    with k_a = `Differences.eigenvalue`."""
    limited: Scalar
    """Share of the flux that the entropy limiter has replaced, 0 ... 1."""


class CollisionOperator(eqx.Module):
    """C[f] = D+ p,  p_j = dv^3 sum_j' omega_jj' f_j f_j' (q_j - q_j'), with each cell's rho, v-bar, T.

    `op(f)` returns C[f], (nx, nvx, nvy, nvz), n0 V0^-3/t0.  `op(f, now)` takes correlations into account that still
    build up: `now` is a record of `correlations`, or a factor(x) >= 0 by which C is multiplied.

    C conserves mass, momentum and energy of every cell to rounding, for any f at the edge of the velocity box.  To
    rounding, C[M] = 0 for a Maxwellian, also for one that the box cuts.  The entropy production is non-negative: in
    the log form of an aged plasma since omega is positive semidefinite, otherwise by the limiter
    (`correlations.entropy`).  With a memory of the stress (`correlations.memory`), the entropy of f plus the mean of
    c.E.c m/2kT does not fall.

    `force` is the force that drives the flux (`velocity.force`).  "ratio" stays accurate beside steep flanks of f and
    damps the grid's Nyquist mode; its flux f q is linear in f up to rises of f/M by a factor e per point, as explicit
    steps need.  "log" is the paper's q = D- log f.  `differences` is the order of D-: "central" (2, the paper's),
    "fourth", "sixth" or "eighth".  In p, values of f below the floor of `velocity.cell` are replaced by the floor; all
    conservation laws still hold.

    `method="direct"` is the O(N^2) double sum, a reference for tests.  `cells_at_once` bounds the memory: the operator
    runs over x in groups of that many cells.
    Raises ValueError for an unknown method, force or order, or a velocity axis with too few points.
    """

    METHODS: ClassVar[tuple[str, ...]] = ("spectral", "direct")

    grid: PhaseGrid = eqx.field(static=True)
    kernel: Kernel
    method: str = eqx.field(static=True)
    force: str = eqx.field(static=True)
    differences: Differences = eqx.field(static=True)
    cells_at_once: int = eqx.field(static=True)

    def __init__(
        self,
        grid: PhaseGrid,
        kernel: Kernel,
        method: str = "spectral",
        *,
        force: str = "ratio",
        differences: str = "eighth",
        cells_at_once: int = 1,
    ) -> None:
        for name, value, known in (
            ("method", method, self.METHODS),
            ("force", force, tuple(FORCES)),
            ("differences", differences, tuple(DIFFERENCES)),
        ):
            if value not in known:
                raise ValueError(f"{name} must be one of {known}, got {value!r}")
        self.grid, self.kernel, self.method, self.force = grid, kernel, method, force
        self.differences = Differences(grid, DIFFERENCES[differences], FORCES[force].damped)
        self.cells_at_once = cells_at_once

    def on(self, grid: PhaseGrid) -> "CollisionOperator":
        """The same operator on another velocity grid."""
        name = next(name for name, order in DIFFERENCES.items() if order == self.differences.order)
        options = {"force": self.force, "differences": name}
        return CollisionOperator(grid, self.kernel, self.method, cells_at_once=self.cells_at_once, **options)

    @eqx.filter_jit
    def __call__(self, f: Distribution, now: Record | Profile | None = AGED) -> Distribution:
        """C[f], (nx, nvx, nvy, nvz), n0 V0^-3/t0, with the correlations of `now` (fields (nx,)); aged by default."""

        def rates(op: CollisionOperator, f: Distribution, now: Record) -> Distribution:
            return op._over_cells(lambda f, now: op.rate(f, now).rate, f, now)

        return self.grid.line.run(rates, self, f, as_record(now))

    def tables(self, f: VelocityDistribution, now: Record) -> Tables:
        """The kernel of one cell at the density and temperature of f, which collisions do not change."""
        cell, kernel = Cell.of(self.grid, f), self._kernel(now)
        if self.method == "direct":
            return Tables((), ())
        return spectral.tables(cell, kernel.separable(cell.density, cell.temperature))

    def rate(self, f: VelocityDistribution, now: Record) -> Rate:
        """C[f] of one cell, its stiffness, and the share of the flux that the limiter has replaced."""
        return self.rate_by(self.tables(f, now), f, now)

    def rate_by(self, tables: Tables, f: VelocityDistribution, now: Record) -> Rate:
        """The same with the `tables` of any f that has the same density, drift and temperature."""
        flux = self._fluxes(f, now, tables)
        cell, counts = flux.cell, f > tolerance(f.dtype) * jnp.max(f)
        temperature = jnp.maximum(flux.equilibrium.temperature, cell.temperature)  # the fit may follow a steep flank
        total = jnp.zeros_like(f)
        for axis, dv in enumerate(self.grid.dv):
            fall = flux.equilibrium.axis(cell, axis) * dv / temperature
            total = total + flux.diffusion[axis] * self.differences.eigenvalue(fall, axis, counts) / dv**2
        return Rate(self.differences.divergence(flux.fluxes), jnp.max(total), flux.limited)

    def _fluxes(self, f: VelocityDistribution, now: Record, tables: Tables) -> Fluxes:
        """The fluxes of Eq. (32): pair collisions and, after a quench, diffusion in the microfield."""
        cell, force = Cell.of(self.grid, f), FORCES[self.force]
        collide = functools.partial(self.collide, kernel=self._kernel(now), tables=tables)
        log = self.differences.forces(jnp.log(cell.f))
        equilibrium = force.equilibrium(cell, log)
        if isinstance(now, Aged | Uniform):
            p, A = collide(cell, force.of(self.differences, cell, equilibrium))
            if force.dissipative:
                return Fluxes(cell, log, p, A, jnp.zeros((), f.dtype), equilibrium)
            p, limited = entropy.limit(log, p, microfield.flux(cell, log, jnp.ones_like(cell.f)), _thermal(cell, A))
            return Fluxes(cell, log, p, A, limited, equilibrium)
        known = _known(retardation(now), cell)
        if isinstance(now, Mature):
            (in_pairs,) = jumps.smooth(cell, equilibrium, now.pair_jump)
            p, A = collide(in_pairs, known(force.of(self.differences, in_pairs, equilibrium)))
            fallback = microfield.flux(cell, known(log), jnp.ones_like(cell.f))
            p, limited = entropy.limit(known(log), p, fallback, _thermal(cell, A))
            return Fluxes(cell, log, p, A, limited, equilibrium)
        smoothed = jumps.smooth(cell, equilibrium, now.microfield_jump, now.pair_jump)
        # both forces by one vmap: their stencils, which take long to compile, are compiled once
        driven = jax.vmap(lambda f: force.of(self.differences, cell.with_f(f), equilibrium))
        (in_field, in_pairs), q = smoothed, driven(jnp.stack([part.f for part in smoothed]))
        p, A = collide(in_pairs, known(q[1]))
        with jax.named_scope("microfield"):
            partners = hole.present(cell, now.partners)
            field = microfield.flux(in_field, known(q[0]), partners)
            fallback = microfield.flux(cell, known(log), partners)
        A = A + now.microfield_rate * cell.temperature * partners
        p, limited = entropy.limit(known(log), p + now.microfield_rate * field, fallback, _thermal(cell, A))
        return Fluxes(cell, log, p, A, limited, equilibrium)

    def collide(self, cell: Cell, forces: Forces, kernel: Kernel, tables: Tables) -> tuple[Forces, VelocityVector]:
        """The flux p_j = dv^3 sum_j' omega_jj' f_j f_j' (q_j - q_j') of one cell by pair collisions, and A_aa."""
        with jax.named_scope("collision_flux"):
            return self._pair_flux(cell, forces, cell.f, forces, kernel, tables)

    def _pair_flux(
        self, cell: Cell, forces: Forces, g: VelocityDistribution, own: Forces, kernel: Kernel, tables: Tables
    ) -> tuple[Forces, VelocityVector]:
        """The flux of g, with the forces `own`, by collisions with all particles of a cell; and A_aa."""
        if self.method == "direct":
            return direct.collision_flux(cell, kernel, forces, g, own)
        separable = kernel.separable(cell.density, cell.temperature)
        return spectral.collision_flux(cell, separable, tables, forces, g, own)

    def tagged_rate(
        self, g: VelocityDistribution, f: VelocityDistribution, now: Aged | Mature, new: Float[Array, "3"]
    ) -> VelocityDistribution:
        """Rate of change of a tagged population g by collisions with all particles f of one cell, n0 V0^-3/t0.

        Eq. (32) with g and its force outside the integral, f inside.  Tagged particles are a few of the plasma's own:
        g is as small against f as one likes, and does not act on f.
        `new` (V0) is the part of their mean velocity to which the correlations have not responded
        (`correlations.tagged`).  The number of particles is conserved.  g proportional to f changes as f does, where
        the entropy limiter does not act.  In the ratio form the rate is linear in g up to rises of g/M by a factor e
        per point.
        """
        cell, force, tables = Cell.of(self.grid, f), FORCES[self.force], self.tables(f, now)
        equilibrium = force.equilibrium(cell, self.differences.forces(jnp.log(cell.f)))
        parts = [cell, cell.with_f(floored(g))]
        if isinstance(now, Mature):
            parts = [jumps.smooth(part, equilibrium, now.pair_jump)[0] for part in parts]
        driven = jax.vmap(lambda f: force.of(self.differences, cell.with_f(f), equilibrium))
        q, own = driven(jnp.stack([part.f for part in parts]))
        own = own.at[:3].add(-new[:, None, None, None] / cell.temperature)
        p, _ = self._pair_flux(parts[0], q, parts[1].f, own, self._kernel(now), tables)
        return self.differences.divergence(p)

    def dissipation(
        self, f: VelocityDistribution, a: VelocityDistribution, b: VelocityDistribution, now: Record = AGED
    ) -> Scalar:
        """The bracket (7) of one cell, per unit length, from the functional derivatives dA/df and dB/df.

        With the pair rate and the microfield of `now`, but without its jumps, which no bracket describes.
        """
        cell, of = Cell.of(self.grid, f), self.differences.forces
        forces = of(b)
        p, _ = self.collide(cell, forces, self._kernel(now), self.tables(f, now))
        if isinstance(now, Correlations):
            p = p + now.microfield_rate * microfield.flux(cell, forces, hole.present(cell, now.partners))
        return jnp.sum(of(a) * p) * self.grid.dv3

    @eqx.filter_jit
    def entropy_production(self, f: Distribution, now: Record | Profile | None = AGED) -> Profile:
        """dS/dt = dv^3 sum_j (D- log f)_j . p_j of every cell, (nx,), per unit length, with `now` as in C[f].

        It is non-negative without a memory of the stress.
        """

        def productions(op: CollisionOperator, f: Distribution, now: Record) -> Profile:
            def cell(f_cell: VelocityDistribution, now: Record) -> Scalar:
                flux = op._fluxes(f_cell, now, op.tables(f_cell, now))
                return jnp.sum(flux.forces * flux.fluxes) * op.grid.dv3

            return op._over_cells(cell, f, now)

        return self.grid.line.run(productions, self, f, as_record(now))

    @eqx.filter_jit
    def diffusion(self, f: Distribution, now: Record | Profile | None = AGED) -> Float[Array, "nx 3 nvx nvy nvz"]:
        """Diagonal of the diffusion tensor A_aa(v) = dv^3 sum' omega_aa f' of every cell at all velocities, V0^2/t0.

        It includes that of the microfield; `now` is as in C[f].
        """

        def diffusions(op: CollisionOperator, *cells: PyTree) -> Float[Array, "nx 3 nvx nvy nvz"]:
            return lax.map(lambda cell: op._diffusion(*cell), cells)

        return self.grid.line.run(diffusions, self, f, as_record(now))

    def _diffusion(self, f: VelocityDistribution, now: Record) -> VelocityVector:
        cell, kernel = Cell.of(self.grid, f), self._kernel(now)
        if self.method == "direct":
            A = direct.diffusion(cell, kernel)
        else:
            A = spectral.diffusion(cell, kernel.separable(cell.density, cell.temperature))
        return A + now.microfield_rate * cell.temperature if isinstance(now, Correlations) else A

    def _kernel(self, now: Record) -> Kernel:
        """The kernel times the pair rate of `now`; unchanged in an aged plasma, so that it may define omega alone."""
        return self.kernel if isinstance(now, Aged) else Scaled(self.kernel, now.pair_rate)

    def _over_cells(self, function: Callable[..., Result], *cells: PyTree) -> Result:
        """`function` applied to every cell; `cells` are pytrees with a leading axis x."""
        # checkpoint: the backward pass recomputes a cell instead of storing its transforms (the lambda: a bound
        # method would be hashed with the traced parameters of the kernel)
        cell = jax.checkpoint(lambda arguments: function(*arguments))
        if cells[0].shape[0] <= self.cells_at_once:
            return jax.vmap(cell)(cells)
        return lax.map(cell, cells, batch_size=self.cells_at_once if self.cells_at_once > 1 else None)

    def over_groups(self, function: Callable[..., Result], *cells: PyTree) -> Result:
        """`function` applied to groups of at most `cells_at_once` cells, a divisor of nx; axis x stays in place."""
        nx = len(jax.tree.leaves(cells)[0])
        size = max(n for n in range(1, min(self.cells_at_once, nx) + 1) if nx % n == 0)
        groups = jax.tree.map(lambda a: a.reshape(-1, size, *a.shape[1:]), cells)
        # checkpoint: the backward pass recomputes a group instead of storing its stages
        results = lax.map(jax.checkpoint(lambda group: function(*group)), groups)
        return jax.tree.map(lambda a: a.reshape(nx, *a.shape[2:]), results)


def _known(memory: Retardation | NoMemory, cell: Cell) -> Callable[[Forces], Forces]:
    """The function that takes the new part of the stress anisotropy (`correlations.memory`) off a force."""
    if isinstance(memory, NoMemory):
        return lambda forces: forces
    new = memory.force(cell)
    return lambda forces: jnp.concatenate([forces[:3] - new, forces[3:]])


def _thermal(cell: Cell, diffusion: VelocityVector) -> Scalar:
    """The entropy production over dv^3 of forces of size 1/sqrt(kT/m) with the diffusion A_aa."""
    return jnp.sum(diffusion * cell.f) / cell.temperature
