"""The numbers beside the paper's figures: errors of a run against MD, its own error, conservation, relaxation."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ddco_jax.evaluation import compare
from ddco_jax.evaluation.conservation import conservation
from ddco_jax.evaluation.report import transport_report
from ddco_jax.md.green_kubo import Transport
from ddco_jax.plasma.ocp import classical_logarithm
from ddco_jax.simulation.results import open_result

QUANTITIES = ("f_vx", "f_vxvy", "f_xvx", *compare.QUANTITIES[2:])
FAR = 0.05
"""Smallest distance from the Maxwellian at t = 0 whose decay is recorded."""
ORIGIN = ("version", "commit", "device", "begun", "kernel", "kernel_sha256")
"""Attributes of a result that say what made it."""


def measure(folder: Path, md: xr.Dataset, cells: Sequence[int], times: Sequence[float]) -> dict[str, Any]:
    """All figures of one run: errors against MD, conservation, entropy, and how far cells are from equilibrium."""
    result = open_result(folder)
    history = {str(k): v.to_numpy() for k, v in result["history"].to_dataset().load().data_vars.items()}
    snapshots = result["snapshots"].to_dataset().load()
    found = dataclasses.asdict(conservation(history))
    found["entropy_gain_per_particle"] = float((history["entropy"][-1] - history["entropy"][0]) / history["mass"][0])
    return {
        "run": {key: str(result.attrs[key]) for key in ORIGIN if key in result.attrs},
        "grid": [snapshots.sizes[name] for name in ("x", "vx", "vy")],
        "steps": len(result["history"]["t"]) - 1,
        "errors": errors(folder, md, cells),
        "conservation": found,
        "departure": [
            {"time": time, "cell": cell, "run": _left(snapshots, time, cell), "md": _left(md, time, cell)}
            for time in times
            for cell in cells
            if _departure(snapshots, 0.0, cell) > FAR
        ],
    }


def errors(folder: Path, md: xr.Dataset, cells: Sequence[int]) -> list[dict[str, Any]]:
    """total, noise and excess of `compare.compare` by time and quantity, root mean square over the cells of the box.

    `excess_cells` is the same over the given cells alone.  f_xvx is f(x, vx) as a whole: squares of f_vx are weighted
    with the squared norm of the MD in the cell.  Raises ConfigError where run and MD do not match.
    """
    found = compare.compare(folder, md)
    merge = round(compare.BIN / compare.md_scales(md).velocity / md.attrs["bin_width"])
    table = []
    for time in sorted({row["time"] for row in found}):
        now = md["f_vx"].mean("replicate").isel(t=int(np.argmin(np.abs(md["t"].to_numpy() - time)))).to_numpy()
        weights = np.array([np.sum(compare.merge_bins(one, merge, 1) ** 2) for one in now])
        for quantity in QUANTITIES:
            name = "f_vx" if quantity == "f_xvx" else quantity
            rows = sorted((r for r in found if (r["time"], r["quantity"]) == (time, name)), key=lambda r: r["cell"])
            weight = weights if quantity == "f_xvx" else np.ones(len(rows))
            squares = {key: np.array([r[key] ** 2 for r in rows]) for key in ("total", "noise", "excess")}
            row: dict[str, Any] = {"time": round(time, 6), "quantity": quantity}
            row |= {key: float(np.average(values, weights=weight)) ** 0.5 for key, values in squares.items()}
            if quantity == "f_xvx":  # of the plane, not of its cells
                row["excess"] = max(row["total"] ** 2 - row["noise"] ** 2, 0) ** 0.5
            else:
                row["excess_cells"] = float(np.mean(squares["excess"][list(cells)])) ** 0.5
            table.append({k: round(v, 6) if isinstance(v, float) else v for k, v in row.items()})
    return table


def difference(folder: Path, other: Path, md: xr.Dataset) -> list[dict[str, Any]]:
    """Relative L2 difference of two runs by time and quantity on the bins of the MD, root mean square over cells."""
    edges = compare.bin_edges(md, round(compare.BIN / compare.md_scales(md).velocity / md.attrs["bin_width"]))
    runs = [open_result(path)["snapshots"].to_dataset().load() for path in (folder, other)]
    table = []
    for time in runs[1]["t"].to_numpy():
        at = [_at(run, float(time)) for run in runs]
        if abs(float(at[0]["t"]) - time) > compare.SAME_TIME:
            continue
        for quantity in ("f_vx", "f_vxvy"):
            squares = []
            for cell in range(runs[0].sizes["x"]):
                one, two = (_binned(now.isel(x=cell), quantity, edges) for now in at)
                squares.append(np.sum((one - two) ** 2) / np.sum(one**2))
            value = float(np.mean(squares)) ** 0.5
            table.append({"time": round(float(time), 6), "quantity": quantity, "difference": round(value, 6)})
    return table


def gap(md: xr.Dataset, other: xr.Dataset) -> list[dict[str, Any]]:
    """Relative difference of the temperatures of two MD runs by time, root mean square over cells.

    Between the families of slabs, whose f is the same at t = 0, it is due to the energy of correlations.
    """
    T, other_T = (data["temperature"].mean("replicate") for data in (md, other))
    return [
        {
            "time": round(float(time), 6),
            "quantity": "temperature",
            "gap": round(float(np.sqrt(np.mean((_at(other_T, time) / _at(T, time) - 1) ** 2))), 6),
        }
        for time in md["t"].to_numpy()
    ]


def _binned(now: xr.Dataset, quantity: str, edges: np.ndarray) -> np.ndarray:
    """f_vx or f_vxvy of one cell, averaged over bins."""
    along = compare.rebin(now[quantity].to_numpy(), now["vx"].to_numpy(), edges)
    return along if quantity == "f_vx" else compare.rebin(along.T, now["vy"].to_numpy(), edges).T


def _at(data: Any, time: float) -> Any:
    """The snapshot nearest to a time (t0)."""
    return data.isel(t=int(np.argmin(np.abs(data["t"].to_numpy() - time))))


def _left(data: xr.Dataset, time: float, cell: int) -> float:
    """The share that is left at a time (t0) of the distance of f(vx, vy) from the Maxwellian in a cell."""
    return round(_departure(data, time, cell) / _departure(data, 0.0, cell), 5)


def _departure(data: xr.Dataset, time: float, cell: int) -> float:
    """L2 norm of f(vx, vy) - M over that of M, the Maxwellian of density, drift and temperature of a cell."""
    now = _at(data, time).isel(x=cell)
    noise = 0.0
    if "replicate" in now.dims:
        halves = now["f_vxvy"].to_numpy()
        noise = float(np.sum(np.var(halves, axis=0, ddof=1))) / len(halves)  # of the mean over replicates
        now = now.mean("replicate")
    drift = now["drift_x"] if "drift_x" in now else now["drift"].isel(axis=0)
    n, u, T = (float(value) for value in (now["density"], drift, now["temperature"]))
    cx, cy = now["vx"].to_numpy() - u, now["vy"].to_numpy()
    maxwellian = n / (2 * np.pi * T) * np.exp(-(cx[:, None] ** 2 + cy**2) / (2 * T))
    square = float(np.sum((now["f_vxvy"].to_numpy() - maxwellian) ** 2)) - noise
    return max(square, 0.0) ** 0.5 / float(np.linalg.norm(maxwellian))


def coefficients(kernels: Sequence[str], measured: Sequence[Transport]) -> list[dict[str, Any]]:
    """D* and eta* of kernels over those of the MD by Gamma; and Landau's classical Coulomb logarithm."""
    rows = transport_report(kernels, None, 4, None, measured)
    positive = [md.gamma for md in measured if float(classical_logarithm(md.gamma)) > 0]
    rows += transport_report(["landau-classical"], positive, 4, None, measured)
    return [row | {"classical_logarithm": round(float(classical_logarithm(row["gamma"])), 4)} for row in rows]
