"""The collision flux of Eq. (32) in O(N log N), for kernels given as separable products.

Since Pu = 0, Pr = 2 Pc' for r = c + c', so a product chi_m(|c|) chi_n(|c'|) of the kernel is

    omega_ij = chi_m chi_n' [ l0 P_ij + c'_a c'_b K_ijab ],   K_ijab = 4 [ l1 (P_ij P_ab - S_ijab) + l2 S_ijab ],
    S_ijab = (P_ia P_jb + P_ib P_ja)/2,

where l0, l1, l2 and P depend on u alone.  The flux is p_i = f chi_m [ A_ij q_j - B_i ] with the convolutions

    A_ij = P_ij * (chi_n f') + K_ijab * (chi_n c'_a c'_b f'),
    B_i  = P_ij * (chi_n f' q'_j) + K_ijab * (chi_n c'_a c'_b f' q'_j).

All polynomial factors are on the c' side.  So a product takes 4 forward transforms for the isotropic part, 24 for the
anisotropic one, and 9 inverse ones that all products with the same chi_m share.  (With the factors on the c side it
would take 4 forward and 9 + 39 inverse ones.)

Where l1 = 0 the anisotropic part is 4 l2 (Pc)_i (Pc')_j, since Pc = Pc', and its contribution to B is

    B_i = c_a U_ia,   U_ia = 4 l2 P_ia P_jb * (chi_n c'_b f' q'_j),

symmetric in i, a and in j, b: 12 forward transforms and 6 more inverse ones instead of 24 forward ones.
"""

import functools
import itertools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import DTypeLike

from ddco_jax.kernels import Separable, Weights
from ddco_jax.plasma.arrays import Array, VelocityDistribution, VelocityVector
from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.velocity import transforms
from ddco_jax.velocity.cell import Cell
from ddco_jax.velocity.differences import Forces

WHOLE, SLAB = 16384, 4096
"""Up to WHOLE velocity points, all products of kernel and spectra are made at once; beyond, in slabs of at most SLAB
points, which stay in the cache.  On small grids many small loops would be slower (measured)."""
PAIRS = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
"""Independent components of a symmetric tensor."""


def transform_count(separable: Separable) -> tuple[int, int]:
    """Numbers of (forward, inverse) three-dimensional transforms in one evaluation."""
    counts = [_count(group) for group in _groups(_by_source(separable))]
    return sum(forward for forward, _ in counts), sum(inverse for _, inverse in counts)


def arrays_at_once(separable: Separable) -> int:
    """Approximate number of arrays of the velocity grid's size that one evaluation holds, in its largest group.

    A forward transform takes 1 + 2 + 4 + 8 for the field and its spectrum after each axis, an inverse one as much; a
    sum of products 8 for each source; octants, and the fields before and after, 45 for each source.
    """
    held = []
    for group in _groups(_by_source(separable)):
        forward, inverse = _count(group)
        held.append(15 * forward + 8 * len(group) * inverse + 15 * inverse + 45 * len(group))
    return max(held)


def _count(group: dict) -> tuple[int, int]:
    """Forward and inverse transforms of one group."""
    halved = _is_halved(group)
    forward = sum(len(_fields(weights, halved)) for weights in group.values())
    return forward, len(group) * len(_outputs(group, halved))


def _is_halved(group: dict) -> bool:
    """Whether B of the anisotropic part is computed as c_a U_ia, which needs l1 = 0."""
    return not any(w.perpendicular is not None for row in group.values() for w in row.values())


def _fields(weights: dict[int, Weights], halved: bool) -> list[tuple]:
    """Labels of the fields that are transformed for one source chi_n f'.

    ("moment", ab) is chi_n c'_a c'_b f', where ab is () or a pair; ("driven", ab, j) is that times q'_j; ("mixed", jb)
    is chi_n c'_j q'_b f' made symmetric.
    """
    moments: list[tuple] = [()] if any(w.isotropic is not None for w in weights.values()) else []
    anisotropic = any(_is_anisotropic(w) for w in weights.values())
    fields: list[tuple] = []
    for ab in [*moments, *(PAIRS if anisotropic else ())]:
        fields.append(("moment", ab))
        if not (ab and halved):
            fields += [("driven", ab, j) for j in range(3)]
    return fields + [("mixed", jb) for jb in PAIRS if anisotropic and halved]


def _outputs(group: dict, halved: bool) -> list[tuple]:
    """Labels of the fields that are transformed back for each m: ("A", i, j), ("B", i), ("U", i, a)."""
    every = [w for row in group.values() for w in row.values()]
    outputs: list[tuple] = [("A", *ij) for ij in PAIRS]
    if not halved or any(w.isotropic is not None for w in every):
        outputs += [("B", i) for i in range(3)]
    return outputs + [("U", *ia) for ia in PAIRS if halved and any(map(_is_anisotropic, every))]


