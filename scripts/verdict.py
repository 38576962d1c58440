"""Judges kernels by data/verdict.toml: MD runs, starts and Gamma that no training has seen.

    python scripts/verdict.py rates | forward [KERNEL ...] [--only NAMEPART] [--cache DIR]
    python scripts/verdict.py show | record

KERNEL is a name of `ddco kernels` or the folder of a training; `NAME/markov` leaves the build-up of correlations out.
`rates` compares weak-form rates; `forward` runs the solver and compares distributions, and for bi-Maxwellians the
decay of anisotropy.  Results are kept in benchmarks/results/verdict.json, case by case; `record` puts their summary
into the package, where `ddco kernels` finds it.
"""

import argparse
import hashlib
import json
import platform
import shutil
import tempfile
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import jax

jax.config.update("jax_enable_x64", True)

import equinox as eqx  # noqa: E402
import numpy as np  # noqa: E402

from ddco_jax.evaluation import compare  # noqa: E402
from ddco_jax.kernels.store import NAMED, load_kernel, load_learned  # noqa: E402
from ddco_jax.learning.train import stack  # noqa: E402
from ddco_jax.learning.weak_form import load_run  # noqa: E402
from ddco_jax.md.dataset import draws, open_dataset  # noqa: E402
from ddco_jax.md.test_functions import VERSION  # noqa: E402
from ddco_jax.plasma import units  # noqa: E402
from ddco_jax.simulation.config import parse  # noqa: E402
from ddco_jax.simulation.results import open_result  # noqa: E402
from ddco_jax.simulation.run import run  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
VERDICT = tomllib.loads((ROOT / "data" / "verdict.toml").read_text())
RESULT = ROOT / "benchmarks" / "results" / "verdict.json"
RECORD = ROOT / "ddco_jax" / "pretrained" / "held_out.json"
KERNELS = ("ddco", "ddco/markov", "ddco-paper", "dd-landau", "landau")
MARKOV = "/markov"


def files(only: str, blind: bool = False) -> list[Path]:
    """The runs that kernels are judged by; the blind ones hold no particles, so they have no part in the rates."""
    names = VERDICT["rates"]["files"] + (VERDICT["forward"]["blind"] if blind else [])
    return [ROOT / "data" / "md" / f for f in names if only in f]


def kernel_and_buildup(name: str):
    """The kernel, and its build-up unless the name leaves it out."""
    base = name.removesuffix(MARKOV)
    if base in NAMED:
        return load_kernel(base), None
    learned = load_learned(base)
    return learned.kernel, None if name.endswith(MARKOV) else learned.buildup


def rates(names, only: str, cache: Path | None) -> list[dict]:
    """chi^2 per datum of the rates, by kernel and run."""
    if VERDICT["rates"]["test_functions_version"] != VERSION:
        raise SystemExit("data/verdict.toml fixes other test functions than this version has")
    rows = []
    for path in files(only):
        data = load_run(path, cache, VERDICT["rates"]["rounds"])
        last = VERDICT["rates"]["last_time"] * data.plasma_frequency
        keep = data.times[:, -1] < last * (1 + 1e-9)
        parts = {key: getattr(data, key)[keep] for key in ("interpolation", "times", "rate", "error")}
        predictor = jax.tree.map(lambda a: a[0], stack([data._replace(**parts)], np.float32)[0])
        share = VERDICT["rates"]["reference_particles"] / float(open_dataset(path).attrs["particles"])
        for name in names:
            chi = float(predictor.chi_squared(predictor.rates(*kernel_and_buildup(name))))
            row = {"kernel": name, "case": path.stem, "chi_squared": chi, "at_reference_noise": 1 + (chi - 1) * share}
            print(f"{name:14s}{path.stem:40s}{chi:9.2f}{row['at_reference_noise']:9.2f}", flush=True)
            rows.append(row)
    return rows


def config_of(name: str, md, last: float):
    """The solver's config for one kernel and one MD run."""
    section, scales = VERDICT["forward"], units.PAPER
    start = json.loads(md.attrs["config"])["start"]
    T = float(md.attrs["temperature"])
    shape = section["grids"][start["kind"]]
    extent = [scales.velocity * T**0.5 * e for e in shape["extent"]]
    initial_section = {"kind": start["kind"]}
    if start["kind"] == "bimaxwellian":
        initial_section["anisotropy"] = start["anisotropy"]
    base = name.removesuffix(MARKOV)
    on = base not in NAMED and not name.endswith(MARKOV) and load_learned(base).buildup is not None
    return parse(
        {
            "field": "none",
            "precision": section["precision"],
            "plasma": {"density_m3": 1e24, "temperature_eV": scales.temperature_to_ev(T)},
            "grid": {"length_angstrom": 100.0, "nx": 1, "velocity_extent_m_s": extent, "nv": shape["nv"]},
            "time": {"step_ps": section["step"], "steps": round(last / section["step"])},
            "initial": initial_section,
            "collisions": {
                "kernel": base,
                "substeps": shape["substeps"],
                "differences": shape.get("differences", "central"),
                "buildup": "quench" if on else "off",
            },
            "output": {"snapshot_every": round(0.1 / section["step"]), "checkpoint_every": 1000, "distribution": False},
        }
    )


