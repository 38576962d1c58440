"""Runs every shipped case that fits two cores and stores its conservation errors and errors against MD as JSON.

    python scripts/conservation.py [CASE ...]

Each start of the paper runs 40 steps of the paper's scheme on the grids of GRIDS, with the default kernel and with
Landau's, with the Ampere and with the Poisson step; the bi-Maxwellian also in a box that cuts f at its edge.  Every
config also runs as it ships, with the default scheme.
With the Ampere step the runs are also compared with the MD of the same start in data/md/slabs (1.6e7 particles).
Cases already in the JSON file (benchmarks/results/conservation.json) are kept unless named.
"""

import dataclasses
import json
import sys
import tempfile
from pathlib import Path

import jax
import numpy as np

jax.config.update("jax_enable_x64", True)

from ddco_jax.evaluation import compare  # noqa: E402
from ddco_jax.evaluation.conservation import conservation  # noqa: E402
from ddco_jax.evaluation.provenance import provenance  # noqa: E402
from ddco_jax.md.dataset import open_dataset  # noqa: E402
from ddco_jax.plasma.files import write_text  # noqa: E402
from ddco_jax.simulation.config import load  # noqa: E402
from ddco_jax.simulation.run import run  # noqa: E402

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "benchmarks" / "results" / "conservation.json"
STARTS = ("local_maxwellian", "bimaxwellian", "symmetric_double_well", "asymmetric_double_well")
GRIDS = {
    "local_maxwellian": ("grid.nv=[28, 28, 28]",),
    "bimaxwellian": ("grid.nv=[48, 32, 32]",),
    "symmetric_double_well": ("grid.nv=[62, 62, 62]",),
    "asymmetric_double_well": ("grid.nv=[54, 54, 54]", "collisions.substeps=2"),
}
PAPER = ('scheme="paper"', "time.step_ps=0.02", "time.steps=40", "output.snapshot_every=10")
KERNELS = {"ddco": (), "landau": ('collisions.kernel="landau"', 'collisions.buildup="off"')}
"""Overrides by kernel: none for the kernel that the cases ship with; Landau's is without build-up of correlations."""
CUT_BOX = ("grid.velocity_extent_m_s=[13000.0, 15000.0, 15000.0]", "grid.nv=[24, 16, 16]")


def cases() -> dict[str, tuple[str, tuple[str, ...]]]:
    """(config, overrides) by case name."""
    table = {}
    for kernel, keys in KERNELS.items():
        for field in ("ampere", "poisson"):
            chosen = (f'field="{field}"', *PAPER, *keys)
            for start in STARTS:
                table[f"{start}/{field}/{kernel}"] = (start, (*chosen, *GRIDS[start]))
            table[f"bimaxwellian-cut/{field}/{kernel}"] = ("bimaxwellian", (*chosen, *CUT_BOX))
    return table | {f"{name}/as shipped": (name, ()) for name in (*STARTS, "langmuir", "bkw", "two_stream")}


def beside_md(folder: Path, file: Path) -> list[dict]:
    """Errors of f against the MD, root mean square over cells, by time and quantity."""
    rows = compare.compare(folder, open_dataset(file).load())
    table = []
    for time in sorted({r["time"] for r in rows} - {0.0}):
        for quantity in ("f_vx", "f_vxvy"):
            chosen = [r for r in rows if (r["time"], r["quantity"]) == (time, quantity)]
            errors = {key: float(np.mean([r[key] ** 2 for r in chosen]) ** 0.5) for key in ("total", "noise")}
            table.append({"time": round(time, 6), "quantity": quantity, **errors})
    return table


def measure(config: str, overrides: tuple[str, ...], md: Path) -> dict:
    """Run a case and reduce its history to the figures that the documentation quotes."""
    settings, name = load(config, overrides)
    with tempfile.TemporaryDirectory() as folder:
        summary = run(settings, Path(folder) / "run", name)
        compared = {"md": beside_md(Path(folder) / "run", md)} if md.exists() else {}
    found = conservation(summary.history)
    return {
        "steps": summary.steps,
        "seconds_per_step": summary.seconds_per_step,
        **dataclasses.asdict(found),
        "momentum_drift": max(found.momentum_drift),
        **compared,
    }


def main() -> None:
    wanted, kept, made = sys.argv[1:], stored()["cases"], provenance()
    for name, (config, overrides) in cases().items():
        if wanted and not any(name.startswith(w) for w in wanted):
            continue
        if not wanted and name in kept:
            continue
        print(name, flush=True)
        file = "none" if "/poisson/" in name else f"i_{name.split('/')[0]}.nc"
        found = measure(config, overrides, ROOT / "data" / "md" / "slabs" / file)
        print(json.dumps(found), flush=True)
        now = stored()  # read again: another process may have added results
        now["cases"][name] = {"made": made, **found}
        write_text(RESULT, json.dumps(now, indent=1) + "\n")


def stored() -> dict:
    """The contents of the result file."""
    return json.loads(RESULT.read_text())


if __name__ == "__main__":
    main()
