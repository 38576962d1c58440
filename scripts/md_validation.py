"""Check the MD data of the repository against docs/references.md: energies, drifts, anisotropy decay; stored as JSON.

python scripts/md_validation.py
"""

import json
from pathlib import Path

import numpy as np
import xarray as xr
from scipy import stats

from ddco_jax.evaluation.md_report import transport_rows, transport_table
from ddco_jax.evaluation.provenance import provenance
from ddco_jax.md.dataset import open_dataset
from ddco_jax.md.green_kubo import block_mean, group, transport
from ddco_jax.plasma import ocp
from ddco_jax.plasma.files import write_text

DATA = Path(__file__).resolve().parent.parent / "data" / "md"
RESULT = Path(__file__).resolve().parent.parent / "benchmarks" / "results" / "md_validation.json"
VARIANTS = ("half_step", "accurate", "coarse", "double")
RATES = {
    2.318: (0.078, 0.196, 0.288, 0.364, 0.424, 0.471, 0.502, 0.516, 0.507),
    1.159: (0.055, 0.153, 0.235, 0.290, 0.346, 0.362, 0.372, 0.361, 0.347),
    0.773: (0.070, 0.170, 0.221, 0.235, 0.249, 0.246, 0.246, 0.252, 0.228),
}
"""-d ln|Tx - Tperp|/d tau at tau = 0.1, 0.3, ... 1.7 (docs/references.md, one draw of N = 13,824)."""


def energies() -> list[dict]:
    """u_ex = U/NkT of the equilibrium runs at their measured temperature, with errors from blocks, and references."""
    rows = []
    print(f"{'Gamma':>6s} {'U/NkT':>18s} {'reference':>10s} {'difference':>10s}")
    for data in group([open_dataset(f) for f in sorted((DATA / "equilibrium").glob("*.nc"))]):
        n, T = data.attrs["particles"], data["vacf"].isel(lag=0).to_numpy()
        T = T * n / (n - 1)
        u = block_mean(data["potential"].to_numpy() / T)
        gamma = data.attrs["coupling_parameter"] * data.attrs["temperature"] / T.mean()
        expected = float(ocp.excess_energy(gamma))
        rows.append({"gamma": gamma, "u_ex": u.value, "error": u.error, "reference": expected})
        print(f"{gamma:6.3f} {u!s:>18s} {expected:10.4f} {u.value - expected:+10.4f}")
    return rows


def drifts() -> float:
    """The largest drift of the total energy of any run, NkT per 10/omega_p."""
    worst = 0.0
    for path in sorted(DATA.glob("*/*.nc")):
        if path.name.startswith("configuration"):
            continue
        with xr.open_dataset(path, engine="netcdf4") as data:
            worst = max(worst, abs(data.attrs["energy_drift"]))
    print(f"largest energy drift {worst:.1e} NkT per 10/omega_p")
    return worst


def decays(path: Path) -> np.ndarray:
    """Decay rates of the anisotropy between snapshots, draw by draw: (draws, intervals), omega_p."""
    data = open_dataset(path)
    T = data["temperature_axis"].isel(x=0)
    anisotropy = np.abs(T.isel(axis=0) - T.isel(axis=slice(1, 3)).mean("axis")).to_numpy()
    interval = np.diff(data["t"].to_numpy()) * data.attrs["plasma_frequency"]
    return -np.diff(np.log(anisotropy), axis=1) / interval


def same(rates: dict[str, np.ndarray], sizes: dict[str, float], table: np.ndarray) -> dict[str, float]:
    """Probability that curves differ by chance from the usual one at least as much as the variants and the table do.

    Hotelling's T^2 test with the covariance of the intervals pooled over all variants, since eight draws alone do not
    determine it.  `sizes` are particle numbers over the usual one; the variance of a draw is inversely proportional to
    them.  The table is one draw.
    """
    residuals = np.concatenate([sizes.get(k, 1.0) ** 0.5 * (r - r.mean(0)) for k, r in rates.items()])
    degrees, p = len(residuals) - len(rates), residuals.shape[1]
    covariance = residuals.T @ residuals / degrees
    out = {}
    for name, r in {**rates, "table": table[None]}.items():
        difference = r.mean(0) - rates["usual"].mean(0)
        scale = 1 / len(rates["usual"]) + 1 / (len(r) * sizes.get(name, 1.0))
        T2 = difference @ np.linalg.solve(covariance, difference) / scale
        out[name] = float(stats.f.sf(T2 * (degrees - p + 1) / (degrees * p), p, degrees - p + 1))
    return out


def anisotropy() -> dict:
    """Compare the decay in the usual run with the table and with the variants."""
    out: dict = {}
    for gamma, table in RATES.items():
        files = {k: DATA / "validation" / f"gamma_{gamma:g}_{k}.nc" for k in ("usual", *VARIANTS)}
        rates = {k: decays(f) for k, f in files.items()}
        usual, error = rates["usual"].mean(0), rates["usual"].std(0, ddof=1) / len(rates["usual"]) ** 0.5
        print(f"Gamma = {gamma}: rates at omega_p t = 0.1, 0.3 ... 1.7")
        print("  table      " + " ".join(f"{r:7.3f}" for r in table))
        print("  measured   " + " ".join(f"{r:7.3f}" for r in usual))
        print("  error      " + " ".join(f"{r:7.3f}" for r in error))
        chance = same(rates, {"double": 2.0}, np.array(table))
        out[gamma] = {"usual": usual.tolist(), "error": error.tolist(), "chance_table": chance["table"]}
        print(f"  the table is at least as far away by chance: {chance['table']:.2f}")
        for name in VARIANTS:
            other = rates[name].mean(0)
            out[gamma][name] = {"rate": other.tolist(), "chance": chance[name]}
            print(f"  {name:10s} " + " ".join(f"{r:7.3f}" for r in other) + f"   by chance {chance[name]:.2f}")
    return out


def main() -> None:
    results: dict = {"made": provenance("scipy")}
    results |= {"energies": energies(), "largest_drift": drifts(), "anisotropy": anisotropy()}
    groups = group([open_dataset(f) for f in sorted((DATA / "equilibrium").glob("*.nc"))])
    coefficients = [transport(g) for g in groups]
    print(transport_table(coefficients))
    results["transport"] = transport_rows(coefficients)
    write_text(RESULT, json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