def solve(name: str, case: str, md, last: float, keep: Path) -> Path:
    """Folder of the solver's run, from `keep` where the same run has ended before."""
    keep.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        config = config_of(name, md, last)
        arrays = jax.tree.leaves(eqx.filter(kernel_and_buildup(name), eqx.is_array))
        text = config.model_dump_json() + case
        key = hashlib.sha256(text.encode() + b"".join(np.asarray(a).tobytes() for a in arrays)).hexdigest()
        folder = keep / f"{case}-{key[:16]}"
        if not folder.exists():
            run(config, Path(scratch) / "run", case)
            shutil.move(Path(scratch) / "run", folder)
    return folder


def forward(names, only: str, cache: Path | None) -> list[dict]:
    """Errors of f by kernel, run and time; for bi-Maxwellians the decay of anisotropy."""
    section, rows = VERDICT["forward"], []
    for path in files(only, blind=True):
        md, measured = open_dataset(path).load(), pooled(path)
        bimaxwellian = md.attrs["start"] == "bimaxwellian"
        last = VERDICT["anisotropy"]["last_time"] if bimaxwellian else max(section["times"])
        for name in names:
            with tempfile.TemporaryDirectory() as scratch:
                folder = solve(name, path.stem, md, last, cache or Path(scratch))
                found = compare.compare(folder, measured, section["bin"])
                row = {"kernel": name, "case": path.stem, "errors": select(found, section["times"])}
                if bimaxwellian:
                    row["anisotropy"] = decay(folder, md)
            print(line(row), flush=True)
            rows.append(row)
            store("forward", [row])
    return rows


def pooled(path: Path):
    """A held-out run together with its further draws in data/md/held_out_draws: less noise, the same law.

    Variables of the comparison only, at the times that both have; the anisotropy needs all times of the run itself.
    """
    md, further = open_dataset(path).load(), path.parents[1] / "held_out_draws" / path.name
    if not further.exists():
        return md
    more = open_dataset(further).load()
    number, extra = draws(md) * md.sizes["replicate"], draws(more) * more.sizes["replicate"]
    names = ["density", "drift", "temperature", "f_vx", "f_vxvy"]
    near = md[names].mean("replicate").sel(t=more["t"], method="nearest").assign_coords(t=more["t"])
    both = (number * near + extra * more[names].mean("replicate")) / (number + extra)
    out = both.expand_dims("replicate").transpose("replicate", "t", "x", ...)
    out.attrs = md.attrs | {"draws_per_replicate": number + extra}
    return out


def select(rows: list[dict], times) -> list[dict]:
    """The distributions at the times of the verdict."""
    keys = ("time", "quantity", "total", "noise", "excess")
    chosen = [r for r in rows if r["quantity"] in ("f_vx", "f_vxvy") and min(abs(r["time"] - t) for t in times) < 1e-6]
    return [{k: r[k] for k in keys} for r in chosen]


def decay(folder: Path, md) -> dict:
    """(Tx - Tperp), as a share of its start, of model and MD, and the standard error of the MD's."""
    snapshots = open_result(folder)["snapshots"].to_dataset().load()
    out: dict[str, list] = {"time": [], "model": [], "md": [], "error": []}
    vx, f = snapshots["vx"].to_numpy(), snapshots["f_vx"].to_numpy()[:, 0]
    dv = vx[1] - vx[0]
    n = f.sum(-1) * dv
    along = (f * vx**2).sum(-1) * dv / n - ((f * vx).sum(-1) * dv / n) ** 2
    model = along - (3 * snapshots["temperature"].to_numpy()[:, 0] - along) / 2
    axis = md["temperature_axis"].mean("replicate").to_numpy()[:, 0]
    measured = axis[:, 0] - axis[:, 1:].mean(-1)
    # variances 2 T_a^2/N, perpendicular the mean of two
    error = (2 * axis[:, 0] ** 2 + axis[:, 1] * axis[:, 2]) ** 0.5 / md.attrs["particles"] ** 0.5
    for i, t in enumerate(md["t"].to_numpy()):
        j = int(np.argmin(np.abs(snapshots["t"].to_numpy() - t)))
        out["time"].append(float(t))
        out["model"].append(float(model[j] / model[0]))
        out["md"].append(float(measured[i] / measured[0]))
        out["error"].append(float(error[i] / abs(measured[0])))
    return out


def line(row: dict) -> str:
    by = {(e["quantity"], e["time"]): e["excess"] for e in row["errors"]}
    text = f"{row['kernel']:14s}{row['case']:40s}"
    for quantity in ("f_vx", "f_vxvy"):
        values = [v for (q, _), v in sorted(by.items()) if q == quantity]
        text += f"  {quantity} " + " ".join(f"{v:.4f}" for v in values)
    if "anisotropy" in row:
        a = row["anisotropy"]
        worst = max(abs(m / d - 1) for m, d in zip(a["model"], a["md"], strict=True))
        text += f"  anisotropy off by at most {100 * worst:.1f} %"
    return text


