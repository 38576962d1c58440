"""The build-up of correlations: amplitudes A(s; Gamma) that multiply C[f] after a quench."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ddco_jax.plasma.arrays import Array, Float

Elementwise = Float[Array, "..."]

BOUND = 0.9
"""Largest relative amplitude of the ringing."""
GAMMA_RANGE = (0.03, 5.0)
"""Gamma is clipped to this range, where there are data."""


class StretchedExponential(eqx.Module):
    """A(s; Gamma) = 1 - exp(-(s/time)^exponent), monotone from 0 to 1; the same at every Gamma.

    The defaults fit molecular dynamics at Gamma = 1.5 (REFERENCES, forward solution at 0.15 eV).
    """

    time: float | Array = 0.45
    """1/omega_p."""
    exponent: float | Array = 1.3

    def __call__(self, age: Elementwise, gamma: Elementwise) -> Elementwise:
        positive = age > 0  # the power has no finite gradient at age 0
        ratio = jnp.where(positive, age, 1) / self.time
        return jnp.where(positive, -jnp.expm1(-(ratio**self.exponent)), 0)


class Amplitude(eqx.Module):
    """A(|u|) = total [1 - deficit h(|u|)], h = 1/(1 + (|u|/width)^2), |u| in thermal speeds: slow pairs lag behind.

    total >= 0 and 0 <= deficit <= 1, so A >= 0; it multiplies omega, whose symmetry and null vector do not notice.
    """

    total: Array
    deficit: Array
    width: Array
    microfield: Array | None = None
    """nu >= 0 of `collisions.microfield`: omega_p from a build-up, 1/t0 for the operator."""
    spread: Array | None = None
    """ell^2 of `collisions.microfield`, in squares of the thermal speed; None: a normally distributed microfield."""
    crossing: Array | None = None
    """s v_th/l: how many radii l of its correlation hole a pair of |u| = v_th has come since the quench; with it nu is
    that of pairs still within the hole (`near`)."""
    edge: Array | None = None
    """How sharp the edge of the hole is: p in [1 + x^p]^(-3/p)."""
    progress: Array | None = None
    """x = s/tau of the rise 1 - (1 + x^p)^(-2/p) of pairs of thermal |u|, where it is not part of the total: pairs that
    have come farther are ahead.  The power 2 is that of free streaming."""
    exponent: Array | None = None
    """p of that rise."""
    slowest: Array | None = None
    """u0: the rise of pairs at rest is that of |u| = u0."""
    jump: Array | None = None
    """ell^2 of the jumps by which collisions act (`collisions.microfield`); None: they are diffusion, as usual."""

    @property
    def stress(self) -> Array | float:
        """What jumps take from the rate of a weak shear stress, whose C[F] is (1 + 2 ell^2)^(-1/4) C[f]: given back to
        omega, so that its viscosity is the plasma's."""
        return 1.0 if self.jump is None else (1 + 2 * self.jump) ** 0.25

    def near(self, speed) -> Array:
        """B(|u|): the gradient that is left of the force of a correlation hole after |u| s, over that in its middle.

        [1 + x^p]^(-3/p), x = |u| s/l.  With l = a exact for free streaming at both ends: 1 within, x^-3 far outside,
        where the hole is one charge.
        """
        assert self.crossing is not None and self.edge is not None
        return (1 + _power(speed * self.crossing, self.edge)) ** (-3 / self.edge)

    def lag(self, speed) -> Array:
        """h at speeds that broadcast with the width."""
        return 1 / (1 + (speed / self.width) ** 2)

    def __call__(self, speed) -> Array:
        amplitude = self.stress * self.total * (1 - self.deficit * self.lag(speed))
        if self.progress is None or self.slowest is None or self.exponent is None:
            return amplitude
        way = jnp.sqrt((speed**2 + self.slowest**2) / (THERMAL + self.slowest**2))
        return amplitude * (1 - (1 + _power(way * self.progress, self.exponent)) ** (-2 / self.exponent))

    def in_units(self, plasma_frequency) -> "Amplitude":
        """With frequencies in 1/t0 instead of omega_p (1/t0)."""
        if self.microfield is None:
            return self
        return dataclasses.replace(self, microfield=self.microfield * plasma_frequency)


