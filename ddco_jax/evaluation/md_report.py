"""Text tables that `ddco md` and `ddco md-transport` print."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from ddco_jax.evaluation import tables
from ddco_jax.md.green_kubo import Transport, measured_temperature
from ddco_jax.plasma import ocp


def md_table(data: xr.Dataset) -> str:
    """An MD run as text: its parameters, temperatures, potential energy beside theory, and energy drift."""
    attrs = data.attrs
    gamma = attrs["coupling_parameter"]
    lines = {"start": f"{attrs['start']}, N = {attrs['particles']:,}, Gamma = {gamma:.4g}"}
    if "time_step" in attrs:
        accuracy = f"pppm {attrs['pppm_accuracy']:.1e}, cutoff {attrs['cutoff']:.3g} L0"
        lines["step"] = f"{attrs['time_step']:.4g} t0, {accuracy}"
    expected = f"(Potekhin-Chabrier {float(ocp.excess_energy(gamma)):.4f})"
    if "vacf" in data:
        T = measured_temperature(data)
        lines["blocks"] = f"{data.sizes['block']} of {attrs['block_length']:.4g} t0"
        lines["temperature/nominal"] = f"{T / attrs['temperature']:.4f}"
        if "potential" in data:
            lines["U/NkT"] = f"{float(data['potential'].mean()) / T:.4f}   {expected}"
    else:
        axes = data["temperature_axis"].mean(("replicate", "x")).to_numpy()
        mean, across = axes.mean(1), axes[:, 1:].mean(1)
        anisotropy = np.abs(axes[:, 0] - across) / mean
        last = f"{float(data['t'][-1]):.3g} t0"
        lines["replicates"] = f"{data.sizes['replicate']}, {data.sizes['t']} snapshots to {last}"
        lines["Tx/Tperp"] = (
            f"{axes[0, 0] / across[0]:.4f} -> {axes[-1, 0] / across[-1]:.4f}"
            f"  (|Tx - Tperp|/T {anisotropy[0]:.4f} -> {anisotropy[-1]:.4f})"
        )
        lines["temperature"] = f"{mean[0]:.5g} -> {mean[-1]:.5g} V0^2"
        if "potential_energy" in data:
            potential = data["potential_energy"].mean(("replicate", "x")).to_numpy() / mean
            lines["U/NkT"] = f"{potential[0]:.4f} -> {potential[-1]:.4f}   {expected}"
    if "energy_drift" in attrs:
        lines["energy drift"] = f"{attrs['energy_drift']:+.1e} NkT per 10/omega_p"
    lines["versions"] = ", ".join(f"{k} {v}" for k, v in json.loads(attrs["versions"]).items())
    return tables.listing(lines)


def transport_rows(results: Sequence[Transport]) -> list[dict[str, Any]]:
    """The coefficients as plain numbers, one row per plasma."""
    rows = []
    for r in results:
        row: dict[str, Any] = {"gamma": r.gamma, "kernel": "md"}
        for name in ("D_star", "D_star_displacement", "eta_star", "eta_star_kinetic"):
            estimate = getattr(r, name)
            row[name] = None if estimate is None else estimate.value
            row[f"{name}_error"] = None if estimate is None else estimate.error
        row |= {
            "measured_gamma": r.measured_gamma,
            "box_correction": r.box_correction,
            "particles": r.particles,
            "duration_over_omega_p": r.duration,
            "correlation_times": r.correlation_times,
        }
        rows.append(row)
    return rows


def transport_table(results: Sequence[Transport]) -> str:
    """D* and eta* as text, beside the Stanton-Murillo and effective-potential theories."""
    theories = ["S-M", "eff.pot."]
    lines = [["Gamma", "D*", "D* (displacement)", *theories, "eta* kinetic", "eta* total", *theories]]
    for r in results:
        both = zip(ocp.stanton_murillo(r.gamma), ocp.effective_potential(r.gamma), strict=True)
        D, eta = ([f"{float(value):.4g}" for value in values] for values in both)
        total = "-" if r.eta_star is None else str(r.eta_star)
        lines.append(
            [f"{r.gamma:.3g}", str(r.D_star), str(r.D_star_displacement), *D, str(r.eta_star_kinetic), total, *eta]
        )
    note = "D* in a^2 omega_p, with the correction for the periodic box; eta* in m n a^2 omega_p; errors by blocks"
    return f"{tables.columns(lines)}\n{note}"
