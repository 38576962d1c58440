"""Overhead of `ddco md` over LAMMPS itself.

    python benchmarks/md_overhead.py [--particles 13824 132651] [--processes 1]

The run stage of one replicate (LAMMPS, reading every snapshot, all statistics, writing the dataset) is compared with
LAMMPS alone on the same input script, and on that script without its dumps.  The runs alternate, and the best of the
repeats counts.  Prints particle-steps per second and the overhead; stored as benchmarks/results/md_overhead.json.
"""

import argparse
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as `ddco md` does, before NumPy is loaded

import numpy as np

from ddco_jax.evaluation.provenance import provenance
from ddco_jax.md import dump, lammps
from ddco_jax.md.config import MDConfig
from ddco_jax.md.equilibrate import save_configuration
from ddco_jax.md.simulate import simulate, start_velocities
from ddco_jax.plasma.particles import lattice
from ddco_jax.settings import parse

RESULT = Path(__file__).parent / "results" / "md_overhead.json"
TARGET = 0.05
"""Target overhead relative to LAMMPS alone."""


def settings(particles: int, processes: int, duration_ps: float, configuration: Path) -> MDConfig:
    return parse(
        MDConfig,
        {
            "processes": processes,
            "plasma": {"temperature_eV": 0.2},
            "box": {"particles": particles},
            "equilibrate": {"file": str(configuration)},
            "start": {"kind": "bimaxwellian"},
            "time": {"duration_ps": duration_ps, "snapshot_ps": 0.1},
        },
        "benchmark",
    )


def bare(config: MDConfig, positions: np.ndarray, folder: Path, dumps: bool) -> float:
    """Time (s) of LAMMPS alone on the input of the run, with or without its dumps."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    every, dt = config.steps_per(config.interval(config.time.snapshot_ps))
    steps = every * round(config.interval(config.time.duration_ps) / (every * dt))
    dump.write_frame(folder / "start.bin", 0, config.lengths, positions, start_velocities(config, positions[:, 0], 0))
    script = lammps.Segment(config.system(), folder / "start.bin", 0, steps, dt, every).script(folder)
    if not dumps:
        script = "".join(line for line in script.splitlines(True) if not line.startswith("dump "))
    (folder / "in.lammps").write_text(script)
    began = time.perf_counter()
    subprocess.run(
        lammps.command(config.processes), cwd=folder, check=True, capture_output=True, env=lammps.environment()
    )
    return time.perf_counter() - began


def measure(particles: int, processes: int, repeats: int, duration_ps: float) -> dict:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = settings(particles, processes, duration_ps, folder / "configuration.nc")
        # a lattice will do: the cost of a step hardly depends on the configuration
        positions = lattice(np.random.default_rng(0), particles, np.array(config.lengths))
        box = np.column_stack([np.zeros(3), config.lengths])
        frame = dump.Frame(0, box, dump.COLUMNS, np.column_stack([np.arange(particles), positions, 0 * positions]))
        save_configuration(config, frame, folder / "configuration.nc")
        ours, same, plain = [], [], []
        for i in range(repeats):
            began = time.perf_counter()
            simulate(config, folder / f"{i}.nc", progress=False)
            ours.append(time.perf_counter() - began)
            same.append(bare(config, positions, folder / "bare", True))
            plain.append(bare(config, positions, folder / "bare", False))
    every, dt = config.steps_per(config.interval(config.time.snapshot_ps))
    work = particles * round(config.interval(duration_ps) / dt)
    return {
        "particles": particles,
        "processes": processes,
        "steps": work // particles,
        "snapshots": work // particles // every + 1,
        "particle_steps_per_second": work / min(ours),
        "lammps_same_input": work / min(same),
        "lammps_without_dumps": work / min(plain),
        "overhead": min(ours) / min(same) - 1,
        "overhead_over_no_dumps": min(ours) / min(plain) - 1,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--particles", type=int, nargs="+", default=[13_824, 132_651])
    parser.add_argument("--processes", type=int, nargs="+", default=[1])
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--duration-ps", type=float, default=2.4)
    arguments = parser.parse_args()
    print(f"{'N':>9s} {'procs':>5s} {'ddco md':>10s} {'LAMMPS':>10s} {'no dumps':>10s} {'overhead':>9s} (target 5 %)")
    made, rows = provenance("lammps"), []
    for processes in arguments.processes:
        for n in arguments.particles:
            row = measure(n, processes, arguments.repeats, arguments.duration_ps)
            rows.append(row)
            print(
                f"{n:9,d} {processes:5d} {row['particle_steps_per_second']:10.3g} {row['lammps_same_input']:10.3g} "
                f"{row['lammps_without_dumps']:10.3g} {100 * row['overhead']:8.1f} %",
                flush=True,
            )
    stored = {"made": made, "lammps": lammps.program()[1], "target": TARGET, "rows": rows}
    RESULT.write_text(json.dumps(stored, indent=1) + "\n")


if __name__ == "__main__":
    main()