def _component(output: tuple, field: tuple) -> tuple | None:
    """Indices of the kernel component through which a field enters an output; None where it does not."""
    match output, field:
        case ("A", i, j), ("moment", ab):
            return i, j, *ab
        case ("B", i), ("driven", ab, j):
            return min(i, j), max(i, j), *ab
        case ("U", i, a), ("mixed", (j, b)):
            return i, a, j, b
    return None


def collision_flux(cell: Cell, separable: Separable, forces: Forces) -> tuple[Forces, VelocityVector]:
    """p_j = dv^3 sum_j' omega_jj' f_j f_j' (q_j - q_j') and A_aa = dv^3 sum_j' omega_aa f_j' of one spatial cell.

    Where the forces include the roughness (`velocity.differences`), the fluxes include A_aa f times the roughness.
    """
    f, speed = cell.f, _norm(cell.velocity)
    chi = [jnp.ones_like(f) if factor is None else factor(speed) for factor in separable.factors]
    kernels = _KernelSpectra(cell.grid, separable, f.dtype)
    total = jnp.zeros((6, *f.shape), f.dtype)
    for done, group in enumerate(_groups(_by_source(separable))):
        # a dependence on `total` that the compiler cannot remove: groups run in turn, so only one holds its spectra
        source = jnp.where(jnp.isnan(total[0, 0, 0, 0]), jnp.nan, f) if done else f
        total = total + _group_flux(kernels, group, source, chi, cell.velocity, forces[:3])
    q, A = total[:3], cell.grid.dv3 * total[3:]
    return jnp.concatenate([cell.grid.dv3 * f * q, f * A * forces[3:]]) if len(forces) > 3 else cell.grid.dv3 * f * q, A


def diffusion(cell: Cell, separable: Separable) -> VelocityVector:
    """Diagonal A_aa = dv^3 sum' omega_aa f' of the diffusion tensor of one spatial cell at all velocities, V0^2/t0."""
    f, speed = cell.f, _norm(cell.velocity)
    chi = [jnp.ones_like(f) if factor is None else factor(speed) for factor in separable.factors]
    kernels = _KernelSpectra(cell.grid, separable, f.dtype)
    total = jnp.zeros_like(cell.velocity)
    for group in _groups(_by_source(separable)):
        halved, outputs = _is_halved(group), [("A", i, i) for i in range(3)]

        def moments(n: int, group: dict = group, halved: bool = halved) -> tuple[list[tuple], Array]:
            labels = [label for label in _fields(group[n], halved) if label[0] == "moment"]
            return labels, _field_values(labels, f * chi[n], cell.velocity, None)

        for m, fields in _convolutions(kernels, group, moments, outputs, halved).items():
            total = total + chi[m] * fields
    return cell.grid.dv3 * total


def _group_flux(
    kernels: "_KernelSpectra",
    by_source: dict,
    f: VelocityDistribution,
    chi: list[VelocityDistribution],
    c: VelocityVector,
    q: VelocityVector,
) -> Array:
    """Contribution of one group to the flux over dv^3 f and to A_aa over dv^3, (6, nvx, nvy, nvz)."""
    halved = _is_halved(by_source)
    outputs = _outputs(by_source, halved)

    def source(n: int) -> tuple[list[tuple], Array]:
        labels = _fields(by_source[n], halved)
        return labels, _field_values(labels, f * chi[n], c, q)

    total = jnp.zeros((6, *f.shape), f.dtype)
    for m, fields in _convolutions(kernels, by_source, source, outputs, halved).items():
        found = dict(zip(outputs, fields, strict=True))
        rows = [_flux_along(i, found, q, c) for i in range(3)] + [found["A", i, i] for i in range(3)]
        total = total + chi[m] * jnp.stack(rows)
    return total


def _convolutions(kernels: "_KernelSpectra", by_source: dict, source: Callable, outputs: list, halved: bool) -> dict:
    """By m, the outputs (len(outputs), nvx, nvy, nvz); source(n) gives the labels and fields of the source chi_n f'."""
    places = sorted(by_source)  # also all m: every product is listed with m and n exchanged too
    parts = []
    for n, weights in by_source.items():
        labels, fields = source(n)
        with jax.named_scope("forward_transforms"):
            spectra = transforms.forward(fields)
        terms = [
            [kernels.terms(output, labels, m, n, halved) if m in weights else [] for output in outputs] for m in places
        ]
        with jax.named_scope("kernel_products"):
            parts.append(_apply(terms, kernels.octants, spectra))
    with jax.named_scope("inverse_transforms"):
        convolutions = transforms.inverse(functools.reduce(operator.add, parts))
    return dict(zip(places, convolutions.reshape(len(places), -1, *convolutions.shape[1:]), strict=True))


