"""The expected time of a run: what it is proportional to, at a given speed of the machine."""

import pytest

from ddco_jax import CollisionOperator, PhaseGrid, kernels, steppers
from ddco_jax.simulation import cost


@pytest.fixture
def speed(monkeypatch):
    """A machine that takes 2 ns times n for a value of a transform of n points, and 1 ns for a value of a pass."""
    monkeypatch.setattr(cost, "_transform_seconds", lambda n, dtype: 2e-9 * n)
    monkeypatch.setattr(cost, "_pass_seconds", lambda dtype: 1e-9)


def grid(nx, n):
    return PhaseGrid(10.0, nx, (3.0,) * 3, (n,) * 3)


def seconds(nx, n, evaluations):
    step = steppers.ChebyshevCollision(CollisionOperator(grid(nx, n), kernels.Landau(0.3)))
    return cost.step_seconds(grid(nx, n), step, evaluations, float)


def test_collisions(speed):
    """13 transforms of Landau's operator per evaluation, each of 1, 2 and 4 N^3 values along x, y and z."""
    one = seconds(4, 16, 5) - cost.step_seconds(grid(4, 16), None, 5, float)
    assert one == pytest.approx(cost.COLLISIONS * 5 * 4 * 13 * 7 * 16**3 * 2e-9 * 16)
    assert seconds(8, 16, 10) - cost.step_seconds(grid(8, 16), None, 10, float) == pytest.approx(4 * one)
    assert seconds(4, 32, 5) - cost.step_seconds(grid(4, 32), None, 5, float) == pytest.approx(16 * one)


def test_transport_is_passes_over_f(speed):
    found = [cost.step_seconds(grid(4, 16), None, 5, float, x_flux) for x_flux in ("upwind", "weno5")]
    assert found == pytest.approx([cost.PASSES[name] * 4 * 16**3 * 1e-9 for name in ("upwind", "weno5")])


def test_the_speed_is_measured():
    assert 1e-12 < cost._transform_seconds(16, "float32") < 1e-5
    assert cost._transform_seconds(96, "float32") > cost._transform_seconds(16, "float32") / 4
    assert 1e-12 < cost._pass_seconds("float32") < 1e-5
