"""Brackets (4) and (7): antisymmetry, symmetry, degeneracy (5)-(6), sign, and that they generate the model."""

import jax.numpy as jnp
import numpy as np
import pytest
from young import young

from ddco_jax import CollisionOperator, PhaseGrid, initial, kernels
from ddco_jax.collisions import metriplectic
from ddco_jax.correlations import AGED
from ddco_jax.vlasov import v_flux
from ddco_jax.vlasov.transport import rate


def plasma(n=16, nv=24):
    grid = PhaseGrid(6.0, n, (3.0, 2.5, 2.5), (nv, nv // 2, nv // 2))
    f = initial.perturb(grid, initial.bimaxwellian(grid, 1.0, 0.3, 0.6), 0.2, 1)
    E = jnp.asarray(0.3 * np.sin(2 * np.pi * grid.x / grid.length))
    return grid, jnp.asarray(f), E


def observable(grid, k=1):
    """A smooth functional of f and E without symmetry."""
    x, vx, vy = grid.x[:, None, None, None], grid.vx[None, :, None, None], grid.vy[None, None, :, None]
    wave = np.cos(2 * np.pi * k * x / grid.length + 0.4)
    weight = jnp.asarray(wave * np.exp(-0.3 * (vx - 0.4) ** 2 - 0.2 * vy**2) + 0 * grid.vz[None, None, None, :])
    profile = jnp.asarray(np.sin(2 * np.pi * grid.x / grid.length))
    return lambda f, E: (jnp.sum(weight * f) * grid.dv3 + jnp.sum(profile * E**2)) * grid.dx


def test_poisson_bracket_is_antisymmetric():
    grid, f, E = plasma()
    A, H = (metriplectic.derivatives(grid, F, f, E) for F in (observable(grid), metriplectic.hamiltonian(grid)))
    forward, backward = metriplectic.poisson_bracket(grid, f, A, H), metriplectic.poisson_bracket(grid, f, H, A)
    assert abs(float(forward)) > 1e-2
    assert float(forward) == pytest.approx(-float(backward), rel=1e-12)
    assert abs(float(metriplectic.poisson_bracket(grid, f, H, H))) < 1e-12


def test_poisson_bracket_with_h_generates_the_vlasov_equation():
    """{A, H} = int A_f (df/dt) + int A_E (dE/dt), to the order of the differences."""
    errors = []
    for n, nv in ((16, 24), (32, 48)):
        grid, f, E = plasma(n, nv)
        A = metriplectic.derivatives(grid, observable(grid), f, E)
        H = metriplectic.derivatives(grid, metriplectic.hamiltonian(grid), f, E)
        bracket = metriplectic.poisson_bracket(grid, f, A, H)

        x_flux = jnp.asarray(grid.vx)[:, None, None] * (f + jnp.roll(f, -1, 0)) / 2
        vlasov = rate(grid, x_flux, v_flux.central(f), E)
        current = jnp.sum(f * jnp.asarray(grid.vx)[None, :, None, None], (1, 2, 3)) * grid.dv3
        expected = jnp.sum(A.f * vlasov) * grid.dx * grid.dv3 - jnp.sum(A.electric_field * current) * grid.dx / 0.76**2
        errors.append(abs(float(bracket - expected)))
    assert errors[1] < 0.35 * errors[0]
    assert errors[1] < 1e-2 * abs(float(expected))


def test_entropy_is_a_casimir_of_the_poisson_bracket():
    """{A, S} = 0 (5), to second order in the spacings."""
    values = []
    for n, nv in ((12, 16), (24, 32)):
        grid, f, E = plasma(n, nv)
        A = metriplectic.derivatives(grid, observable(grid), f, E)
        S = metriplectic.derivatives(grid, metriplectic.entropy(grid), f, E)
        H = metriplectic.derivatives(grid, metriplectic.hamiltonian(grid), f, E)
        values.append(abs(float(metriplectic.poisson_bracket(grid, f, A, S))))
        scale = abs(float(metriplectic.poisson_bracket(grid, f, A, H)))
    assert values[1] < 0.35 * values[0]
    assert values[1] < 0.05 * scale


YOUNG = {"level": 0.6, "deficit": 0.4, "rate": 0.3, "path": 0.5}


@pytest.mark.parametrize(
    ("force", "differences", "now"),
    [
        ("log", "central", AGED),
        ("log", "central", young(4, **YOUNG)),
        ("log", "fourth", AGED),
        ("ratio", "eighth", AGED),
    ],
    ids=["aged", "young", "fourth", "ratio"],
)
def test_dissipative_bracket(force, differences, now):
    """Symmetric, non-negative, (H, S)+ = (M, S)+ = (P, S)+ = 0 (6), all to rounding; in the log form int A_f C[f]."""
    grid, f, E = plasma(4, 12)
    op = CollisionOperator(grid, kernels.Landau(0.3), force=force, differences=differences)
    A = metriplectic.derivatives(grid, observable(grid), f, E).f
    B = metriplectic.derivatives(grid, observable(grid, 2), f, E).f
    S = metriplectic.derivatives(grid, metriplectic.entropy(grid), f, E).f
    H = metriplectic.derivatives(grid, metriplectic.hamiltonian(grid), f, E).f
    bracket = lambda a, b: float(metriplectic.dissipative_bracket(op, f, a, b, now))
    scale = bracket(A, A)
    assert scale > 1e-4
    assert bracket(A, B) == pytest.approx(bracket(B, A), rel=1e-11, abs=1e-14 * scale)
    assert bracket(S, S) > 1e-3
    for invariant in (H, jnp.ones_like(f), jnp.broadcast_to(jnp.asarray(grid.vx)[None, :, None, None], f.shape)):
        assert abs(bracket(invariant, S)) < 1e-13 * (1 + bracket(S, S))
        assert abs(bracket(invariant, A)) < 1e-13 * (1 + scale)
    if force == "log":
        production = float(jnp.sum(op.entropy_production(f, now)) * grid.dx)
        assert bracket(S, S) == pytest.approx(production, rel=1e-12)
        expected = float(jnp.sum(A * op(f, now)) * grid.dx * grid.dv3)
        assert bracket(A, S) == pytest.approx(expected, rel=1e-10)
