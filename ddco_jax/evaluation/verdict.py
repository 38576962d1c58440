"""Held-out evaluation of kernels by data/verdict.toml: MD runs, starts and Gamma that no training has seen.

The argument `verdict` is that file, parsed.  NAME/markov is the kernel NAME without its build-up of correlations.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np
import xarray as xr

from ddco_jax import correlations
from ddco_jax.correlations.model import Model
from ddco_jax.evaluation import compare
from ddco_jax.kernels.base import Kernel
from ddco_jax.kernels.store import NAMED, load_kernel, load_learned
from ddco_jax.learning.data import load_run
from ddco_jax.learning.losses import chi_squared
from ddco_jax.learning.train import stack
from ddco_jax.md.dataset import draws, open_dataset
from ddco_jax.md.test_functions import VERSION
from ddco_jax.plasma import units
from ddco_jax.settings import ConfigError
from ddco_jax.simulation.config import Config, parse
from ddco_jax.simulation.results import open_result
from ddco_jax.simulation.run import run

MARKOV = "/markov"
DISTRIBUTIONS = ("f_vx", "f_vxvy")


def kernel_and_buildup(name: str) -> tuple[Kernel, Model]:
    """The kernel and its build-up; Markovian for analytic kernels and for NAME/markov."""
    base = name.removesuffix(MARKOV)
    if base in NAMED:
        return load_kernel(base), correlations.MARKOV
    learned = load_learned(base)
    return learned.kernel, correlations.MARKOV if name.endswith(MARKOV) else learned.buildup


def rates(verdict: dict, names: Sequence[str], paths: Sequence[Path], cache: Path | None) -> Iterator[dict[str, Any]]:
    """chi^2 per datum of the weak-form rates, by run and kernel, also at the noise of the reference particle number.

    Raises ConfigError where the test functions are not of the version that the verdict fixes.
    """
    section = verdict["rates"]
    if section["test_functions_version"] != VERSION:
        raise ConfigError(f"data/verdict.toml: rates.test_functions_version must be {VERSION}, that of the code")
    for path in paths:
        data = load_run(path, cache, section["rounds"])
        keep = data.times[:, -1] < section["last_time"] * data.plasma_frequency * (1 + 1e-9)
        parts = {key: getattr(data, key)[keep] for key in ("interpolation", "times", "rate", "error")}
        predictor = jax.tree.map(lambda a: a[0], stack([data._replace(**parts)], np.float32)[0])
        share = section["reference_particles"] / float(open_dataset(path).attrs["particles"])
        for name in names:
            chi = float(chi_squared(predictor, predictor.rates(*kernel_and_buildup(name))))
            yield {"kernel": name, "case": path.stem, "chi_squared": chi, "at_reference_noise": 1 + (chi - 1) * share}


def forward(verdict: dict, names: Sequence[str], paths: Sequence[Path], cache: Path | None) -> Iterator[dict[str, Any]]:
    """Errors of f by run, kernel and time, from runs of the solver; for bi-Maxwellians also the decay of anisotropy."""
    section = verdict["forward"]
    for path in paths:
        md, measured = open_dataset(path).load(), pooled(path)
        bimaxwellian = md.attrs["start"] == "bimaxwellian"
        last = verdict["anisotropy"]["last_time"] if bimaxwellian else max(section["times"])
        for name in names:
            with tempfile.TemporaryDirectory() as scratch:
                folder = solve(verdict, name, path.stem, md, last, cache or Path(scratch))
                found = compare.compare(folder, measured, section["bin"] * units.PAPER.velocity)
                row: dict[str, Any] = {"kernel": name, "case": path.stem}
                row["errors"] = select(found, section["times"])
                if bimaxwellian:
                    row["anisotropy"] = decay(folder, md)
            yield row


def config_of(verdict: dict, name: str, md: xr.Dataset, last: float) -> Config:
    """The solver's config for one kernel and one MD run, up to `last` (t0)."""
    section, scales = verdict["forward"], units.PAPER
    start = json.loads(md.attrs["config"])["start"]
    T = float(md.attrs["temperature"])
    shape = section["grids"][start["kind"]]
    extent = [scales.velocity * T**0.5 * e for e in shape["extent"]]
    initial_section = {"kind": start["kind"]}
    if start["kind"] == "bimaxwellian":
        initial_section["anisotropy"] = start["anisotropy"]
    base = name.removesuffix(MARKOV)
    on = not isinstance(kernel_and_buildup(name)[1], correlations.Markov)
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
                "buildup": "quench" if on else "off",
            },
            "output": {"snapshot_every": round(0.1 / section["step"]), "checkpoint_every": 1000, "distribution": False},
        }
    )


def solve(verdict: dict, name: str, case: str, md: xr.Dataset, last: float, keep: Path) -> Path:
    """Run the solver and return the folder of the run in `keep`; an identical run that is there is used again."""
    keep.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        config = config_of(verdict, name, md, last)
        arrays = jax.tree.leaves(eqx.filter(kernel_and_buildup(name), eqx.is_array))
        text = config.model_dump_json() + case
        key = hashlib.sha256(text.encode() + b"".join(np.asarray(a).tobytes() for a in arrays)).hexdigest()
        folder = keep / f"{case}-{key[:16]}"
        if not folder.exists():
            run(config, Path(scratch) / "run", case)
            shutil.move(Path(scratch) / "run", folder)
    return folder


