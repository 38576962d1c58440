"""Nonnegative least squares for `kernels.convex`: the baseline, deterministic, with one global optimum.

Rates are linear in the coefficients for a given build-up.  Its two parameters, tau and p, are searched for at each
Gamma separately, with a fit of the kernel at every trial, and then fitted by polynomials in ln Gamma.  The final fit of
the coefficients takes all runs together.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize, nnls

from ddco_jax.correlations import MARKOV, Markov, StretchedRise
from ddco_jax.kernels.convex import SHAPE, Convex, hats
from ddco_jax.kernels.forms import ConvexForm, Learned
from ddco_jax.learning import nodes
from ddco_jax.learning.data import SIMPSON, Run
from ddco_jax.plasma.arrays import Array

POLYNOMIALS = (3, 2)
"""Numbers of coefficients of ln tau and of ln p in powers of ln Gamma."""
SEARCH_STEPS = 60


def fit(runs: Sequence[Run], form: ConvexForm, floor: float) -> Learned:
    """The kernel, with its build-up where asked for, that minimises the chi^2 of all runs."""
    rates = [_Rates(run, floor) for run in runs]
    if form.buildup == "off":
        return Learned(Convex(jnp.asarray(_joint(rates, MARKOV), jnp.float32)), MARKOV)
    found = []
    for gamma in sorted({r.gamma for r in rates}):
        group = [r for r in rates if r.gamma == gamma]
        best = minimize(
            lambda x, group=group: _loss(group, np.exp(x)),
            np.log([0.45, 1.3]),
            method="Nelder-Mead",
            options={"maxfev": SEARCH_STEPS},
        )
        found.append((np.log(gamma), *best.x))
    x, tau, p = np.array(found).T
    orders = [min(n, len(x)) for n in POLYNOMIALS]
    time, exponent = (
        jnp.asarray(np.pad(np.polynomial.polynomial.polyfit(x, y, n - 1), (0, full - n)), jnp.float32)
        for y, n, full in zip((tau, p), orders, POLYNOMIALS, strict=True)
    )
    learned = StretchedRise(time, exponent)
    return Learned(Convex(jnp.asarray(_joint(rates, learned), jnp.float32)), learned)


class _Rates:
    """One run: the rates of every fixed product at the Simpson points, and the measured rates, both over the errors."""

    def __init__(self, run: Run, floor: float) -> None:
        self.gamma = run.gamma
        self.times = run.times
        self.share = np.asarray(hats(jnp.log(run.gamma)), float)
        error = np.sqrt(run.error**2 + (floor * np.abs(run.rate).max(0)) ** 2)
        instantaneous = np.einsum("tkaj,naj->tkn", run.averages.mean(0), _values(run), optimize=True)
        weights = np.array([w for _, w in SIMPSON])
        at = np.einsum("q,iqt,tkn->iqkn", weights, run.interpolation, instantaneous, optimize=True)
        self.design = at / error[:, None, :, None]
        self.target = run.rate / error

    def columns(self, amplitude: np.ndarray) -> np.ndarray:
        """Rates over errors of every product, (I K, products), for build-up factors (I, 3) at the Simpson points."""
        return np.einsum("iq,iqkn->ikn", amplitude, self.design).reshape(-1, self.design.shape[-1])


def _values(run: Run) -> np.ndarray:
    """Weights of every fixed product at the nodes, (products, 3, nodes.COUNT), at the run's state."""
    products = np.eye(int(np.prod(SHAPE[1:])), dtype=np.float32).reshape(-1, *SHAPE[1:])
    at_all_gamma = np.repeat(products[:, None], SHAPE[0], axis=1)
    return np.asarray(_product_values(at_all_gamma, run.density, run.temperature, run.plasma_frequency))


@jax.jit
def _product_values(coefficients: Array, density: Array, temperature: Array, plasma_frequency: Array) -> Array:
    def values(c: Array) -> Array:
        return nodes.kernel_values(Convex(c), *(jnp.asarray(s, c.dtype) for s in state))

    state = (density, temperature, plasma_frequency)
    return jax.vmap(values)(coefficients)


def _loss(group: Sequence[_Rates], parameters: np.ndarray) -> float:
    """Smallest sum of squared residuals at one Gamma for a build-up 1 - exp(-(s/tau)^p)."""
    tau, p = parameters
    matrix = np.concatenate([r.columns(-np.expm1(-((r.times / tau) ** p))) for r in group])
    target = np.concatenate([r.target.reshape(-1) for r in group])
    return _nnls(matrix.T @ matrix, matrix.T @ target)[1] + float(target @ target)


def _joint(rates: Sequence[_Rates], buildup: Markov | StretchedRise) -> np.ndarray:
    """Coefficients of all Gamma knots, (SHAPE), fitted to all runs together."""
    size = int(np.prod(SHAPE))
    normal, right = np.zeros((size, size)), np.zeros(size)
    for r in rates:
        now = buildup(jnp.asarray(r.times), jnp.full(r.times.shape, r.gamma))
        columns, target = r.columns(np.asarray(now.pair_rate(jnp.ones(r.times.shape)), float)), r.target.reshape(-1)
        scale = 1 / target.size  # all runs have the same weight: each adds its mean chi^2
        normal += scale * np.kron(np.outer(r.share, r.share), columns.T @ columns)
        right += scale * np.kron(r.share, columns.T @ target)
    return _nnls(normal, right)[0].reshape(SHAPE)


def _nnls(normal: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, float]:
    """The x >= 0 that minimises x.normal.x - 2 x.right, and the minimum; a small ridge keeps empty columns at zero."""
    scale = np.sqrt(np.diag(normal))
    scale = np.where(scale > 0, scale, 1.0)
    scaled = normal / np.outer(scale, scale) + 1e-9 * np.eye(len(right))
    root = np.linalg.cholesky(scaled)
    x, _ = nnls(root.T, np.linalg.solve(root, right / scale), maxiter=20 * len(right))
    return x / scale, float(x @ scaled @ x - 2 * x @ (right / scale))
