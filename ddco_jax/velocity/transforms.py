"""Velocity convolutions without zero padding: cosine-sine transforms at odd frequencies.

With theta_m = (pi/N)(2m + 1/2), m = 0..N-1, a real sequence g_0..g_{N-1} has the transform

    c_m = sum_n g_n cos(theta_m n),   s_m = sum_n g_n sin(theta_m n),   g_n = (1/N) sum_m [c_m cos + s_m sin].

Up to conjugation these are all the 2N frequencies of a sequence that is antiperiodic over 2N points, so
products of transforms are convolutions over offsets -(N-1)..N-1 with no wrap-around on 0..N-1: N complex values
take the place of a zero-padded transform of length 2N.  A kernel that is even (odd) along an axis has only the
cosine (sine) part, on N offsets: its three-dimensional spectrum is real and takes one octant, N^3 numbers.

Fields (k, nx, ny, nz) become (nx, 2, k, 2, ny, 2, nz), with the cosine and sine parts on the axes of length two.  The
vx frequency comes first, so that kernels are applied slab by slab, in cache.  Each axis is transformed by a dense
matrix if it is short (faster up to about a hundred points, and preferable on accelerators) and by FFT if it is long.
"""

import functools

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike, DTypeLike

from ddco_jax.plasma.arrays import Array, Float

Fields = Float[Array, "_ nvx nvy nvz"]
Spectra = Float[Array, "nvx 2 _ 2 nvy 2 nvz"]
Octant = Float[Array, "nvx nvy nvz"]
Parity = tuple[int, int, int]

DENSE_LIMIT = 96
"""Longest axis transformed by a dense matrix; longer ones use the FFT (measured crossover on CPU)."""


@functools.cache
def _angles(n: int) -> np.ndarray:
    """theta_m k, (m, k), with the integer multiple of pi/2N reduced so that large arguments keep full accuracy."""
    m, k = np.arange(n)[:, None], np.arange(n)[None, :]
    return (np.pi / (2 * n)) * (((4 * m + 1) * k) % (4 * n))


@functools.cache
def _matrix(n: int) -> np.ndarray:
    """The transform as a matrix (2n, n): cosine rows, then sine rows.  The inverse is its transpose divided by n."""
    return np.concatenate([np.cos(_angles(n)), np.sin(_angles(n))])


def _contract(x: Array, matrix: ArrayLike, axis: int) -> Array:
    """Contract `axis` of x with the last axis of the matrix; the new axis comes last."""
    matrix = jnp.asarray(matrix, x.dtype)
    return lax.dot_general(x, matrix, (((axis,), (1,)), ((), ())), precision=lax.Precision.HIGHEST)


def _twiddle(n: int, dtype: DTypeLike) -> tuple[Array, Array]:
    """cos and sin of pi k/2n, k = 0..n-1."""
    angle = np.pi / (2 * n) * np.arange(n)
    return jnp.asarray(np.cos(angle), dtype), jnp.asarray(np.sin(angle), dtype)


def _forward_axis(x: Array, axis: int) -> Array:
    """Transform one axis of length n; its cosine parts, then its sine parts form the last axis, (..., 2n)."""
    n = x.shape[axis]
    if n <= DENSE_LIMIT:
        return _contract(x, _matrix(n), axis)
    x, (cos, sin) = jnp.moveaxis(x, axis, -1), _twiddle(n, x.dtype)
    y = jnp.fft.fft(lax.complex(x * cos, -x * sin))
    return jnp.concatenate([y.real, -y.imag], -1)


def _inverse_axis(x: Array, axis: int) -> Array:
    """Inverse of `_forward_axis` for an axis of length 2n; the n values are on the last axis."""
    n = x.shape[axis] // 2
    if n <= DENSE_LIMIT:
        return _contract(x, _matrix(n).T / n, axis)
    x, (cos, sin) = jnp.moveaxis(x, axis, -1), _twiddle(n, x.dtype)
    y = jnp.fft.ifft(lax.complex(x[..., :n], -x[..., n:]))
    return y.real * cos - y.imag * sin


def forward(g: Fields) -> Spectra:
    """Transform the three velocity axes of a stack of fields."""
    k, nx, ny, nz = g.shape
    g = _forward_axis(_forward_axis(g, 2), 2)  # (k, nx, 2 ny, 2 nz): each pass appends its axis
    if nx <= DENSE_LIMIT:
        by_frequency = _matrix(nx).reshape(2, nx, nx).swapaxes(0, 1)  # (m, part, n)
        g = lax.dot_general(
            jnp.asarray(by_frequency, g.dtype), g, (((2,), (1,)), ((), ())), precision=lax.Precision.HIGHEST
        )
    else:
        g = jnp.moveaxis(_forward_axis(g, 1).reshape(k, 2 * ny, 2 * nz, 2, nx), (4, 3), (0, 1))
    return g.reshape(nx, 2, k, 2, ny, 2, nz)


def inverse(spectra: Spectra) -> Fields:
    """Inverse of `forward`."""
    nx, _, k, _, ny, _, nz = spectra.shape
    if nx <= DENSE_LIMIT:
        by_frequency = _matrix(nx).reshape(2, nx, nx).swapaxes(0, 1) / nx
        g = lax.dot_general(
            spectra.reshape(nx, 2, k, 2 * ny, 2 * nz),
            jnp.asarray(by_frequency, spectra.dtype),
            (((0, 1), (0, 1)), ((), ())),
            precision=lax.Precision.HIGHEST,
        )  # (k, 2 ny, 2 nz, nx)
    else:
        g = _inverse_axis(jnp.moveaxis(spectra, (0, 1), (6, 5)).reshape(k, 2 * ny, 2 * nz, 2 * nx), 3)
    return _inverse_axis(_inverse_axis(g, 1), 1)


def kernel_spectrum(values: Octant, parity: Parity) -> Octant:
    """Spectrum of a kernel given at non-negative offsets, even (0) or odd (1) along each axis."""
    for odd in parity:
        n = values.shape[0]
        matrix = np.sin(_angles(n)) if odd else np.cos(_angles(n))
        values = _contract(values, matrix * np.where(np.arange(n) == 0, 1, 2), 0)
    return values


def multiply(
    octant: Float[Array, "nvy nvz"], parity: Parity, field: Float[Array, "2 2 nvy 2 nvz"]
) -> Float[Array, "2 2 nvy 2 nvz"]:
    """Spectrum of the convolution of a kernel with a field, at one vx frequency.

    Along an axis where the kernel is even, the cosine and sine parts of the field, c and s, are multiplied by the
    spectrum K of the kernel.  Along an axis where it is odd they are also exchanged, c <- -K s and s <- K c, because
    the complex transform is c - i s.
    """
    part_axes = (0, 1, 3)
    odd_axes = [axis for axis, odd in zip(part_axes, parity, strict=True) if odd]
    sign = np.ones((2, 2, 1, 2, 1))
    for axis in odd_axes:
        sign = sign * np.array([-1.0, 1.0]).reshape([2 if i == axis else 1 for i in range(5)])
    factor = octant[:, None, :] * jnp.asarray(sign, octant.dtype)
    return factor * (jnp.flip(field, odd_axes) if odd_axes else field)
