"""Transport coefficients of any kernel by Sonine expansion, Eq. (34): self-diffusion, shear viscosity, heat conduction.

In thermal units, c = (v - v-bar)/v_th and omega = (omega_p v_th^2/n) omega-hat, with averages over two Maxwellians,

    D   = v_th^2/omega_p     b A^-1 b,  A_pq = <grad phi_p . omega-hat . grad phi_q>
    eta = m n v_th^2/omega_p b B^-1 b,  B_pq = 1/2 <(grad phi_p - grad' phi'_p) . omega-hat . (grad phi_q - ...)>

with phi_p = c_x S_p^(3/2) for D and c_x c_y S_p^(5/2) for eta; S are the Sonine (generalised Laguerre) polynomials of
c^2/2.  A is the tagged particle's operator C- (no field-particle term).  kappa, in n k v_th^2/omega_p, is like eta with
the polynomials of D from p = 1 on and the source c_x (c^2 - 5)/2.  Only the first entry of b differs from zero: it is
1 for D and eta, 5/2 for kappa.

At order 1, D and eta are Landau's lnLambda formulas.  The averages depend only on |u|, |c + c'| and the angle between
them.  The average over the orientation is exact, (1/3) sum_a for vectors and (1/10) sum_ab for traceless tensors.  The
rest is Gauss quadrature, in which Landau's 1/|u| is not singular.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from ddco_jax.correlations import AGED_AGE, MARKOV, Aged, Correlations, Mature, as_record
from ddco_jax.correlations.jumps import SHAPE
from ddco_jax.correlations.model import Model
from ddco_jax.kernels.base import Kernel, Scaled
from ddco_jax.plasma.arrays import Array, Scalar, Tensor, Vector
from ddco_jax.plasma.units import BOLTZMANN, PAPER, Scales

ORDER = 4
"""Default number of Sonine polynomials."""
POINTS = (48, 24, 16)
"""Default numbers of quadrature points in |u|, |c + c'|/2 and the cosine of the angle between them."""
REACH = (13.0, 6.5)
"""Upper ends of the quadrature in |u| and |c + c'|/2, v_th: the Maxwellian weight is exp(-42) there."""


class Transport(NamedTuple):
    """Reduced coefficients: D in a^2 omega_p, eta in m n a^2 omega_p, kappa in n k a^2 omega_p."""

    D_star: Array
    """Self-diffusion."""
    eta_star: Array
    """Shear viscosity, kinetic part."""
    kappa_star: Array
    """Heat conduction, kinetic part."""


@eqx.filter_jit
def transport(
    kernel: Kernel,
    gamma: ArrayLike,
    *,
    law: Model = MARKOV,
    order: int = ORDER,
    points: tuple[int, int, int] = POINTS,
    density: float | Array = 1.0,
    scales: Scales = PAPER,
) -> Transport:
    """D*, eta*, kappa* of a kernel at coupling `gamma` (scalar or array); differentiable in the kernel's parameters.

    `law` is the law of the correlations; only its aged limit enters.  `order` is the number of Sonine polynomials.
    `density` (n0) matters only for kernels without similarity in Gamma.
    """
    gamma = jnp.asarray(gamma, None if hasattr(gamma, "dtype") else float)

    def one(g: Scalar) -> Transport:
        return _transport(kernel, g, (order,), points, density, scales, law)[0]

    found = jax.lax.map(one, jnp.atleast_1d(gamma))  # a scalar takes the same path as an array
    return found if gamma.ndim else jax.tree.map(lambda a: a[0], found)


def aged(law: Model, kernel: Kernel, gamma: Array) -> tuple[Kernel, Array]:
    """The kernel times the pair rate of an aged plasma, and ell^2 of its jumps (v_th^2)."""
    now = as_record(law(jnp.full_like(gamma, AGED_AGE), gamma))
    if isinstance(now, Aged):
        return kernel, jnp.zeros_like(gamma)
    jump = now.pair_jump if isinstance(now, Correlations | Mature) else jnp.zeros_like(gamma)
    return Scaled(kernel, now.pair_rate), jump


def remaining(jump: Array, degree: Array) -> Array:
    """(1 + n ell^2)^(-1/4): factor of a Hermite polynomial of degree n in F, the smoothed f on which collisions act."""
    return (1 + degree * jump) ** -SHAPE


