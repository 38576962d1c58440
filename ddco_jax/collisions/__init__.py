"""The collision operator C[f]: the fast spectral method, and the direct double sum as a reference."""

from ddco_jax.collisions.operator import CollisionOperator

__all__ = ["CollisionOperator"]
