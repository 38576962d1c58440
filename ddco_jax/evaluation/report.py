"""What `ddco check` finds out about a config, and the tables that the command prints."""

from typing import Any

import numpy as np

from ddco_jax.kernels import chapman_enskog, store
from ddco_jax.md import green_kubo
from ddco_jax.md.dataset import open_dataset
from ddco_jax.simulation import check
from ddco_jax.simulation.run import Summary

GIB = 2**30


def check_table(report: dict[str, Any]) -> str:
    """The report as text."""
    low, high = report["coupling_parameter"]

    def triple(values):
        return ", ".join(f"{v:.2f}" for v in values)

    lines = [
        f"grid                      {' x '.join(map(str, report['grid']))} = {report['points']:,} points",
        f"time                      {report['steps']} steps of {report['time_step_t0']:.4g} t0",
        f"coupling Gamma            {low:.3g} ... {high:.3g}",
        f"max|vx| dt/dx             {report['streaming_number']:.3f}   (at most 1)",
        f"max|E| dt/dvx             {report['acceleration_number']:.3f}   (at most 1)",
        f"collision number          {report['collision_number']:.3f}   (at most 1)",
        f"extent/thermal speed      {triple(report['extent_over_thermal_speed'])}   "
        f"(vx, vy, vz; at least {check.WIDE_ENOUGH})",
        f"spacing/thermal width     {triple(report['spacing_over_thermal_width'])}   (at most {check.RESOLVED})",
        f"memory for f              {report['memory_distribution_bytes'] / GIB:.3f} GiB",
        f"memory for transforms     {report['memory_transforms_bytes'] / GIB:.3f} GiB",
        f"memory for the run        {report['memory_run_bytes'] / GIB:.3f} GiB",
        f"memory for a gradient     {report['memory_gradient_bytes'] / GIB:.3f} GiB",
    ]
    if not report["resolved"]:
        lines.append("note: under-resolved, the narrowest feature of the start is thinner than 1.4 dv; raise grid.nv")
    if min(report["extent_over_thermal_speed"]) < check.WIDE_ENOUGH * 0.98:
        lines.append("note: the velocity box cuts the hottest cells; raise grid.velocity_extent_m_s")
    return "\n".join(lines)


def summary_table(summary: Summary) -> str:
    """Conservation over a run as text."""
    h = summary.history

    def drift(name):
        return float(np.max(np.abs(h[name] - h[name][0])) / np.abs(h[name][0]))

    thermal_momentum = np.sqrt(2 * h["kinetic_energy"][0] * h["mass"][0])
    momentum = np.max(np.abs(h["momentum"] - h["momentum"][0]), 0) / thermal_momentum
    growth = np.diff(h["entropy"])
    lines = [
        f"result                    {summary.folder}",
        f"steps                     {summary.steps}  ({summary.seconds_per_step:.2f} s each)",
        f"max |dM|/M                {drift('mass'):.1e}",
        f"max |dE_total|/E_total    {drift('total_energy'):.1e}",
        f"max |dP|/sqrt(2 M E_K)    {', '.join(f'{p:.1e}' for p in momentum)}",
        f"entropy                   {h['entropy'][0]:.6g} -> {h['entropy'][-1]:.6g}"
        f"  (smallest change {growth.min() if growth.size else 0:+.1e})",
        f"max negative mass/M       {np.max(h['negative_mass'] / h['mass']):.1e}",
        f"max Gauss residual        {np.max(h['gauss_residual']):.1e} E0/L0",
        f"max velocity Nyquist mode {np.max(h['velocity_nyquist']):.1e}",
    ]
    return "\n".join(lines)


GAMMAS = (0.2, 0.5, 0.773, 1.0, 1.5, 2.0, 2.32, 3.0)
"""Coupling parameters of the transport table by default."""


def measured_coefficients(files) -> list[green_kubo.Transport]:
    """Green-Kubo coefficients of equilibrium runs, by Gamma."""
    return [green_kubo.transport(group) for group in green_kubo.group([open_dataset(f) for f in files])]


def transport_report(names, gammas, order: int, density_m3: float | None, measured=()) -> list[dict[str, Any]]:
    """D*, eta* and kappa* by kernel and Gamma; in SI at a density, and over `measured` ones, where given.

    Gamma are those of the measurements where there are any.
    Raises ValueError for a kernel that does not exist or that has no positive value at a Gamma.
    """
    rows = []
    truth = {md.gamma: md for md in measured}
    for name in names or ["landau", *store.pretrained()]:
        kernel = store.load_kernel(name)
        for gamma in gammas or list(truth) or GAMMAS:
            found = chapman_enskog.transport(kernel, gamma, order=order)
            if not all(float(x) > 0 for x in found):
                raise ValueError(f"{name} has no transport coefficients at Gamma = {gamma:g}: it is not positive there")
            row = {"gamma": gamma, **{k: float(v) for k, v in found._asdict().items()}, "kernel": name}
            if density_m3 is not None:
                row |= chapman_enskog.physical(found, gamma, density_m3)
            if md := truth.get(gamma):
                for key, estimate in (("D_star", md.D_star), ("eta_star", md.eta_star_kinetic)):
                    row |= {
                        f"{key}_over_md": row[key] / estimate.value,
                        f"{key}_md_error": estimate.error / estimate.value,
                    }
            rows.append(row)
    return rows


def transport_report_table(rows: list[dict[str, Any]]) -> str:
    """One line per kernel and Gamma."""
    units = [k for k in rows[0] if k.endswith(("_m2_s", "_Pa_s", "_W_mK", "_eV"))]
    beside = "D_star_over_md" in rows[0]
    head = f"{'kernel':16s}{'Gamma':>7s}{'D*':>11s}{'eta*':>11s}{'kappa*':>11s}" + "".join(f"{u:>15s}" for u in units)
    lines = [head + (f"{'D*/MD':>16s}{'eta*/MD':>16s}" if beside else "")]
    for row in rows:
        line = f"{row['kernel']:16s}{row['gamma']:7.3g}"
        line += "".join(f"{row[k]:11.4g}" for k in ("D_star", "eta_star", "kappa_star"))
        line += "".join(f"{row[u]:15.4g}" for u in units)
        if beside:
            for k in ("D_star", "eta_star"):
                line += f"{row[f'{k}_over_md']:8.3f} ± {row[f'{k}_md_error']:.3f}"
        lines.append(line)
    lines.append("D* in a^2 omega_p, eta* in m n a^2 omega_p, kappa* in n k a^2 omega_p; kinetic parts")
    return "\n".join(lines)
