"""ddco_jax: kinetic simulation of moderately coupled plasmas, 1D-3V, differentiable, structure preserving.

Importing the package sets no JAX flag and uses no device.  The dtype of f decides the precision.
"""

import importlib
import sys
from typing import TYPE_CHECKING, Any

from ddco_jax import kernels, steppers
from ddco_jax.collisions import CollisionOperator
from ddco_jax.kernels.store import load_kernel, load_model
from ddco_jax.plasma import starts as initial
from ddco_jax.plasma import units
from ddco_jax.plasma.clone import VERSION as __version__  # noqa: F401  a public name
from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.plasma.moments import compute_moments
from ddco_jax.plasma.state import State
from ddco_jax.steppers.solve import solve

if TYPE_CHECKING:
    from ddco_jax.simulation.python import load_config, run
    from ddco_jax.simulation.results import open_result

sys.modules[f"{__name__}.initial"], sys.modules[f"{__name__}.units"] = initial, units  # for import ddco_jax.units

__all__ = [
    "CollisionOperator",
    "PhaseGrid",
    "State",
    "compute_moments",
    "initial",
    "kernels",
    "load_config",
    "load_kernel",
    "load_model",
    "open_result",
    "run",
    "solve",
    "steppers",
    "units",
]

_LATER = {
    "load_config": "ddco_jax.simulation.python",
    "open_result": "ddco_jax.simulation.results",
    "run": "ddco_jax.simulation.python",
}
"""Names that are imported at their first use: their modules need pydantic, xarray and Zarr, which the core does not."""


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LATER[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
