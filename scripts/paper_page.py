"""The tables of docs/paper.md, from benchmarks/results/paper.json; `scripts/tables.py` puts them into the page."""

from collections.abc import Mapping, Sequence
from typing import Any

from ddco_jax.evaluation.tables import markdown

TIMES = (0.4, 0.8)
STARTS = {
    "local_maxwellian": "local Maxwellian",
    "bimaxwellian": "bi-Maxwellian",
    "symmetric_double_well": "symmetric double well",
    "asymmetric_double_well": "asymmetric double well",
}
COLUMNS = ("ddco", "ddco-paper", "dd-landau", "landau", "ddco-paper, paper's scheme")
QUANTITIES = {
    "f_vx": "f(vx)",
    "f_vxvy": "f(vx, vy)",
    "f_xvx": "f(x, vx)",
    "density": "density",
    "drift": "drift",
    "temperature": "temperature",
}
HOT, COLD = 5, 15
"""Cells of the paper of the highest and the lowest temperature."""
FEW, MANY = 0.2, 2.3
"""Gamma of weak coupling in the MD, and of the coldest cells."""


def tables(stored: Mapping[str, Any]) -> dict[str, str]:
    """All tables by the name of their place in the page."""
    runs, rows = stored["runs"], stored["coefficients"]["rows"]
    return {
        "paper_errors": errors(runs),
        "paper_cells": cells(runs),
        "paper_claims": claims(runs, rows),
        "paper_family_ii": family_ii(runs),
        "paper_made": made(stored),
    }


def percent(value: float, digits: int = 2) -> str:
    return f"{100 * value:.{digits}f}"


def value(rows: Sequence[Mapping[str, Any]], time: float, quantity: str, key: str = "excess") -> float:
    """One number of the errors of a run."""
    return next(float(r[key]) for r in rows if r["quantity"] == quantity and abs(r["time"] - time) < 1e-6)


def pair(rows: Sequence[Mapping[str, Any]], quantity: str, key: str = "excess") -> str:
    """A number at the times of the tables, in per cent."""
    return ", ".join(percent(value(rows, time, quantity, key)) for time in TIMES)


def errors(runs: Mapping[str, Any]) -> str:
    """Excess over the MD's noise by start, kernel and quantity, with that noise and the solver's own error."""
    body = []
    for start, label in STARTS.items():
        first = runs.get(f"{start}/ddco")
        for column in COLUMNS:
            run = runs.get(f"{start}/{column}")
            cells = [pair(run["errors"], q) if run else "not run" for q in QUANTITIES]
            body.append([label, f"`{column}`".replace(", paper's scheme`", "`, paper's scheme"), *cells])
        if first:
            body.append([label, "noise of the MD", *(pair(first["errors"], q, "noise") for q in QUANTITIES)])
            own = first.get("own error", [])
            known = [pair(own, q, "difference") if own else "not run" for q in ("f_vx", "f_vxvy")]
            body.append([label, "coarser run", *known, *[""] * (len(QUANTITIES) - 2)])
    return markdown(["start", "kernel", *QUANTITIES.values()], body)


def cells(runs: Mapping[str, Any]) -> str:
    """Excess in f(vx, vy) over the paper's four cells, and that of ddco over the other kernels'."""
    body = []
    for start, label in STARTS.items():
        found = {c: runs[f"{start}/{c}"]["errors"] for c in COLUMNS[:4] if f"{start}/{c}" in runs}
        for time in TIMES:
            at = {c: value(rows, time, "f_vxvy", "excess_cells") for c, rows in found.items()}
            numbers = [percent(at[c]) if c in at else "not run" for c in COLUMNS[:4]]
            ratios = [f"{at['ddco'] / at[c]:.2f}" if {"ddco", c} <= set(at) else "" for c in COLUMNS[1:4]]
            body.append([label, f"{time:g}", *numbers, *ratios])
    header = [f"`{c}`" for c in COLUMNS[:4]] + [f"`ddco` over `{c}`" for c in COLUMNS[1:4]]
    return markdown(["start", "t/t0", *header], body)


def family_ii(runs: Mapping[str, Any]) -> str:
    """Errors of ddco against both families of MD, and the difference of the families' temperatures."""
    body = []
    for start, label in STARTS.items():
        run = runs.get(f"{start}/ddco")
        if not run:
            continue
        both = run["errors"], run["family ii"]
        numbers = [pair(rows, q) for q in ("f_vxvy", "temperature") for rows in both]
        body.append([label, *numbers, pair(run["families"], "temperature", "gap")])
    header = ["f(vx, vy), (i)", "f(vx, vy), (ii)", "temperature, (i)", "temperature, (ii)", "MD (ii) from MD (i)"]
    return markdown(["start", *header], body)


