"""Evaluates kernels by data/verdict.toml: MD runs, starts and Gamma that no training has seen.

    python scripts/verdict.py rates | forward [KERNEL ...] [--only NAMEPART] [--cache DIR]
    python scripts/verdict.py show | record

KERNEL is a name of `ddco kernels` or the folder of a training; `NAME/markov` leaves the build-up of correlations out.
`rates` compares weak-form rates; `forward` runs the solver and compares distributions, and for bi-Maxwellians the
decay of anisotropy.  Results are kept in benchmarks/results/verdict.json, case by case; `show` prints them, and
`record` writes the largest errors into the package, where `ddco kernels` finds them.
"""

import argparse
import json
import tomllib
from pathlib import Path

import jax

jax.config.update("jax_enable_x64", True)

from ddco_jax.evaluation import tables, verdict  # noqa: E402
from ddco_jax.evaluation.provenance import provenance  # noqa: E402
from ddco_jax.plasma.files import write_text  # noqa: E402
from ddco_jax.settings import ConfigError  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
VERDICT = tomllib.loads((ROOT / "data" / "verdict.toml").read_text())
RESULT = ROOT / "benchmarks" / "results" / "verdict.json"
RECORD = ROOT / "ddco_jax" / "pretrained" / "held_out.json"
KERNELS = ("ddco", "ddco/markov", "ddco-paper", "dd-landau", "landau")


def judge(kind: str, kernels, only: str, cache: Path | None) -> None:
    """Evaluate case by case; each result is printed and stored at once."""
    judgement, made = {"rates": verdict.rates, "forward": verdict.forward}[kind], provenance("scipy")
    # the blind runs hold no particles, so they have no part in the rates
    names = VERDICT["rates"]["files"] + (VERDICT["forward"]["blind"] if kind == "forward" else [])
    paths = [ROOT / "data" / "md" / name for name in names if only in name]
    for row in judgement(VERDICT, kernels, paths, cache):
        print(line(row), flush=True)
        store(kind, {"made": made, **row})


def line(row: dict) -> str:
    """One case of `rates` or of `forward` as text."""
    text = f"{row['kernel']:14s}{row['case']:40s}"
    if "chi_squared" in row:
        return text + f"{row['chi_squared']:9.2f}{row['at_reference_noise']:9.2f}"
    by = {(e["quantity"], e["time"]): e["excess"] for e in row["errors"]}
    for quantity in verdict.DISTRIBUTIONS:
        values = [v for (q, _), v in sorted(by.items()) if q == quantity]
        text += f"  {quantity} " + " ".join(f"{v:.4f}" for v in values)
    if "anisotropy" in row:
        text += f"  anisotropy off by at most {100 * verdict.decay_error(row['anisotropy']):.1f} %"
    return text


def store(kind: str, row: dict) -> None:
    """Merge a row into the result file."""
    old = json.loads(RESULT.read_text())
    table = {(r["kernel"], r["case"]): r for r in [*old.get(kind, []), row]}
    old[kind] = [table[key] for key in sorted(table)]
    write_text(RESULT, json.dumps(old, indent=1) + "\n")


def show() -> None:
    """Print all stored results."""
    result = json.loads(RESULT.read_text())
    chi = {(r["kernel"], r["case"]): r for r in result.get("rates", [])}
    names = [k for k in KERNELS if any(kernel == k for kernel, _ in chi)]
    cases = sorted({case for _, case in chi})
    rows = [["chi^2 per datum (at N = 13,824)", *names]]
    for case in cases:
        found = [chi.get((name, case)) for name in names]
        rows.append([case, *(f"{c['chi_squared']:.2f} ({c['at_reference_noise']:6.2f})" if c else "" for c in found)])
    rows.append(["ratio of sums, ddco over", *(f"{verdict.ratio(chi, cases, name):.3f}" for name in names)])
    print(tables.columns(rows))
    for row in result.get("forward", []):
        print(line(row))
    for quantity, by_case in verdict.bias(result.get("forward", [])).items():
        print(f"excess of ddco over all times, {quantity}: " + ", ".join(f"{c} {b:.4f}" for c, b in by_case.items()))
    for kernel, ratios in verdict.forward_ratios(result.get("forward", [])).items():
        print(f"total error of ddco over {kernel}'s: " + ", ".join(f"{q} {r:.2f}" for q, r in ratios.items()))


def record() -> None:
    """Write the largest errors of each kernel into the package."""
    write_text(RECORD, json.dumps(verdict.worst(json.loads(RESULT.read_text())), indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("rates", "forward", "show", "record"))
    parser.add_argument("kernels", nargs="*", default=KERNELS)
    parser.add_argument("--only", default="", help="runs whose name contains this")
    parser.add_argument("--cache", type=Path, help="folder for pair averages, or for the runs of `forward`")
    arguments = parser.parse_args()
    if arguments.kind == "show":
        show()
    elif arguments.kind == "record":
        record()
    else:
        try:
            judge(arguments.kind, arguments.kernels, arguments.only, arguments.cache)
        except ConfigError as error:
            raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
