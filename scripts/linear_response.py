"""Response of kernels to weak kicks, pairs of kicks, kicks of a relaxing plasma and second quenches, against MD.

    python scripts/linear_response.py [KERNEL ...] [--kicks] [--training] [--figure FILE]

Without --kicks, weak kicks and pairs of them are computed by Sonine expansion, in seconds.  With --kicks, the solver is
run for every file of data/md/kicks.  With --training, the comparison is with the autocorrelations that training has
seen, else with held-out ones.  Targets are in data/verdict.toml; results are kept in
benchmarks/results/linear_response.json.
"""

import argparse
import json
import tomllib
from pathlib import Path

import jax

jax.config.update("jax_enable_x64", True)

from ddco_jax.evaluation import linear_response  # noqa: E402
from ddco_jax.evaluation.provenance import provenance  # noqa: E402
from ddco_jax.plasma.files import write_text  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
VERDICT = tomllib.loads((ROOT / "data" / "verdict.toml").read_text())
RESULT = ROOT / "benchmarks" / "results" / "linear_response.json"
DATA = ROOT / "data" / "md"


def store(kind: str, rows: list[dict]) -> None:
    """Merge rows into the result file."""
    old = json.loads(RESULT.read_text())
    table = {(r["kernel"], r.get("case", r.get("gamma"))): r for r in [*old.get(kind, []), *rows]}
    old[kind] = [table[key] for key in sorted(table)]
    write_text(RESULT, json.dumps(old) + "\n")


def weak(names, training: bool, made: dict) -> None:
    section = VERDICT["response"]
    patterns = ["equilibrium/*.nc"] if training else section["files"]
    paths = sorted(path for pattern in patterns for path in DATA.glob(pattern))
    data = linear_response.autocorrelations(paths, section["last_time"])
    for name in names:
        rows = [linear_response.weak_kicks(VERDICT, name, plasma) for plasma in data]
        for row in rows:
            print(name, {k: v for k, v in row.items() if not isinstance(v, list) and k != "kernel"})
        store("weak, seen in training" if training else "weak", [{"made": made, **row} for row in rows])


def kicks(names, made: dict) -> None:
    for path in sorted(p for pattern in VERDICT["kicks"]["files"] for p in DATA.glob(pattern)):
        for name in names:
            row = linear_response.kicked(name, path)
            print({k: v for k, v in row.items() if not isinstance(v, list)}, flush=True)
            store("kicks", [{"made": made, **row}])


def draw(file: Path) -> None:
    """Plot the stress after a weak kick of an aged plasma, by kernel, with MD."""
    import matplotlib.pyplot as plt

    rows = json.loads(RESULT.read_text())["weak"]
    gammas = sorted({r["gamma"] for r in rows})
    figure, axes = plt.subplots(1, len(gammas), figsize=(3 * len(gammas), 2.8), sharey=True, constrained_layout=True)
    for axis, gamma in zip(axes, gammas, strict=True):
        for row in (r for r in rows if r["gamma"] == gamma):
            axis.plot(row["time"], row["aged"], label=row["kernel"])
        axis.errorbar(row["time"][::8], row["md"][::8], row["md_error"][::8], fmt="k.", ms=4, label="MD")
        axis.set(title=f"$\\Gamma$ = {gamma:g}", xlabel=r"$\omega_p t$")
    axes[0].set_ylabel("stress after a kick, over its start")
    axes[-1].legend(fontsize=7)
    figure.savefig(file, dpi=200)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kernels", nargs="*", default=["ddco"])
    parser.add_argument("--kicks", action="store_true")
    parser.add_argument("--training", action="store_true")
    parser.add_argument("--figure", type=Path)
    given = parser.parse_args()
    made = provenance("scipy")
    if given.kicks:
        kicks(given.kernels, made)
    else:
        weak(given.kernels, given.training, made)
    if given.figure:
        draw(given.figure)


if __name__ == "__main__":
    main()
