"""Comparison of a run with MD: relative L2 errors per snapshot and cell, and the statistical noise of the MD.

Both distributions are compared on the same velocity bins: bins of the MD's histograms are merged, and a quintic spline
through the solver's point values is integrated over every bin.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from scipy.interpolate import make_interp_spline

from ddco_jax.evaluation import tables
from ddco_jax.md.dataset import draws
from ddco_jax.plasma.files import write_text
from ddco_jax.plasma.units import PAPER, Scales
from ddco_jax.settings import ConfigError, scales_of
from ddco_jax.simulation.recovery import require_whole
from ddco_jax.simulation.results import open_result, scales_in

BIN = 1600.0
"""Width of the bins of the comparison, m/s."""
SAME_GAMMA = 0.02
"""Largest relative difference of the Gamma of run and MD."""
SAME_TIME = 1e-6
"""Largest difference of times that count as equal, t0."""
QUANTITIES = ("f_vx", "f_vxvy", "density", "drift", "temperature")


def compare(folder: Path, md: xr.Dataset, bin_m_s: float = BIN) -> list[dict[str, Any]]:
    """Rows {time, cell, quantity, total, noise, excess, kernel} for every time that run and MD share, in the run's t0.

    total = |model - MD|/|MD| in L2 over bins of `bin_m_s`; the error of the drift is relative to the thermal speed.
    noise is the value that total has from the finite particle number alone: the expectation of half the difference
    between random halves of the particles.  excess = sqrt(max(total^2 - noise^2, 0)).
    The MD may be in other units than the run.  Raises ConfigError where the MD has no histograms, or where times,
    cells, bins or the coupling parameter do not match.
    """
    result = open_result(folder)
    require_whole(folder)
    kernel, scales = str(result.attrs["kernel"]), run_scales(result)
    snapshots = result["snapshots"].to_dataset().load()
    if "f_vxvy" not in md:
        raise ConfigError("the MD file holds no histograms; give one of a run without [correlations]")
    if not snapshots.sizes["t"]:
        raise ConfigError(f"{folder} holds no snapshot yet; wait for the run, or `ddco resume` it")
    _require_same_gamma(snapshots, scales, md)
    md, bin_width = in_scales(md, md_scales(md), scales), bin_m_s / scales.velocity
    if snapshots.sizes["x"] != md.sizes["x"]:
        raise ConfigError(f"the run has {snapshots.sizes['x']} cells; set grid.nx = {md.sizes['x']}, as in the MD")
    pairs = [
        (i, j)
        for i, t in enumerate(snapshots["t"].to_numpy())
        for j, s in enumerate(md["t"].to_numpy())
        if abs(t - s) < SAME_TIME
    ]
    if not pairs:
        raise ConfigError(
            "no snapshot of the run is at a time of the MD; choose time.step_ps and output.snapshot_every to match them"
        )
    if not 0 < bin_width < float("inf"):
        raise ConfigError(f"--bin-m-s: must be positive and finite, got {bin_m_s:g}")
    merge = round(bin_width / md.attrs["bin_width"])
    if merge < 1 or abs(merge * md.attrs["bin_width"] / bin_width - 1) > 1e-6:
        own = md.attrs["bin_width"] * scales.velocity
        raise ConfigError(f"--bin-m-s {bin_m_s:g}: take a multiple of {own:g}, the width of the MD's bins in m/s")
    rows = []
    for i, j in pairs:
        time = float(snapshots["t"][i])
        for cell in range(md.sizes["x"]):
            errors = _errors(snapshots.isel(t=i, x=cell), md.isel(t=j, x=cell), merge, particles_in(md, j, cell))
            for quantity, (total, noise) in errors.items():
                excess = max(total**2 - noise**2, 0) ** 0.5
                row = {"time": time, "cell": cell, "quantity": quantity, "total": total, "noise": noise}
                rows.append(row | {"excess": excess, "kernel": kernel})
    return rows


def run_scales(result: xr.DataTree) -> Scales:
    """The scales of a run's result."""
    return scales_in(result.attrs)


def md_scales(md: xr.Dataset) -> Scales:
    """The scales of an MD dataset; an imported one, which holds no config, has App. D's L0, V0 and n0."""
    config = md.attrs.get("config", "")
    return scales_of(json.loads(config)) if config else PAPER


def _require_same_gamma(snapshots: xr.Dataset, scales: Scales, md: xr.Dataset) -> None:
    """Raise ConfigError where Gamma of the run's first snapshot differs from that of the MD by more than SAME_GAMMA."""

    def mean(dataset: xr.Dataset, name: str) -> float:
        return float(dataset[name].isel(t=0).mean())

    run = scales.coupling_parameter(mean(snapshots, "density"), mean(snapshots, "temperature"))
    measured = md_scales(md).coupling_parameter(mean(md, "density"), mean(md, "temperature"))
    other = float(md.attrs.get("coupling_parameter", measured))
    if abs(run / other - 1) > SAME_GAMMA:
        raise ConfigError(
            f"the run has Gamma = {run:.3g}, the MD {other:.3g}; set plasma.temperature_eV, density_m3 and the species "
            "to those of the MD"
        )


