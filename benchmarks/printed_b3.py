"""Eq. (B.3) expanded as printed, by zero-padded FFTs, for comparison with the fast operator.

|Pr|^2 and Pr r^T P are written as polynomials in |v|, |v'|, v, v' over powers of u, and every {alpha, beta, gamma} is
a convolution of its own.  Terms of one gamma share their forward transforms and terms of one beta their kernel spectra,
a saving that the printed formula does not include.  The drift is zero, and g1^2 and g2^2 have one product each.
"""

import functools
import itertools

import jax.numpy as jnp
import numpy as np

from ddco_jax import PhaseGrid
from ddco_jax.velocity.differences import Differences

PAIRS = list(itertools.combinations_with_replacement(range(3), 2))


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


class Spectra:
    """Kernel spectra of one weight of |u|, shared by all terms."""

    def __init__(self, conv: Convolver, weight):
        u, u2 = conv.u, conv.safe
        projection = {(i, j): (i == j) - u[i] * u[j] / u2 for i, j in PAIRS}
        self.projection = {n: {ij: conv.kernel(weight * P * u2**n) for ij, P in projection.items()} for n in (-1, 0, 1)}
        self.one = conv.kernel(weight)
        self.u = [conv.kernel(weight * u[i] / u2) for i in range(3)]
        self.uu = {(i, j): conv.kernel(weight * u[i] * u[j] / u2**2) for i, j in PAIRS}


class Terms:
    """The terms of one f, and the transforms that they share."""

    def __init__(self, conv: Convolver, v, f, q):
        self.conv, self.v, self.f, self.q = conv, v, f, q
        self.known: dict = {}

    def hat(self, key, field):
        if key not in self.known:
            self.known[key] = self.conv.forward(field)
        return self.known[key]

    def both(self, name, gamma):
        """Transforms of gamma f' and of gamma f' q'_j."""
        moved = [self.hat((name, j), gamma * self.f * self.q[j]) for j in range(3)]
        return self.hat((name, None), gamma * self.f), moved

    def tensor(self, alpha, beta, name, gamma):
        """alpha(v) [A_ij q_j - B_i] for a symmetric tensor kernel: 6 + 3 convolutions."""
        inverse, q = self.conv.inverse, self.q
        F, G = self.both(name, gamma)
        A = {ij: inverse(beta[ij] * F) for ij in PAIRS}
        at = lambda i, j: (min(i, j), max(i, j))
        B = [inverse(sum(beta[at(i, j)] * G[j] for j in range(3))) for i in range(3)]
        return jnp.stack([alpha * (sum(A[at(i, j)] * q[j] for j in range(3)) - B[i]) for i in range(3)])

    def _source(self, left, right, i, j, name, gamma):
        """`both` for gamma times the components of v' that the dyad a_i b_j contains."""
        if left == "v'":
            name, gamma = (*name, "a", i), gamma * self.v[i]
        if right == "v'":
            name, gamma = (*name, "b", j), gamma * self.v[j]
        return self.both(name, gamma)

    def vectors(self, spectra: Spectra, name, gamma, left, right):
        """gamma(v') times the dyad a_i b_j; a and b are each "v", "v'" or a kernel factor "u"."""
        v, q, p = self.v, self.q, []
        done: dict = {}

        def inverse(key, spectrum):
            if key not in done:
                done[key] = self.conv.inverse(spectrum)
            return done[key]

        def beta(i, j):
            return spectra.u[i if left == "u" else j] if "u" in (left, right) else spectra.one

        for i in range(3):
            row, total, moved = i if left != "v" else None, 0.0, 0.0
            for j in range(3):
                F, G = self._source(left, right, i, j, name, gamma)
                A = inverse((row, j if right != "v" else None), beta(i, j) * F)
                total = total + A * q[j] * (v[j] if right == "v" else 1)
                if right == "v":
                    total = total - inverse(("B", row, j), beta(i, j) * G[j]) * v[j]
                else:
                    moved = moved + beta(i, j) * G[j]
            if right != "v":
                total = total - inverse(("B", row), moved)
            p.append(total * (v[i] if left == "v" else 1))
        return jnp.stack(p)


def make_operator(grid: PhaseGrid, l1, l2):
    """C[f] of one cell for omega = l1(|u|) |Pr|^2 P + (l2 - l1)(|u|) Pr r^T P, and its convolver.

    The convolver counts the inverse transforms.
    """
    conv, differences = Convolver(grid), Differences(grid, 2)
    speed = np.sqrt(conv.safe)
    v = np.stack(np.meshgrid(*grid.velocities, indexing="ij"))
    v2 = jnp.asarray(np.sum(v**2, 0))
    first, second = (Spectra(conv, np.asarray(l(speed))) for l in (l1, l2))

    def collide(f):
        q = differences.forces(jnp.log(f))
        terms, one = Terms(conv, jnp.asarray(v), f, q), jnp.ones_like(f)
        tensor, P = terms.tensor, first.projection
        p = tensor(2 * v2, P[0], ("1",), one) + tensor(2, P[0], ("v2",), v2) - tensor(1, P[1], ("1",), one)
        p += -tensor(v2**2, P[-1], ("1",), one) + tensor(2 * v2, P[-1], ("v2",), v2)
        p += -tensor(1, P[-1], ("v4",), v2**2)
        for sign, spectra in ((1, second), (-1, first)):
            uu, vectors = spectra.uu, functools.partial(terms.vectors, spectra)
            part = tensor(v2**2, uu, ("1",), one) - tensor(2 * v2, uu, ("v2",), v2) + tensor(1, uu, ("v4",), v2**2)
            for a, b in itertools.product(("v", "v'"), repeat=2):
                part += vectors(("1",), one, a, b)
            for factor, name, gamma in ((-v2, ("1",), one), (1, ("v2",), v2)):
                for a in ("v", "v'"):
                    part += factor * (vectors(name, gamma, a, "u") + vectors(name, gamma, "u", a))
            p += sign * part
        return differences.divergence(grid.dv3 * f * p)

    return collide, conv
