"""The collision operator: fast = direct, exact conservation, entropy, symmetries."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import CUBIC, SMALL, assert_conserved, random_low_rank, random_positive, shared_low_rank, slow_but

from ddco_jax import CollisionOperator, PhaseGrid, initial, kernels
from ddco_jax.collisions.spectral import arrays_at_once, transform_count
from ddco_jax.correlations import AGED
from ddco_jax.kernels.store import load_kernel
from ddco_jax.plasma.moments import power_moments
from ddco_jax.velocity import positivity, transforms
from ddco_jax.velocity.differences import Differences

KERNELS = ("landau", "maxwell", "low-rank", "shared", "isotropic", "parallel", "mixed", "ddco")
PAPER, DEFAULT = ("log", "central"), ("ratio", "eighth")
FORMS = [PAPER, ("log", "fourth"), ("ratio", "central"), ("ratio", "fourth"), ("ratio", "sixth"), DEFAULT]
# the form of the force and the kernel meet in one place, so every form is tried with two kernels, every kernel with one
CASES = [("landau", *form) for form in FORMS] + [(k, *DEFAULT) for k in KERNELS[1:]] + [("low-rank", *PAPER)]
FAST = [("landau", *PAPER), ("low-rank", *PAPER)] + [(k, *DEFAULT) for k in ("landau", "shared", "ddco")]
each_case = pytest.mark.parametrize(("name", "force", "differences"), slow_but(FAST, CASES))


@functools.cache
def make(name):
    """One kernel of each kind, the same object in all tests, so that an operator is compiled once for all of them."""
    rng = np.random.default_rng(3)
    return {
        "ddco": lambda: load_kernel("ddco"),
        "landau": kernels.Landau,
        "maxwell": kernels.MaxwellMolecules,
        "shared": shared_low_rank,
        "low-rank": lambda: random_low_rank(rng, (1, 1, 1)),
        "isotropic": lambda: random_low_rank(rng, (2, 0, 0)),
        "parallel": lambda: random_low_rank(rng, (0, 0, 1)),  # no perpendicular weight: B is c_a U_ia
        "mixed": lambda: random_low_rank(rng, (1, 0, 1)),
    }[name]()


def with_drift(rng, grid):
    """Random positive f whose drift is far from zero and differs between cells."""
    f = np.array(random_positive(rng, grid.shape))
    tilt = np.exp(0.6 * grid.vx[:, None, None] - 0.4 * grid.vy[None, :, None] + 0.3 * grid.vz[None, None, :])
    f[0] *= tilt
    return jnp.asarray(f)


@each_case
def test_spectral_equals_direct(name, force, differences, rng):
    """To 1e-12 of the largest value: random kernels, with drift, on a grid with three different axes."""
    kernel, f = make(name), with_drift(rng, SMALL)
    scheme = {"force": force, "differences": differences}
    fast, direct = (CollisionOperator(SMALL, kernel, method, **scheme)(f) for method in ("spectral", "direct"))
    assert np.max(np.abs(fast - direct)) < 1e-12 * np.max(np.abs(direct))
    assert np.max(np.abs(direct)) > 1e-3


@pytest.mark.parametrize("name", slow_but(["ddco"], ["ddco", "landau", "low-rank", "parallel"]))
def test_diffusion_is_the_sum_over_partners(name, rng):
    """By transforms as by the direct sum, at all velocities."""
    kernel, f = make(name), with_drift(rng, SMALL)
    fast = CollisionOperator(SMALL, kernel).diffusion(f)
    direct = CollisionOperator(SMALL, kernel, "direct").diffusion(f)
    assert fast.shape == (2, 3, *SMALL.nv)
    assert np.max(np.abs(fast - direct)) < 1e-12 * np.max(np.abs(direct))
    assert np.min(np.max(direct, (2, 3, 4))) > 1e-3


@pytest.mark.slow
def test_products_that_share_no_factor_follow_one_another(rng):
    """Two triples in g1 make six such groups: the sum is right, and only one group is in memory at a time."""
    grid, kernel = PhaseGrid(1.0, 1, (3.0, 3.0, 3.0), (14, 14, 14)), random_low_rank(rng, (0, 2, 0))
    f = with_drift(rng, grid)
    compiled = jax.jit(lambda f: CollisionOperator(grid, kernel)(f)).lower(f).compile()
    direct = CollisionOperator(grid, kernel, "direct")(f)
    assert np.max(np.abs(compiled(f) - direct)) < 1e-12 * np.max(np.abs(direct))
    separable = kernel.separable(1.0, 1.0)
    array, held = f[0].nbytes, arrays_at_once(separable)
    assert held < 8 * sum(transform_count(separable))  # less than the spectra of all would take
    assert compiled.memory_analysis().temp_size_in_bytes < 2 * held * array


@pytest.mark.slow
def test_convolutions_slab_by_slab_are_those_of_the_whole_grid(rng, monkeypatch):
    grid = PhaseGrid(1.0, 1, (2.0, 2.2, 2.4), (8, 6, 7))
    f = random_positive(rng, grid.shape)
    # two objects of one kernel, or the second operator is the first, compiled
    kernel, same = make("low-rank"), make.__wrapped__("low-rank")
    whole = CollisionOperator(grid, kernel)(f)
    monkeypatch.setattr(transforms, "SLAB", 1)
    slabs = CollisionOperator(grid, same)(f)
    assert np.max(np.abs(slabs - whole)) < 1e-14 * np.max(np.abs(whole))


def test_spectral_by_fft_equals_direct(rng, monkeypatch):
    """The same where the axes are too long for dense transforms."""
    monkeypatch.setattr(transforms, "DENSE_LIMIT", 0)
    f = with_drift(rng, SMALL)
    kernel = shared_low_rank()  # not that of the other tests: its operator is compiled with dense transforms
    fast = CollisionOperator(SMALL, kernel)(f)
    direct = CollisionOperator(SMALL, kernel, "direct")(f)
    assert np.max(np.abs(fast - direct)) < 1e-12 * np.max(np.abs(direct))


def test_direct_is_the_printed_sum(rng):
    """Eq. (32) written out with plain loops for one kernel and a tiny grid."""
    grid = PhaseGrid(1.0, 1, (1.0, 1.2, 1.4), (3, 4, 3))
    kernel = random_low_rank(rng, (1, 1, 1))
    f = np.asarray(random_positive(rng, grid.shape))[0]
    v = np.stack(np.meshgrid(*grid.velocities, indexing="ij"), -1)

    def D(axis):
        n, dv = grid.nv[axis], grid.dv[axis]
        matrix = (np.eye(n, k=1) - np.eye(n, k=-1)) / (2 * dv)
        matrix[0, :3] = np.array([-3, 4, -1]) / (2 * dv)
        matrix[-1, -3:] = np.array([1, -4, 3]) / (2 * dv)
        return matrix

    log = np.log(f)
    q = np.stack([np.moveaxis(np.tensordot(D(a), log, (1, a)), 0, a) for a in range(3)], -1)
    rho = f.sum() * grid.dv3
    drift = np.einsum("abc,abci->i", f, v) * grid.dv3 / rho
    T = np.einsum("abc,abci->", f, (v - drift) ** 2) * grid.dv3 / rho / 3
    p = np.zeros_like(q)
    for j, j_ in itertools.product(np.ndindex(*grid.nv), repeat=2):
        omega = np.asarray(kernel(*(jnp.asarray(a) for a in (v[j], v[j_], drift, rho, T))))
        p[j] += grid.dv3 * omega @ (q[j] - q[j_]) * f[j] * f[j_]
    expected = sum(np.moveaxis(np.tensordot(-D(a).T, p[..., a], (1, a)), 0, a) for a in range(3))
    op = CollisionOperator(grid, kernel, "direct", force="log", differences="central")
    actual = op(jnp.asarray(f)[None])[0]
    assert np.allclose(actual, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


@pytest.mark.optimised
@pytest.mark.parametrize("method", ["spectral", "direct"])
@each_case
def test_conservation_with_f_nonzero_at_the_edge(name, force, differences, method, rng):
    """Mass, momentum and energy moments of C at 1e-14 of their absolute sums, cell by cell."""
    f = with_drift(rng, SMALL)
    assert float(jnp.max(f[:, 0])) > 0.1 * float(jnp.max(f))  # as large at the edge as inside
    c = CollisionOperator(SMALL, make(name), method, force=force, differences=differences)(f)
    assert_conserved(SMALL, c)
    assert np.all(np.sum(np.abs(c), (1, 2, 3)) * SMALL.dv3 > 1e-2)  # something happened


def test_conservation_notices_a_broken_divergence(rng, monkeypatch):
    """The check above fails when D+ is the plain central difference with zero values outside."""

    def plain(self, p):
        grid = self.grid
        padded = [jnp.pad(p[a], [(1, 1) if b == a else (0, 0) for b in range(3)]) for a in range(3)]
        ends = [[jax.lax.slice_in_dim(x, k, x.shape[a] - 2 + k, axis=a) for k in (0, 2)] for a, x in enumerate(padded)]
        return sum((high - low) / (2 * dv) for (low, high), dv in zip(ends, grid.dv, strict=True))

    monkeypatch.setattr(Differences, "divergence", plain)
    c = CollisionOperator(SMALL, kernels.Landau(0.5), force="log", differences="central")(with_drift(rng, SMALL))
    mass, absolute = (np.sum(x, (1, 2, 3)) for x in (c, np.abs(c)))
    assert np.all(np.abs(mass) > 1e-6 * absolute)
    with pytest.raises(AssertionError, match="ordered"):
        assert_conserved(SMALL, c)


@each_case
def test_entropy_production_is_positive(name, force, differences, rng):
    op = CollisionOperator(SMALL, make(name), force=force, differences=differences)
    f = with_drift(rng, SMALL)
    production = np.asarray(op.entropy_production(f))
    assert np.all(production > 0)
    # it is the rate -sum log f C[f] of the discrete entropy
    rate = -np.sum(np.log(f) * op(f), (1, 2, 3)) * SMALL.dv3
    assert np.allclose(production, rate, rtol=1e-11)


@each_case
def test_maxwellian_is_an_equilibrium(name, force, differences, rng):
    """log M is quadratic, D- exact on it, and omega u = 0: C vanishes to rounding, with drift, on a coarse grid."""
    v = np.stack(np.meshgrid(*SMALL.velocities, indexing="ij"))
    f = jnp.asarray(np.exp(-np.sum((v - 0.3) ** 2, 0) / 2)[None].repeat(2, 0))
    op = CollisionOperator(SMALL, make(name), force=force, differences=differences)
    reference = np.max(np.abs(op(with_drift(rng, SMALL))))
    assert np.max(np.abs(op(f))) < 1e-13 * reference


CUT = [(form, reach) for form in FORMS for reach in (2.0, 3.0, 5.5)]


@pytest.mark.parametrize(("form", "reach"), slow_but([(DEFAULT, 2.0), (PAPER, 5.5), (DEFAULT, 5.5)], CUT))
def test_maxwellian_that_the_box_cuts_is_an_equilibrium(form, reach):
    """At 2, 3 or 5.5 thermal speeds, with a drift: C vanishes to the rounding of C of a bi-Maxwellian."""
    grid = PhaseGrid(1.0, 1, (reach, reach + 0.2, reach), (10, 9, 10))
    c = np.stack(np.meshgrid(*grid.velocities, indexing="ij")) - np.array([0.3, -0.2, 0.1])[:, None, None, None]
    still, away = (np.exp(-np.einsum("axyz,a->xyz", c**2, w) / 2) for w in (np.ones(3), np.array([0.7, 1.3, 1.0])))
    op = CollisionOperator(grid, kernels.Landau(), force=form[0], differences=form[1])
    scale = np.max(np.abs(op(jnp.asarray(away)[None])))
    assert np.max(np.abs(op(jnp.asarray(still)[None]))) < 1e-13 * scale and scale > 1e-2


@pytest.mark.parametrize(("force", "differences"), slow_but([PAPER, DEFAULT], FORMS))
def test_only_the_ratio_form_sees_the_nyquist_mode(force, differences):
    """M (1 + eps (-1)^j) is an equilibrium of the log form away from the edge; the other damps it, by its diffusion."""
    grid = PhaseGrid(1.0, 1, (6.0, 6.0, 6.0), (16, 16, 16))
    sign = (-1.0) ** np.indices(grid.nv).sum(0)
    f = jnp.asarray(initial.maxwellian(grid, 1.0, 1.0) * (1 + 1e-3 * sign))
    op = CollisionOperator(grid, kernels.Landau(0.1), force=force, differences=differences)
    rate = float(np.sum(op(f)[0] * sign) / np.sum(f[0] * sign))
    squares = np.square(grid.dv)[:, None, None, None]
    expected = -float(np.sum(f[0] * np.sum(op.diffusion(f)[0] / squares, 0)) / np.sum(f[0]))
    assert expected < -0.1
    if force == "ratio":
        assert rate == pytest.approx(expected, rel=0.05)
    else:
        assert abs(rate) < 1e-3 * abs(expected)


def linearised(op, f):
    """dC/df at f, one cell, as a matrix."""
    J = jax.jit(jax.jacfwd(lambda f: op.rate(f, AGED).rate))(f)
    return np.asarray(J).reshape(f.size, f.size)


@pytest.mark.slow
@pytest.mark.parametrize(("force", "differences"), [PAPER, ("ratio", "central"), DEFAULT])
@pytest.mark.parametrize(("reach", "n"), [(2.0, 8), (2.8, 8), (4.0, 8)])
def test_the_stiffness_bounds_the_eigenvalues(force, differences, reach, n):
    """All of dC/df at a Maxwellian are real and negative, and none exceeds what `rate` says.

    At dv = 1 thermal speed those of modes that live where f counts; what lives outside stays below the tolerance.
    """
    grid = PhaseGrid(1.0, 1, (reach,) * 3, (n,) * 3)
    f = jnp.asarray(np.exp(-sum((w - 0.1) ** 2 for w in np.meshgrid(*grid.velocities, indexing="ij")) / 2))
    op = CollisionOperator(grid, kernels.Landau(0.3), force=force, differences=differences)
    stiffness, jacobian = float(op.rate(f, AGED).stiffness), linearised(op, f)
    found = np.linalg.eigvals(jacobian)
    assert np.max(found.real) < 1e-12 * stiffness and np.max(np.abs(found.imag)) < 1e-3 * stiffness
    counts = np.asarray(f > positivity.tolerance(f.dtype) * jnp.max(f)).ravel()
    within = -np.linalg.eigvals(jacobian[np.ix_(counts, counts)]).real
    assert stiffness / 6 < np.max(within) <= stiffness


def cube_symmetries():
    for axes in itertools.permutations(range(3)):
        for flips in itertools.product((False, True), repeat=3):
            yield axes, [a for a, flip in enumerate(flips) if flip]


def act(symmetry, f):
    axes, flips = symmetry
    moved = np.transpose(np.asarray(f), (0, *(a + 1 for a in axes)))
    return jnp.asarray(np.flip(moved, [a + 1 for a in flips]).copy())


@each_case
def test_48_symmetries_of_the_cube(name, force, differences, rng):
    """C commutes with all rotations and reflections of a cubic grid, to rounding."""
    op = lambda f: CollisionOperator(CUBIC, kernel, force=force, differences=differences)(f)
    kernel, f = make(name), with_drift(rng, CUBIC)
    c = op(f)
    scale = np.max(np.abs(c))
    count = 0
    for symmetry in cube_symmetries():
        count += 1
        assert np.max(np.abs(op(act(symmetry, f)) - act(symmetry, c))) < 1e-13 * scale
    assert count == 48
    assert np.max(np.abs(act(((1, 0, 2), []), c) - c)) > 1e-2 * scale  # f itself has none of them


def test_amplitude_and_cells_at_once(rng):
    grid = PhaseGrid(1.0, 5, (2.0, 2.0, 2.0), (6, 6, 6))
    f = random_positive(rng, grid.shape)
    kernel = kernels.Landau()
    one_by_one = CollisionOperator(grid, kernel)(f)
    for at_once in (2, 5):
        together = CollisionOperator(grid, kernel, cells_at_once=at_once)(f)
        assert np.allclose(together, one_by_one, rtol=0, atol=1e-14 * np.max(np.abs(one_by_one)))
    a = jnp.linspace(0, 1, 5)
    assert np.allclose(CollisionOperator(grid, kernel)(f, a), a[:, None, None, None] * one_by_one)


@pytest.mark.parametrize(("force", "differences"), [PAPER, DEFAULT])
def test_floor_keeps_everything_finite_and_conserved(force, differences):
    """Cells with f = 0 or slightly negative, and tails far below the smallest double."""
    grid = PhaseGrid(1.0, 1, (8.0, 8.0, 8.0), (20, 20, 20))
    v2 = sum(v**2 for v in np.meshgrid(*grid.velocities, indexing="ij"))
    f = np.exp(-v2 / 2 / 0.09) + 0.1 * np.exp(-v2 / 2)
    f[f < 1e-12] = 0.0
    f[3, 10, 10] = -1e-18
    op = CollisionOperator(grid, kernels.Landau(0.3), force=force, differences=differences)
    c = op(jnp.asarray(f)[None])
    assert np.all(np.isfinite(c))
    assert_conserved(grid, c)
    assert float(op.entropy_production(jnp.asarray(f)[None])[0]) > 0


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="method must be one of"):
        CollisionOperator(SMALL, kernels.Landau(), "magic")
    with pytest.raises(ValueError, match="force must be one of"):
        CollisionOperator(SMALL, kernels.Landau(), force="logarithm")
    with pytest.raises(ValueError, match="differences must be one of"):
        CollisionOperator(SMALL, kernels.Landau(), differences="compact")
    with pytest.raises(ValueError, match="3 points"):
        CollisionOperator(PhaseGrid(1.0, 1, (1, 1, 1), (8, 2, 8)), kernels.Landau())


def test_stress_of_maxwell_molecules_decays_at_the_exact_rate():
    """For omega = |u|^2 P/24 and any start the deviatoric stress obeys d pi/dt = -pi/2 (docs/references.md)."""
    grid = PhaseGrid(1.0, 1, (7.0, 7.0, 7.0), (32, 32, 32))
    f = initial.bimaxwellian(grid, 1.0, 1.0, 0.5)
    c = CollisionOperator(grid, kernels.MaxwellMolecules())(jnp.asarray(f))
    anisotropy = lambda g: (lambda m: m[0, 2, 0, 0] - m[0, 0, 2, 0])(power_moments(grid, g))
    rate = float(anisotropy(c) / anisotropy(jnp.asarray(f)))
    assert rate == pytest.approx(-0.5, rel=1e-4)