def claims(runs: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """Every claim of Section 3, and the number that it has here."""

    def ratio(kernel: str, gamma: float) -> str:
        row = next((r for r in rows if r["kernel"] == kernel and abs(r["gamma"] / gamma - 1) < 0.02), None)
        return "none" if row is None else f"{row['D_star_over_md']:.2f}, {row['eta_star_over_md']:.2f}"

    def over(start: str, quantity: str, times: Sequence[float], column: str = "ddco") -> str:
        run = runs.get(f"{start}/{column}")
        return ", ".join(percent(value(run["errors"], t, quantity), 1) for t in times) if run else "not run"

    def left(start: str, cell: int, time: float = 0.8) -> str:
        run = runs.get(f"{start}/ddco")
        if not run:
            return "not run"
        row = next(r for r in run["departure"] if r["cell"] == cell and r["time"] == time)
        return f"{percent(row['md'], 0)} ({percent(row['run'], 0)})"

    def all_starts(text: Any) -> str:
        return "; ".join(f"{label} {text(start)}" for start, label in STARTS.items())

    def kept(start: str, column: str, name: str) -> str:
        run = runs.get(f"{start}/{column}")
        return f"{run['conservation'][name]:.0e}" if run else "not run"

    def momentum(start: str) -> str:
        run = runs.get(f"{start}/ddco")
        return ", ".join(f"{p:.0e}" for p in run["conservation"]["momentum_drift"]) if run else "not run"

    logarithm = {round(r["gamma"], 2): r["classical_logarithm"] for r in rows}
    kernels = ("ddco", "ddco-paper", "landau", "landau-classical")
    wells, scheme = ("symmetric_double_well", "asymmetric_double_well"), COLUMNS[-1]
    smallest = "smallest_entropy_gain_per_step"
    table = [
        [
            "Fig. 1: at weak coupling Landau and DDCO agree with MD",
            f"D*, η* over MD at Γ = {FEW}: " + "; ".join(f"`{k}` {ratio(k, FEW)}" for k in kernels),
        ],
        [
            "Fig. 1: at moderate coupling Landau deviates, DDCO does not",
            f"the same at Γ = 1: {'; '.join(f'`{k}` {ratio(k, 1.0)}' for k in kernels)}; at Γ = 2.32: "
            + "; ".join(f"`{k}` {ratio(k, 2.318)}" for k in kernels),
        ],
        [
            "Landau's prefactor is negative at Γ = 0.75 ... 2.3",
            f"lnΛ = {logarithm.get(0.77, 0):.2f} at Γ = 0.77, {logarithm.get(2.32, 0):.2f} at 2.32; it is positive "
            "below 0.69",
        ],
        [
            "Figs. 2, 3: good agreement of f(vx, vy) at 0.4 and 0.8 t0",
            "; ".join(f"{STARTS[s]}: `{c}` {over(s, 'f_vxvy', TIMES, c)} %" for s in wells for c in COLUMNS[:2]),
        ],
        [
            "Figs. 2, 3: the coldest cell (15) relaxes fastest, the hottest (5) slowest",
            "; ".join(f"{STARTS[s]}: cell {HOT} {left(s, HOT)} %, cell {COLD} {left(s, COLD)} %" for s in wells)
            + " of the distance from the local Maxwellian is left at 0.8 t0 in MD (`ddco`)",
        ],
        [
            "Figs. 4, 5: good agreement of f(x, vx) at 0.4 and 0.6 t0",
            "; ".join(f"{STARTS[s]}: `{c}` {over(s, 'f_xvx', (0.4, 0.6), c)} %" for s in wells for c in COLUMNS[:2]),
        ],
        [
            "Fig. 6: mass and total energy are conserved",
            "largest relative change of mass, energy: "
            + "; ".join(
                f"{STARTS[s]}{', paper scheme' if c == scheme else ''} {kept(s, c, 'mass_drift')}, "
                f"{kept(s, c, 'total_energy_drift')}"
                for s in ("local_maxwellian", "bimaxwellian")
                for c in ("ddco", scheme)
            ),
        ],
        [
            "Fig. 6: the momentum oscillates along x only",
            "largest change over (2 M W)^(1/2) along x, y, z: "
            + "; ".join(f"{STARTS[s]} {momentum(s)}" for s in STARTS),
        ],
        [
            "Fig. 7: the entropy grows monotonically for all starts",
            "smallest gain in a step, n0 L0: " + all_starts(lambda s: kept(s, "ddco", smallest)),
        ],
        [
            "Fig. C.8: DD-Landau is off, DDCO is not",
            "f(vx, vy) of the symmetric well at 0.4 t0: "
            + "; ".join(f"`{c}` {over('symmetric_double_well', 'f_vxvy', (0.4,), c)} %" for c in COLUMNS[:3]),
        ],
    ]
    return markdown(["claim", "here"], table)


def made(stored: Mapping[str, Any]) -> str:
    """Grids and origin of the runs."""
    body = []
    for name, run in stored["runs"].items():
        grid = "×".join(map(str, run["grid"]))
        body.append([name, grid, str(run["steps"]), run["run"].get("commit", "")[:7], run["run"]["begun"][:10]])
    return markdown(["run", "points along x, vx, vy", "steps", "commit", "date"], body)