def pooled(path: Path) -> xr.Dataset:
    """A held-out run averaged with its further draws in data/md/held_out_draws, to reduce the noise.

    It has only the variables of the comparison, at the times of the further draws; for the anisotropy the run itself
    is used, at all of its times.
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


def select(rows: list[dict], times: Sequence[float]) -> list[dict]:
    """Rows of f(vx) and f(vx, vy) at the given times (t0)."""
    keys = ("time", "quantity", "total", "noise", "excess")
    chosen = [r for r in rows if r["quantity"] in DISTRIBUTIONS and min(abs(r["time"] - t) for t in times) < 1e-6]
    return [{k: r[k] for k in keys} for r in chosen]


def decay(folder: Path, md: xr.Dataset) -> dict[str, list[float]]:
    """Tx - Tperp over its initial value at the MD's times (t0): model, MD, and the MD's standard error."""
    snapshots = open_result(folder)["snapshots"].to_dataset().load()
    out: dict[str, list[float]] = {"time": [], "model": [], "md": [], "error": []}
    vx, f = snapshots["vx"].to_numpy(), snapshots["f_vx"].to_numpy()[:, 0]
    dv = vx[1] - vx[0]
    n = f.sum(-1) * dv
    along = (f * vx**2).sum(-1) * dv / n - ((f * vx).sum(-1) * dv / n) ** 2
    model = along - (3 * snapshots["temperature"].to_numpy()[:, 0] - along) / 2
    axis = md["temperature_axis"].mean("replicate").to_numpy()[:, 0]
    measured = axis[:, 0] - axis[:, 1:].mean(-1)
    # variances 2 T_a^2/N; Tperp is the mean of two temperatures
    error = (2 * axis[:, 0] ** 2 + axis[:, 1] * axis[:, 2]) ** 0.5 / md.attrs["particles"] ** 0.5
    for i, t in enumerate(md["t"].to_numpy()):
        j = int(np.argmin(np.abs(snapshots["t"].to_numpy() - t)))
        out["time"].append(float(t))
        out["model"].append(float(model[j] / model[0]))
        out["md"].append(float(measured[i] / measured[0]))
        out["error"].append(float(error[i] / abs(measured[0])))
    return out


def decay_error(anisotropy: dict[str, list[float]]) -> float:
    """Largest relative error of the model's (Tx - Tperp)."""
    return max(abs(model / md - 1) for model, md in zip(anisotropy["model"], anisotropy["md"], strict=True))


def ratio(chi: dict, cases: Collection[str], name: str) -> float:
    """Sum of ddco's chi^2 over the cases, divided by that of another kernel."""
    return sum(chi["ddco", c]["chi_squared"] for c in cases) / sum(chi[name, c]["chi_squared"] for c in cases)


def forward_ratios(rows: list[dict]) -> dict[str, dict[str, float]]:
    """Root mean square error of ddco divided by that of each other kernel, over the cases of both, by quantity."""
    squares = {
        (r["kernel"], r["case"], q): sum(e["total"] ** 2 for e in r["errors"] if e["quantity"] == q)
        for r in rows
        for q in DISTRIBUTIONS
    }
    out: dict[str, dict[str, float]] = {}
    for other in dict.fromkeys(k for k, _, _ in squares if k != "ddco"):
        for quantity in DISTRIBUTIONS:
            both = [c for k, c, q in squares if k == other and q == quantity and ("ddco", c, q) in squares]
            a, b = (sum(squares[k, c, quantity] for c in both) for k in ("ddco", other))
            out.setdefault(other, {})[quantity] = (a / b) ** 0.5
    return out


def bias(rows: list[dict], kernel: str = "ddco") -> dict[str, dict[str, float]]:
    """sqrt(mean(total^2 - noise^2)) over the times of each case, and over all cases to average out the noise."""
    out: dict[str, dict[str, float]] = {}
    for quantity in DISTRIBUTIONS:
        squares = {
            r["case"]: [e["total"] ** 2 - e["noise"] ** 2 for e in r["errors"] if e["quantity"] == quantity]
            for r in rows
            if r["kernel"] == kernel
        }
        squares["all"] = [s for values in squares.values() for s in values]
        out[quantity] = {case: max(float(np.mean(s)), 0.0) ** 0.5 for case, s in squares.items()}
    return out


def worst(result: dict[str, Any]) -> dict[str, dict[str, float]]:
    """The largest chi^2 and excess of each kernel over all cases, without the variants NAME/markov."""
    out: dict[str, dict[str, float]] = {}

    def note(kernel: str, name: str, value: float) -> None:
        entry = out.setdefault(kernel, {})
        entry[name] = max(entry.get(name, 0.0), value)

    for row in result["rates"]:
        note(row["kernel"], "chi2 at N = 132,651", round(row["chi_squared"], 2))
        note(row["kernel"], "at N = 13,824", round(row["at_reference_noise"], 2))
    for row in result.get("forward", []):
        for error in row["errors"]:
            note(row["kernel"], f"excess in {error['quantity']}", round(error["excess"], 4))
    return {kernel: figures for kernel, figures in out.items() if MARKOV not in kernel}
