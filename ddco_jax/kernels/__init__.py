"""Collision kernels omega(v, v'; rho, T)."""

from ddco_jax.kernels.base import Kernel, Scaled, Separable, Weights
from ddco_jax.kernels.landau import Landau, classical, effective_potential
from ddco_jax.kernels.lowrank import LowRank
from ddco_jax.kernels.maxwell import MaxwellMolecules
from ddco_jax.kernels.tabulated import Tabulated

__all__ = [
    "Kernel",
    "Landau",
    "LowRank",
    "MaxwellMolecules",
    "Scaled",
    "Separable",
    "Tabulated",
    "Weights",
    "classical",
    "effective_potential",
]