def in_scales(dataset: xr.Dataset, own: Scales, scales: Scales) -> xr.Dataset:
    """Snapshots of a run or of MD that are in code units of `own`, with what is compared in those of `scales`."""
    speed, density = own.velocity / scales.velocity, own.density / scales.density
    factors = {"t": own.time / scales.time, "vx": speed, "vy": speed, "density": density, "temperature": speed**2}
    factors |= {"axis_temperature": speed**2, "temperature_axis": speed**2}
    factors |= {"drift": speed, "drift_x": speed, "f_vx": density / speed, "f_vxvy": density / speed**2}
    if all(factor == 1 for factor in factors.values()):
        return dataset
    names = [name for name in factors if name in dataset.data_vars]
    coords = [name for name in factors if name in dataset.coords]
    converted = dataset[names].assign({name: dataset[name].variable * factors[name] for name in names})
    converted = converted.assign_coords({name: dataset[name].variable * factors[name] for name in coords})
    if "bin_width" in dataset.attrs:
        converted.attrs = dataset.attrs | {"bin_width": dataset.attrs["bin_width"] * speed}
    return converted


def particles_in(md: xr.Dataset, time: int, cell: int) -> float:
    """Number of particles in a cell at a time (an index), over all replicates and draws."""
    share = float(md["density"][:, time, cell].sum() / md["density"][0, time].sum())
    return md.attrs["particles"] * draws(md) * share


def _errors(model: xr.Dataset, md: xr.Dataset, merge: int, particles: float) -> dict[str, tuple[float, float]]:
    """(total, noise) of each quantity in one cell at one time; `particles` are those in the cell, of all replicates."""
    edges, out = bin_edges(md, merge), {}
    line = merge_bins(md["f_vx"].mean("replicate").to_numpy(), merge, 1)
    plane = merge_bins(md["f_vxvy"].mean("replicate").to_numpy(), merge, 2)
    vx = rebin(model["f_vx"].to_numpy(), model["vx"].to_numpy(), edges)
    vxvy = rebin(model["f_vxvy"].to_numpy(), model["vx"].to_numpy(), edges)
    vxvy = rebin(vxvy.T, model["vy"].to_numpy(), edges).T
    for name, measured, predicted in (("f_vx", line, vx), ("f_vxvy", plane, vxvy)):
        norm = float(np.linalg.norm(measured))
        share = measured / measured.sum()  # counts are multinomial: variance N p (1 - p)
        noise = measured.sum() * np.sqrt((share * (1 - share)).sum() / particles)
        out[name] = (float(np.linalg.norm(predicted - measured)) / norm, float(noise) / norm)
    density, T = (float(md[name].mean()) for name in ("density", "temperature"))
    drift = float(md["drift"].isel(axis=0).mean())
    out["density"] = (abs(float(model["density"]) / density - 1), particles**-0.5)
    out["drift"] = (abs(float(model["drift_x"]) - drift) / T**0.5, particles**-0.5)
    out["temperature"] = (abs(float(model["temperature"]) / T - 1), (2 / (3 * particles)) ** 0.5)
    return out


def bin_edges(md: xr.Dataset, merge: int) -> np.ndarray:
    """Edges (V0) of the MD's velocity bins after merging groups of `merge`."""
    width, n = md.attrs["bin_width"], md.sizes["vx"] // merge
    return (np.arange(n + 1) - n / 2) * width * merge


def merge_bins(f: np.ndarray, merge: int, axes: int) -> np.ndarray:
    """Averages over groups of `merge` neighbouring bins along the first `axes` axes.

    Bins at the ends that do not fill a group are dropped.
    """
    for axis in range(axes):
        n = f.shape[axis] // merge * merge
        start = (f.shape[axis] - n) // 2
        f = np.moveaxis(f, axis, 0)[start : start + n]
        f = np.moveaxis(f.reshape(n // merge, merge, *f.shape[1:]).mean(1), 0, axis)
    return f


def rebin(f: np.ndarray, v: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Averages over the bins between `edges` of f (n, ...) given at the points v; f is zero outside the grid.

    The solver's f are point values: its moments are sums over points, exact for the initial states.  If they were taken
    as cell averages, the variance would be too large by dv^2/12.
    """
    dv = v[1] - v[0]
    width = [(1, 1)] + [(0, 0)] * (f.ndim - 1)
    points = np.concatenate([v[:1] - dv, v, v[-1:] + dv])
    integral = make_interp_spline(points, np.pad(f, width), k=5).antiderivative()
    at = integral(np.clip(edges, points[0], points[-1]))
    return np.diff(at, axis=0) / np.diff(edges).reshape(-1, *(1,) * (f.ndim - 1))


def table(rows: list[dict[str, Any]]) -> str:
    """Table of total, noise and excess by time and quantity, root mean square over cells."""
    lines = [["t/t0", *QUANTITIES], ["", *[" total  noise excess"] * len(QUANTITIES)]]
    for time in sorted({row["time"] for row in rows}):
        cells = []
        for quantity in QUANTITIES:
            chosen = [r for r in rows if r["time"] == time and r["quantity"] == quantity]
            values = [np.mean([r[key] ** 2 for r in chosen]) ** 0.5 for key in ("total", "noise", "excess")]
            cells.append(" ".join(f"{value:6.4f}" for value in values))
        lines.append([f"{time:.2f}", *cells])
    return tables.columns(lines)


def write(rows: list[dict[str, Any]], path: Path) -> None:
    """Write the rows to `path` as JSON."""
    write_text(path, json.dumps(rows, indent=1) + "\n")
