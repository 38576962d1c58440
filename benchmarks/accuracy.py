"""Error and computing time of the numerical schemes.

    python benchmarks/accuracy.py [--points 28 36 46] [--reference 72] [--starts ...] [--figure FILE]

Homogeneous symmetric and asymmetric double wells at Gamma = 1.3 over +-5 thermal speeds, from a quench to 0.8 t0 with
the default kernel.  The error is the relative L2 error of f(vx, vy), at 0.4 and 0.8 t0 together, against the default
scheme on `--reference`^3 points.  The time is that of the steps, without compilation.  Schemes: the paper's (log,
central, midpoint with as many substeps as `ddco check` requires; not run where that is more than MOST) and the ratio
form of order 2, 4, 6, 8 with the Chebyshev step, in double and single precision.  Stored as
benchmarks/results/accuracy.json, start by start.
"""

import argparse
import json
import time
from pathlib import Path

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from scipy.interpolate import make_interp_spline  # noqa: E402

from ddco_jax.evaluation.provenance import provenance  # noqa: E402
from ddco_jax.plasma.units import PAPER as SCALES  # noqa: E402
from ddco_jax.simulation.check import check_report  # noqa: E402
from ddco_jax.simulation.config import parse  # noqa: E402
from ddco_jax.simulation.model import build, initial_state  # noqa: E402

RESULT = Path(__file__).parent / "results" / "accuracy.json"
GAMMA = 1.3
STARTS = ("symmetric_double_well", "asymmetric_double_well")
STEP, TIMES = 0.05, (0.4, 0.8)
MOST = 12
"""Largest number of substeps per step that is run."""
SCHEMES = {
    "paper": {"scheme": "paper"},
    "ratio, 2": {"collisions": {"differences": "central"}},
    "ratio, 4": {"collisions": {"differences": "fourth"}},
    "ratio, 6": {"collisions": {"differences": "sixth"}},
    "ratio, 8": {},
}


def config_of(start: str, points: int, scheme: dict, precision: str):
    """Config of a run, with the substeps (paper's scheme) or stages that its stability requires."""
    T = 0.2221 / GAMMA
    extent = [SCALES.velocity * T**0.5 * 5.0] * 3
    settings: dict = {
        "field": "none",
        "precision": precision,
        "plasma": {"density_m3": 1e24, "temperature_eV": SCALES.temperature_to_ev(T)},
        "grid": {"length_angstrom": 100.0, "nx": 1, "velocity_extent_m_s": extent, "nv": [points] * 3},
        "time": {"step_ps": STEP, "steps": round(TIMES[-1] / STEP)},
        "initial": {"kind": start},
        **{key: value for key, value in scheme.items() if key != "collisions"},
        "collisions": {"kernel": "ddco", "buildup": "quench", **scheme.get("collisions", {})},
    }
    report = check_report(parse(settings))
    if report["stages"] is None:
        settings["collisions"]["substeps"] = max(1, int(np.ceil(report["collision_number"])))
    else:
        settings["collisions"]["stages"] = report["stages"]
    return parse(settings)


def solve(config) -> tuple[list[np.ndarray], float, dict]:
    """f(vx, vy) at TIMES, the time of all steps (s), and the counters of the collision step (`State.tally`)."""
    model = build(config)
    state = initial_state(config, model)
    dt = jnp.asarray(model.dt, model.dtype)
    step = jax.jit(lambda s: model.stepper.step(s, dt)).lower(state).compile()
    planes, seconds = [], 0.0
    for k in range(1, config.time.steps + 1):
        began = time.perf_counter()
        state = jax.block_until_ready(step(state))
        seconds += time.perf_counter() - began
        if any(abs(k * STEP - t) < 1e-9 for t in TIMES):
            planes.append(np.asarray(state.f[0].sum(-1), np.float64) * model.grid.dv[2])
    return planes, seconds, {k: float(v) for k, v in vars(state.tally).items()}


def on(points: np.ndarray, v: np.ndarray, plane: np.ndarray) -> np.ndarray:
    """f(vx, vy) given at velocities v of both axes, interpolated to `points` by quintic splines."""
    along = make_interp_spline(v, plane, k=5)(points)
    return make_interp_spline(v, along.T, k=5)(points).T


def draw(starts: dict[str, dict], path: Path) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(STARTS), figsize=(10, 3.6), sharey=True, constrained_layout=True)
    for axis, start in zip(axes, STARTS, strict=True):
        for precision, style in (("float64", "o-"), ("float32", "s--")):
            for number, name in enumerate(SCHEMES):
                rows = starts.get(start, {"rows": []})["rows"]
                found = [r for r in rows if (r["scheme"], r["precision"]) == (name, precision) and "seconds" in r]
                if found:
                    label = f"{name}{', float32' if precision == 'float32' else ''}"
                    x, y = [r["seconds"] for r in found], [r["error"] for r in found]
                    axis.loglog(x, y, style, color=f"C{number}", ms=4, label=label)
        axis.set_title(start.replace("_", " "), fontsize=10)
        axis.set_xlabel("seconds for 0.8 $t_0$ of one cell")
        axis.set_xticks([1, 2, 5, 10, 20, 30])
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_formatter("")
    axes[0].set_ylabel("relative error of $f(v_x, v_y)$")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", fontsize=8, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=200)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, nargs="+", default=[28, 36, 46])
    parser.add_argument("--reference", type=int, default=72)
    parser.add_argument("--starts", nargs="*", choices=STARTS, default=list(STARTS), help="none: draws what is stored")
    parser.add_argument("--figure", type=Path)
    given = parser.parse_args()
    made, stored = provenance(), json.loads(RESULT.read_text())
    for start in given.starts:
        rows: list[dict] = []
        reference = config_of(start, given.reference, {}, "float64")
        exact, _, _ = solve(reference)
        extent = float(build(reference).grid.vx[-1])
        places = np.linspace(-extent, extent, 121) * 0.95
        exact = [on(places, build(reference).grid.vx, plane) for plane in exact]
        for name, scheme in SCHEMES.items():
            for precision in ("float64", "float32"):
                for points in given.points:
                    config = config_of(start, points, scheme, precision)
                    c = config.collisions
                    row = {"scheme": name, "precision": precision, "points": points}
                    row |= {"evaluations_per_step": c.stages or 2 * c.substeps}
                    if c.substeps > MOST:
                        rows.append(row)
                        continue
                    planes, seconds, tally = solve(config)
                    v = build(config).grid.vx
                    pairs = [(on(places, v, plane), good) for plane, good in zip(planes, exact, strict=True)]
                    error = np.linalg.norm([a - b for a, b in pairs]) / np.linalg.norm([b for _, b in pairs])
                    rows.append(row | {"seconds": round(seconds, 3), "error": float(f"{error:.3g}"), **tally})
                    print(start, rows[-1], flush=True)
        stored["starts"][start] = {"made": made, "reference_points": given.reference, "rows": rows}
        RESULT.write_text(json.dumps(stored, indent=1) + "\n")
    if given.figure:
        draw(stored["starts"], given.figure)


if __name__ == "__main__":
    main()
