"""ddco_jax: kinetic simulation of moderately coupled plasmas, 1D-3V, differentiable, structure preserving.

Importing the package sets no JAX flag and uses no device.  The dtype of f decides the precision.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ddco_jax import kernels, steppers
from ddco_jax.collisions import CollisionOperator
from ddco_jax.kernels.store import load_kernel
from ddco_jax.plasma import starts as initial
from ddco_jax.plasma import units
from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.plasma.moments import compute_moments
from ddco_jax.plasma.state import State
from ddco_jax.steppers.solve import solve

if TYPE_CHECKING:  # loaded when a result is opened
    import xarray

sys.modules[f"{__name__}.initial"], sys.modules[f"{__name__}.units"] = initial, units  # for import ddco_jax.units

__version__ = "0.1.0"

__all__ = [
    "CollisionOperator",
    "PhaseGrid",
    "State",
    "compute_moments",
    "initial",
    "kernels",
    "load_kernel",
    "open_result",
    "solve",
    "steppers",
    "units",
]


def open_result(path: str | Path, units: str = "code") -> "xarray.DataTree":
    """The result of a run in units "code" or "si", an xarray.DataTree; see `simulation.results.open_result`."""
    from ddco_jax.simulation.results import open_result as open_

    return open_(path, units)
