"""Fills the tables of the README and of docs/ from benchmarks/results, the MD of data/md and the shipped kernels.

python scripts/tables.py
"""

import json
import re

import jax

jax.config.update("jax_enable_x64", True)

import numpy as np  # noqa: E402
import paper_page  # noqa: E402
from verdict import KERNELS, RESULT, ROOT  # noqa: E402

from ddco_jax.evaluation.tables import markdown  # noqa: E402
from ddco_jax.evaluation.verdict import MARKOV, bias, decay_error, forward_ratios, ratio  # noqa: E402
from ddco_jax.kernels.chapman_enskog import transport  # noqa: E402
from ddco_jax.kernels.store import load_kernel, load_law  # noqa: E402
from ddco_jax.md import green_kubo  # noqa: E402
from ddco_jax.md.dataset import open_dataset  # noqa: E402
from ddco_jax.plasma.files import write_text  # noqa: E402

DOCS = ROOT / "docs"
STARTS = ("bimaxwellian", "asymmetric_double_well", "symmetric_double_well", "uniform_ball")
CONSERVATION = RESULT.parent / "conservation.json"
DISTURBED = RESULT.parent / "linear_response.json"
AGES = ("fresh", "aged")
ACCURACY = RESULT.parent / "accuracy.json"
PAPER = RESULT.parent / "paper.json"
OPERATOR = RESULT.parent / "collision_operator.json"
CASES = {
    "local_maxwellian": "local Maxwellian, 28³",
    "bimaxwellian": "bi-Maxwellian, 48×32²",
    "symmetric_double_well": "symmetric double well, 62³",
    "asymmetric_double_well": "asymmetric double well, 54³, 2 substeps",
    "bimaxwellian-cut": "bi-Maxwellian in a box that cuts f, 24×16²",
}
LABELS = {"bimaxwellian": "bi-Maxwellian"}
COEFFICIENTS = ("ddco", "ddco-convex", "landau", "dd-landau", "ddco-paper")


def place(case: str) -> tuple[int, float]:
    """Sort key of a case gamma_G_START: position of its start in STARTS, then Gamma."""
    _, gamma, start = case.split("_", 2)
    return next(i for i, s in enumerate(STARTS) if start.startswith(s)), float(gamma)


def label(case: str) -> str:
    i, gamma = place(case)
    return f"{LABELS.get(STARTS[i], STARTS[i].replace('_', ' '))}, {gamma:g}"


def rates(result: dict) -> str:
    """Table of chi^2 per datum of the weak-form rates, by case and kernel."""
    chi = {(r["kernel"], r["case"]): r for r in result["rates"]}
    cases = sorted({case for _, case in chi}, key=place)
    body = []
    for case in cases:
        cells = []
        for name in KERNELS:
            row = chi[name, case]
            value = f"{row['chi_squared']:.1f}" if name == "ddco" else f"{row['chi_squared']:.0f}"
            cells.append(f"{f'**{value}**' if name == 'ddco' else value} ({row['at_reference_noise']:.1f})")
        body.append([label(case), *cells])
    sums = ["1" if name == "ddco" else f"{ratio(chi, cases, name):.3f}" for name in KERNELS]
    header = ["without build-up" if name.endswith(MARKOV) else f"`{name}`" for name in KERNELS]
    return markdown(["start, Γ", *header], [*body, ["`ddco` over it, sums", *sums]])


def forward(result: dict) -> str:
    """Table of the errors of the solver with `ddco`, by case."""
    body, over_times = [], bias(result["forward"])
    for row in sorted((r for r in result["forward"] if r["kernel"] == "ddco"), key=lambda r: place(r["case"])):
        cells = [
            ", ".join(f"{e['excess']:.3f}" for e in row["errors"] if e["quantity"] == q) for q in ("f_vx", "f_vxvy")
        ]
        decay = ""
        if "anisotropy" in row:
            decay = f"within {100 * decay_error(row['anisotropy']):.1f} %"
        together = ", ".join(f"{over_times[q][row['case']]:.3f}" for q in ("f_vx", "f_vxvy"))
        body.append([label(row["case"]), *cells, together, decay])
    body.append(["all", "", "", ", ".join(f"{b['all']:.3f}" for b in over_times.values()), ""])
    table = markdown(["start, Γ", "f(vx)", "f(vx, vy)", "all times", "anisotropy"], body)
    over = [f"`{name}` {r['f_vx']:.2f} and {r['f_vxvy']:.2f}" for name, r in forward_ratios(result["forward"]).items()]
    lead = "Total error of `ddco`, noise of the MD included, over that of others, f(vx) and f(vx, vy): "
    return f"{table}\n\n{lead}{'; '.join(over)}." if over else table


