"""Conservation errors of a run, from its history."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Conservation:
    """Largest errors over a run."""

    mass_drift: float
    """max |dM|/M."""
    total_energy_drift: float
    """max |dE|/E."""
    momentum_drift: tuple[float, float, float]
    """max |dP|/sqrt(2 M E_K), by component."""
    smallest_entropy_gain_per_step: float
    """Smallest change of the entropy between recorded steps, n0 L0; negative where it fell."""
    entropy_gain: float
    """Change of the entropy over the run, n0 L0."""
    negative_mass: float
    """max over time of the mass where f < 0, over M."""
    gauss_residual: float
    """Largest residual of Gauss's law, E0/L0."""
    velocity_nyquist: float
    """Largest share of the Nyquist mode along any velocity axis."""


def conservation(history: Mapping[str, np.ndarray]) -> Conservation:
    """The errors in the history of a run (`Summary.history`), which needs at least two rows."""

    def deviation(name: str) -> np.ndarray | Any:
        return np.max(np.abs(history[name] - history[name][0]), axis=0)

    entropy, thermal_momentum = history["entropy"], np.sqrt(2 * history["kinetic_energy"][0] * history["mass"][0])
    along_x, along_y, along_z = (float(p) for p in deviation("momentum") / thermal_momentum)
    return Conservation(
        mass_drift=float(deviation("mass") / abs(history["mass"][0])),
        total_energy_drift=float(deviation("total_energy") / abs(history["total_energy"][0])),
        momentum_drift=(along_x, along_y, along_z),
        smallest_entropy_gain_per_step=float(np.min(np.diff(entropy))),
        entropy_gain=float(entropy[-1] - entropy[0]),
        negative_mass=float(np.max(history["negative_mass"] / history["mass"])),
        gauss_residual=float(np.max(history["gauss_residual"])),
        velocity_nyquist=float(np.max(history["velocity_nyquist"])),
    )
