"""What `ddco md` and `ddco md-transport` print."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from ddco_jax.md.green_kubo import Transport, measured_temperature
from ddco_jax.plasma import ocp


def md_table(data: xr.Dataset) -> str:
    """The run as text: what was simulated and the checks a careful person makes."""
    attrs = data.attrs
    gamma = attrs["coupling_parameter"]
    lines = [f"start                     {attrs['start']}, N = {attrs['particles']:,}, Gamma = {gamma:.4g}"]
    if "time_step" in attrs:
        lines.append(
            f"step                      {attrs['time_step']:.4g} t0, pppm {attrs['pppm_accuracy']:.1e},"
            f" cutoff {attrs['cutoff']:.3g} L0"
        )
    expected = f"(Potekhin-Chabrier {float(ocp.excess_energy(gamma)):.4f})"
    if "vacf" in data:
        T = measured_temperature(data)
        lines += [
            f"blocks                    {data.sizes['block']} of {attrs['block_length']:.4g} t0",
            f"temperature/nominal       {T / attrs['temperature']:.4f}",
        ]
        if "potential" in data:
            lines.append(f"U/NkT                     {float(data['potential'].mean()) / T:.4f}   {expected}")
    else:
        axes = data["temperature_axis"].mean(("replicate", "x")).to_numpy()
        mean, across = axes.mean(1), axes[:, 1:].mean(1)
        anisotropy = np.abs(axes[:, 0] - across) / mean
        lines += [
            f"replicates                {data.sizes['replicate']}, {data.sizes['t']} snapshots to "
            f"{float(data['t'][-1]):.3g} t0",
            f"Tx/Tperp                  {axes[0, 0] / across[0]:.4f} -> {axes[-1, 0] / across[-1]:.4f}"
            f"  (|Tx - Tperp|/T {anisotropy[0]:.4f} -> {anisotropy[-1]:.4f})",
            f"temperature               {mean[0]:.5g} -> {mean[-1]:.5g} V0^2",
        ]
        if "potential_energy" in data:
            potential = data["potential_energy"].mean(("replicate", "x")).to_numpy() / mean
            lines.append(f"U/NkT                     {potential[0]:.4f} -> {potential[-1]:.4f}   {expected}")
    if "energy_drift" in attrs:
        lines.append(f"energy drift              {attrs['energy_drift']:+.1e} NkT per 10/omega_p")
    versions = json.loads(attrs["versions"])
    lines.append(f"versions                  {', '.join(f'{k} {v}' for k, v in versions.items())}")
    return "\n".join(lines)


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
    """D* and eta* beside the two theories."""
    head = f"{'Gamma':>6s} {'D*':>18s} {'D* (displacement)':>18s} {'S-M':>7s} {'eff.pot.':>8s}   "
    head += f"{'eta* kinetic':>18s} {'eta* total':>18s} {'S-M':>7s} {'eff.pot.':>8s}"
    lines = [head]
    for r in results:
        theories = zip(ocp.stanton_murillo(r.gamma), ocp.effective_potential(r.gamma), strict=True)
        D, eta = (f"{float(sm):7.4g} {float(ep):8.4g}" for sm, ep in theories)
        lines.append(
            f"{r.gamma:6.3g} {r.D_star!s:>18s} {r.D_star_displacement!s:>18s} {D}   "
            f"{r.eta_star_kinetic!s:>18s} {'-' if r.eta_star is None else str(r.eta_star):>18s} {eta}"
        )
    lines.append(
        "D* in a^2 omega_p, with the correction for the periodic box; eta* in m n a^2 omega_p; errors by blocks"
    )
    return "\n".join(lines)
