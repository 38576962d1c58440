"""Convergence slopes in dv (BKW, Landau rates) and in dt (every stepper), fitted against the declared order."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import decaying

from ddco_jax import CollisionOperator, PhaseGrid, State, initial, kernels, solve, steppers
from ddco_jax.buildup import StretchedExponential
from ddco_jax.moments import power_moments


def slope(sizes, errors):
    return np.polyfit(np.log(sizes), np.log(errors), 1)[0]


def bkw_rate(v2, K, T=1.0):
    """d f/dt of the exact BKW solution for omega = |u|^2 P/24, n = 1: dK/dt = (1 - K)/6."""
    g = np.exp(-v2 / (2 * K * T)) / (2 * np.pi * K * T) ** 1.5
    a, b = (5 * K - 3) / (2 * K), (1 - K) / (2 * K**2 * T)
    dg = g * (v2 / (2 * K**2 * T) - 1.5 / K)
    da, db = 1.5 / K**2, -1 / (2 * K**2 * T) - (1 - K) / (K**3 * T)
    return (dg * (a + b * v2) + g * (da + db * v2)) * (1 - K) / 6, g * (a + b * v2)


def test_bkw_is_second_order_in_dv():
    """C[f] of the exact solution against its exact time derivative."""
    sizes, errors = (20, 28, 40), []
    for n in sizes:
        grid = PhaseGrid(1.0, 1, (6.0, 6.0, 6.0), (n, n, n))
        v2 = sum(v**2 for v in np.meshgrid(*grid.velocities, indexing="ij"))
        exact, f = bkw_rate(v2, 0.75)
        c = CollisionOperator(grid, kernels.MaxwellMolecules())(jnp.asarray(f)[None])[0]
        errors.append(np.linalg.norm(c - exact) / np.linalg.norm(exact))
    assert slope(1 / np.array(sizes), errors) == pytest.approx(2, abs=0.15)
    assert errors[-1] < 0.05


@pytest.mark.parametrize("anisotropy, rate", [(1.0, 0.159770), (3.0, 0.236056), (-0.5, -0.262069)])
def test_landau_initial_rates_are_second_order_in_dv(anisotropy, rate):
    """dT_par/dt of a bi-Maxwellian, prefactor 1, n = 1, T_par = 1 (REFERENCES)."""
    T_perp = 1 + anisotropy
    widths = np.sqrt([1.0, T_perp, T_perp])
    # spacing over thermal width per axis: coarser ones leave the asymptotic range of the narrow axis
    ratios, errors = (0.75, 0.6, 0.45), []
    for ratio in ratios:
        n = [2 * round(5.5 / ratio)] * 3
        extent = tuple(float(ratio * w * k / 2) for w, k in zip(widths, n, strict=True))
        grid = PhaseGrid(1.0, 1, extent, tuple(n))
        v = np.meshgrid(*grid.velocities, indexing="ij")
        f = np.exp(-sum(x**2 / (2 * w**2) for x, w in zip(v, widths, strict=True))) / np.prod(widths)
        f /= f.sum() * grid.dv3
        c = CollisionOperator(grid, kernels.Landau(1.0))(jnp.asarray(f)[None])
        errors.append(abs(float(power_moments(grid, c)[0, 2, 0, 0]) - rate))
    assert slope(ratios, errors) == pytest.approx(2, abs=0.2)
    assert errors[-1] < 0.03 * abs(rate)


GRID = PhaseGrid(6.0, 12, (2.5, 2.0, 2.0), (16, 10, 10))


def start(**kwargs):
    f = initial.perturb(GRID, initial.bimaxwellian(GRID, 1.0, 0.25, 0.5), 0.2, 1)
    return State.from_distribution(GRID, f, **kwargs)


def operator():
    L, M = decaying(2.0), decaying(3.0)
    return CollisionOperator(GRID, kernels.LowRank(g0=((L, M, M),), g1=((L, M, M),), g2=((M, M, M),)))


STEPPERS = {
    "ampere": lambda: steppers.Ampere(GRID),
    "ampere-weno": lambda: steppers.Ampere(GRID, "weno5"),
    "poisson": lambda: steppers.Poisson(GRID),
    "streaming": lambda: steppers.Streaming(GRID),
    "collision": lambda: steppers.MidpointCollision(operator()),
    "strang-ampere": lambda: steppers.Strang(GRID, operator()),
    "strang-poisson": lambda: steppers.Strang(GRID, operator(), "poisson"),
}


@pytest.mark.parametrize("name", STEPPERS)
def test_order_in_dt(name):
    """Differences of successive halvings of dt, at a fixed time, fall at the declared order."""
    stepper = STEPPERS[name]()
    final = {}
    for n in (4, 8, 16, 32):
        run = jax.jit(lambda s, n=n: solve(s, stepper, dt=0.4 / n, n_steps=n)[0])
        final[n] = run(start())
    gap = [float(jnp.linalg.norm(final[n].f - final[2 * n].f)) for n in (4, 8, 16)]
    assert slope(1 / np.array([4, 8, 16]), gap) == pytest.approx(stepper.order, abs=0.15)
    assert float(jnp.linalg.norm(final[32].f - start().f)) > 100 * gap[-1]


def test_order_in_dt_with_the_build_up_of_correlations():
    """Strang splitting with a correlation age that evolves, away from the kink of A at age 0."""
    stepper = steppers.Strang(GRID, operator(), buildup=StretchedExponential(0.8, 2.0))
    age = 0.3 + 0.1 * np.cos(2 * np.pi * GRID.x / GRID.length)
    final = {}
    for n in (4, 8, 16, 32):
        run = jax.jit(lambda s, n=n: solve(s, stepper, dt=0.4 / n, n_steps=n)[0])
        final[n] = run(start(correlation_age=age))
    for field in ("f", "correlation_age"):
        values = [np.asarray(getattr(final[n], field)) for n in (4, 8, 16, 32)]
        gap = [np.linalg.norm(a - b) for a, b in zip(values, values[1:], strict=False)]
        assert slope(1 / np.array([4, 8, 16]), gap) == pytest.approx(2, abs=0.2)


def test_weno5_is_fifth_order_in_dx():
    errors, sizes = [], (16, 24, 36)
    for n in sizes:
        grid = PhaseGrid(1.0, n, (1.0, 1.0, 1.0), (4, 3, 3))
        k = 2 * np.pi
        edges = np.arange(n + 1) / n
        average = lambda e: 2 + (np.cos(k * e[:-1]) - np.cos(k * e[1:])) / (k / n)
        f = np.broadcast_to(average(edges)[:, None, None, None], grid.shape)
        from ddco_jax.vlasov.x_flux import weno5

        exact = (2 + np.sin(k * edges[1:]))[:, None, None, None] * grid.vx[None, :, None, None]
        errors.append(np.max(np.abs(weno5(grid, jnp.asarray(f)) - exact)))
    assert slope(1 / np.array(sizes), errors) == pytest.approx(5, abs=0.3)
