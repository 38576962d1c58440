"""Kernels with positive separable weights: the cheaper alternative to squaring low-rank encoders (13)."""

from collections.abc import Callable, Iterable

import equinox as eqx
import jax.numpy as jnp

from ddco_jax.kernels.base import Kernel, Separable, Squares, Weights
from ddco_jax.plasma.arrays import Array, Numbers, RadialFunction

KINDS = ("isotropic", "perpendicular", "parallel")


class Term(eqx.Module):
    """One product: weights of |u| for the three tensors, times m(|c|) m(|c'|).

    All are non-negative functions of (speed, density, temperature).  A weight of None is zero; a factor of None is 1.
    """

    isotropic: RadialFunction | None = None
    """l0, multiplies P."""
    perpendicular: RadialFunction | None = None
    """l1, multiplies |Pr|^2 P - Pr r^T P."""
    parallel: RadialFunction | None = None
    """l2, multiplies Pr r^T P."""
    factor: RadialFunction | None = None
    """m, of |c| and of |c'|."""


class PositiveSeparable(Kernel):
    """omega = sum_k m_k(|c|) m_k(|c'|) [l0_k P + l1_k (|Pr|^2 P - Pr r^T P) + l2_k Pr r^T P], l, m >= 0.

    Each of the three tensors is positive semidefinite, so omega is too for any non-negative l and m.  K terms give K
    products in the fast operator; the squared form (13) of rank J' gives O(J'^2).

    Raises ValueError if there are no terms.
    """

    terms: tuple[Term, ...]

    def __init__(self, terms: Iterable[Term]) -> None:
        self.terms = tuple(terms)
        if not self.terms:
            raise ValueError("PositiveSeparable needs at least one term")

    def radial(
        self,
        relative_speed: Array,
        peculiar_speed: Array,
        peculiar_speed_prime: Array,
        density: Numbers,
        temperature: Numbers,
    ) -> Squares:
        sums = [jnp.zeros_like(relative_speed)] * 3
        for term in self.terms:
            product = jnp.ones_like(relative_speed)
            if term.factor is not None:
                product = term.factor(peculiar_speed, density, temperature)
                product = product * term.factor(peculiar_speed_prime, density, temperature)
            for i, kind in enumerate(KINDS):
                weight = getattr(term, kind)
                if weight is not None:
                    sums[i] = sums[i] + weight(relative_speed, density, temperature) * product
        return tuple(sums)

    def separable(self, density: Numbers, temperature: Numbers) -> Separable:
        def at(function: RadialFunction | None) -> Callable[[Array], Array] | None:
            return None if function is None else lambda speed: function(speed, density, temperature)

        factors: list = []
        weights: dict[tuple[int, int], Weights] = {}
        for term in self.terms:
            known = [i for i, f in enumerate(factors) if f is term.factor]
            place = known[0] if known else len(factors)
            if not known:
                factors.append(term.factor)
            parts = [at(getattr(term, kind)) for kind in KINDS]
            if (place, place) in weights:
                parts = [_sum(a, b) for a, b in zip(weights[place, place], parts, strict=True)]
            weights[place, place] = Weights(*parts)
        return Separable(tuple(at(f) for f in factors), weights)


def _sum(a: Callable[[Array], Array] | None, b: Callable[[Array], Array] | None) -> Callable[[Array], Array] | None:
    """The sum of two functions of speed, None standing for zero."""
    if a is None or b is None:
        return b if a is None else a
    return lambda speed: a(speed) + b(speed)