def coefficients() -> str:
    """Table of D* and eta* of kernels over the values of MD, by Gamma."""
    paths = sorted((ROOT / "data" / "md" / "equilibrium").glob("*.nc"))
    measured = [green_kubo.transport(group) for group in green_kubo.group([open_dataset(p) for p in paths])]
    kernels = {name: (load_kernel(name), load_law(name)) for name in COEFFICIENTS}
    body = []
    for md in sorted(measured, key=lambda m: float(m.gamma)):
        cells = []
        for name, (kernel, law) in kernels.items():
            found = transport(kernel, float(md.gamma), law=law)
            over = float(found.D_star) / md.D_star.value, float(found.eta_star) / md.eta_star_kinetic.value
            text = f"{over[0]:.2f}, {over[1]:.2f}"
            cells.append(f"**{text}**" if name == "ddco" else text)
        body.append([f"{float(md.gamma):.3g}", *cells])
    return markdown(["Γ", *(f"`{name}`" for name in COEFFICIENTS)], body)


def conservation(cases: dict) -> str:
    """Table of the conservation errors of every case that has run, with both kernels."""
    body = []
    for case, text in CASES.items():
        for kernel in ("ddco", "landau"):
            ampere, poisson = (cases.get(f"{case}/{field}/{kernel}") for field in ("ampere", "poisson"))
            ran = [c for c in (ampere, poisson) if c]
            if ran:
                cells = [f"{max(c['mass_drift'] for c in ran):.0e}"]
                cells.append(f"{ampere['total_energy_drift']:.0e}" if ampere else "")
                cells.append(f"{poisson['momentum_drift']:.0e}" if poisson else "")
                cells.append(f"{min(c['smallest_entropy_gain_per_step'] for c in ran):.1e}")
                cells.append(f"{max(c['negative_mass'] for c in ran):.0e}")
                cells.append(f"{min(c['seconds_per_step'] for c in ran):.1f}")
                body.append([text, f"`{kernel}`", *cells])
        if shipped := cases.get(f"{case}/as shipped"):
            cells = [f"{shipped['mass_drift']:.0e}", f"{shipped['total_energy_drift']:.0e}", ""]
            cells += [f"{shipped['smallest_entropy_gain_per_step']:.1e}", f"{shipped['negative_mass']:.0e}"]
            text = f"{text.split(',')[0]}, as shipped"
            body.append([text, "`ddco`", *cells, f"{shipped['seconds_per_step']:.1f}"])
    header = ["run", "kernel", "max ΔM/M", "max ΔE/E (Ampère)", "max ΔP/√(2ME_K) (Poisson)"]
    return markdown([*header, "smallest entropy gain in a step", "negative mass/M", "s per step"], body)


def collision_operator(sizes: list[dict]) -> str:
    """Table of time and memory of one evaluation, relative to SciPy's FFT and to other methods."""
    body = []
    for entry in sizes:
        for kernel in ("landau", "anisotropic", "ddco"):
            e, peers = entry[kernel], ["", ""]
            if kernel == "anisotropic":
                direct = entry.get("direct")
                peers = [f"{entry['b3']['over_fast']:.1f}", f"{direct['over_fast']:.0f}" if direct else "—"]
            cells = [f"{e['seconds'] * 1e3:.1f}", f"{e['over_fft']:.2f}", f"{e['temporary_bytes'] / 2**20:.0f}"]
            body.append([f"{entry['n']}³", kernel, *cells, *peers])
    header = ["velocity grid", "kernel", "ms per cell", "over SciPy's pruned FFTs", "temporary memory, MiB"]
    return markdown([*header, "Eq. (B.3) as printed, over fast", "direct sum, over fast"], body)


def slabs(cases: dict) -> str:
    """Table of the errors of the paper's 1D-3V cases against MD, at the times of the snapshots."""
    body = []
    for case, text in CASES.items():
        for kernel in ("ddco", "landau"):
            md = cases.get(f"{case}/ampere/{kernel}", {}).get("md")
            if md:
                of = {q: [row for row in md if row["quantity"] == q] for q in ("f_vx", "f_vxvy")}
                errors = [", ".join(f"{row['total']:.3f}" for row in table) for table in of.values()]
                noise = [f"{np.mean([row['noise'] for row in table]):.3f}" for table in of.values()]
                name = f"**`{kernel}`**" if kernel == "ddco" else f"`{kernel}`"
                body.append([text.split(",")[0], name, *errors, ", ".join(noise)])
    return markdown(["start", "kernel", "f(vx)", "f(vx, vy)", "noise of the MD"], body)


