"""What the collision kernel omega is."""

from ddco_jax.kernels.base import Kernel, Separable, Weights
from ddco_jax.kernels.landau import Landau, MaxwellMolecules, classical, effective_potential
from ddco_jax.kernels.lowrank import LowRank

__all__ = [
    "Kernel",
    "Landau",
    "LowRank",
    "MaxwellMolecules",
    "Separable",
    "Weights",
    "classical",
    "effective_potential",
]
