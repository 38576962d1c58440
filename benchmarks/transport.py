"""Time to compute transport coefficients, relative to evaluating the kernel alone.

    python benchmarks/transport.py [KERNEL ...]

D*, eta* and kappa* at order 4, and their gradient with respect to the kernel's parameters, are compared with the bare
evaluation of omega at the points of the quadrature, a lower bound for any quadrature.  Stored as
benchmarks/results/transport.json.
"""

import argparse
import json
import time
from pathlib import Path

import jax

jax.config.update("jax_enable_x64", True)

import equinox as eqx  # noqa: E402
import jax.numpy as jnp  # noqa: E402

from ddco_jax.evaluation.provenance import provenance  # noqa: E402
from ddco_jax.kernels import store  # noqa: E402
from ddco_jax.kernels.chapman_enskog import POINTS, omega_hat, pair_nodes, transport  # noqa: E402
from ddco_jax.plasma.units import PAPER  # noqa: E402

RESULT = Path(__file__).parent / "results" / "transport.json"
TARGET = 1.0
"""Target time after compilation, s."""
REPEATS = 5


def seconds(function, *arguments) -> tuple[float, float]:
    """Times (s) of the first call and of the fastest later one."""
    times = []
    for _ in range(REPEATS + 1):
        start = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        times.append(time.perf_counter() - start)
    return times[0], min(times[1:])


def measure(name: str) -> dict:
    kernel = store.load_kernel(name) if name in store.NAMED else store.load_learned(name).kernel
    params, static = eqx.partition(kernel, eqx.is_inexact_array)
    c, c_prime, _ = (jnp.asarray(a) for a in pair_nodes(POINTS))
    temperature = jnp.asarray(PAPER.coupling_parameter(1.0, 1.0))

    def total(params):
        found = transport(eqx.combine(params, static), 1.0)
        return found.D_star + found.eta_star

    @jax.jit
    def bare(params):
        return omega_hat(eqx.combine(params, static), c, c_prime, jnp.ones(()), temperature, PAPER)

    compilation, both = seconds(jax.jit(total), params)
    row = {"kernel": name, "compilation_s": compilation, "evaluation_s": both, "kernel_s": seconds(bare, params)[1]}
    if jax.tree.leaves(params):
        row["gradient_s"] = seconds(jax.jit(jax.grad(total)), params)[1]
    return row | {"over_floor": both / row["kernel_s"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kernels", nargs="*", default=["landau", "dd-landau", "ddco", "ddco-paper"])
    made, rows = provenance(), []
    for name in parser.parse_args().kernels:
        row = measure(name)
        rows.append(row)
        print(
            f"{name:12s} {1e3 * row['evaluation_s']:7.1f} ms, gradient {1e3 * row.get('gradient_s', 0):7.1f} ms, "
            f"{row['over_floor']:.1f} times the kernel alone (target {TARGET:g} s)",
            flush=True,
        )
    RESULT.write_text(json.dumps({"made": made, "target_s": TARGET, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