def response(rows: list[dict]) -> str:
    """Table of the responses to weak kicks, compared with autocorrelations."""
    body = []
    for row in rows:
        pairs = [v for k, v in row.items() if k.startswith("kick of")]
        cells = [
            f"{row[f'{kind}, largest difference']:.3f} ({row[f'{kind}, over what is allowed']:.1f})" for kind in AGES
        ]
        cells += [f"{max(pairs):.3f}", f"{row['velocity, largest difference']:.3f}"]
        body.append([f"`{row['kernel']}`", f"{row['gamma']:g}", *cells])
    return markdown(["kernel", "Γ", "after a quench", "aged", "two kicks", "velocity"], body)


def kicks(rows: list[dict]) -> str:
    """Table of the errors after kicks of a relaxing plasma."""
    table: dict[tuple[str, str], dict[str, str]] = {}
    for row in rows:
        _, gamma, kind = row["case"].split("_", 2)
        cell = f"{row['largest difference']:.3f}"
        table.setdefault((kind.replace("_", " "), gamma), {})[row["kernel"]] = cell
    kernels = sorted({row["kernel"] for row in rows})
    body = [[kind, gamma, *(cells.get(k, "") for k in kernels)] for (kind, gamma), cells in sorted(table.items())]
    return markdown(["kick", "Γ", *(f"`{k}`" for k in kernels)], body)


def accuracy(starts: dict[str, dict]) -> str:
    """Error and time of every scheme, one table per start; bold where no other scheme is better in both."""
    tables = []
    for start, stored in starts.items():
        rows, body = stored["rows"], []
        ran = [r for r in rows if "seconds" in r]
        for r in rows:
            cells = [r["scheme"], r["precision"], f"{r['points']}³", str(r["evaluations_per_step"])]
            if r not in ran:
                body.append([*cells, "", "", "not run"])
                continue
            best = not any(o["seconds"] < r["seconds"] and o["error"] < r["error"] for o in ran)
            error = f"**{r['error']:.4f}**" if best else f"{r['error']:.4f}"
            body.append([*cells, f"{r['seconds']:.1f}", error, f"{r['repaired']:.0f}, {r['refused']:.0f}"])
        header = ["scheme", "precision", "points", "evaluations per step", "s for 0.8 t0", "error of f(vx, vy)"]
        heading = (
            f"{start.replace('_', ' ').capitalize()} ({stored['made']['date']}, commit {stored['made']['commit']}):"
        )
        tables.append(f"{heading}\n\n{markdown([*header, 'repaired, refused'], body)}")
    return "\n\n".join(tables)


def summary(result: dict) -> str:
    """Errors of the cases that all kernels have run, root mean square over cases and times, one line per kernel."""
    chi = {(r["kernel"], r["case"]): r["chi_squared"] for r in result["rates"]}
    shared = {row["case"] for row in result["forward"] if row["kernel"] == "landau"}
    body = []
    for name in dict.fromkeys(r["kernel"] for r in result["forward"]):
        rows = [r for r in result["forward"] if r["kernel"] == name and r["case"] in shared]
        cells = []
        for q in ("f_vx", "f_vxvy"):
            excess = [e["excess"] for row in rows for e in row["errors"] if e["quantity"] == q]
            cells.append(f"{np.mean(np.square(excess)) ** 0.5:.3f}")
        cells.append(f"{np.mean([v for (kernel, _), v in chi.items() if kernel == name]):.1f}")
        body.append([f"`{name}`", *cells])
    body.sort(key=lambda row: float(row[2]))
    return markdown(["kernel", "f(vx)", "f(vx, vy)", "χ² per datum of the rates"], body)


def main() -> None:
    result = json.loads(RESULT.read_text())
    cases = json.loads(CONSERVATION.read_text())["cases"]
    disturbed = json.loads(DISTURBED.read_text())
    pages = {
        ROOT / "README.md": {"summary": summary(result)},
        DOCS / "accuracy.md": {
            "verdict_rates": rates(result),
            "verdict_forward": forward(result),
            "response": response(disturbed["weak"]),
            "kicks": kicks(disturbed["kicks"]),
            "slabs": slabs(cases),
            "transport": coefficients(),
        },
        DOCS / "performance.md": {
            "conservation": conservation(cases),
            "collision_operator": collision_operator(json.loads(OPERATOR.read_text())["sizes"]),
        },
        DOCS / "accuracy_per_second.md": {"accuracy": accuracy(json.loads(ACCURACY.read_text())["starts"])},
        DOCS / "paper.md": paper_page.tables(json.loads(PAPER.read_text())),
    }
    for page, tables in pages.items():
        text = page.read_text()
        for name, table in tables.items():
            text = filled(text, name, table)
        write_text(page, text)


def filled(text: str, name: str, table: str) -> str:
    """A page with `table` in place of the text between the two marks of `name`."""
    return re.sub(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", rf"\g<1>{table}\n\g<2>", text, flags=re.DOTALL)


if __name__ == "__main__":
    main()
