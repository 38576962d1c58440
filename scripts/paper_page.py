"""The tables of docs/paper.md, from benchmarks/results/paper.json; `scripts/tables.py` puts them into the page."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

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
PAPER_SCHEME = COLUMNS[-1]
WELLS = ("symmetric_double_well", "asymmetric_double_well")
HOT, COLD = 5, 15
"""Cells of the paper of the highest and the lowest temperature."""


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
    return markdown(["claim", "here"], [*of_coefficients(rows), *of_distributions(runs), *of_conservation(runs)])


def of_coefficients(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """The claims about Fig. 1."""

    def ratios(gamma: float) -> str:
        at = {r["kernel"]: r for r in rows if abs(r["gamma"] / gamma - 1) < 0.02}
        pairs = {k: f"{r['D_star_over_md']:.2f}, {r['eta_star_over_md']:.2f}" for k, r in at.items()}
        return "; ".join(f"`{k}` {pairs.get(k, 'none')}" for k in ("ddco", "ddco-paper", "landau", "landau-classical"))

    logarithm = {round(r["gamma"], 2): r["classical_logarithm"] for r in rows}
    return [
        ["Fig. 1: at weak coupling Landau and DDCO agree with MD", f"D*, η* over MD at Γ = 0.2: {ratios(0.2)}"],
        [
            "Fig. 1: at moderate coupling Landau deviates, DDCO does not",
            f"the same at Γ = 1: {ratios(1.0)}; at Γ = 2.32: {ratios(2.318)}",
        ],
        [
            "Landau's prefactor is negative at Γ = 0.75 ... 2.3",
            f"lnΛ = {logarithm[0.77]:.2f} at Γ = 0.77, {logarithm[2.32]:.2f} at 2.32; it is positive below 0.69",
        ],
    ]


def of_distributions(runs: Mapping[str, Any]) -> list[list[str]]:
    """The claims about Figs. 2 to 5 and C.8."""

    def over(start: str, quantity: str, times: Sequence[float], column: str) -> str:
        run = runs.get(f"{start}/{column}")
        numbers = [percent(value(run["errors"], t, quantity), 1) for t in times] if run else ["not run"]
        return f"`{column}` {', '.join(numbers)}"

    def wells(quantity: str, times: Sequence[float]) -> str:
        each = [
            f"{STARTS[start]}: {'; '.join(over(start, quantity, times, column) for column in COLUMNS[:4])}"
            for start in WELLS
        ]
        return f"error in per cent, {'. '.join(each)}"

    def left(start: str, cell: int) -> str:
        found = runs.get(f"{start}/ddco", {"departure": []})["departure"]
        each = [
            f"{percent(r['md'], 0)} ({percent(r['run'], 0)})" for r in found if (r["cell"], r["time"]) == (cell, 0.8)
        ]
        return f"cell {cell} {each[0] if each else 'not run'}"

    relaxed = "; ".join(f"{STARTS[s]}: {left(s, HOT)}, {left(s, COLD)}" for s in WELLS)
    homogeneous = "; ".join(over(WELLS[0], "f_vxvy", (0.4,), column) for column in COLUMNS[:3])
    return [
        ["Figs. 2, 3: good agreement of f(vx, vy) at 0.4 and 0.8 t0", wells("f_vxvy", TIMES)],
        [
            "Figs. 2, 3: the coldest cell (15) relaxes fastest, the hottest (5) slowest",
            "per cent of the distance from the local Maxwellian that is left at 0.8 t0 in MD (in `ddco`), " + relaxed,
        ],
        ["Figs. 4, 5: good agreement of f(x, vx) at 0.4 and 0.6 t0", wells("f_xvx", (0.4, 0.6))],
        [
            "Fig. C.8: DD-Landau is off, DDCO is not",
            f"error in per cent of f(vx, vy), symmetric well, 0.4 t0: {homogeneous}",
        ],
    ]


def of_conservation(runs: Mapping[str, Any]) -> list[list[str]]:
    """The claims about Figs. 6 and 7."""

    def kept(start: str, column: str, *names: str) -> str:
        run = runs.get(f"{start}/{column}")
        numbers = np.ravel([run["conservation"][name] for name in names]) if run else []
        text = ", ".join(f"{number:.0e}" for number in numbers) or "not run"
        return f"{STARTS[start]}{', paper scheme' * (column == PAPER_SCHEME)} {text}"

    pairs = [(start, column) for start in list(STARTS)[:2] for column in ("ddco", PAPER_SCHEME)]
    conserved = "; ".join(kept(*pair, "mass_drift", "total_energy_drift") for pair in pairs)
    momentum = "; ".join(kept(start, "ddco", "momentum_drift") for start in STARTS)
    gained = "; ".join(kept(start, "ddco", "smallest_entropy_gain_per_step") for start in STARTS)
    return [
        ["Fig. 6: mass and total energy are conserved", f"largest relative change of mass and energy: {conserved}"],
        ["Fig. 6: momentum oscillates along x only", f"largest change over (2MW)^½ along x, y, z: {momentum}"],
        ["Fig. 7: the entropy grows monotonically", f"smallest gain in a step, n0 L0: {gained}"],
    ]


def made(stored: Mapping[str, Any]) -> str:
    """Grids and origin of the runs."""
    body = []
    for name, run in stored["runs"].items():
        grid = "×".join(map(str, run["grid"]))
        body.append([name, grid, str(run["steps"]), run["run"].get("commit", "")[:7], run["run"]["begun"][:10]])
    return markdown(["run", "points along x, vx, vy", "steps", "commit", "date"], body)
