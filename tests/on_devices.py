"""Run by tests/test_devices.py in processes with several simulated devices: results divided over them, as JSON."""

import json
import os
import sys

os.environ["XLA_FLAGS"] = (
    "--xla_force_host_platform_device_count=8 --xla_cpu_enable_concurrency_optimized_scheduler=false "
    "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
)

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from ddco_jax import CollisionOperator, PhaseGrid, State, initial, kernels, solve, steppers
from ddco_jax.correlations import StretchedExponential

jax.config.update("jax_enable_x64", True)
GRID = PhaseGrid(6.0, 20, (2.5, 2.0, 2.0), (8, 6, 6))
F = initial.perturb(GRID, initial.bimaxwellian(GRID, 1.0, 0.7, 0.5), 0.3, 1)
PAPER = {"force": "log", "differences": "central"}, {"x_flux": "upwind", "collision": "midpoint"}
ACCURATE: tuple[dict, dict] = {}, {}


def stepper_on(grid, prefactor, scheme, field="ampere"):
    of_operator, of_stepper = scheme
    op = CollisionOperator(grid, kernels.Landau(prefactor), **of_operator)
    return steppers.Strang(grid, op, field, buildup=StretchedExponential(), **of_stepper)


def spread(a, b):
    """Largest difference over the largest value."""
    a, b = np.asarray(a), np.asarray(b)
    return float(np.max(np.abs(a - b)) / np.max(np.abs(b)))


def gradient(grid, scheme, steps):
    """Of a number that depends on every cell of f, on E and on a sum over x, by f and by the kernel."""

    def loss(f, prefactor):
        stepper = stepper_on(grid, prefactor, scheme)
        state = State.from_distribution(grid, f, correlation_age=0.0)
        end, history = solve(state, stepper, dt=0.02, n_steps=steps)
        end = grid.line.collected(end)
        weights = jnp.sin(jnp.arange(end.f.size)).reshape(end.f.shape)
        return jnp.sum(weights * end.f) + jnp.sum(end.electric_field**2) + history.entropy[-1]

    return jax.jit(jax.grad(loss, (0, 1)))(jnp.asarray(F), jnp.asarray(0.3))


def results(devices, gradients):
    grid = GRID.over(jax.devices()[:devices])
    stepper = stepper_on(grid, jnp.asarray(0.3), ACCURATE)
    state = State.from_distribution(grid, F, correlation_age=0.0)
    rate = grid.line.collected(stepper.collision.op(state.f))
    run = jax.jit(lambda state: solve(state, stepper, dt=0.02, n_steps=10)).lower(state).compile()
    end, history = run(state)
    found = [gradient(grid, scheme, steps) for scheme, steps in gradients]
    return rate, grid.line.collected(end), history, found, run.as_text()


def differences(counts, gradients):
    """Results on some numbers of devices against those on one; `gradients` gives the schemes and steps by number."""
    most = max((gradients(count) for count in counts), key=len)
    one, rows = results(1, most), {}
    for count in counts:
        rate, end, history, found, text = results(count, gradients(count))
        rows[count] = {
            "rate": float(np.max(np.abs(rate - one[0])) / np.max(F)),
            "rate_size": float(np.max(np.abs(rate)) / np.max(F)),
            "changed": spread(end.f, F),
            "end": {
                name: spread(getattr(end, name), getattr(one[1], name)) for name in ("f", "electric_field", "memory")
            },
            "history": {k: spread(history[k], one[2][k]) for k in ("mass", "total_energy", "entropy", "evaluations")},
            "gradient": [spread(a, b) for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(one[3]), strict=False)],
            "exchanges": [text.count("collective-permute("), text.count("all-reduce(")],
            "gathers": text.count("all-gather"),
        }
    return rows


def poisson(count):
    """A step with the field of Poisson's equation, and another number of cells, 11, on `count` devices."""
    whole, ends = PhaseGrid(6.0, 11, (2.5, 2.0, 2.0), (8, 6, 6)), []
    f = initial.perturb(whole, initial.maxwellian(whole, 1.0, 0.5), 0.3, 1)
    for grid in (whole, whole.over(jax.devices()[:count])):
        stepper = steppers.Poisson(grid)
        end, history = jax.jit(lambda s, stepper=stepper: solve(s, stepper, dt=0.02, n_steps=3))(
            State.from_distribution(grid, f)
        )
        ends.append((grid.line.collected(end).f, history.gauss_residual))
    return [spread(a, b) for a, b in zip(ends[1], ends[0], strict=True)]


def lowered(count):
    """The divided step in single precision, lowered for three platforms."""
    grid = GRID.over(jax.devices()[:count])
    prefactor = jnp.asarray(0.3, jnp.float32)
    stepper = stepper_on(grid, prefactor, ACCURATE)
    state = State.from_distribution(grid, np.asarray(F, np.float32), correlation_age=0.0)
    step = jax.jit(lambda s: solve(s, stepper, dt=0.02, n_steps=1)[0].f)
    exported = export.export(step, platforms=("cpu", "cuda", "tpu"))(eqx.filter_eval_shape(lambda s: s, state))
    return [list(exported.platforms), exported.nr_devices, "f64" in exported.mlir_module().replace("f64_", "")]


def planes(x_flux, count=5):
    """Cells of f that a device sends in a step of Ampere's law without age, 2 half steps; all divide evenly."""
    grid = GRID.over(jax.devices()[:count])
    stepper = steppers.Ampere(grid, x_flux)
    state = State.from_distribution(grid, F)

    def sent(jaxpr, times=1):
        total = 0
        for eqn in jaxpr.eqns:
            if eqn.primitive.name == "ppermute":
                total += times * eqn.invars[0].aval.size
            repeated = times * eqn.params.get("length", 1)
            for inner in jax.tree.leaves(eqn.params, is_leaf=lambda a: hasattr(a, "eqns") or hasattr(a, "jaxpr")):
                if hasattr(inner, "eqns") or hasattr(inner, "jaxpr"):
                    total += sent(getattr(inner, "jaxpr", inner), repeated)
        return total

    step = lambda state: grid.line.run(
        lambda stepper, state: stepper.step(state, jnp.asarray(0.02)), stepper, state, result=grid.line.layout(state)
    )
    return 2 * sent(jax.make_jaxpr(step)(state).jaxpr) / (8 * 6 * 6)


def schemes(count):
    """Both on 5 devices, which have 4 cells each; the gradient of the accurate scheme takes long to compile."""
    return [(PAPER, 2), (ACCURATE, 1)] if count == 5 else [(PAPER, 2)]


if __name__ == "__main__":
    work = {
        "fast": lambda: {
            "differences": differences([8], lambda _: [(PAPER, 2)]),
            "poisson": poisson(4),
            "lowered": lowered(8),
            "planes": {name: planes(name) for name in ("upwind", "weno5")},
        },
        "slow": lambda: {"differences": differences([2, 4, 5], schemes)},
    }
    print(json.dumps(work[sys.argv[1]]()))
