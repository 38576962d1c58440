"""Kernels made of networks, by specification: what is trained, stored and loaded again."""

from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from flax import nnx
from pydantic import model_validator

from ddco_jax.correlations.buildup import LearnedBuildup
from ddco_jax.kernels.base import Kernel
from ddco_jax.kernels.convex import SHAPE, Convex
from ddco_jax.kernels.encoders import Encoder, encoder, prefactor
from ddco_jax.kernels.landau import Landau
from ddco_jax.kernels.lowrank import LowRank
from ddco_jax.kernels.separable import PositiveSeparable, Term
from ddco_jax.kernels.tabulated import Tabulated
from ddco_jax.settings import Section

KNOTS = 2048
"""Of the tables: their error is then rounding."""
LEVELS = {"isotropic": 0.0, "perpendicular": -4.0, "parallel": -2.5}
"""ln of the initial ratio of each weight to Landau's: near the solution, so that training is short."""


class KernelSection(Section):
    """The form of the kernel and the size of its networks."""

    form: Literal["separable", "low_rank", "landau", "convex"] = "separable"
    """separable: positive separable weights; low_rank: the paper's (11) with (13); landau: DD-Landau (C.1);
    convex: fixed functions with non-negative coefficients, fitted by least squares instead of by descent."""
    rank: int = 1
    """Terms of the separable form, J' of the low-rank one."""
    isotropic: bool = True
    """With the isotropic term g0^2 P."""
    perpendicular: bool = True
    """Separable: with the term |Pr|^2 P - Pr r^T P."""
    factors: bool = False
    """Separable: every term has its own m(|c|) m(|c'|); without, the first has none."""
    slow_exchange: bool = True
    """Separable: the weight of Pr r^T P, through which pairs exchange energy, is free for slow pairs; without, it falls
    as |u|^2 there, where quenches do not tell."""
    state: Literal["similarity", "free"] = "similarity"
    width: int = 12
    depth: int = 2
    buildup: bool = True
    overshoot: bool = False
    """The build-up passes 1 and rings, as MD does, instead of rising to it."""
    memory: bool = False
    """Free decay leads over an aged plasma, and slow pairs lag behind: A depends on |u|."""
    microfield: bool = False
    """With memory: a quench begins with the diffusion in the microfield (`collisions.microfield`)."""
    passing: bool = False
    """With microfield: its tail grows more slowly once the nearest neighbours have passed by."""
    hole: bool = False
    """With microfield: the force between two particles fades as they leave each other's correlation hole."""
    way: bool = False
    """With memory: A rises with the way |u| s that a pair has come."""

    @model_validator(mode="after")
    def _needs_memory(self):
        if self.microfield and not (self.buildup and self.memory):
            raise ValueError("kernel.microfield needs kernel.buildup and kernel.memory")
        for name in ("passing", "hole"):
            if getattr(self, name) and not self.microfield:
                raise ValueError(f"kernel.{name} needs kernel.microfield")
        if self.way and not self.memory:
            raise ValueError("kernel.way needs kernel.memory")
        return self


class Learned(eqx.Module):
    """A kernel with or without the build-up of correlations; every array in it is trained."""

    kernel: Kernel
    buildup: LearnedBuildup | None


def build(section: KernelSection, seed: int) -> Learned:
    """A model with random parameters."""
    rngs = nnx.Rngs(seed)
    size: dict[str, Any] = {"width": section.width, "depth": section.depth, "state": section.state}
    kernel: Kernel
    if section.form == "landau":
        kernel = Landau(prefactor(rngs, **size))
    elif section.form == "convex":
        kernel = Convex(jnp.zeros(SHAPE, jnp.float32))
    elif section.form == "separable":
        kernel = PositiveSeparable([_term(rngs, k, section, size) for k in range(section.rank)])
    else:
        names = ("g0", "g1", "g2") if section.isotropic else ("g1", "g2")
        shared = [tuple(_function(rngs, 0.0, 0, size) for _ in range(2)) for _ in range(section.rank)]
        kernel = LowRank(
            **{name: tuple((_function(rngs, 0.5, int(name != "g0"), size), *mn) for mn in shared) for name in names}
        )
    buildup = None
    if section.buildup:
        rise = jnp.array([-0.8, 0.1, 0.0], jnp.float32), jnp.array([0.25, 0.0], jnp.float32)
        ringing = jnp.array([[-1.0, 0.5], [0.7, 0.0], [0.6, 0.0], [1.2, 0.0]], jnp.float32)
        lag = jnp.array([[-1.0, 0.0], [-1.0, 0.0], [0.3, 0.0]], jnp.float32)
        parts = (*rise, ringing if section.overshoot else None, lag if section.memory else None)
        slope = 1.0 if section.passing else 0.5  # of ln b; 1.5 for independent pairs
        forces = jnp.array([[0.0, 0.3, 0.0], [0.05, 0.0, 0.0], [-1.2, slope, 0.0]], jnp.float32)
        passing = jnp.array([-0.7, 0.5, 0.5, 0.0], jnp.float32)
        if section.hole:
            forces = forces.at[:2, :2].set(jnp.array([[0.9, 0.0], [-0.1, 0.0]], jnp.float32))
        fields = forces if section.microfield else None, passing if section.passing else None
        if section.way:
            parts = (jnp.array([0.0, 0.4, 0.0], jnp.float32), jnp.array([1.0, 0.2], jnp.float32), *parts[2:])
        buildup = LearnedBuildup(
            *parts,
            *fields,
            jnp.zeros(2, jnp.float32) if section.hole else None,
            jnp.array([-1.0], jnp.float32) if section.way else None,
        )
    return Learned(kernel, buildup)


def tabulated(kernel: Kernel) -> Kernel:
    """The kernel with its networks behind tables, so that no network is run on the grid."""

    def is_encoder(node) -> bool:
        return isinstance(node, Encoder)

    return jax.tree.map(lambda node: Tabulated(node, KNOTS) if is_encoder(node) else node, kernel, is_leaf=is_encoder)


def _term(rngs: nnx.Rngs, index: int, section: KernelSection, size: dict[str, Any]) -> Term:
    left_out = {
        kind for kind, on in (("isotropic", section.isotropic), ("perpendicular", section.perpendicular)) if not on
    }
    slow = {"parallel": section.slow_exchange}
    weights = {
        kind: encoder(
            rngs, level=level - 0.7 * index, power=int(kind != "isotropic"), slow=slow.get(kind, True), **size
        )
        for kind, level in LEVELS.items()
        if kind not in left_out
    }
    factor = encoder(rngs, share=0.0, level=-0.1, **size) if section.factors or index else None
    return Term(**weights, factor=factor)


def _function(rngs: nnx.Rngs, share: float, power: int, size: dict[str, Any]):
    """L (share 1/2 of the prefactor), or an M or N (none), which all g's have in common: fewer transforms."""
    return encoder(rngs, share=share, power=power, level=0.4, positive=False, **size)
