"""Run by tests/test_devices.py in processes with several simulated devices: results divided over them, as JSON.

`one FILE` writes the results on one device to a file, `some FILE` compares with them on 2, 4 and 5 devices,
`two FILE PROCESS` in each of two processes.
"""

import json
import os
import signal
import sys

os.environ["XLA_FLAGS"] = (
    "--xla_cpu_enable_concurrency_optimized_scheduler=false "
    "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
)

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import export
from jax.experimental.multihost_utils import process_allgather

from ddco_jax import CollisionOperator, PhaseGrid, State, cli, initial, kernels, solve, steppers
from ddco_jax.correlations import StretchedExponential
from ddco_jax.plasma.invariants import compute_invariants
from ddco_jax.plasma.line import EVERYWHERE
from ddco_jax.simulation import processes
from ddco_jax.simulation.failures import explained
from ddco_jax.simulation.interrupts import Watch

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


def loss(grid, scheme, steps):
    """A number that depends on every cell of f, on E and on a sum over x, as a function of f and of the kernel."""

    def advanced(stepper, state):
        end = stepper.step(state, jnp.asarray(0.02))
        return end, compute_invariants(grid, end, stepper.scales).entropy

    def of(f, prefactor):
        stepper = stepper_on(grid, prefactor, scheme)
        state = State.from_distribution(grid, f, correlation_age=0.0)
        if steps == 1:  # compiles in half the time of `solve`
            end, entropy = grid.line.run(advanced, stepper, state, result=(grid.line.layout(state), EVERYWHERE))
        else:
            end, history = solve(state, stepper, dt=0.02, n_steps=steps)
            entropy = history.entropy[-1]
        end = grid.line.collected(end)
        weights = jnp.sin(jnp.arange(end.f.size)).reshape(end.f.shape)
        return jnp.sum(weights * end.f) + jnp.sum(end.electric_field**2) + entropy

    return of


def gradient(grid, scheme, steps):
    found = jax.jit(jax.grad(loss(grid, scheme, steps), (0, 1)))(jnp.asarray(F), jnp.asarray(0.3))
    return [a if a.is_fully_addressable else process_allgather(a, tiled=True) for a in found]


def results(grid):
    """C[f], the end of ten steps, the history and a gradient by name, and the compiled program of the steps."""
    stepper = stepper_on(grid, jnp.asarray(0.3), ACCURATE)
    state = State.from_distribution(grid, F, correlation_age=0.0)
    found = {"rate": grid.line.collected(stepper.collision.op(state.f))}
    run = jax.jit(lambda state: solve(state, stepper, dt=0.02, n_steps=10)).lower(state).compile()
    end, history = run(state)
    end = grid.line.collected(end)
    found |= {f"end {name}": getattr(end, name) for name in ("f", "electric_field", "memory")}
    found |= {name: getattr(history, name) for name in ("mass", "total_energy", "entropy", "evaluations")}
    of_f, of_kernel = gradient(grid, PAPER, 2)
    found |= {"gradient f": of_f, "gradient kernel": of_kernel}
    return {name: np.asarray(a) for name, a in found.items()}, run.as_text()


def differences(grid, one):
    """Results on the devices of a grid against those on one."""
    found, text = results(grid)
    rate = one["rate"]
    return {
        "rate": float(np.max(np.abs(found["rate"] - rate)) / np.max(F)),
        "rate_size": float(np.max(np.abs(rate)) / np.max(F)),
        "changed": spread(found["end f"], F),
        "evaluations": spread(found["evaluations"], one["evaluations"]),
        "steps": {name: spread(a, one[name]) for name, a in found.items() if not name.startswith("gradient")},
        "gradient": {name: spread(a, one[name]) for name, a in found.items() if name.startswith("gradient")},
        "exchanges": [text.count("collective-permute("), text.count("all-reduce(")],
        "gathers": text.count("all-gather"),
    }


def along(devices):
    """The gradient of the accurate scheme on some devices along a direction of f and along the kernel, each with the
    derivative on one device: forward mode compiles in a third of the time."""
    at = jnp.asarray(F), jnp.asarray(0.3)
    direction = jnp.asarray(np.random.default_rng(1).normal(size=F.shape) * np.asarray(F)), jnp.asarray(1.0)
    derivative = jax.jit(lambda *along: jax.jvp(loss(GRID, ACCURATE, 1), at, along)[1])
    one = derivative(direction[0], jnp.zeros(())), derivative(jnp.zeros(F.shape), direction[1])
    found = gradient(GRID.over(jax.devices()[:devices]), ACCURATE, 1)
    return [[float(jnp.vdot(a, d)), float(b)] for a, d, b in zip(found, direction, one, strict=True)]


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


def one(file):
    found, _ = results(GRID)
    np.savez(file, allow_pickle=False, **found)
    return {
        "poisson": poisson(4),
        "lowered": lowered(8),
        "planes": {name: planes(name) for name in ("upwind", "weno5")},
    }


def some(file):
    with np.load(file, allow_pickle=False) as reference:
        return {count: differences(GRID.over(jax.devices()[:count]), reference) for count in (2, 4, 5)}


def two(file, process):
    """Eight devices of two processes, the second of which is then killed."""
    try:
        with np.load(file, allow_pickle=False) as reference, processes.joined(Watch()):
            assert len(jax.local_devices()) == 4 and len(jax.devices()) == 8
            assert processes.agreed({"process": jax.process_index()}) == {"process": 0}
            assert processes.together(jax.process_index(), 7).tolist() == [[0, 7], [1, 7]]
            print(json.dumps(differences(GRID.over(jax.devices()), reference)), flush=True)
            if process == "1":
                os.kill(os.getpid(), signal.SIGKILL)
            processes.together(0)
    except Exception as error:
        cli._end(*explained(error))


if __name__ == "__main__":
    work, *words = sys.argv[1:]
    jax.config.update("jax_num_cpu_devices", 4 if work == "two" else 8)
    print(json.dumps({"one": one, "some": some, "two": two, "along": lambda: along(5)}[work](*words)))