def _flux_along(i: int, found: dict, q: VelocityVector, c: VelocityVector) -> VelocityDistribution:
    """A_ij q_j - B_i for one i."""
    p = sum(found["A", *sorted((i, j))] * q[j] for j in range(3))
    if ("B", i) in found:
        p = p - found["B", i]
    if ("U", 0, 0) in found:
        p = p - sum(found["U", *sorted((i, a))] * c[a] for a in range(3))
    return p


def _field_values(
    labels: list[tuple], source: VelocityDistribution, c: VelocityVector, driven: VelocityVector | Any
) -> Array:
    """Values of the fields labelled by `_fields`; off-diagonal moments are doubled, since ab and ba both count."""
    moments: dict[tuple, VelocityDistribution] = {(): source}
    moments |= {(a, b): source * c[a] * c[b] * (1 if a == b else 2) for a, b in PAIRS}
    values = []
    for label in labels:
        match label:
            case "moment", ab:
                values.append(moments[ab])
            case "driven", ab, j:
                values.append(moments[ab] * driven[j])
            case _, (j, b):
                values.append(source * (c[j] * driven[b] + (c[b] * driven[j] if j != b else 0)))
    return jnp.stack(values)


def _apply(terms: list[list[list[tuple]]], octants: dict, spectra: transforms.Spectra) -> transforms.Spectra:
    """Spectra of all outputs for each m: a small matrix product per frequency.

    Runs over slabs of a few vx frequencies.  `terms[m]` holds for each output the list of (index of the field among the
    spectra, key of the octant spectrum, parity).
    """
    used = list(dict.fromkeys(key for row in terms for output in row for _, key, _ in output))

    def slab(values: tuple[list[Array], Array]) -> Array:
        octants, spectra = dict(zip(used, values[0], strict=True)), values[1]
        field = [spectra[:, k] for k in range(spectra.shape[1])]
        sums = []
        for output in (output for row in terms for output in row):
            products = [transforms.multiply(octants[key], parity, field[place]) for place, key, parity in output]
            sums.append(functools.reduce(operator.add, products) if products else jnp.zeros_like(field[0]))
        return jnp.stack(sums, 1)

    together = _together(len(spectra), *spectra.shape[-3::2])
    return lax.map(
        slab,
        ([octants[key] for key in used], spectra),
        batch_size=together if together > 1 else None,
    )


def _together(nx: int, ny: int, nz: int) -> int:
    """Number of vx frequencies per slab: a divisor of nx, so that no remainder has to be compiled."""
    if nx * ny * nz <= WHOLE:
        return nx
    return max(k for k in range(1, nx + 1) if nx % k == 0 and (k == 1 or k * ny * nz <= SLAB))


