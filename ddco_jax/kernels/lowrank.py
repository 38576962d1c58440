"""The general kernel of Eq. (11) with low-rank encoders (13), and an isotropic term."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp

from ddco_jax.kernels.base import Kernel, Separable, Squares, Weights
from ddco_jax.plasma.arrays import Array, Numbers, RadialFunction

Triple = tuple[int, int, int]


class LowRank(Kernel):
    """omega = g0^2 P + g1^2 |Pr|^2 P + (g2^2 - g1^2) Pr r^T P with g = sum_j L_j(|u|) [M_j(|c|) N_j(|c'|) + N_j M_j'].

    `g0`, `g1`, `g2` are tuples of (L, M, N), each a function of (speed, density, temperature).  A function that
    occurs in several places is stored once: its parameters stay shared under jit, grad and optimizers, and the
    fast operator shares its transforms.  J' triples in one g make 3 (J'=1), 10 (J'=2), 21 (J'=3) products.

    Raises TypeError for anything other than triples of functions, ValueError if there are none.
    """

    functions: tuple[RadialFunction, ...]
    """The distinct radial functions."""
    terms: tuple[tuple[Triple, ...], tuple[Triple, ...], tuple[Triple, ...]] = eqx.field(static=True)
    """For g0, g1, g2: the indices of (L, M, N) in `functions`."""

    def __init__(
        self,
        g0: Sequence[Sequence[RadialFunction | Any]] = (),
        g1: Sequence[Sequence[RadialFunction | Any]] = (),
        g2: Sequence[Sequence[RadialFunction | Any]] = (),
    ) -> None:
        functions: list[RadialFunction] = []

        def place(function: RadialFunction | Any) -> int:
            if not callable(function):
                raise TypeError("LowRank takes tuples of (L, M, N), each a function of (speed, density, temperature)")
            for index, known in enumerate(functions):
                if known is function:
                    return index
            functions.append(function)
            return len(functions) - 1

        terms = []
        for g in (g0, g1, g2):
            if any(len(triple) != 3 for triple in g):
                raise TypeError("LowRank takes tuples of (L, M, N), each a function of (speed, density, temperature)")
            terms.append(tuple((place(L), place(M), place(N)) for L, M, N in g))
        if not functions:
            raise ValueError("LowRank needs at least one (L, M, N) in g0, g1 or g2")
        self.functions = tuple(functions)
        self.terms = (terms[0], terms[1], terms[2])

    def encoders(
        self,
        speed: Array,
        peculiar_speed: Array,
        peculiar_speed_prime: Array,
        density: Numbers,
        temperature: Numbers,
    ) -> tuple[Array, ...]:
        """(g0, g1, g2) of Eq. (13) at given speeds |u|, |c|, |c'|; arrays that broadcast together."""

        def at(index: int, s: Array) -> Array:
            return self.functions[index](s, density, temperature)

        def encoder(triples: tuple[Triple, ...]) -> Array:
            g = jnp.zeros_like(speed)
            for L, M, N in triples:
                direct = at(M, peculiar_speed) * at(N, peculiar_speed_prime)
                exchanged = at(N, peculiar_speed) * at(M, peculiar_speed_prime)
                g = g + at(L, speed) * (direct + exchanged)
            return g

        return tuple(encoder(triples) for triples in self.terms)

    def radial(
        self,
        relative_speed: Array,
        peculiar_speed: Array,
        peculiar_speed_prime: Array,
        density: Numbers,
        temperature: Numbers,
    ) -> Squares:
        speeds = (relative_speed, peculiar_speed, peculiar_speed_prime)
        g0, g1, g2 = self.encoders(*speeds, density, temperature)
        return g0**2, g1**2, g2**2

    def separable(self, density: Numbers, temperature: Numbers) -> Separable:
        factors: list[tuple[int, int]] = []  # chi = F_i F_k, as a sorted pair of indices
        sums: dict[tuple[int, int], tuple[list, list, list]] = {}

        def factor(i: int, k: int) -> int:
            pair = (min(i, k), max(i, k))
            if pair not in factors:
                factors.append(pair)
            return factors.index(pair)

        for kind, triples in enumerate(self.terms):
            for (L1, M1, N1), (L2, M2, N2) in itertools.product(triples, triples):
                # g^2 = sum L1 L2 [M1 N1' + N1 M1'] [M2 N2' + N2 M2'], of which each product is m(|c|) n(|c'|)
                for (a, a_), (b, b_) in itertools.product(((M1, N1), (N1, M1)), ((M2, N2), (N2, M2))):
                    m, n = factor(a, b), factor(a_, b_)
                    if m <= n:  # (n, m) occurs too, with the same weight
                        sums.setdefault((m, n), ([], [], []))[kind].append((L1, L2))

        def product_of(pair: tuple[int, int]) -> Callable[[Array], Array]:
            first, second = (self.functions[i] for i in pair)
            return lambda speed: first(speed, density, temperature) * second(speed, density, temperature)

        def weight(pairs: list[tuple[int, int]]) -> Callable[[Array], Any] | None:
            if not pairs:
                return None
            products = [product_of(pair) for pair in pairs]
            return lambda speed: sum(product(speed) for product in products)

        weights = {mn: Weights(*map(weight, kinds)) for mn, kinds in sums.items()}
        return Separable(tuple(product_of(pair) for pair in factors), weights)
