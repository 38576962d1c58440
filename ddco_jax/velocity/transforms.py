"""Velocity convolutions without zero padding: cosine-sine transforms at odd frequencies.

With theta_m = (pi/N)(2m + 1/2), m = 0..N-1, a real sequence g_0..g_{N-1} has the transform

    c_m = sum_n g_n cos(theta_m n),   s_m = sum_n g_n sin(theta_m n),   g_n = (1/N) sum_m [c_m cos + s_m sin].

Up to conjugation these are all the 2N frequencies of a sequence that is antiperiodic over 2N points, so
products of transforms are convolutions over offsets -(N-1)..N-1 with no wrap-around on 0..N-1: N complex values
take the place of a zero-padded transform of length 2N.  A kernel that is even (odd) along an axis has only the
cosine (sine) part, on N offsets: its three-dimensional spectrum is real and takes one octant, N^3 numbers.

A spectrum has eight times as many numbers as its field and is never stored as a whole.  `convolve` transforms all
fields along vx.  Then it takes a few vx frequencies at a time, a slab that stays in the cache: it transforms vy and vz,
multiplies by the kernels, and transforms vz and vy back.  The last pass is vx again.  Fields are stored as
(nvx, nvy, k, nvz), so that every pass is a product of two matrices without a transposition.  Each axis is transformed
by a dense matrix if it is short (faster up to about a hundred points, and preferable on accelerators) and by FFT if it
is long.
"""

import functools
import math
import operator
from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import DTypeLike

from ddco_jax.plasma.arrays import Array, Float

Fields = Float[Array, "nvx nvy _ nvz"]
Octant = Float[Array, "nvx nvy nvz"]
Parity = tuple[int, int, int]

DENSE_LIMIT = 96
"""Longest axis transformed by a dense matrix; longer ones use the FFT (measured crossover on CPU)."""
SLAB = 2**19
"""Largest number of values in the spectra of one slab, unless a single vx frequency has more (measured on CPU)."""


class Mixing(NamedTuple):
    """Which kernel convolves which field, and to which output the result is added."""

    inputs: tuple[Parity, ...]
    """Parity of each field."""
    outputs: tuple[Parity, ...]
    """Parity of each output.  A kernel between a field and an output is odd along the axes where one of them is odd."""
    terms: tuple[tuple[tuple[int, int], ...], ...]
    """For each output, the pairs (field, kernel) whose convolutions add up to it."""


def convolve(fields: Fields, octants: Sequence[Octant], mixing: Mixing) -> Fields:
    """Sums of convolutions, (nvx, nvy, outputs, nvz), of kernels, given by `kernel_spectrum`, with fields."""
    nx, ny, _, nz = fields.shape
    size = max(len(mixing.inputs), len(mixing.outputs)) * 8 * ny * nz
    together = max(k for k in range(1, nx + 1) if nx % k == 0 and (k == 1 or k * size <= SLAB))

    def slab(values: tuple[list[Array], Array]) -> Array:
        octants, parts = values
        spectra = forward(forward(parts, 4), 2)  # (m, 2, 2 nvy, k, 2 nvz)
        mixed = _mixed(octants, spectra.reshape(*spectra.shape[:2], 2, ny, -1, 2, nz), mixing)
        return _inverse(_inverse(mixed.reshape(*mixed.shape[:2], 2 * ny, -1, 2 * nz), 2), 4)

    def sliced(a: Array) -> Array:
        return a.reshape(-1, together, *a.shape[1:])

    parts = _forward_x(fields)
    mixed = lax.map(slab, ([sliced(octant) for octant in octants], sliced(parts)))
    return _inverse_x(mixed.reshape(nx, 2, ny, -1, nz))


def _mixed(octants: list[Array], spectra: Array, mixing: Mixing) -> Array:
    """Sums of products of kernels (m, nvy, nvz) with the spectra (m, 2, 2, nvy, k, 2, nvz); outputs on the k axis."""
    # the factor i of an axis where field and output differ is that of the field times that of the output; where both
    # are odd it is 1, not i^2 = -1
    turned = [_turned(spectra[:, :, :, :, k], parity) for k, parity in enumerate(mixing.inputs)]
    factors = [octant[:, None, None, :, None] for octant in octants]
    outputs = []
    for output, terms in zip(mixing.outputs, mixing.terms, strict=True):
        total = jnp.zeros_like(spectra[:, :, :, :, 0])
        for field, kernel in terms:
            both_odd = sum(map(operator.and_, output, mixing.inputs[field]))
            combine = operator.sub if both_odd % 2 else operator.add
            total = combine(total, factors[kernel] * turned[field])
        outputs.append(_turned(total, output))
    return jnp.stack(outputs, 4)