def _transport(
    kernel: Kernel,
    gamma: Scalar,
    orders: tuple[int, ...],
    points: tuple[int, int, int],
    density: float | Array,
    scales: Scales,
    law: Model,
) -> list[Transport]:
    """Coefficients at several orders; the matrices of lower orders are the leading blocks of the largest."""
    dtype = gamma.dtype
    kernel, jump = aged(law, kernel, gamma)
    pairs = [jnp.asarray(a, dtype) for a in pair_nodes(points)]
    n = jnp.asarray(density, dtype)
    temperature = scales.coupling_parameter(n, 1.0) / gamma
    first, second = _brackets(kernel, pairs, max(orders), n, temperature, scales)
    degree = 2 * jnp.arange(max(orders), dtype=dtype)
    vector, tensor = first[0] * remaining(jump, 1 + degree), second * remaining(jump, 2 + degree)
    heat = first[1][1:, 1:] * remaining(jump, 3 + degree)

    def solve(matrix: Array, source: float) -> Scalar:
        unit = jnp.zeros(len(matrix), dtype).at[0].set(source)
        return unit @ jnp.linalg.solve(matrix, unit)

    # v_th^2/omega_p over a^2 omega_p is 1/(3 Gamma)
    matrices = ((vector, 1.0), (tensor, 1.0), (heat, 2.5))
    return [Transport(*(solve(m[:p, :p], source) / (3 * gamma) for m, source in matrices)) for p in orders]


def _brackets(
    kernel: Kernel, pairs: Sequence[Array], order: int, n: Scalar, temperature: Scalar, scales: Scales
) -> tuple[tuple[Array, Array], Array]:
    """((A, B of vectors), B of tensors): (order, order) matrices, B of vectors (order + 1, order + 1)."""
    c, c_prime, weight = pairs
    omega = omega_hat(kernel, c, c_prime, n, temperature, scales)
    gradients = [vector_gradients(v, order + 1) for v in (c, c_prime)]
    difference = gradients[0] - gradients[1]
    A = jnp.einsum("s,spia,sij,sqja->pq", weight, gradients[0], omega, gradients[0], optimize=True) / 3
    B = jnp.einsum("s,spia,sij,sqja->pq", weight, difference, omega, difference, optimize=True) / 6
    shear = tensor_gradients(c, order) - tensor_gradients(c_prime, order)
    second = jnp.einsum("s,spia,sij,sqja->pq", weight, shear, omega, shear, optimize=True) / 20
    return (A[:order, :order], B), second


def omega_hat(kernel: Kernel, c: Vector, c_prime: Vector, n: Scalar, temperature: Scalar, scales: Scales) -> Tensor:
    """omega-hat = omega/(omega_p v_th^2/n), (P, 3, 3), for pairs c, c' (P, 3) in thermal units."""
    thermal = jnp.sqrt(temperature)
    zero = jnp.zeros(3, c.dtype)
    omega = kernel(thermal * c, thermal * c_prime, zero, n, temperature)
    return omega * (n / (scales.plasma_frequency(n) * temperature))


def _sonine(square: Array, order: int, index: float) -> tuple[Array, Array]:
    """S_p^(index)(square/2) and its derivative with respect to square/2, (order, P) each."""
    x = square / 2
    values = [jnp.ones_like(x), 1 + index - x]
    slopes = [jnp.zeros_like(x), -jnp.ones_like(x)]
    for p in range(1, order - 1):
        a, b = 2 * p + 1 + index, p + index
        values.append(((a - x) * values[p] - b * values[p - 1]) / (p + 1))
        slopes.append(((a - x) * slopes[p] - values[p] - b * slopes[p - 1]) / (p + 1))
    return jnp.stack(values[:order]), jnp.stack(slopes[:order])


def vector_gradients(c: Vector, order: int) -> Array:
    """d_i [c_a S_p^(3/2)], (P, order, 3, 3)."""
    S, dS = _sonine(jnp.sum(c**2, -1), order, 1.5)
    eye = jnp.eye(3, dtype=c.dtype)
    return jnp.einsum("ps,ia->spia", S, eye) + jnp.einsum("ps,si,sa->spia", dS, c, c)


