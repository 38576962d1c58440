"""Speed of the solver on one accelerator.

    python benchmarks/accelerator.py [--sizes 32 64 128 200] [--precision float32 float64] [--paper 200] [--steps 3]

One evaluation of C[f] in one cell at n^3 velocity points, for Landau's kernel and for the default one soon after a
quench, is compared with the same number of zero-padded real FFTs of (2n)^3 by the FFT library of the device.  That is a
lower bound for an operator that consists of transforms.  Then steps of the paper's bi-Maxwellian (20 x 200^3, +-8 V0)
with the default kernel are timed, and their conservation errors measured.  Needs only the core of the package; stored
as benchmarks/results/accelerator.json.
"""

import argparse
import json
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

jax.config.update("jax_enable_x64", True)

from ddco_jax import CollisionOperator, PhaseGrid, State, initial, load_kernel, steppers, units  # noqa: E402
from ddco_jax.collisions.spectral import transform_count  # noqa: E402
from ddco_jax.correlations import AGED  # noqa: E402
from ddco_jax.evaluation.provenance import provenance  # noqa: E402
from ddco_jax.kernels.store import load_learned  # noqa: E402
from ddco_jax.plasma.invariants import compute_invariants  # noqa: E402

RESULT = Path(__file__).parent / "results" / "accelerator.json"
REPEATS = 5
AGE = 0.8
"""Age of the correlations (1/omega_p) at which every term of the default kernel contributes."""


def seconds(function, *arguments) -> float:
    """Shortest time (s) of REPEATS calls after a first one."""
    times = []
    for _ in range(REPEATS + 1):
        start = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        times.append(time.perf_counter() - start)
    return min(times[1:])


def operator(n: int, name: str, dtype) -> dict:
    """Time one evaluation of C[f] in one cell of n^3 points."""
    grid = PhaseGrid(1.0, 1, (3.0, 3.0, 3.0), (n, n, n))
    f = jnp.asarray(initial.bimaxwellian(grid, 1.0, 0.2), dtype)
    op, now = CollisionOperator(grid, load_kernel(name)), AGED
    if name == "ddco":
        step = steppers.MidpointCollision(op, load_learned(name).buildup)
        now = step.correlations(State.from_distribution(grid, f, correlation_age=np.full(1, AGE)))
    start = time.perf_counter()
    compiled = jax.jit(lambda f: op(f, now)).lower(f).compile()
    compilation, best = time.perf_counter() - start, seconds(compiled, f)
    transforms = sum(transform_count(op.kernel.separable(1.0, 0.2)))
    padded = jax.jit(lambda f: jnp.fft.rfftn(f[0], (2 * n,) * 3))
    floor = transforms * seconds(padded, f)
    return {
        "kernel": name,
        "n": n,
        "seconds": best,
        "compilation_seconds": compilation,
        "transforms": transforms,
        "padded_fft_seconds": floor,
        "over_padded_fft": best / floor,
        "temporary_bytes": int(compiled.memory_analysis().temp_size_in_bytes),
    }


def paper(n: int, cells: int, steps: int, dtype) -> dict:
    """Time steps of the paper's bi-Maxwellian with the default kernel after a quench, and their conservation errors."""
    grid = PhaseGrid(10.24, cells, (8.0, 8.0, 8.0), (n, n, n))
    wave = np.sin(2 * np.pi * grid.x / grid.length)
    T = units.PAPER.temperature_from_ev(0.2 + 0.1 * wave)
    f = jnp.asarray(initial.bimaxwellian(grid, 1.0, T).astype(dtype))
    learned = load_learned("ddco")
    stepper = steppers.Strang(grid, CollisionOperator(grid, load_kernel("ddco")), buildup=learned.buildup)
    state = State.from_distribution(grid, f, correlation_age=np.zeros(cells))
    step = jax.jit(lambda s: stepper.step(s, jnp.asarray(0.02, dtype)))
    start, times = jax.jit(lambda s: compute_invariants(grid, s))(state), []
    for _ in range(steps):
        began = time.perf_counter()
        state = jax.block_until_ready(step(state))
        times.append(time.perf_counter() - began)
    end = jax.jit(lambda s: compute_invariants(grid, s))(state)
    return {
        "shape": list(grid.shape),
        "steps": steps,
        "seconds_per_step": min(times),
        "first_step_seconds": times[0],
        "mass_drift": abs(float(end.mass / start.mass) - 1),
        "energy_drift": abs(float(end.total_energy / start.total_energy) - 1),
        "entropy_gain": float(end.entropy - start.entropy),
        "negative_mass": float(end.negative_mass / end.mass),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="*", default=[32, 64, 128, 200])
    parser.add_argument("--precision", nargs="+", choices=("float32", "float64"), default=["float32", "float64"])
    parser.add_argument(
        "--paper", type=int, default=200, help="velocity points per axis of the paper's case; 0: leave out"
    )
    parser.add_argument("--cells", type=int, default=20)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--commit", default="", help="commit of the code, where there is no git repository")
    parser.add_argument("--result", type=Path, default=RESULT)
    arguments = parser.parse_args()
    stored: dict = {"made": provenance(commit=arguments.commit), "operator": [], "paper": []}

    def keep(key: str, row: dict) -> None:
        stored[key].append(row)
        print(json.dumps(row), flush=True)
        arguments.result.parent.mkdir(parents=True, exist_ok=True)
        arguments.result.write_text(json.dumps(stored, indent=1) + "\n")

    for precision in arguments.precision:
        for n in arguments.sizes:
            for name in ("landau", "ddco"):
                keep("operator", {"precision": precision, **operator(n, name, np.dtype(precision))})
        if arguments.paper:
            row = paper(arguments.paper, arguments.cells, arguments.steps, np.dtype(precision))
            keep("paper", {"precision": precision, **row})


if __name__ == "__main__":
    main()
