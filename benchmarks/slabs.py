"""Errors of the shipped runs of the paper's four starts against converged runs, and of both against MD.

    python benchmarks/slabs.py solve START NVX,NVY,NVZ STEP OUT.npz [--precision float32|float64] [--commit HASH]
    python benchmarks/slabs.py table START RUN_DIR OUT.npz

`solve` runs a start of Eq. (E.2) in 20 cells with time step STEP (t0) and the default scheme, and keeps f(vx, vy) and
the moments every 0.2 t0; it needs only the core of the package, so it runs on a bare machine with an accelerator.
`table` compares a run with this converged one and with data/md/slabs, root mean square over cells, and stores the
errors in benchmarks/results/slabs.json.  The difference of run and converged run is the error of the velocity grid and
of the time step; both have the same cells in x.
"""

import argparse
import json
import time
from pathlib import Path

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

from ddco_jax import CollisionOperator, PhaseGrid, State, initial, load_kernel, steppers, units  # noqa: E402
from ddco_jax.correlations import AGED  # noqa: E402
from ddco_jax.evaluation.provenance import provenance  # noqa: E402
from ddco_jax.kernels.store import load_learned  # noqa: E402
from ddco_jax.plasma.moments import compute_moments  # noqa: E402
from ddco_jax.steppers.collision import stability_interval  # noqa: E402

RESULT = Path(__file__).parent / "results" / "slabs.json"
MD = Path(__file__).parents[1] / "data" / "md" / "slabs"
EXTENT = {"bimaxwellian": (2.95, 3.41, 3.41)}
"""Half extents along vx, vy, vz (V0) where they are not all 2.95."""
EVERY = 0.2
"""Time between snapshots, t0."""


def solve(start: str, points: tuple[int, int, int], dt: float, out: Path, dtype, commit: str, last=0.8) -> None:
    """Run a start of the paper up to `last` (t0) with time step dt (t0) and write its snapshots to `out`."""
    made = json.dumps(provenance(commit=commit))
    name = "maxwellian" if start == "local_maxwellian" else start
    grid = PhaseGrid(10.24, 20, EXTENT.get(start, (2.95,) * 3), points)
    T = units.PAPER.temperature_from_ev(0.2 + 0.1 * np.sin(2 * np.pi * grid.x / grid.length))
    f = jnp.asarray(np.asarray(getattr(initial, name)(grid, 1.0, T)), dtype)
    op = CollisionOperator(grid, load_kernel("ddco"))
    stiffness = dt * float(jax.jit(lambda f: op.rate(f, AGED).stiffness)(f[int(np.argmin(T))]))
    stages = next(s for s in range(2, 40) if 1.4 * stiffness <= stability_interval(s))
    stepper = steppers.Strang(grid, op, buildup=load_learned("ddco").buildup, collision_stages=stages)
    state = State.from_distribution(grid, f, correlation_age=np.zeros(grid.nx))
    step = jax.jit(lambda s: stepper.step(s, jnp.asarray(dt, dtype)))
    look = jax.jit(lambda s: (s.time, jnp.sum(s.f, -1) * grid.dv[2], *compute_moments(grid, s.f)))
    rows, began = [look(state)], time.perf_counter()
    for k in range(1, round(last / dt) + 1):
        state = step(state)
        if k % round(EVERY / dt) == 0:
            rows.append(look(state))
    columns = zip(*rows, strict=True)
    t, f_vxvy, density, drift, temperature = (np.stack([np.asarray(x, np.float32) for x in c]) for c in columns)
    fields = {"f_vxvy": f_vxvy, "density": density, "drift_x": drift[..., 0], "temperature": temperature}
    np.savez_compressed(out, t=t, vx=grid.vx, vy=grid.vy, made=made, **fields)
    print(f"{start} {points}, {dt} t0, {stages} stages: {time.perf_counter() - began:.0f} s with compilation, {made}")


