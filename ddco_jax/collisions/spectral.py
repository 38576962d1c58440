"""The collision flux of Eq. (32) in O(N log N), for kernels given as separable products.

Since Pu = 0, Pr = 2 Pc' for r = c + c', so a product chi_m(|c|) chi_n(|c'|) of the kernel is

    omega_ij = chi_m chi_n' [ l0 P_ij + c'_a c'_b K_ijab ],   K_ijab = 4 [ l1 (P_ij P_ab - S_ijab) + l2 S_ijab ],
    S_ijab = (P_ia P_jb + P_ib P_ja)/2,

l0, l1, l2 and P depending on u alone, and the flux is p_i = f chi_m [ A_ij q_j - B_i ] with the convolutions

    A_ij = P_ij * (chi_n f') + K_ijab * (chi_n c'_a c'_b f'),
    B_i  = P_ij * (chi_n f' q'_j) + K_ijab * (chi_n c'_a c'_b f' q'_j).

All polynomial factors sit on the c' side, so a product takes 4 forward transforms for the isotropic part, 24
for the anisotropic one, and 9 inverse ones that all products with the same chi_m share.  (With the factors
on the c side it is 4 forward and 9 + 39 inverse ones.)
"""

import functools
import itertools
import operator

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ddco_jax._types import VelocityDistribution, VelocityVector
from ddco_jax.collisions import transforms
from ddco_jax.collisions.differences import Forces
from ddco_jax.grid import PhaseGrid
from ddco_jax.kernels import Separable, Weights

WHOLE, SLAB = 16384, 4096
"""Velocity points up to which all products of kernel and spectra are made at once, and in how large slabs beyond: what
stays in the cache is fast, and many small loops are not (measured)."""
PAIRS = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
"""Components of a symmetric tensor."""


def transform_count(separable: Separable, compact: bool = False) -> tuple[int, int]:
    """Numbers of (forward, inverse) three-dimensional transforms in one evaluation."""
    by_source = _by_source(separable)
    return _forward_count(by_source, compact), len(by_source) * (12 if compact else 9)


def arrays_at_once(separable: Separable, compact: bool = False) -> int:
    """About how many arrays of the velocity grid's size one evaluation holds: those of the largest group of products.

    A field and its spectrum, axis by axis, take 1 + 2 + 4 + 8; a sum of products 8; octants, fields before and after.
    """
    held = []
    for group in _groups(_by_source(separable)):
        inverse = len(group) * (12 if compact else 9)
        held.append(15 * _forward_count(group, compact) + 8 * len(group) * inverse + 15 * inverse + 45 * len(group))
    return max(held)


def _forward_count(by_source: dict, compact: bool) -> int:
    moments = 0
    for weights in by_source.values():
        moments += any(w.isotropic is not None for w in weights.values())
        moments += 6 * any(_is_anisotropic(w) for w in weights.values())
    return moments * (7 if compact else 4)


def collision_flux(grid: PhaseGrid, separable: Separable, f: VelocityDistribution, forces: Forces, drift) -> Forces:
    """p_j = dv^3 sum_j' omega_jj' f_j f_j' (q_j - q_j') for one spatial cell, and its curvature part (see `Forces`)."""
    q, R = forces
    c = peculiar_velocity(grid, drift, f.dtype)
    speed = _norm(c)
    chi = [jnp.ones_like(f) if factor is None else factor(speed) for factor in separable.factors]
    kernels = _KernelSpectra(grid, separable, f.dtype)
    driven = q if R is None else jnp.concatenate([q, R])
    total = Forces(jnp.zeros_like(q), None if R is None else jnp.zeros_like(R))
    for done, group in enumerate(_groups(_by_source(separable))):
        # no group begins before the last has ended, which no scheduler can undo, so that only one holds its spectra
        source = jnp.where(jnp.isnan(total.gradient[0, 0, 0, 0]), jnp.nan, f) if done else f
        total = jax.tree.map(operator.add, total, _group_flux(kernels, group, source, chi, c, driven, forces))
    return jax.tree.map(lambda p: grid.dv3 * f * p, total)