def tensor_gradients(c: Vector, order: int) -> Array:
    """d_i [(c_a c_b - delta_ab c^2/3) S_p^(5/2)], (P, order, 3, 9)."""
    S, dS = _sonine(jnp.sum(c**2, -1), order, 2.5)
    eye = jnp.eye(3, dtype=c.dtype)
    traceless = jnp.einsum("sa,sb->sab", c, c) - jnp.sum(c**2, -1)[:, None, None] * eye / 3
    slope = jnp.einsum("ia,sb->siab", eye, c) + jnp.einsum("ib,sa->siab", eye, c)
    slope = slope - 2 / 3 * jnp.einsum("si,ab->siab", c, eye)
    out = jnp.einsum("ps,siab->spiab", S, slope) + jnp.einsum("ps,si,sab->spiab", dS, c, traceless)
    return out.reshape(*out.shape[:3], 9)


@functools.cache
def pair_nodes(points: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs c, c' (P, 3), v_th, and weights (P,) of the average over two Maxwellians, at a fixed orientation."""
    (u, wu), (g, wg) = (_half_line(n, end) for n, end in zip(points, REACH, strict=False))
    cosine, wc = np.polynomial.legendre.leggauss(points[2])
    wu = wu * u**2 * np.exp(-(u**2) / 4)
    wg = wg * g**2 * np.exp(-(g**2))
    wu, wg, wc = (w / w.sum() for w in (wu, wg, wc))
    u, g, cosine = (a.reshape(-1) for a in np.meshgrid(u, g, cosine, indexing="ij"))
    weight = np.einsum("a,b,c->abc", wu, wg, wc).reshape(-1)
    relative = np.stack([np.zeros_like(u), np.zeros_like(u), u], -1)
    centre = np.stack([g * np.sqrt(1 - cosine**2), np.zeros_like(g), g * cosine], -1)
    return centre + relative / 2, centre - relative / 2, weight


def _half_line(n: int, end: float) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre points and weights on [0, end]."""
    x, w = np.polynomial.legendre.leggauss(n)
    return end * (x + 1) / 2, end * w / 2


def physical(coefficients: Transport, gamma: float, density_m3: float, scales: Scales = PAPER) -> dict[str, float]:
    """Temperature (eV), D (m^2/s), eta (Pa s) and kappa (W/(m K)) at a density (1/m^3) and coupling."""
    n = density_m3 / scales.density
    temperature = scales.coupling_parameter(n, 1.0) / gamma
    a = (3 / (4 * np.pi * density_m3)) ** (1 / 3)
    unit = a**2 * scales.plasma_frequency(n) / scales.time
    return {
        "temperature_eV": scales.temperature_to_ev(temperature),
        "D_m2_s": float(coefficients.D_star) * unit,
        "eta_Pa_s": float(coefficients.eta_star) * unit * scales.mass * density_m3,
        "kappa_W_mK": float(coefficients.kappa_star) * unit * density_m3 * BOLTZMANN,
    }


def converged(
    kernel: Kernel, gamma: float, tolerance: float = 1e-5, largest: int = 12, *, law: Model = MARKOV
) -> tuple[Transport, int, float]:
    """(coefficients, order, relative quadrature error) at the first converged order, or else at `largest`.

    An order has converged if each coefficient differs from that of the order below by at most `tolerance` (relative).
    """
    orders = tuple(range(2, largest + 1))
    found, finer = (_orders(kernel, gamma, orders, points, law) for points in (POINTS, FINER))
    k = 1
    while k < len(orders) - 1 and _change(found[k], found[k - 1]) > tolerance:
        k += 1
    return finer[k], orders[k], _change(found[k], finer[k])


FINER = (72, 36, 24)
"""Finer quadrature, by which the error of POINTS is measured."""


@eqx.filter_jit
def _orders(
    kernel: Kernel, gamma: float, orders: tuple[int, ...], points: tuple[int, int, int], law: Model
) -> list[Transport]:
    return _transport(kernel, jnp.asarray(gamma, float), orders, points, 1.0, PAPER, law)


def _change(now: Transport, before: Transport) -> float:
    return max(abs(float(a / b) - 1) for a, b in zip(now, before, strict=True))
