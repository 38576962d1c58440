"""How C[f] is computed: D- and its transpose, the direct oracle, the fast spectral operator."""

from ddco_jax.collisions.operator import CollisionOperator

__all__ = ["CollisionOperator"]