def table(start: str, run: Path, converged: Path) -> None:
    """Errors of a run and of a converged one against MD, and against each other."""
    import xarray as xr

    from ddco_jax.evaluation import compare
    from ddco_jax.md.dataset import open_dataset
    from ddco_jax.simulation.results import open_result

    made, md = provenance(), open_dataset(MD / f"i_{start}.nc").load()
    merge = round(compare.BIN / units.PAPER.velocity / md.attrs["bin_width"])
    edges = compare.bin_edges(md, merge)
    snapshots = open_result(run)["snapshots"].to_dataset().load()
    with np.load(converged) as z:
        dims = {"f_vxvy": ("t", "x", "vx", "vy")}
        fields = ("f_vxvy", "density", "drift_x", "temperature")
        fine = xr.Dataset(
            {k: (dims.get(k, ("t", "x")), z[k].astype(float)) for k in fields}, {k: z[k] for k in ("vx", "vy")}
        )
        fine["f_vx"] = fine["f_vxvy"].sum("vy") * float(z["vy"][1] - z["vy"][0])
        times, converged_made = z["t"], json.loads(str(z["made"]))

    def planes(data, cell):
        """f(vx) and f(vx, vy) on the bins of the MD."""
        vx, vy, f = data["vx"].to_numpy(), data["vy"].to_numpy(), data["f_vxvy"][cell].to_numpy()
        return compare.rebin(data["f_vx"][cell].to_numpy(), vx, edges), compare.rebin(
            compare.rebin(f, vx, edges).T, vy, edges
        )

    rows = []
    for i, t in enumerate(times):
        at = {"run": snapshots.sel(t=t, method="nearest"), "converged": fine.isel(t=i)}
        j = int(np.argmin(np.abs(md["t"].to_numpy() - t)))
        row: dict = {"time": round(float(t), 3)}
        for name, data in at.items():
            errors = [
                compare._errors(data.isel(x=c), md.isel(t=j, x=c), merge, compare.particles_in(md, j, c))
                for c in range(20)
            ]
            for q in ("f_vx", "f_vxvy"):
                excess = [max(e[q][0] ** 2 - e[q][1] ** 2, 0) ** 0.5 for e in errors]
                row[f"{name}, excess over MD, {q}"] = round(float(np.mean(np.square(excess)) ** 0.5), 5)
                row[f"{name}, largest of a cell, {q}"] = round(max(excess), 5)
        gaps = []
        for c in range(20):
            both = zip(planes(at["run"], c), planes(at["converged"], c), strict=True)
            gaps.append([np.linalg.norm(a - b) / np.linalg.norm(b) for a, b in both])
        for q, gap in zip(("f_vx", "f_vxvy"), np.sqrt(np.mean(np.square(gaps), 0)), strict=True):
            row[f"run - converged, {q}"] = round(float(gap), 5)
        rows.append(row)
        print(row)
    stored = json.loads(RESULT.read_text())
    shapes = {"run": [snapshots.sizes["vx"], snapshots.sizes["vy"]], "converged": [len(fine["vx"]), len(fine["vy"])]}
    origin = {"made": made, "converged, made": converged_made}
    stored["starts"][start] = {**origin, "points along vx and vy": shapes, "rows": rows}
    RESULT.write_text(json.dumps(stored, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("solve")
    for name, kind in (
        ("start", str),
        ("points", lambda text: tuple(int(n) for n in text.split(","))),
        ("step", float),
        ("out", Path),
    ):
        one.add_argument(name, type=kind)
    one.add_argument("--precision", choices=("float32", "float64"), default="float32")
    one.add_argument("--commit", default="", help="commit of the code, where there is no git repository")
    two = commands.add_parser("table")
    for name, kind in (("start", str), ("run", Path), ("converged", Path)):
        two.add_argument(name, type=kind)
    given = parser.parse_args()
    if given.command == "solve":
        solve(given.start, given.points, given.step, given.out, np.dtype(given.precision), given.commit)
    else:
        table(given.start, given.run, given.converged)


if __name__ == "__main__":
    main()
