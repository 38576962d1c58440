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

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ddco_jax.collisions.tensors import Component, Tensors, is_anisotropic, parity
from ddco_jax.kernels import Separable, Weights
from ddco_jax.plasma.arrays import Array, VelocityDistribution, VelocityVector
from ddco_jax.velocity import transforms
from ddco_jax.velocity.cell import Cell
from ddco_jax.velocity.differences import Forces

PAIRS = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
"""Independent components of a symmetric tensor."""
Label = tuple
"""A field or an output of the convolutions (`_fields`, `_outputs`)."""


class Tables(NamedTuple):
    """What the flux of one cell needs of the kernel at its density and temperature; collisions do not change it."""

    chi: tuple[Array, ...]
    """The factors chi(|c|), (nvx, nvy, nvz) each."""
    octants: tuple[tuple[Array, ...], ...]
    """For each group of products, the spectra of its kernels, (nvx, nvy, nvz) each."""


class _Group(NamedTuple):
    """Products that share factors chi; their convolutions add up before the inverse transforms."""

    fields: list[tuple[int, Label]]
    """(n, label) of each field that is transformed, made from the source chi_n f'."""
    outputs: list[tuple[int, Label]]
    """(m, label) of each field that is transformed back and multiplied by chi_m."""
    kernels: list[Component]
    mixing: transforms.Mixing


def transform_count(separable: Separable) -> tuple[int, int]:
    """Numbers of (forward, inverse) three-dimensional transforms in one evaluation."""
    groups = _groups(separable)
    return sum(len(group.fields) for group in groups), sum(len(group.outputs) for group in groups)


def arrays_at_once(separable: Separable) -> int:
    """Approximate number of arrays of the velocity grid's size that one evaluation holds.

    These are the octants of all kernels and, for the largest group of products, three arrays for each field and each
    output: one before the first pass of its transform, and two (cosine and sine parts) after it.
    """
    groups = _groups(separable)
    largest = max(3 * (len(group.fields) + len(group.outputs)) for group in groups)
    return largest + sum(len(group.kernels) for group in groups)


def tables(cell: Cell, separable: Separable) -> Tables:
    """The kernel at the density and temperature of a cell, ready for `collision_flux`."""
    return _tables(cell, separable, _groups(separable))


def _tables(cell: Cell, separable: Separable, groups: list[_Group]) -> Tables:
    speed, tensors = _norm(cell.velocity), Tensors(cell.grid, separable, cell.f.dtype)
    chi = tuple(jnp.ones_like(speed) if factor is None else factor(speed) for factor in separable.factors)
    with jax.named_scope("kernel_spectra"):
        return Tables(chi, tuple(tuple(map(tensors.octant, group.kernels)) for group in groups))


def collision_flux(
    cell: Cell, separable: Separable, known: Tables, forces: Forces, g: VelocityDistribution, own: Forces
) -> tuple[Forces, VelocityVector]:
    """p_j = dv^3 sum_j' omega_jj' g_j f_j' (own_j - q_j') and A_aa = dv^3 sum_j' omega_aa f_j' of one spatial cell.

    f and its forces q are those of all particles, g and `own` those of the particles whose flux is asked for: the same
    ones, or a tagged population.  `known` are the `tables` of the kernel at the cell's density and temperature.  Where
    the forces include the roughness (`velocity.differences`), the fluxes include A_aa g times the roughness.
    """
    f, c, q = cell.f, cell.velocity, forces[:3]
    flux, A = jnp.zeros_like(q), jnp.zeros_like(q)
    for place, (group, octants) in enumerate(zip(_groups(separable), known.octants, strict=True)):
        # a dependence on `flux` that the compiler cannot remove: groups run in turn, so only one holds its fields
        source = jnp.where(jnp.isnan(flux[0, 0, 0, 0]), jnp.nan, f) if place else f
        for m, found in _convolutions(group, octants, known.chi, source, c, q).items():
            flux = flux + known.chi[m] * jnp.stack([_flux_along(i, found, own[:3], c) for i in range(3)])
            A = A + known.chi[m] * jnp.stack([found["A", i, i] for i in range(3)])
    dv3 = cell.grid.dv3
    p = dv3 * g * flux
    return jnp.concatenate([p, dv3 * g * A * own[3:]]) if len(own) > 3 else p, dv3 * A


def diffusion(cell: Cell, separable: Separable) -> VelocityVector:
    """Diagonal A_aa(v) = dv^3 sum_v' omega_aa f(v') of the diffusion tensor of one spatial cell, V0^2/t0."""
    groups = _groups(separable, lambda label: label in [("A", i, i) for i in range(3)])
    known, A = _tables(cell, separable, groups), jnp.zeros_like(cell.velocity)
    for group, octants in zip(groups, known.octants, strict=True):
        for m, found in _convolutions(group, octants, known.chi, cell.f, cell.velocity, A).items():
            A = A + known.chi[m] * jnp.stack([found["A", i, i] for i in range(3)])
    return cell.grid.dv3 * A


def _convolutions(
    group: _Group,
    octants: tuple[Array, ...],
    chi: tuple[Array, ...],
    f: VelocityDistribution,
    c: VelocityVector,
    q: VelocityVector,
) -> dict[int, dict[Label, VelocityDistribution]]:
    """By m, the outputs by label, (nvx, nvy, nvz)."""
    sources = {n: f * chi[n] for n, _ in group.fields}
    fields = jnp.stack([_field_value(label, sources[n], c, q) for n, label in group.fields], 2)
    with jax.named_scope("convolutions"):
        values = transforms.convolve(fields, octants, group.mixing)
    found: dict[int, dict[Label, VelocityDistribution]] = {}
    for place, (m, label) in enumerate(group.outputs):
        found.setdefault(m, {})[label] = values[:, :, place]
    return found


