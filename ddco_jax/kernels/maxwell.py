"""Maxwell molecules: omega = kappa |u|^2 P, the kernel of the exact BKW solution."""

from ddco_jax.kernels.landau import IsotropicPower, Prefactor


class MaxwellMolecules(IsotropicPower):
    """omega = kappa |u|^2 P, for which the BKW solution is exact (kappa = 1/24 in docs/references.md)."""

    prefactor: Prefactor = 1 / 24

    @property
    def power(self) -> int:
        return 2
