"""One step and its gradient lower for CPU, CUDA and TPU in single precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import slow_but
from jax import export

from ddco_jax import CollisionOperator, PhaseGrid, State, kernels, steppers
from ddco_jax.velocity import transforms, window

PLATFORMS = ("cpu", "cuda", "tpu")
GRID = PhaseGrid(6.0, 3, (2.5, 2.5, 2.5), (6, 6, 6))


def radial(height, width):
    return lambda s, n, T: height * jnp.exp(-(s**2) / (2 * width**2))


@pytest.mark.parametrize("dense_limit", slow_but([0], [0, 96]))
def test_step_and_gradient_lower_in_float32(dense_limit, monkeypatch):
    """For three platforms at once: the step is traced once."""
    monkeypatch.setattr(transforms, "DENSE_LIMIT", dense_limit)
    if dense_limit:
        monkeypatch.setattr(window, "LEAST", 4)
        assert len(window.sizes(GRID)) == 2  # with a velocity window
    L, M = radial(0.1, 2.0), radial(1.0, 1.5)
    kernel = kernels.LowRank(g0=((L, M, M),), g1=((L, M, M),), g2=((L, M, M),))
    stepper = steppers.Strang(GRID, CollisionOperator(GRID, kernel))

    def step(f):
        end = stepper.step(State.from_distribution(GRID, f), jnp.asarray(0.02, jnp.float32))
        return end.f, end.electric_field

    loss = lambda f: jnp.sum(step(f)[0] ** 2)
    like = jax.ShapeDtypeStruct(GRID.shape, np.float32)
    for function in (step, jax.grad(loss)):
        exported = export.export(jax.jit(function), platforms=PLATFORMS)(like)
        assert exported.platforms == PLATFORMS
        assert all(aval.dtype == np.float32 for aval in exported.out_avals)
        assert "f64" not in exported.mlir_module().replace("f64_", "")


def test_float32_runs_and_conserves_at_its_own_rounding():
    v2 = sum(v**2 for v in np.meshgrid(*GRID.velocities, indexing="ij"))
    f = jnp.asarray((np.exp(-v2) + 0.1)[None].repeat(3, 0) * np.array([1, 1.2, 0.8])[:, None, None, None], jnp.float32)
    stepper = steppers.Strang(GRID, CollisionOperator(GRID, kernels.Landau()))
    end = stepper.step(State.from_distribution(GRID, f), jnp.asarray(0.02, jnp.float32))
    assert end.f.dtype == end.electric_field.dtype == end.time.dtype == jnp.float32
    assert float(jnp.sum(end.f)) == pytest.approx(float(jnp.sum(f)), rel=1e-6)
    assert float(jnp.max(jnp.abs(end.f - f))) > 1e-4