def _flux_along(i: int, found: dict, q: VelocityVector, c: VelocityVector) -> VelocityDistribution:
    """A_ij q_j - B_i for one i."""
    p = sum(found["A", *sorted((i, j))] * q[j] for j in range(3))
    if ("B", i) in found:
        p = p - found["B", i]
    if ("U", 0, 0) in found:
        p = p - sum(found["U", *sorted((i, a))] * c[a] for a in range(3))
    return p


def _field_value(
    label: Label, source: VelocityDistribution, c: VelocityVector, q: VelocityVector
) -> VelocityDistribution:
    """A field labelled by `_fields`; off-diagonal moments are doubled, since ab and ba both count."""
    match label:
        case "mixed", (j, b):
            return source * (c[j] * q[b] + (c[b] * q[j] if j != b else 0))
        case _, (a, b), *_:
            source = source * c[a] * c[b] * (1 if a == b else 2)
    return source * q[label[2]] if label[0] == "driven" else source


def _groups(separable: Separable, wanted: Callable[[Label], bool] = lambda label: True) -> list[_Group]:
    """The products of a kernel, split into groups that share no chi, for the wanted outputs."""
    by_source: dict[int, dict[int, Weights]] = {}  # by n, then by m: each product counts for (m, n) and (n, m)
    for (m, n), weights in separable.weights.items():
        by_source.setdefault(n, {})[m] = weights
        by_source.setdefault(m, {})[n] = weights
    parts: list[set[int]] = []
    for n, row in by_source.items():
        joined = {n, *row}.union(*(part for part in parts if part & {n, *row}))
        parts = [part for part in parts if not part & joined] + [joined]
    return [_group({n: row for n, row in by_source.items() if n in part}, wanted) for part in parts]


def _group(by_source: dict[int, dict[int, Weights]], wanted: Callable[[Label], bool]) -> _Group:
    """The group of the products with these weights, by n and m, with the fields that enter a wanted output."""
    every = [w for row in by_source.values() for w in row.values()]
    halved = all(w.perpendicular is None for w in every)
    outputs = [(m, label) for m in sorted(by_source) for label in _outputs(every, halved) if wanted(label)]
    fields: list[tuple[int, Label]] = []
    kernels: list[Component] = []
    terms: list[list[tuple[int, int]]] = [[] for _ in outputs]
    for n, row in by_source.items():
        for field in _fields(row, halved):
            entered = False
            for place, (m, output) in enumerate(outputs):
                kernel = _kernel(row.get(m, Weights()), (m, n), output, field, halved)
                if kernel is not None:
                    kernels += [] if kernel in kernels else [kernel]
                    terms[place].append((len(fields), kernels.index(kernel)))
                    entered = True
            fields += [(n, field)] if entered else []
    inputs, parities = (tuple(_parity(label) for _, label in labels) for labels in (fields, outputs))
    return _Group(fields, outputs, kernels, transforms.Mixing(inputs, parities, tuple(map(tuple, terms))))


def _fields(weights: dict[int, Weights], halved: bool) -> list[Label]:
    """Labels of the fields that are transformed for one source chi_n f'; `halved` where l1 = 0 (see the module).

    ("moment", ab) is chi_n c'_a c'_b f', where ab is () or a pair; ("driven", ab, j) is that times q'_j; ("mixed", jb)
    is chi_n c'_j q'_b f' made symmetric.
    """
    moments: list[tuple] = [()] if any(w.isotropic is not None for w in weights.values()) else []
    anisotropic = any(map(is_anisotropic, weights.values()))
    fields: list[Label] = []
    for ab in [*moments, *(PAIRS if anisotropic else ())]:
        fields.append(("moment", ab))
        if not (ab and halved):
            fields += [("driven", ab, j) for j in range(3)]
    return fields + [("mixed", jb) for jb in PAIRS if anisotropic and halved]


def _outputs(every: list[Weights], halved: bool) -> list[Label]:
    """Labels of the fields that are transformed back for each m: ("A", i, j), ("B", i), ("U", i, a)."""
    outputs: list[Label] = [("A", *ij) for ij in PAIRS]
    if not halved or any(w.isotropic is not None for w in every):
        outputs += [("B", i) for i in range(3)]
    return outputs + [("U", *ia) for ia in PAIRS if halved and any(map(is_anisotropic, every))]


def _kernel(weights: Weights, product: tuple[int, int], output: Label, field: Label, halved: bool) -> Component | None:
    """The kernel through which a field enters an output; None where it does not."""
    match output, field:
        case ("A", i, j), ("moment", ab):
            indices, kind = (i, j, *ab), "S" if halved else "K"
        case ("B", i), ("driven", ab, j):
            indices, kind = (i, j, *ab), "K"
        case ("U", i, a), ("mixed", (j, b)):
            indices, kind = (i, a, j, b), "PP"
        case _:
            return None
    if len(indices) == 2:
        return Component.of("P", product, indices) if weights.isotropic is not None else None
    return Component.of(kind, product, indices) if is_anisotropic(weights) else None


def _parity(label: Label) -> transforms.Parity:
    """Parity of a field or an output along the axes."""
    return parity(tuple(i for part in label[1:] for i in (part if isinstance(part, tuple) else (part,))))


def _norm(c: VelocityVector) -> VelocityDistribution:
    """|c|, with a zero gradient at c = 0."""
    square = jnp.sum(c**2, 0)
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)
