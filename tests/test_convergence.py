"""Convergence slopes in dv (BKW, Landau rates) and in dt (every stepper), fitted against the declared order."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import decaying, slow_but

from ddco_jax import CollisionOperator, PhaseGrid, State, initial, kernels, steppers
from ddco_jax.correlations import StretchedExponential
from ddco_jax.plasma.moments import power_moments
from ddco_jax.velocity.differences import DIFFERENCES
from ddco_jax.vlasov.x_flux import weno5


def slope(sizes, errors):
    return np.polyfit(np.log(sizes), np.log(errors), 1)[0]


def bkw_rate(v2, K, T=1.0):
    """d f/dt of the exact BKW solution for omega = |u|^2 P/24, n = 1: dK/dt = (1 - K)/6."""
    g = np.exp(-v2 / (2 * K * T)) / (2 * np.pi * K * T) ** 1.5
    a, b = (5 * K - 3) / (2 * K), (1 - K) / (2 * K**2 * T)
    dg = g * (v2 / (2 * K**2 * T) - 1.5 / K)
    da, db = 1.5 / K**2, -1 / (2 * K**2 * T) - (1 - K) / (K**3 * T)
    return (dg * (a + b * v2) + g * (da + db * v2)) * (1 - K) / 6, g * (a + b * v2)


ORDERS = [
    ("log", "central", 6.0, (36, 48, 64), 0.05),
    ("log", "fourth", 6.0, (36, 48, 64), 0.005),
    ("ratio", "central", 6.0, (36, 48, 64), 0.05),
    ("ratio", "fourth", 5.5, (40, 48, 56), 0.005),
    ("ratio", "sixth", 5.5, (40, 48, 56), 5e-4),
    ("ratio", "eighth", 5.5, (44, 52, 60), 5e-5),
]


@pytest.mark.parametrize(("force", "differences", "reach", "sizes", "last"), slow_but([ORDERS[0], ORDERS[-1]], ORDERS))
def test_bkw_converges_in_dv(force, differences, reach, sizes, last):
    """C[f] of the exact solution against its exact time derivative; high orders in a box just wide enough."""
    errors, order = [], DIFFERENCES[differences]
    for n in sizes:
        grid = PhaseGrid(1.0, 1, (reach, reach, reach), (n, n, n))
        v2 = sum(v**2 for v in np.meshgrid(*grid.velocities, indexing="ij"))
        exact, f = bkw_rate(v2, 0.75)
        op = CollisionOperator(grid, kernels.MaxwellMolecules(), force=force, differences=differences)
        c = op(jnp.asarray(f)[None])[0]
        errors.append(np.linalg.norm(c - exact) / np.linalg.norm(exact))
    assert slope(1 / np.array(sizes), errors) == pytest.approx(order, abs=0.06 * order)
    assert errors[-1] < last


PAPER, DEFAULT = ("log", "central"), ("ratio", "eighth")
RATES = [
    (*form, a, rate) for form in (PAPER, DEFAULT) for a, rate in ((1.0, 0.159770), (3.0, 0.236056), (-0.5, -0.262069))
]


@pytest.mark.parametrize(("force", "differences", "anisotropy", "rate"), slow_but([RATES[0], RATES[3]], RATES))
def test_landau_initial_rates_converge(force, differences, anisotropy, rate):
    """dT_par/dt of a bi-Maxwellian, prefactor 1, n = 1, T_par = 1 (docs/references.md).

    Better than second order: log f is a quadratic, which leaves the quadrature of an integrand ~ |u|.
    """
    T_perp = 1 + anisotropy
    widths = np.sqrt([1.0, T_perp, T_perp])
    # spacing over thermal width per axis
    ratios, errors = (0.75, 0.6, 0.45), []
    for ratio in ratios:
        n = [2 * round(5.5 / ratio)] * 3
        extent = tuple(float(ratio * w * k / 2) for w, k in zip(widths, n, strict=True))
        grid = PhaseGrid(1.0, 1, extent, tuple(n))
        v = np.meshgrid(*grid.velocities, indexing="ij")
        f = np.exp(-sum(x**2 / (2 * w**2) for x, w in zip(v, widths, strict=True))) / np.prod(widths)
        f /= f.sum() * grid.dv3
        op = CollisionOperator(grid, kernels.Landau(1.0), force=force, differences=differences)
        c = op(jnp.asarray(f)[None])
        errors.append(abs(float(power_moments(grid, c)[0, 2, 0, 0]) - rate))
    assert 1.9 < slope(ratios, errors) < 4.3
    assert errors[-1] < 2.5e-3 * abs(rate)


GRID = PhaseGrid(6.0, 12, (2.5, 2.0, 2.0), (16, 10, 10))


def start(**kwargs):
    # wide enough that f stays positive everywhere: below its floor log f is not smooth
    f = initial.perturb(GRID, initial.bimaxwellian(GRID, 1.0, 0.7, 0.5), 0.1, 1)
    return State.from_distribution(GRID, f, **kwargs)


def operator(force="ratio", differences="eighth"):
    L, M = (lambda s, n, T: 0.15 * jnp.exp(-(s**2) / 8)), decaying(3.0)
    kernel = kernels.LowRank(g0=((L, M, M),), g1=((L, M, M),), g2=((L, M, M),))
    return CollisionOperator(GRID, kernel, force=force, differences=differences)


STEPPERS = {
    "ampere": lambda: steppers.Ampere(GRID),
    "ampere-upwind": lambda: steppers.Ampere(GRID, "upwind"),
    "poisson": lambda: steppers.Poisson(GRID),
    "poisson-upwind": lambda: steppers.Poisson(GRID, "upwind"),
    "streaming-upwind": lambda: steppers.Streaming(GRID, "upwind"),
    "midpoint": lambda: steppers.MidpointCollision(operator("log", "central")),
    "chebyshev": lambda: steppers.ChebyshevCollision(operator()),
    "strang": lambda: steppers.Strang(GRID, operator()),
    "strang-paper": lambda: steppers.Strang(GRID, operator("log", "central"), x_flux="upwind", collision="midpoint"),
    "strang-poisson": lambda: steppers.Strang(GRID, operator(), "poisson"),
}
SLOW = ("poisson-upwind", "strang", "strang-paper", "strang-poisson")


def halvings(stepper, state, counts=(4, 8, 16, 32)):
    """States at t = 0.4 after n steps of 0.4/n, compiled once."""

    @jax.jit
    def advance(state, dt, n):
        return jax.lax.fori_loop(0, n, lambda _, s: stepper.step(s, dt), state)

    return [advance(state, jnp.asarray(0.4 / n), n) for n in counts]


def observed_order(fields):
    """Slope of the differences between successive halvings."""
    gaps = [float(jnp.linalg.norm(a - b)) for a, b in itertools.pairwise(fields)]
    assert 0 < gaps[-1] < gaps[0] < 0.1 * float(jnp.linalg.norm(fields[-1]))
    return np.polyfit(np.arange(len(gaps)), -np.log2(gaps), 1)[0]


@pytest.mark.optimised
@pytest.mark.parametrize("name", slow_but([name for name in STEPPERS if name not in SLOW], STEPPERS))
def test_order_in_dt(name):
    """Differences of successive halvings of dt, at a fixed time, fall at the declared order."""
    stepper = STEPPERS[name]()
    # the third-order stages of the default transport hide the second-order error of the splitting in long steps
    counts = (32, 64, 128, 256) if name == "poisson" else (4, 8, 16, 32)
    states = halvings(stepper, start(), counts)
    if name in ("chebyshev", "strang"):  # one part each, none refused
        assert float(states[0].tally.evaluations) == 4 * GRID.nx * stepper_stages(stepper)
        assert float(states[0].tally.refused) == 0
    assert observed_order([s.f for s in states]) == pytest.approx(stepper.order, abs=0.15)
    moved = float(jnp.linalg.norm(states[-1].f - start().f))
    assert moved > 0.01 * float(jnp.linalg.norm(start().f))


def stepper_stages(stepper):
    return (stepper if isinstance(stepper, steppers.ChebyshevCollision) else stepper.collision).stages


def test_order_in_dt_of_streaming_without_a_field():
    """The accurate transport is of third order by itself; a field law and splitting make it second."""
    order = observed_order([s.f for s in halvings(steppers.Streaming(GRID), start())])
    assert order == pytest.approx(3, abs=0.15)


@pytest.mark.optimised
@pytest.mark.slow
def test_order_in_dt_with_the_build_up_of_correlations():
    """Strang splitting with a correlation age that evolves, away from the kink of A at age 0."""
    stepper = steppers.Strang(GRID, operator(), buildup=StretchedExponential(0.8, 2.0))
    age = 0.3 + 0.1 * np.cos(2 * np.pi * GRID.x / GRID.length)
    states = halvings(stepper, start(correlation_age=age))
    assert observed_order([s.f for s in states]) == pytest.approx(2, abs=0.2)
    assert observed_order([s.correlation_age for s in states]) == pytest.approx(2, abs=0.2)


def test_weno5_is_fifth_order_in_dx():
    errors, sizes = [], (16, 24, 36)
    for n in sizes:
        grid = PhaseGrid(1.0, n, (1.0, 1.0, 1.0), (4, 3, 3))
        k, edges = 2 * np.pi, np.arange(n + 1) / n
        average = 2 + (np.cos(k * edges[:-1]) - np.cos(k * edges[1:])) / (k / n)
        f = np.broadcast_to(average[:, None, None, None], grid.shape)
        exact = (2 + np.sin(k * edges[1:]))[:, None, None, None] * grid.vx[None, :, None, None]
        errors.append(np.max(np.abs(weno5(grid, jnp.asarray(f)) - exact)))
    assert slope(1 / np.array(sizes), errors) == pytest.approx(5, abs=0.3)
