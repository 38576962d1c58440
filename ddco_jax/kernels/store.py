"""Kernels by name: those that come with the package."""

from collections.abc import Callable

from ddco_jax.kernels.base import Kernel
from ddco_jax.kernels.landau import Landau, MaxwellMolecules, classical

NAMED: dict[str, tuple[Callable[[], Kernel], str]] = {
    "landau": (Landau, "Landau, lnLambda = Xi22/2 of the effective-potential theory (positive at every Gamma)"),
    "landau-classical": (lambda: Landau(classical()), "Landau, lnLambda = -ln(sqrt(3) Gamma^1.5), for Gamma < 0.69"),
    "maxwell_molecules": (MaxwellMolecules, "|u|^2 P/24, for which the BKW solution is exact"),
}
"""Constructor and one-line description by name."""


def load_kernel(name: str) -> Kernel:
    """The kernel of that name.  Raises ValueError that lists the names there are."""
    if name not in NAMED:
        raise ValueError(f"no kernel {name!r}; there are {', '.join(NAMED)}")
    return NAMED[name][0]()
