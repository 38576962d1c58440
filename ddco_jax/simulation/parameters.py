"""Parameters of the plasma of a run: lengths, times, speeds, coupling and collisions, in SI and in code units."""

from collections.abc import Iterable
from typing import Any

import jax.numpy as jnp
import numpy as np

from ddco_jax.correlations import Markov, StretchedExponential
from ddco_jax.correlations.model import Model
from ddco_jax.kernels import Kernel, store
from ddco_jax.kernels.chapman_enskog import transport
from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.plasma.ocp import LANDAU_ETA
from ddco_jax.simulation.config import Config
from ddco_jax.simulation.notes import LEARNED_RANGE
from ddco_jax.simulation.survey import CellSurvey, Survey

Row = dict[str, Any]
"""`code` and `si`: lowest and highest value over the cells; `code_unit` and `si_unit`."""


def parameters(config: Config, grid: PhaseGrid, start: Survey, kernel: Kernel | None) -> dict[str, Row]:
    """Parameters of the initial state by name; the density, temperature and Gamma of a cell are those of its f.

    `kernel` is None for a collisionless run, which has no collision time.  That of a kernel is the time in which a
    small anisotropy of the temperature decays in an aged plasma, eta/(n kT) in first Sonine order (Chapman-Enskog); its
    Coulomb logarithm is that of a Landau operator of the same viscosity, for kernel = "landau" Xi22/2.
    """
    scales, cells = config.scales, start.cells
    n, T = (np.array([getattr(cell, key) for cell in cells]) for key in ("density", "temperature"))
    speed, frequency = np.sqrt(T), scales.plasma_frequency(n)
    electron_volt = scales.mass * scales.velocity**2 / scales.electron_volt
    found = {
        "density": _row(n, "n0", scales.density, "1/m^3"),
        "temperature": _row(T, "V0^2", electron_volt, "eV"),
        "thermal_speed": _row(speed, "V0", scales.velocity, "m/s"),
        "plasma_frequency": _row(frequency, "1/t0", 1 / scales.time, "1/s"),
        "particle_distance": _row(scales.particle_distance(n), "L0", scales.length, "m"),
        "debye_length": _row(scales.debye_length(n, T), "L0", scales.length, "m"),
        "coupling_parameter": _row(scales.coupling_parameter(n, T)),
    }
    if grid.nx > 1:
        found["box_length"] = _row([grid.length], "L0", scales.length, "m")
    if kernel is None:
        return found
    logarithm, time = _collisions(config, cells, kernel, config.build_buildup())
    path = time[:, 1] * time[:, 0]
    found["coulomb_logarithm"] = _row(logarithm)
    found["collision_time"] = _row(time[:, 1], "t0", scales.time, "s")
    found["mean_free_path"] = _row(path, "L0", scales.length, "m")
    if grid.nx > 1:
        found["mean_free_path_over_box"] = _row(path / grid.length)
    return found


def _row(values: Iterable[float], code_unit: str = "1", factor: float = 1.0, si_unit: str = "1") -> Row:
    """The range of values in code units, and the same in SI, `factor` times as large."""
    low, high = (float(extreme(list(values))) for extreme in (min, max))
    return {"code": [low, high], "code_unit": code_unit, "si": [low * factor, high * factor], "si_unit": si_unit}


def _collisions(
    config: Config, cells: tuple[CellSurvey, ...], kernel: Kernel, law: Model
) -> tuple[np.ndarray, np.ndarray]:
    """Coulomb logarithms (k,), and thermal speeds (V0) with collision times (t0) (k, 2), of the extremes in Gamma."""
    scales = config.scales
    ordered = sorted(cells, key=lambda c: scales.coupling_parameter(c.density, c.temperature))
    logarithms, times = [], []
    for cell in {c.cell: c for c in (ordered[0], ordered[-1])}.values():
        n = jnp.asarray(cell.density)  # an array, so that cells of other densities are not compiled anew
        gamma = scales.coupling_parameter(cell.density, cell.temperature)
        of_kernel = transport(kernel, jnp.asarray(gamma), law=law, order=1, density=n, scales=scales)
        eta = float(of_kernel.eta_star)
        logarithms.append(LANDAU_ETA / (gamma**2.5 * eta))
        # eta* is in m n a^2 omega_p, and a^2 omega_p^2 = 3 Gamma kT/m
        times.append((cell.temperature**0.5, 3 * gamma * eta / scales.plasma_frequency(cell.density)))
    return np.array(logarithms), np.array(times)


def choices(config: Config) -> dict[str, str]:
    """The species, the kernel and the law of its correlations, in words, and whether the config states them."""
    c, scales, own = config.collisions, config.scales, (config.units.mass_kg, config.units.charge_C)
    name: str | None = config.plasma.species
    if name is None:
        section = "[plasma]" if config.plasma.particle else "[units]" if any(own) else "the paper's App. D"
        name = f"that of {section}"
    found = {"species": f"{name} ({scales.mass:.5g} kg, {scales.charge:.5g} C)"}
    stated = "as stated" if "kernel" in c.model_fields_set else "the default"
    if c.kernel == "none":
        return found | {"kernel": f"none, {stated}: no collisions"}
    learned = f", learned at Gamma = {LEARNED_RANGE[0]:g} ... {LEARNED_RANGE[1]:g}"
    found["kernel"] = f"{c.kernel}, {stated}{learned if c.kernel in store.pretrained() else ''}"
    how = "auto" if c.buildup == "auto" else "as stated"
    return found | {"correlations": f"{config.correlations}, {how}: {_law(config.build_buildup())}"}


def _law(law: Model) -> str:
    """The law of the correlations in words."""
    if isinstance(law, Markov):
        return "the kernel acts at its full rate, without memory"
    if isinstance(law, StretchedExponential):
        return f"rates rise as 1 - exp(-(s/{float(law.time):g})^{float(law.exponent):g}) with the age s in 1/omega_p"
    return "the law that was learned with the kernel"