THERMAL = 6.0
"""Mean square of |u| (v_th), of any distribution."""


def _power(x, p):
    """x^p for x >= 0, with finite gradients at 0."""
    positive = x > 0
    return jnp.where(positive, jnp.where(positive, x, 1) ** p, 0)


MEMORY = 20.0
"""1/omega_p: how long a quench differs from an aged plasma; longer than the quenches in the data, which do not tell."""
RINGING = 25.0
"""1/omega_p: the longest life of the ringing, for the same reason."""
EDGE = (1.0, 0.62, 0.09)
"""Coefficients of ln p in powers of ln Gamma, of the edge of the correlation hole 1 - g(r) of the one-component plasma:
fitted to the hypernetted-chain g(r), Gamma = 0.1 ... 3; B is off by at most 0.15 (Gamma = 0.1), 0.07 (0.4 ... 3)."""
JUMP = 0.07
"""ell^2 of collisions, v_th^2: tracked particles of MD, Gamma = 0.4 ... 1.8, have J(4) - J(1) = -0.17 ... -0.19 J(1)
between 1 and 1.6/omega_p (`learning.jumps`), of which the unlike collisions of fast and slow particles make a part.
Test functions are wider than this and hardly tell it from 0.10."""
SOONEST = 0.6
"""Least p_F: the microfield is over at some time at weak coupling as well, where the data have little of it.  Reached
by an exponential, since a maximum has no gradient by which training could leave it."""
LASTING = 6.0
"""tau_F after which the microfield is forgotten."""
GAUSS = tuple(((1 + x) / 2, w / 2) for x, w in np.array(np.polynomial.legendre.leggauss(12)).T.tolist())
"""Points and weights of a quadrature on [0, 1]."""


