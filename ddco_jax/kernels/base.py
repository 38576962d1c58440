"""The interface of collision kernels: omega(v, v'; rho, T) pointwise, and as separable products for the fast operator.

Every kernel of the package has the form (Eq. 11 with an isotropic term)

    omega = g0^2 P + g1^2 |Pr|^2 P + (g2^2 - g1^2) Pr r^T P,   u = v - v',  r = v + v' - 2 v-bar,  P = I - u u^T/u^2

so omega u = 0 and omega is symmetric and positive semidefinite: mass, momentum and energy are conserved, and
entropy never falls.  Kernels do not depend on the grid.
"""

import abc
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp

from ddco_jax.plasma.arrays import Array, Float, Numbers, Tensor, Vector

Squares = tuple[Array | int, ...]
"""The weights (g0^2, g1^2, g2^2) of Eq. (11), arrays that broadcast; 0 for a weight that is absent."""


class Weights(NamedTuple):
    """Radial weights of one separable product, each a function of |u| alone or None for zero."""

    isotropic: Callable[[Array], Array] | None = None
    """l0, multiplies P."""
    perpendicular: Callable[[Array], Array] | None = None
    """l1 (from g1^2), multiplies |Pr|^2 P - Pr r^T P."""
    parallel: Callable[[Array], Array] | None = None
    """l2 (from g2^2), multiplies Pr r^T P."""


class Separable(NamedTuple):
    """omega as a sum of products chi_m(|c|) chi_n(|c'|) [l0 P + l1 (|Pr|^2 P - Pr r^T P) + l2 Pr r^T P]."""

    factors: tuple[Callable[[Array], Array] | None, ...]
    """The distinct factors chi of |c|, c = v - v-bar; None stands for 1."""
    weights: dict[tuple[int, int], Weights]
    """Weights by (m, n) with m <= n; the product (n, m) has the same weights."""


class Kernel(eqx.Module):
    """A collision kernel; a pytree, so jit, vmap, grad and optax work directly on its parameters."""

    @abc.abstractmethod
    def separable(self, density: Numbers, temperature: Numbers) -> Separable:
        """The kernel at one local state (scalars rho, kT/m) as separable products."""

    @abc.abstractmethod
    def radial(
        self,
        relative_speed: Array,
        peculiar_speed: Array,
        peculiar_speed_prime: Array,
        density: Numbers,
        temperature: Numbers,
    ) -> Squares:
        """The weights (g0^2, g1^2, g2^2) at speeds |u| > 0, |c|, |c'| (V0) and states (rho, kT/m), broadcast."""

    def __call__(self, v: Vector, v_prime: Vector, drift: Vector, density: Numbers, temperature: Numbers) -> Tensor:
        """omega(v, v'; rho, T), (..., 3, 3), V0^2 L0^3/t0.

        `v`, `v_prime` and `drift` broadcast to (..., 3), `density` and `temperature` to (...).  The value at
        u = 0 is set to zero; it has no effect, since it multiplies a vanishing difference.
        """
        pair = pair_geometry(v, v_prime, drift)
        speeds = (pair.relative_speed, pair.peculiar_speed, pair.peculiar_speed_prime)
        return assemble(pair, *self.radial(*speeds, density, temperature))


class Scaled(Kernel):
    """omega times A(|u|/v_th) >= 0, |u| in thermal speeds of the local state."""

    kernel: Kernel
    amplitude: Callable[[Array], Array]

    def separable(self, density: Numbers, temperature: Numbers) -> Separable:
        def scaled(weight: Callable[[Array], Array] | None) -> Callable[[Array], Array] | None:
            if weight is None:
                return None
            return lambda speed: weight(speed) * self.amplitude(speed / jnp.sqrt(temperature))

        products = self.kernel.separable(density, temperature)
        return Separable(products.factors, {mn: Weights(*map(scaled, w)) for mn, w in products.weights.items()})

    def radial(
        self,
        relative_speed: Array,
        peculiar_speed: Array,
        peculiar_speed_prime: Array,
        density: Numbers,
        temperature: Numbers,
    ) -> Squares:
        weights = self.kernel.radial(relative_speed, peculiar_speed, peculiar_speed_prime, density, temperature)
        a = self.amplitude(relative_speed / jnp.sqrt(temperature))
        return tuple(a * w for w in weights)


class PairGeometry(NamedTuple):
    """Speeds and projections of velocity pairs, finite (with finite gradients) also at u = 0."""

    relative_speed: Float[Array, "..."]
    """|u|, replaced by 1 where u = 0."""
    distinct: Float[Array, "..."]
    """1 where u is not zero, else 0."""
    projector: Tensor
    """P = I - u u^T/u^2."""
    perpendicular: Vector
    """P r, r = v + v' - 2 v-bar."""
    peculiar_speed: Float[Array, "..."]
    """|c|."""
    peculiar_speed_prime: Float[Array, "..."]
    """|c'|."""


def safe_norm(vector: Vector, substitute: float = 0.0) -> Float[Array, "..."]:
    """|vector| over the last axis; where the vector is zero, `substitute` with zero gradient."""
    square = jnp.sum(vector**2, -1)
    positive = square > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1)), substitute)


def pair_geometry(v: Vector, v_prime: Vector, drift: Vector) -> PairGeometry:
    """Speeds and projections of Eq. (11) for pairs of velocities (..., 3), V0; the arguments broadcast."""
    c, c_prime = v - drift, v_prime - drift
    u, r = c - c_prime, c + c_prime
    speed = safe_norm(u, 1.0)
    direction = u / speed[..., None]
    projector = jnp.eye(3, dtype=u.dtype) - direction[..., :, None] * direction[..., None, :]
    perpendicular = r - direction * jnp.sum(direction * r, -1, keepdims=True)
    distinct = jnp.any(u != 0, -1).astype(u.dtype)
    return PairGeometry(speed, distinct, projector, perpendicular, safe_norm(c), safe_norm(c_prime))


def assemble(pair: PairGeometry, g0_squared: Array | int, g1_squared: Array | int, g2_squared: Array | int) -> Tensor:
    """omega (..., 3, 3) of Eq. (11) with the isotropic term, from the three squared encoders at each pair."""
    Pr = pair.perpendicular
    isotropic = (g0_squared + g1_squared * jnp.sum(Pr**2, -1)) * pair.distinct
    anisotropic = (g2_squared - g1_squared) * pair.distinct
    outer = Pr[..., :, None] * Pr[..., None, :]
    return isotropic[..., None, None] * pair.projector + anisotropic[..., None, None] * outer
