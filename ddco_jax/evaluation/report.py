"""Text tables that `ddco` prints about configs, runs and kernels."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from ddco_jax.evaluation import tables
from ddco_jax.evaluation.conservation import conservation
from ddco_jax.kernels import chapman_enskog, store
from ddco_jax.simulation import monitors, notes

if TYPE_CHECKING:  # these load xarray and the optimiser, which takes seconds and which most tables do not need
    import xarray as xr

    from ddco_jax.learning.recompress import Recompression
    from ddco_jax.md import green_kubo
    from ddco_jax.simulation.run import Summary

GIB = 2**30
PROCESS = 2.5
"""Memory of a process besides its arrays, GiB: mostly what the compiler takes (resident size of the shipped runs)."""


def check_table(report: dict[str, Any]) -> str:
    """The report of `simulation.check.check_report` with the parameters of the plasma, as text."""

    def triple(values: Sequence[float]) -> str:
        return ", ".join(f"{v:.2f}" for v in values)

    def memory(name: str) -> str:
        size = report[name]
        return (
            f"{size / GIB:.1f} GiB"
            if size >= GIB
            else f"{size / 2**20:.2g} MiB"
            if size < 2**20
            else f"{size >> 20} MiB"
        )

    several = {"devices": f"{report['devices']}   (memory and time are those of each, without exchanges)"}
    table = f"{tables.listing(report['choices'])}\n\n{plasma_table(report['plasma'])}\n\n"
    table += tables.listing(
        {
            "grid": f"{' x '.join(map(str, report['grid']))} = {report['points']:,} points",
            "time step": f"{report['time_step_ps']:.4g} ps = {report['time_step_t0']:.4g} t0",
            "time": f"{report['steps']} steps, {report['steps'] * report['time_step_ps']:.4g} ps = "
            f"{report['steps'] * report['time_step_t0']:.4g} t0",
            "max|vx| dt/dx": f"{report['streaming_number']:.3f}   (at most 1)",
            "max|E| dt/dvx": f"{report['acceleration_number']:.3f}   (at most 1)",
            "collision number": f"{report['collision_number']:.3f}   (at most 1{_division(report)})",
            "half extent/spread of f": f"{triple(report['extent_over_thermal_speed'])}   "
            f"(vx, vy, vz; at least {notes.WIDE_ENOUGH} with collisions)",
            "spacing/narrowest width": f"{triple(report['spacing_over_thermal_width'])}   "
            f"(at most {report['resolved_spacing']:g})",
            **(several if report["devices"] > 1 else {}),
            "memory for f": memory("memory_distribution_bytes"),
            "memory for transforms": memory("memory_transforms_bytes"),
            "memory for the run": f"{memory('memory_run_bytes')}   (and {PROCESS:g} GiB for Python and the compiler)",
            "memory for a gradient": memory("memory_gradient_bytes"),
            "time for the run": f"{tqdm.format_interval(report['steps'] * report['seconds_per_step'])}   "
            f"({report['seconds_per_step']:.2g} s per step on this machine, idle; and compilation)",
        }
    )
    for note in report["notes"]:
        table += f"\nnote: {note}"
    return table


LABELS = {
    "density": "density",
    "temperature": "temperature",
    "thermal_speed": "thermal speed",
    "plasma_frequency": "plasma frequency",
    "particle_distance": "particle distance a",
    "debye_length": "Debye length",
    "coupling_parameter": "coupling Gamma",
    "box_length": "box length",
    "coulomb_logarithm": "Coulomb logarithm",
    "collision_time": "collision time",
    "mean_free_path": "mean free path",
    "mean_free_path_over_box": "mean free path/box",
}
"""Labels of `simulation.parameters.parameters`."""


def plasma_table(rows: dict[str, dict[str, Any]]) -> str:
    """Parameters of a plasma as text: ranges over the cells, in SI and in code units."""

    def span(values: list[float]) -> str:
        low, high = (f"{value:.3g}" for value in values)
        return low if low == high else f"{low} ... {high}"

    lines = [["", "SI", "", "code units", ""]]
    for name, row in rows.items():
        units = [row[key] if row[key] != "1" else "" for key in ("si_unit", "code_unit")]
        code = "" if row["code_unit"] == "1" else span(row["code"])
        lines.append([LABELS[name], span(row["si"]), units[0], code, units[1]])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    widths[0] = tables.LABEL_WIDTH - 1
    return "\n".join(" ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def _division(report: dict[str, Any]) -> str:
    """How the collision step is divided, as text."""
    if report["stages"] is None:
        return f"; substeps: {report['parts']}" if report["parts"] > 1 else ""
    return f"; {report['stages']} stages in {report['parts']} part{'s' * (report['parts'] > 1)}"


def summary_table(summary: "Summary") -> str:
    """Conservation over a run as text."""
    from ddco_jax.simulation.results import open_result

    found, entropy = conservation(summary.history), summary.history["entropy"]
    edge = summary.history.get("velocity_edge", np.zeros((1, 3)))  # version 0.1 did not record it
    small = bool(monitors.beyond(edge, edge[0]).any())
    box = {"max f at box edge/max f": f"{edge.max():.1e}  (raise grid.velocity_extent_m_s and grid.nv)"}
    return tables.listing(
        {
            "result": str(summary.folder),
            "steps": f"{summary.steps}  ({summary.seconds_per_step:.2f} s each)",
            "max |dM|/M": f"{found.mass_drift:.1e}",
            "max |dE_total|/E_total": f"{found.total_energy_drift:.1e}",
            "max |dP|/sqrt(2 M E_K)": ", ".join(f"{p:.1e}" for p in found.momentum_drift),
            "entropy": f"{entropy[0]:.6g} -> {entropy[-1]:.6g}"
            f"  (smallest change {found.smallest_entropy_gain_per_step:+.1e})",
            "max negative mass/M": f"{found.negative_mass:.1e}",
            "max Gauss residual": gauss_law(open_result(summary.folder)),
            "max velocity Nyquist mode": f"{found.velocity_nyquist:.1e}",
        }
        | (box if small else {})
    )


ROUNDING = 100
"""A density is uniform where it deviates from its mean by fewer units in the last place."""


def gauss_law(result: "xr.DataTree") -> str:
    """Largest residual of Gauss's law over the largest charge density |rho - mean rho| in the snapshots, as text.

    With the Ampere field the residual is the error of the fluxes of f along x, which the current does not share.  It
    depends on the cells, not on the time step; the spectral derivative of E in it has no error of its own.
    """
    from ddco_jax.simulation.results import scales_in

    config, density = json.loads(result.attrs["config"]), result["snapshots"]["density"].to_numpy()
    if config["field"] == "none":
        return "none   (there is no field)"
    mean = np.mean(density, 1, keepdims=True)
    wave = float(np.max(np.abs(density - mean)))
    if wave <= ROUNDING * np.finfo(density.dtype).eps * np.max(mean):
        return "none   (there is no charge density)"
    share = float(np.max(result["history"]["gauss_residual"])) * scales_in(result.attrs).debye_number ** 2 / wave
    remedy = (
        'more grid.nx or x_flux = "weno5" reduces it' if config["x_flux"] == "upwind" else "more grid.nx reduces it"
    )
    if config["field"] == "poisson":
        remedy = "from f at the edge of the velocity box, which a wider box reduces"
    return f"{share:.1e} of the largest charge density   ({remedy})"


GAMMAS = (0.2, 0.5, 0.773, 1.0, 1.5, 2.0, 2.32, 3.0)
"""Default coupling parameters of the transport table."""


def measured_coefficients(files: Sequence[Path]) -> "list[green_kubo.Transport]":
    """Green-Kubo coefficients of equilibrium runs, by Gamma."""
    from ddco_jax.md import green_kubo
    from ddco_jax.md.dataset import open_dataset

    return [green_kubo.transport(group) for group in green_kubo.group([open_dataset(f) for f in files])]


def transport_report(
    names: Sequence[str] | None,
    gammas: Sequence[float] | None,
    order: int,
    density_m3: float | None,
    measured: "Sequence[green_kubo.Transport]" = (),
) -> list[dict[str, Any]]:
    """D*, eta* and kappa* by kernel and Gamma, from `order` Sonine polynomials.

    Rows include SI values where `density_m3` (1/m^3) is given, and ratios to the `measured` values of the same Gamma.
    The default kernels are Landau's and all learned ones; the default Gamma are those of the measurements, else GAMMAS.
    Raises ValueError for a kernel that does not exist or whose coefficients are not positive at a Gamma.
    """
    rows = []
    truth = {md.gamma: md for md in measured}
    for name in names or ["landau", *store.pretrained()]:
        kernel, law = store.load_kernel(name), store.load_law(name)
        for gamma in gammas or list(truth) or GAMMAS:
            found = chapman_enskog.transport(kernel, gamma, law=law, order=order)
            if not all(float(x) > 0 for x in found):
                raise ValueError(f"{name} has no transport coefficients at Gamma = {gamma:g}: it is not positive there")
            row: dict[str, Any] = {"gamma": gamma, **{k: float(v) for k, v in found._asdict().items()}, "kernel": name}
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
    """The rows of `transport_report` as text, one line per kernel and Gamma."""
    units = [k for k in rows[0] if k.endswith(("_m2_s", "_Pa_s", "_W_mK", "_eV"))]
    over_md = {"D*/MD": "D_star", "eta*/MD": "eta_star"} if "D_star_over_md" in rows[0] else {}
    lines = [["kernel", "Gamma", "D*", "eta*", "kappa*", *units, *over_md]]
    for row in rows:
        values = [f"{row[k]:.4g}" for k in ("D_star", "eta_star", "kappa_star", *units)]
        ratios = [f"{row[f'{k}_over_md']:.3f} ± {row[f'{k}_md_error']:.3f}" for k in over_md.values()]
        lines.append([row["kernel"], f"{row['gamma']:.3g}", *values, *ratios])
    note = "D* in a^2 omega_p, eta* in m n a^2 omega_p, kappa* in n k a^2 omega_p; kinetic parts"
    return f"{tables.columns(lines)}\n{note}"


def recompression_table(found: "Recompression") -> str:
    """Error and speed-up of a recompressed kernel as text."""
    before, after = found.seconds
    return tables.listing(
        {
            "kernel": str(found.folder),
            "relative distance": f"{found.distance.mean():.4f} on average, {found.distance.max():.4f} at most "
            f"(Gamma {found.gammas[0]:g} ... {found.gammas[-1]:g})",
            "separable products": f"{found.products[0]} -> {found.products[1]}",
            "operator at 24^3, ms": f"{1e3 * before:.1f} -> {1e3 * after:.1f}, {before / after:.1f} times faster",
        }
    )
