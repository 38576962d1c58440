"""ddco_jax: kinetic simulation of moderately coupled plasmas, 1D-3V, differentiable, structure preserving.

Importing the package sets no flag and touches no device; the dtype of f decides the precision.
"""

from ddco_jax import kernels, steppers, units
from ddco_jax.collisions import CollisionOperator
from ddco_jax.grid import PhaseGrid
from ddco_jax.kernels.store import load_kernel
from ddco_jax.moments import compute_moments
from ddco_jax.solve import solve
from ddco_jax.state import State

__version__ = "0.1.0"

__all__ = [
    "CollisionOperator",
    "PhaseGrid",
    "State",
    "compute_moments",
    "kernels",
    "load_kernel",
    "open_result",
    "solve",
    "steppers",
    "units",
]


def open_result(path):
    """The result of a run as an xarray.DataTree; see `ddco_jax.io.open_result`."""
    from ddco_jax.io import open_result as open_

    return open_(path)