def _turned(spectrum: Array, parity: tuple[int, ...]) -> Array:
    """A spectrum (m, 2, 2, nvy, 2, nvz) times i along each odd axis.

    The transform is c - i s, so c becomes -s and s becomes c.
    """
    odd_axes = [axis for axis, odd in zip((1, 2, 4), parity, strict=True) if odd]
    sign = np.ones((1, 1, 1, 1, 1, 1))
    for axis in odd_axes:
        sign = sign * np.array([-1.0, 1.0]).reshape([2 if i == axis else 1 for i in range(6)])
    return jnp.asarray(sign, spectrum.dtype) * jnp.flip(spectrum, odd_axes) if odd_axes else spectrum


def kernel_spectrum(values: Octant, parity: Parity) -> Octant:
    """Spectrum of a kernel given at non-negative offsets, even (0) or odd (1) along each axis."""
    for odd in parity:
        n = values.shape[0]
        matrix = (np.sin(_angles(n)) if odd else np.cos(_angles(n))) * np.where(np.arange(n) == 0, 1, 2)
        values = lax.dot_general(
            values, jnp.asarray(matrix, values.dtype), (((0,), (1,)), ((), ())), precision=lax.Precision.HIGHEST
        )
    return values


@functools.cache
def _angles(n: int) -> np.ndarray:
    """theta_m k, (m, k), with the integer multiple of pi/2N reduced so that large arguments keep full accuracy."""
    m, k = np.arange(n)[:, None], np.arange(n)[None, :]
    return (np.pi / (2 * n)) * (((4 * m + 1) * k) % (4 * n))


@functools.cache
def _matrix(n: int) -> np.ndarray:
    """The transform as a matrix (2n, n): cosine rows, then sine rows.  The inverse is its transpose divided by n."""
    return np.concatenate([np.cos(_angles(n)), np.sin(_angles(n))])


def forward(x: Array, axis: int) -> Array:
    """Transform an axis of length n; its cosine parts, then its sine parts, take its place, 2n."""
    n = x.shape[axis]
    if n <= DENSE_LIMIT:
        return _contract(_matrix(n), x, axis)
    x, (cos, sin) = jnp.moveaxis(x, axis, -1), _twiddle(n, x.dtype)
    y = jnp.fft.fft(lax.complex(x * cos, -x * sin))
    return jnp.moveaxis(jnp.concatenate([y.real, -y.imag], -1), -1, axis)


def _inverse(x: Array, axis: int) -> Array:
    """Inverse of `forward`."""
    n = x.shape[axis] // 2
    if n <= DENSE_LIMIT:
        return _contract(_matrix(n).T / n, x, axis)
    x, (cos, sin) = jnp.moveaxis(x, axis, -1), _twiddle(n, x.dtype)
    y = jnp.fft.ifft(lax.complex(x[..., :n], -x[..., n:]))
    return jnp.moveaxis(y.real * cos - y.imag * sin, -1, axis)


def _forward_x(fields: Fields) -> Array:
    """Transform the first axis: (nvx, 2, nvy, k, nvz), by frequency, then cosine and sine part."""
    n = len(fields)
    if n <= DENSE_LIMIT:
        return _contract(_by_frequency(n), fields, 0).reshape(n, 2, *fields.shape[1:])
    return forward(fields, 0).reshape(2, *fields.shape).swapaxes(0, 1)


def _inverse_x(parts: Array) -> Fields:
    """Inverse of `_forward_x`."""
    n = len(parts)
    if n <= DENSE_LIMIT:
        return _contract(_by_frequency(n).T / n, parts.reshape(2 * n, *parts.shape[2:]), 0)
    return _inverse(parts.swapaxes(0, 1).reshape(2 * n, *parts.shape[2:]), 0)


def _by_frequency(n: int) -> np.ndarray:
    """`_matrix` with the cosine and the sine row of a frequency next to each other."""
    return _matrix(n).reshape(2, n, n).swapaxes(0, 1).reshape(2 * n, n)


def _contract(matrix: np.ndarray, x: Array, axis: int) -> Array:
    """The matrix applied to one axis of x, which stays in its place."""
    M, (n, *after) = jnp.asarray(matrix, x.dtype), x.shape[axis:]
    if not after:
        return jnp.matmul(x, M.T, precision="highest")
    before = x.shape[:axis]
    # one product of matrices for each index before the axis: this needs no transposition
    batch = jnp.broadcast_to(M, (math.prod(before), *M.shape))
    y = jnp.matmul(batch, x.reshape(-1, n, math.prod(after)), precision="highest")
    return y.reshape(*before, len(M), *after)


def _twiddle(n: int, dtype: DTypeLike) -> tuple[Array, Array]:
    """cos and sin of pi k/2n, k = 0..n-1."""
    angle = np.pi / (2 * n) * np.arange(n)
    return jnp.asarray(np.cos(angle), dtype), jnp.asarray(np.sin(angle), dtype)
