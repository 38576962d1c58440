"""Cost of the fast collision operator relative to SciPy's FFT, the direct sum and Eq. (B.3) as printed.

    python benchmarks/collision_operator.py [--sizes 16 24 32] [--direct-up-to 32] [--processes 5]

The kernels are one anisotropic product (g0^2, g1^2, g2^2 with M = N = 1), Landau's, and the default one, whose tables
give a different kernel in every cell.  Double precision, one cell after another.  The yardstick is independent of the
package: as many three-dimensional transforms as the operator counts, each by SciPy's FFT on all cores, zero-padded to
2N along one axis after the other, so that no line of zeros is transformed.  Prints, and stores as
benchmarks/results/collision_operator.json: the time per cell, its ratio to the yardstick, the ratios of the direct sum
and of Eq. (B.3) as printed, at equal rank, to the operator, the temporary memory, and the exponent of the cost in the
number of velocity points.  Times are medians over fresh processes (--processes), since the time of a compiled operator
depends on where its memory lies.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import scipy.fft  # noqa: E402
from printed_b3 import make_operator  # noqa: E402

from ddco_jax import CollisionOperator, PhaseGrid, kernels  # noqa: E402
from ddco_jax.collisions.spectral import transform_count  # noqa: E402
from ddco_jax.evaluation.provenance import provenance  # noqa: E402
from ddco_jax.kernels.store import load_kernel  # noqa: E402

RESULT = Path(__file__).parent / "results" / "collision_operator.json"
KERNELS = ("landau", "anisotropic", "ddco")
CELLS = 8
WIDTH = 3.0


def one(s, n, T):
    return jnp.ones_like(s)


def gaussian(s, n, T):
    return jnp.exp(-(s**2) / (2 * WIDTH**2)) / 2


def weight(s):
    """g^2 for g = L (M N' + N M') with L = `gaussian` and M = N = 1."""
    return np.exp(-(s**2) / WIDTH**2)


def seconds(function, *args, repeats: int = 9) -> float:
    return race(repeats, lambda: function(*args))[0]


def race(repeats: int, *calls) -> list[float]:
    """Best time (s) of each call.  The calls alternate, so that a temporary slowdown of the machine affects all."""
    for call in calls:
        jax.block_until_ready(call())
    best = [np.inf] * len(calls)
    for _ in range(repeats):
        for i, call in enumerate(calls):
            start = time.perf_counter()
            jax.block_until_ready(call())
            best[i] = min(best[i], time.perf_counter() - start)
    return best


def distribution(grid: PhaseGrid):
    v = np.meshgrid(*grid.velocities, indexing="ij")
    f = np.exp(-(v[0] ** 2) - v[1] ** 2 / 2 - v[2] ** 2 / 1.5)
    return jnp.asarray(np.broadcast_to(f, grid.shape))


def pruned_fft(n: int):
    """One zero-padded real transform of n^3 values by SciPy."""
    values = np.random.default_rng(0).normal(size=(n, n, n))

    def transform():
        spectrum = scipy.fft.rfft(values, 2 * n, axis=2, workers=-1)
        spectrum = scipy.fft.fft(spectrum, 2 * n, axis=1, workers=-1, overwrite_x=True)
        return scipy.fft.fft(spectrum, 2 * n, axis=0, workers=-1, overwrite_x=True)

    return transform


def against_fft(n: int) -> dict:
    """Time of each kernel's operator and of the FFTs that it would need, in this process."""
    grid = PhaseGrid(1.0, CELLS, (4.0, 4.0, 4.0), (n, n, n))
    f = distribution(grid)
    one_cell = PhaseGrid(1.0, 1, grid.v_max, grid.nv)
    entry: dict = {}
    yardstick = race(50, pruned_fft(n))[0]  # before the operators take memory, which would slow it down
    anisotropic = kernels.LowRank(*(((gaussian, one, one),) for _ in range(3)))
    for name, kernel in zip(KERNELS, (kernels.Landau(), anisotropic, load_kernel("ddco")), strict=True):
        operator = CollisionOperator(grid, kernel)
        forward, inverse = transform_count(kernel.separable(1.0, 1.0))
        fast, floor = seconds(operator, f) / CELLS, yardstick * (forward + inverse)
        compiled = jax.jit(lambda f, k=kernel: CollisionOperator(one_cell, k)(f)).lower(f[:1]).compile()
        memory = compiled.memory_analysis()
        entry[name] = {
            "transforms": [forward, inverse],
            "seconds": fast,
            "pruned_fft_seconds": floor,
            "over_fft": fast / floor,
            "temporary_bytes": int(memory.temp_size_in_bytes) if memory else None,
        }
    return entry