class LearnedBuildup(eqx.Module):
    """A(s; Gamma) = [1 - exp(-(s/tau)^p)] [1 + b exp(-s/theta) sin(w s - phi)], all smooth in ln Gamma, fitted to MD.

    With `way` the first factor is that of free streaming past correlation holes, 1 - (1 + (|u| s/l)^p)^(-2/p), of the
    way |u| s that a pair has come (`Amplitude`).

    The first factor rises from 0 to 1.  The second, where `overshoot` is not None, is the ringing of the correlations
    that have built up: MD passes its kinetic rate after about 1.5/omega_p and falls below it before it settles.

    With `memory`, A depends on |u| as well (an `Amplitude`): what decays freely with memory, dC/dt = -int M(t') C(t-t')
    dt', decays faster than its Green-Kubo coefficient 1/nu = int C dt says, by about nu times the time of the memory,
    while slow pairs, whose collisions take longest, lag behind.  Both differences fade after MEMORY: in an aged plasma
    A = 1 (`stress` apart), and the kernel has the transport coefficients.  b < BOUND keeps A positive, which is all
    that conservation and the H-theorem ask for.
    """

    time: Array
    """Coefficients of ln tau (1/omega_p) in powers of ln Gamma."""
    exponent: Array
    """Coefficients of ln p."""
    overshoot: Array | None = None
    """(4, 2): coefficients of logit(b/BOUND), ln theta (1/omega_p), ln w (omega_p), phi."""
    memory: Array | None = None
    """(3, 2): ln a and ln b of the lead a Gamma/(1 + b Gamma), which vanishes at weak coupling as the rate of
    collisions does; coefficients of the logit of the deficit of slow pairs, and of ln(width/v_th)."""
    microfield: Array | None = None
    """(3, 3): coefficients of ln tau_F (1/omega_p) and ln(p_F - SOONEST) in nu = (s/3) exp(-(s/tau_F)^p_F), omega_p,
    exact for s -> 0 at every Gamma, and of ln b in ell^2 = (2/b^2) int nu ds: the microfield's kurtosis is 3 + 3/2b^2
    (`collisions.microfield`)."""
    passing: Array | None = None
    """(4,): coefficients of ln tau_l (1/omega_p) and of ln p_l in powers of ln Gamma, two each, in the factor of ell^2
    [1 + (s/tau_l)^2]^(-p_l/2): the tail of the microfield is that of the nearest neighbours, and they pass by."""
    hole: Array | None = None
    """(2,): coefficients of ln of the radius of the correlation hole over a: the force between two particles fades as
    they leave each other's (`Amplitude.near`)."""
    way: Array | None = None
    """(1,): ln(u0/v_th): A rises with the way that a pair has come (`Amplitude`), not with age alone."""

    def __call__(self, age: Elementwise, gamma: Elementwise) -> Elementwise | Amplitude:
        x = jnp.log(jnp.clip(gamma, *GAMMA_RANGE))
        progress, exponent = age / jnp.exp(_polynomial(self.time, x, age)), jnp.exp(_polynomial(self.exponent, x, age))
        relative = self._ringing(age, x)
        rise = -jnp.expm1(-_power(progress, exponent))
        if self.memory is None:
            return rise * relative
        rate, saturation = jnp.exp(self.memory[0].astype(age.dtype))
        lead = rate * jnp.exp(x) / (1 + saturation * jnp.exp(x))
        deficit, width = (_polynomial(coefficients, x, age) for coefficients in self.memory[1:])
        young = jnp.exp(-age / MEMORY)
        total, slow = relative + young * lead, young * jax.nn.sigmoid(deficit)
        parts = self._microfield(age, x)
        if self.way is None:
            total = rise * total
        else:
            slowest = jnp.exp(self.way[0].astype(age.dtype)) + 0 * age
            parts |= {"progress": progress, "exponent": exponent, "slowest": slowest}
        return Amplitude(total, slow, jnp.exp(width) + 0 * age, **parts)

    def _ringing(self, age, x):
        """1 + b exp(-s/theta) sin(w s - phi), or 1."""
        if self.overshoot is None:
            return jnp.ones_like(age * x)
        b, theta, w, phi = (_polynomial(coefficients, x, age) for coefficients in self.overshoot)
        ringing = jnp.exp(-age / jnp.minimum(jnp.exp(theta), RINGING)) * jnp.sin(jnp.exp(w) * age - phi)
        return 1 + BOUND * jax.nn.sigmoid(b) * ringing

    def _microfield(self, age, x) -> dict[str, Array]:
        """What an `Amplitude` says of the microfield, as far as it is known."""
        if self.microfield is None:
            return {}
        tau_F, p_F, b = (jnp.exp(_polynomial(coefficients, x, age)) for coefficients in self.microfield)
        p_F = SOONEST + p_F

        def nu(s):
            return s / 3 * jnp.exp(-_power(s / tau_F, p_F))

        end = jnp.minimum(age, LASTING * tau_F)  # nothing is left of nu after that
        spread = 2 / b**2 * end * sum(w * nu(y * end) for y, w in GAUSS)
        if self.passing is not None:
            ratio = age * jnp.exp(-_polynomial(self.passing[:2], x, age))
            power = jnp.exp(_polynomial(self.passing[2:], x, age))
            spread = spread * jnp.exp(-power / 2 * jnp.log1p(ratio**2))
        found = {"microfield": nu(age), "spread": spread, "jump": JUMP + 0 * age * x}
        if self.hole is None:
            return found
        # a omega_p/v_th = (3 Gamma)^(1/2)
        crossing = age * jnp.exp(-x / 2 - _polynomial(self.hole, x, age)) / 3**0.5
        edge = jnp.exp(sum(k * x**i for i, k in enumerate(EDGE))) + 0 * age
        return found | {"crossing": crossing, "edge": edge}


def _polynomial(coefficients: Array, x, age):
    """Of x = ln Gamma, in the precision of the age."""
    return sum(k.astype(age.dtype) * x**i for i, k in enumerate(coefficients))
