"""Eq. (B.3) expanded as printed, by zero-padded FFTs: the peer of the fast operator.

|Pr|^2 and Pr r^T P are written as polynomials in |v|, |v'|, v, v' over powers of u, and every {alpha, beta, gamma} is
a convolution of its own.  Forward transforms are shared per gamma and kernel spectra per beta, which is more than the
printed formula asks for.  Drift zero, one product for each of g1^2 and g2^2.
"""

import itertools

import jax.numpy as jnp
import numpy as np

from ddco_jax import PhaseGrid
from ddco_jax.velocity.differences import Central, gradient


class Convolver:
    """Convolutions on the doubled grid by real FFTs."""

    def __init__(self, grid: PhaseGrid):
        self.shape = tuple(2 * n for n in grid.nv)
        self.nv = grid.nv
        offsets = [np.fft.fftfreq(2 * n, 1 / (2 * n)) * dv for n, dv in zip(grid.nv, grid.dv, strict=True)]
        self.u = np.stack(np.meshgrid(*offsets, indexing="ij"))
        self.u2 = np.sum(self.u**2, 0)
        self.safe = np.where(self.u2 > 0, self.u2, 1)
        self.inverses = 0

    def kernel(self, values):
        return jnp.fft.rfftn(jnp.asarray(np.where(self.u2 > 0, values, 0)))

    def forward(self, field):
        return jnp.fft.rfftn(field, self.shape)

    def inverse(self, spectrum):
        self.inverses += 1
        return jnp.fft.irfftn(spectrum, self.shape)[: self.nv[0], : self.nv[1], : self.nv[2]]


def make_operator(grid: PhaseGrid, l1, l2):
    """C[f] of one cell for omega = l1(|u|) |Pr|^2 P + (l2 - l1)(|u|) Pr r^T P, and the count of inverse transforms."""
    conv = Convolver(grid)
    u, u2, speed = conv.u, conv.safe, np.sqrt(conv.safe)
    v = np.stack(np.meshgrid(*grid.velocities, indexing="ij"))
    v2 = jnp.asarray(np.sum(v**2, 0))
    v = jnp.asarray(v)
    pairs = list(itertools.combinations_with_replacement(range(3), 2))
    P = {(i, j): (i == j) - u[i] * u[j] / u2 for i, j in pairs}

    def spectra(weight):
        """Kernel spectra of one weight, by the name of beta."""
        table = {("P", n, ij): conv.kernel(weight * P[ij] * u2**n) for n in (-1, 0, 1) for ij in pairs}
        table |= {("1",): conv.kernel(weight)}
        table |= {("u", i): conv.kernel(weight * u[i] / u2) for i in range(3)}
        table |= {("uu", ij): conv.kernel(weight * u[ij[0]] * u[ij[1]] / u2**2) for ij in pairs}
        return table

    tables = {1: spectra(np.asarray(l1(speed))), 2: spectra(np.asarray(l2(speed)))}

    def collide(f):
        q = gradient(grid, jnp.log(f))
        known: dict = {}

        def hat(key, field):
            if key not in known:
                known[key] = conv.forward(field)
            return known[key]

        def both(name, gamma):
            """Transforms of gamma f' and of gamma f' q'_j."""
            return hat((name, None), gamma * f), [hat((name, j), gamma * f * q[j]) for j in range(3)]

        def tensor(alpha, beta, name, gamma):
            """alpha(v) [A_ij q_j - B_i] for a symmetric tensor kernel: 6 + 3 convolutions."""
            F, G = both(name, gamma)
            A = {ij: conv.inverse(beta(ij) * F) for ij in pairs}
            at = lambda i, j: (min(i, j), max(i, j))
            B = [conv.inverse(sum(beta(at(i, j)) * G[j] for j in range(3))) for i in range(3)]
            return jnp.stack([alpha * (sum(A[at(i, j)] * q[j] for j in range(3)) - B[i]) for i in range(3)])

        def vectors(alpha, left, right):
            """alpha(v) times the dyad a_i b_j; a and b are each ("v",), ("v'", moment) or a kernel factor ("u",)."""
            (kind_a, kind_b), (table, extra, gamma) = (left, right), alpha
            scalar = table[("1",)]

            def beta(i, j):
                if "u" in (kind_a, kind_b):
                    return table["u", i if kind_a == "u" else j]
                return scalar

            def source(i, j):
                name, field = (extra, gamma)
                if kind_a == "v'":
                    name, field = (*name, "a", i), field * v[i]
                if kind_b == "v'":
                    name, field = (*name, "b", j), field * v[j]
                return both(name, field)

            p = []
            done_A: dict = {}
            for i in range(3):
                total, B_sum = 0.0, 0.0
                for j in range(3):
                    F, G = source(i, j)
                    key = (i if kind_a != "v" else None, j if kind_b != "v" else None)
                    if key not in done_A:
                        done_A[key] = conv.inverse(beta(i, j) * F)
                    total = total + done_A[key] * q[j] * (v[j] if kind_b == "v" else 1)
                    if kind_b == "v":
                        b_key = ("B", i if kind_a != "v" else None, j)
                        if b_key not in done_A:
                            done_A[b_key] = conv.inverse(beta(i, j) * G[j])
                        total = total - done_A[b_key] * v[j]
                    else:
                        B_sum = B_sum + beta(i, j) * G[j]
                if kind_b != "v":
                    b_key = ("B", i if kind_a != "v" else None)
                    if b_key not in done_A:
                        done_A[b_key] = conv.inverse(B_sum)
                    total = total - done_A[b_key]
                p.append(total * (v[i] if kind_a == "v" else 1))
            return jnp.stack(p)

        one, p = jnp.ones_like(f), jnp.zeros_like(q)
        K = tables[1]
        P_of = lambda n: lambda ij: K["P", n, ij]
        p += tensor(2 * v2, P_of(0), ("1",), one) + tensor(2, P_of(0), ("v2",), v2) - tensor(1, P_of(1), ("1",), one)
        p += -tensor(v2**2, P_of(-1), ("1",), one) + tensor(2 * v2, P_of(-1), ("v2",), v2)
        p += -tensor(1, P_of(-1), ("v4",), v2**2)
        for sign, table in ((1, tables[2]), (-1, tables[1])):
            uu = lambda ij, table=table: table["uu", ij]
            part = tensor(v2**2, uu, ("1",), one) - tensor(2 * v2, uu, ("v2",), v2) + tensor(1, uu, ("v4",), v2**2)
            for a, b in itertools.product(("v", "v'"), repeat=2):
                part += vectors((table, ("1",), one), a, b)
            for factor, name, gamma in ((-v2, ("1",), one), (1, ("v2",), v2)):
                for a in ("v", "v'"):
                    part += factor * (vectors((table, name, gamma), a, "u") + vectors((table, name, gamma), "u", a))
            p += sign * part
        return Central(grid).divergence(grid.dv3 * f * p)

    return collide, conv
