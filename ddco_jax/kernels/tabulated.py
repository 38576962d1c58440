"""Expensive radial functions, interpolated from fine one-dimensional tables instead of evaluated on the grid."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax

from ddco_jax.plasma.arrays import Array, Numbers, RadialFunction


class Tabulated(eqx.Module):
    """A radial function, evaluated on `knots` speeds and interpolated between them.

    Quintic Hermite interpolation of the function with its two first derivatives (by forward-mode differentiation) on
    a uniform table from 0 to the largest speed in the argument, h apart.  The error is at most
    h^6/46080 max |f^(6)|: rounding level for a function that varies on the scale of the thermal speed.  The table is
    made at each evaluation, so density, temperature and the parameters of the function stay differentiable.  Use it for
    smooth functions (a network), not for powers like 1/|u|, which are cheap to evaluate directly.
    An argument of at most `knots` speeds is not interpolated.
    """

    function: RadialFunction
    knots: int = eqx.field(static=True, default=512)

    def __call__(self, speed: Array, density: Numbers, temperature: Numbers) -> Array:
        if speed.size <= self.knots:
            return self.function(speed, density, temperature)

        def value(s: Array) -> Array:
            return self.function(s, density, temperature)

        def slope(s: Array) -> Array:
            return jax.jvp(value, (s,), (jnp.ones_like(s),))[1]

        # the barrier: speeds on a grid are constants, and the compiler would spend a minute on folding their maximum
        h = jnp.max(lax.optimization_barrier(lax.stop_gradient(speed))) / (self.knots - 1)
        table = h * jnp.arange(self.knots, dtype=speed.dtype)
        f = value(table)
        df, ddf = jax.jvp(slope, (table,), (jnp.ones_like(table),))
        place = jnp.clip(jnp.floor(lax.stop_gradient(speed) / h).astype(jnp.int32), 0, self.knots - 2)
        t = speed / h - place.astype(speed.dtype)
        return _quintic(t, h, *((a[place], a[place + 1]) for a in (f, df, ddf)))


def _quintic(t: Array, h: Array, f: tuple[Array, Array], df: tuple[Array, Array], ddf: tuple[Array, Array]) -> Array:
    """Quintic Hermite polynomial at t in [0, 1] of an interval of length h, from pairs of end values."""
    t3, t4, t5 = t**3, t**4, t**5
    right = 10 * t3 - 15 * t4 + 6 * t5
    values = (1 - right) * f[0] + right * f[1]
    slopes = (t - 6 * t3 + 8 * t4 - 3 * t5) * df[0] + (-4 * t3 + 7 * t4 - 3 * t5) * df[1]
    curvatures = (t**2 - 3 * t3 + 3 * t4 - t5) * ddf[0] + (t3 - 2 * t4 + t5) * ddf[1]
    return values + h * slopes + h**2 / 2 * curvatures