def _group_flux(kernels: "_KernelSpectra", by_source: dict, f, chi, c, driven, forces: Forces) -> Forces:
    """The part of the flux over dv^3 f of the products that connect some of the chi with each other, and no others."""
    q, R = forces
    places = sorted(by_source)  # the m that occur: every product is there with m and n exchanged too
    parts = []
    for n, weights in by_source.items():
        isotropic = any(w.isotropic is not None for w in weights.values())
        anisotropic = any(_is_anisotropic(w) for w in weights.values())
        moments = _source_moments(f * chi[n], c, isotropic, anisotropic)
        fields = jnp.concatenate([jnp.concatenate([s[None], s * driven]) for s in moments.values()])
        with jax.named_scope("forward_transforms"):
            spectra = transforms.forward(fields)
        rows = {m: kernels.rows(m, n, list(moments)) if m in weights else {} for m in places}
        with jax.named_scope("kernel_products"):
            parts.append(_apply(rows, spectra, compact=R is not None))
    with jax.named_scope("inverse_transforms"):
        convolutions = transforms.inverse(functools.reduce(operator.add, parts))
    convolutions = convolutions.reshape(len(places), -1, *f.shape)
    p, p_R = jnp.zeros_like(q), None if R is None else jnp.zeros_like(R)
    for m, fields in zip(places, convolutions, strict=True):
        A = {pair: fields[k] for k, pair in enumerate(PAIRS)}
        Aq = [sum(A[min(i, j), max(i, j)] * q[j] for j in range(3)) for i in range(3)]
        p = p + chi[m] * (jnp.stack(Aq) - fields[6:9])
        if R is not None:
            p_R = p_R + chi[m] * (fields[:3] * R - fields[9:])
    return Forces(p, p_R)


def _source_moments(source: VelocityDistribution, c: VelocityVector, isotropic: bool, anisotropic: bool) -> dict:
    """chi_n f' and the six chi_n c'_a c'_b f' (off-diagonal ones doubled, since ab and ba both count), by (a, b)."""
    moments: dict[tuple[int, ...], VelocityDistribution] = {(): source} if isotropic else {}
    if anisotropic:
        moments |= {(a, b): source * c[a] * c[b] * (1 if a == b else 2) for a, b in PAIRS}
    return moments


def _apply(rows, spectra, compact: bool):
    """Spectra of A (6), B (3) and the curvature part of B (3) for each m: a small matrix product per frequency.

    Runs over slabs of a few vx frequencies.  `rows[m]` maps (i, j) to the list of (place of the moment among the
    sources, octant spectrum, parity).
    """
    stride = 7 if compact else 4

    def slab(values):
        rows, spectra = values
        field = [spectra[:, k] for k in range(spectra.shape[1])]
        none = jnp.zeros_like(field[0])
        outputs = []
        for row in rows.values():
            outputs += [_sum_products([(row[ij], 0)], field, stride) if row else none for ij in PAIRS]
            for i in range(3):
                terms = [(row[min(i, j), max(i, j)], 1 + j) for j in range(3)] if row else []
                outputs.append(_sum_products(terms, field, stride) if row else none)
            if compact:
                outputs += [_sum_products([(row[i, i], 4 + i)], field, stride) if row else none for i in range(3)]
        return jnp.stack(outputs, 1)

    # parities and places are static: only the octant spectra travel through the loop
    octants, static = eqx.partition(rows, eqx.is_array)
    together = _together(len(spectra), *spectra.shape[-3::2])
    return lax.map(
        lambda values: slab((eqx.combine(values[0], static), values[1])),
        (octants, spectra),
        batch_size=together if together > 1 else None,
    )


def _together(nx: int, ny: int, nz: int) -> int:
    """How many vx frequencies make a slab: a divisor of nx, or there would be a remainder to compile."""
    if nx * ny * nz <= WHOLE:
        return nx
    return max(k for k in range(1, nx + 1) if nx % k == 0 and (k == 1 or k * ny * nz <= SLAB))


def _sum_products(terms, field, stride: int):
    """Sum over moments of K * field, for pairs (row entries, offset of the field within its moment's stride)."""
    products = [
        transforms.multiply(octant, parity, field[stride * place + offset])
        for entries, offset in terms
        for place, octant, parity in entries
    ]
    return functools.reduce(operator.add, products)