def in_processes(n: int, processes: int) -> dict:
    """Medians of `against_fft` over fresh processes, one after another."""
    command = [sys.executable, __file__, "--worker", str(n)]
    entries = [
        json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
        for _ in range(processes)
    ]
    out: dict = {}
    for name in KERNELS:
        out[name] = dict(entries[0][name])
        for key in ("seconds", "pruned_fft_seconds", "over_fft"):
            out[name][key] = float(np.median([e[name][key] for e in entries]))
        out[name]["over_fft_by_process"] = [e[name]["over_fft"] for e in entries]
    return out


def peers(n: int, with_direct: bool) -> dict:
    """Times of Eq. (B.3) as printed and of the direct sum, relative to the fast operator."""
    grid = PhaseGrid(1.0, CELLS, (4.0, 4.0, 4.0), (n, n, n))
    f, one_cell, entry = distribution(grid), PhaseGrid(1.0, 1, grid.v_max, grid.nv), {}
    two_terms = kernels.LowRank(g1=((gaussian, one, one),), g2=((gaussian, one, one),))
    paper = {"force": "log", "differences": "central"}  # the scheme of the printed form
    fast_operator = CollisionOperator(grid, two_terms, **paper)
    fast = seconds(lambda f: fast_operator(f), f) / CELLS
    collide, convolver = make_operator(grid, weight, weight)
    printed = jax.jit(collide)
    reference = CollisionOperator(one_cell, two_terms, **paper)(f[:1])[0]
    difference = float(jnp.max(jnp.abs(printed(f[0]) - reference)) / jnp.max(jnp.abs(reference)))
    b3 = seconds(printed, f[0], repeats=3)
    entry["b3"] = {
        "seconds": b3,
        "inverse_transforms": convolver.inverses,
        "same_to": difference,
        "over_fast": b3 / fast,
    }
    if with_direct:
        direct = CollisionOperator(one_cell, two_terms, "direct", **paper)
        entry["direct"] = {"seconds": seconds(lambda f: direct(f), f[:1], repeats=1)}
        entry["direct"]["over_fast"] = entry["direct"]["seconds"] / fast
    return entry


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", type=int, nargs="+", default=[16, 24, 32])
    parser.add_argument("--direct-up-to", type=int, default=32)
    parser.add_argument("--processes", type=int, default=5)
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        print(json.dumps(against_fft(args.worker)))
        return
    made, entries = provenance("scipy"), []
    for n in args.sizes:
        entry = {"n": n, **in_processes(n, args.processes), **peers(n, n <= args.direct_up_to)}
        entries.append(entry)
        print(f"N = {n}^3", file=sys.stdout)
        for name in KERNELS:
            e, spread = entry[name], entry[name]["over_fft_by_process"]
            print(
                f"  {name:12s} {e['seconds'] * 1e3:8.1f} ms per cell, {e['transforms']} transforms, over SciPy's "
                f"{e['over_fft']:.2f} ({min(spread):.2f} ... {max(spread):.2f}), "
                f"temporary memory {(e['temporary_bytes'] or 0) / 2**20:.0f} MiB"
            )
        b3 = entry["b3"]
        print(
            f"  B.3 printed  {b3['seconds'] * 1e3:8.1f} ms, {b3['inverse_transforms']} inverse transforms, "
            f"same to {b3['same_to']:.0e}: {b3['over_fast']:.1f} x the fast operator"
        )
        if "direct" in entry:
            d = entry["direct"]
            print(f"  direct sum   {d['seconds'] * 1e3:8.1f} ms: {d['over_fast']:.0f} x the fast operator", flush=True)
    points = np.log([float(e["n"]) ** 3 for e in entries])
    exponents = {
        name: float(np.polyfit(points, np.log([e[name]["seconds"] for e in entries]), 1)[0]) for name in KERNELS
    }
    print("cost exponent in the number of velocity points:", exponents)
    RESULT.parent.mkdir(exist_ok=True)
    stored = {"made": made, "exponents": exponents, "sizes": entries}
    RESULT.write_text(json.dumps(stored, indent=1) + "\n")


if __name__ == "__main__":
    main()