def store(kind: str, rows: list[dict]) -> None:
    """Merge rows into the result file."""
    old = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    table = {(r["kernel"], r["case"]): r for r in old.get(kind, [])}
    table |= {(r["kernel"], r["case"]): r for r in rows}
    old[kind] = [table[key] for key in sorted(table)]
    old["machine"], old["date"] = platform.processor() or platform.machine(), datetime.now(UTC).date().isoformat()
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(old, indent=1) + "\n")


def show() -> None:
    """Everything that has been judged."""
    result = json.loads(RESULT.read_text())
    names = [k for k in KERNELS if any(r["kernel"] == k for r in result.get("rates", []))]
    cases = sorted({r["case"] for r in result.get("rates", [])})
    chi = {(r["kernel"], r["case"]): r for r in result.get("rates", [])}
    print(f"{'chi^2 per datum (at N = 13,824)':40s}" + "".join(f"{n:>20s}" for n in names))
    for case in cases:
        cells = [chi.get((n, case)) for n in names]
        print(
            f"{case:40s}"
            + "".join(f"{c['chi_squared']:10.2f} ({c['at_reference_noise']:6.2f}) " if c else " " * 20 for c in cells)
        )
    print(f"{'ratio of sums, ddco over':40s}" + "".join(f"{ratio(chi, cases, n):>19.3f} " for n in names))
    for row in result.get("forward", []):
        print(line(row))
    for quantity, by_case in bias(result.get("forward", [])).items():
        print(f"excess of ddco over all times, {quantity}: " + ", ".join(f"{c} {b:.4f}" for c, b in by_case.items()))
    for kernel, ratios in forward_ratios(result.get("forward", [])).items():
        print(f"total error of ddco over {kernel}'s: " + ", ".join(f"{q} {r:.2f}" for q, r in ratios.items()))


def ratio(chi: dict, cases, name: str) -> float:
    """chi^2 of ddco over that of another kernel, summed over the cases."""
    return sum(chi["ddco", c]["chi_squared"] for c in cases) / sum(chi[name, c]["chi_squared"] for c in cases)


def forward_ratios(rows: list[dict]) -> dict[str, dict[str, float]]:
    """Root mean square error of ddco over that of other kernels, over the cases both have run."""
    squares = {
        (r["kernel"], r["case"], q): sum(e["total"] ** 2 for e in r["errors"] if e["quantity"] == q)
        for r in rows
        for q in ("f_vx", "f_vxvy")
    }
    out: dict[str, dict[str, float]] = {}
    for other in dict.fromkeys(k for k, _, _ in squares if k != "ddco"):
        for quantity in ("f_vx", "f_vxvy"):
            both = [c for k, c, q in squares if k == other and q == quantity and ("ddco", c, q) in squares]
            a, b = (sum(squares[k, c, quantity] for c in both) for k in ("ddco", other))
            out.setdefault(other, {})[quantity] = (a / b) ** 0.5
    return out


def bias(rows: list[dict], kernel: str = "ddco") -> dict[str, dict[str, float]]:
    """Root of the mean of total^2 - noise^2 over the times of a case, and over all, where the noise averages out."""
    out: dict[str, dict[str, float]] = {}
    for quantity in ("f_vx", "f_vxvy"):
        squares = {
            r["case"]: [e["total"] ** 2 - e["noise"] ** 2 for e in r["errors"] if e["quantity"] == quantity]
            for r in rows
            if r["kernel"] == kernel
        }
        squares["all"] = [s for values in squares.values() for s in values]
        out[quantity] = {case: max(float(np.mean(s)), 0.0) ** 0.5 for case, s in squares.items()}
    return out


def record() -> None:
    """The worst figures of each kernel, into the package."""
    result = json.loads(RESULT.read_text())
    out: dict[str, dict[str, float]] = {}
    for row in result["rates"]:
        entry = out.setdefault(row["kernel"], {})
        for key in ("chi_squared", "at_reference_noise"):
            name = {"chi_squared": "chi2 at N = 132,651", "at_reference_noise": "at N = 13,824"}[key]
            entry[name] = max(entry.get(name, 0.0), round(row[key], 2))
    for row in result.get("forward", []):
        for error in row["errors"]:
            name = f"excess in {error['quantity']}"
            entry = out.setdefault(row["kernel"], {})
            entry[name] = max(entry.get(name, 0.0), round(error["excess"], 4))
    RECORD.write_text(json.dumps({k: v for k, v in out.items() if MARKOV not in k}, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("rates", "forward", "show", "record"))
    parser.add_argument("kernels", nargs="*", default=KERNELS)
    parser.add_argument("--only", default="", help="runs whose name contains this")
    parser.add_argument("--cache", type=Path, help="folder for pair averages, or for the runs of `forward`")
    arguments = parser.parse_args()
    if arguments.kind == "show":
        return show()
    if arguments.kind == "record":
        return record()
    if arguments.kind == "rates":
        store("rates", rates(arguments.kernels, arguments.only, arguments.cache))
    else:
        forward(arguments.kernels, arguments.only, arguments.cache)
    return None


if __name__ == "__main__":
    main()