class _KernelSpectra:
    """Octant spectra of the tensors l0 P and K of each product, made once per evaluation."""

    def __init__(self, grid: PhaseGrid, separable: Separable, dtype):
        self.separable, self.dtype, self.grid = separable, dtype, grid
        offsets = [np.arange(n) * dv for n, dv in zip(grid.nv, grid.dv, strict=True)]
        u = np.stack(np.meshgrid(*offsets, indexing="ij"))
        square = np.sum(u**2, 0)
        self.distinct = jnp.asarray(square > 0)
        self.speed = jnp.asarray(np.sqrt(np.where(square > 0, square, 1)), dtype)
        self.direction = jnp.asarray(u / np.sqrt(np.where(square > 0, square, 1)), dtype)
        axes = list(zip(grid.nv, grid.dv, strict=True))
        self.symmetries = [p for p in itertools.permutations(range(3)) if [axes[i] for i in p] == axes]
        self.made: dict = {}
        self.radial: dict = {}

    def rows(self, m: int, n: int, moments: list) -> dict:
        """For each pair (i, j): (place, octant, parity) of the kernel component of every source moment."""
        weights = self.separable.weights[min(m, n), max(m, n)]
        rows: dict = {}
        for ij, (place, ab) in itertools.product(PAIRS, enumerate(moments)):
            present = _is_anisotropic(weights) if ab else weights.isotropic is not None
            if present:
                entry = (place, *self._spectrum(weights, (min(m, n), max(m, n)), (*ij, *ab)))
                rows.setdefault(ij, []).append(entry)
        return rows

    def _spectrum(self, weights: Weights, product, component):
        """Octant spectrum and parity of one component, from an equal or axis-permuted one where it was made."""
        canonical, axes = _canonical(component, self.symmetries)
        if (product, canonical) not in self.made:
            values = self._isotropic_values if len(component) == 2 else self._anisotropic_values
            spectrum = transforms.kernel_spectrum(values(weights, *canonical), _parity(canonical))
            self.made[product, canonical] = spectrum
        octant = self.made[product, canonical]
        return (octant if axes == (0, 1, 2) else jnp.transpose(octant, axes)), _parity(component)

    def _P(self, i, j):
        projector = int(i == j) - self.direction[i] * self.direction[j]
        return jnp.where(self.distinct, projector, 0)

    def _isotropic_values(self, weights: Weights, i, j):
        return self._radial(weights.isotropic) * self._P(i, j)

    def _anisotropic_values(self, weights: Weights, i, j, a, b):
        P = self._P
        S = (P(i, a) * P(j, b) + P(i, b) * P(j, a)) / 2
        values = jnp.zeros_like(self.speed)
        if weights.perpendicular is not None:
            values += self._radial(weights.perpendicular) * (P(i, j) * P(a, b) - S)
        if weights.parallel is not None:
            values += self._radial(weights.parallel) * S
        return 4 * values

    def _radial(self, function):
        """A weight at all |u| of the grid; traced once for all components, which keeps compilation short."""
        if id(function) not in self.radial:
            self.radial[id(function)] = (function(self.speed), function)  # the function too: its id stays its own
        return self.radial[id(function)][0]


def _parity(component) -> transforms.Parity:
    """Whether a tensor component is odd along each axis: each index brings one factor u_axis."""
    return component.count(0) % 2, component.count(1) % 2, component.count(2) % 2


def _canonical(component, symmetries):
    """The representative of a component under the symmetries of the tensor and the axis permutations of the grid.

    Returns it with the axes argument that transposes its octant into the component's.
    """

    def order(indices):
        pairs = [tuple(sorted(indices[k : k + 2])) for k in range(0, len(indices), 2)]
        return tuple(itertools.chain(*sorted(pairs)))

    return min((order(tuple(axes[i] for i in component)), axes) for axes in symmetries)


def _by_source(separable: Separable) -> dict[int, dict[int, Weights]]:
    """Weights by source factor n, then by m, with the exchanged product of each pair written out."""
    table: dict[int, dict[int, Weights]] = {}
    for (m, n), weights in separable.weights.items():
        table.setdefault(n, {})[m] = weights
        table.setdefault(m, {})[n] = weights
    return table


def _groups(by_source: dict[int, dict[int, Weights]]) -> list[dict[int, dict[int, Weights]]]:
    """The table in parts that share no chi: products of one part add up before the inverse transforms."""
    groups: list[dict[int, dict[int, Weights]]] = []
    for n, weights in by_source.items():
        joined = [g for g in groups if n in g or any(m in g for m in weights)]
        merged = {k: w for g in joined for k, w in g.items()} | {n: weights}
        groups = [g for g in groups if all(g is not h for h in joined)] + [merged]
    return groups


def _is_anisotropic(weights: Weights) -> bool:
    return weights.perpendicular is not None or weights.parallel is not None


def peculiar_velocity(grid: PhaseGrid, drift, dtype) -> VelocityVector:
    """c = v - v-bar on the grid."""
    axes = [jnp.asarray(v, dtype) - drift[i] for i, v in enumerate(grid.velocities)]
    return jnp.stack(jnp.meshgrid(*axes, indexing="ij"))


def _norm(c: VelocityVector) -> VelocityDistribution:
    """|c|, with a zero gradient at c = 0."""
    square = jnp.sum(c**2, 0)
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)