class _KernelSpectra:
    """Octant spectra of the tensors l0 P and K of each product, and of 4 l2 P_ij P_ab, made once per evaluation."""

    def __init__(self, grid: PhaseGrid, separable: Separable, dtype: DTypeLike) -> None:
        self.separable, self.dtype, self.grid = separable, dtype, grid
        offsets = [np.arange(n) * dv for n, dv in zip(grid.nv, grid.dv, strict=True)]
        u = np.stack(np.meshgrid(*offsets, indexing="ij"))
        square = np.sum(u**2, 0)
        self.distinct = jnp.asarray(square > 0)
        speed = np.sqrt(np.where(square > 0, square, 1))
        self.direction = jnp.asarray(u / speed, dtype)
        # a cubic grid has about N^(2/3) distinct speeds: radial functions are evaluated once for each
        _, first, place = np.unique(np.round(np.log(speed), 13), return_index=True, return_inverse=True)
        self.speeds = jnp.asarray(speed.ravel()[first], dtype)
        self.place = jnp.asarray(place.reshape(grid.nv), np.int32)
        axes = list(zip(grid.nv, grid.dv, strict=True))
        self.symmetries = [p for p in itertools.permutations(range(3)) if [axes[i] for i in p] == axes]
        self.octants: dict = {}
        self.radial: dict = {}

    def terms(self, output: tuple, labels: list[tuple], m: int, n: int, halved: bool) -> list[tuple]:
        """(index, key of the octant, parity) of every field of the source n that enters an output at m."""
        product = min(m, n), max(m, n)
        weights = self.separable.weights[product]
        found = []
        for place, label in enumerate(labels):
            component = _component(output, label)
            if component is None:
                continue
            if _is_anisotropic(weights) if len(component) == 4 else weights.isotropic is not None:
                symmetric = halved and label[0] == "moment" and len(component) == 4
                make = self._symmetric if symmetric else self._octant
                found.append((place, make(weights, product, component, halved), _parity(component)))
        return found

    def _octant(self, weights: Weights, product: tuple[int, int], component: tuple[int, ...], halved: bool) -> tuple:
        """Key of the octant spectrum of one component, made from that of its canonical one by permuting the axes."""
        canonical, axes = _canonical(component, self.symmetries)
        first, key = (product, canonical, (0, 1, 2)), (product, canonical, axes)
        if first not in self.octants:
            if len(component) == 2:
                values = self._radial(weights.isotropic) * self._P(*canonical)
            elif halved:
                values = 4 * self._radial(weights.parallel) * self._P(*canonical[:2]) * self._P(*canonical[2:])
            else:
                values = self._anisotropic_values(weights, *canonical)
            self.octants[first] = transforms.kernel_spectrum(values, _parity(canonical))
        if key not in self.octants:
            self.octants[key] = jnp.transpose(self.octants[first], axes)
        return key

    def _symmetric(self, weights: Weights, product: tuple[int, int], component: tuple[int, ...], halved: bool) -> tuple:
        """Key of the octant spectrum of K_ijab = 4 l2 S_ijab, the mean of two products 4 l2 P P."""
        i, j, a, b = component
        parts = sorted(self._octant(weights, product, ab, halved) for ab in ((i, a, j, b), (i, b, j, a)))
        if parts[0] == parts[1]:
            return parts[0]
        key = ("mean", *parts)
        if key not in self.octants:
            self.octants[key] = (self.octants[parts[0]] + self.octants[parts[1]]) / 2
        return key

    def _P(self, i: int, j: int) -> VelocityDistribution:
        projector = int(i == j) - self.direction[i] * self.direction[j]
        return jnp.where(self.distinct, projector, 0)

    def _anisotropic_values(self, weights: Weights, i: int, j: int, a: int, b: int) -> VelocityDistribution:
        P = self._P
        S = (P(i, a) * P(j, b) + P(i, b) * P(j, a)) / 2
        values = jnp.zeros(self.grid.nv, self.dtype)
        if weights.perpendicular is not None:
            values += self._radial(weights.perpendicular) * (P(i, j) * P(a, b) - S)
        if weights.parallel is not None:
            values += self._radial(weights.parallel) * S
        return 4 * values

    def _radial(self, function: Callable[[Array], Array] | Any) -> VelocityDistribution:
        """A weight at all |u| of the grid; traced once for all components, which keeps compilation short."""
        if id(function) not in self.radial:
            values = function(self.speeds)[self.place]
            self.radial[id(function)] = (values, function)  # holding the function keeps its id unique
        return self.radial[id(function)][0]


def _parity(component: tuple[int, ...]) -> transforms.Parity:
    """Whether a tensor component is odd (1) along each axis: each index contributes one factor u_axis."""
    return component.count(0) % 2, component.count(1) % 2, component.count(2) % 2


def _canonical(
    component: tuple[int, ...], symmetries: Sequence[tuple[int, ...]]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The representative of a component under the symmetries of the tensor and the axis permutations of the grid.

    Returns (representative, axes): transposed by `axes`, its octant is that of the component.
    """

    def order(indices: tuple[int, ...]) -> tuple[int, ...]:
        pairs = [tuple(sorted(indices[k : k + 2])) for k in range(0, len(indices), 2)]
        return tuple(itertools.chain(*sorted(pairs)))

    return min((order(tuple(axes[i] for i in component)), axes) for axes in symmetries)


def _by_source(separable: Separable) -> dict[int, dict[int, Weights]]:
    """Weights by source factor n, then by m; each product is listed under both (m, n) and (n, m)."""
    table: dict[int, dict[int, Weights]] = {}
    for (m, n), weights in separable.weights.items():
        table.setdefault(n, {})[m] = weights
        table.setdefault(m, {})[n] = weights
    return table


def _groups(by_source: dict[int, dict[int, Weights]]) -> list[dict[int, dict[int, Weights]]]:
    """The table split into groups that share no chi; the products of a group add up before the inverse transforms."""
    groups: list[dict[int, dict[int, Weights]]] = []
    for n, weights in by_source.items():
        joined = [g for g in groups if n in g or any(m in g for m in weights)]
        merged = {k: w for g in joined for k, w in g.items()} | {n: weights}
        groups = [g for g in groups if all(g is not h for h in joined)] + [merged]
    return groups


def _is_anisotropic(weights: Weights) -> bool:
    return weights.perpendicular is not None or weights.parallel is not None


def _norm(c: VelocityVector) -> VelocityDistribution:
    """|c|, with a zero gradient at c = 0."""
    square = jnp.sum(c**2, 0)
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)
