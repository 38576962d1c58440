"""The forms that a learned kernel can have; each builds a model with random parameters from its settings."""

import dataclasses
import difflib
import typing
from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from flax import nnx

from ddco_jax.correlations import MARKOV, Markov, Quench, StretchedRise
from ddco_jax.correlations.tagged import PROMPT, Prompt, TaggedMemory
from ddco_jax.kernels.base import Kernel
from ddco_jax.kernels.convex import SHAPE, Convex
from ddco_jax.kernels.encoders import Encoder, State, encoder, prefactor
from ddco_jax.kernels.landau import Landau
from ddco_jax.kernels.lowrank import LowRank
from ddco_jax.kernels.separable import PositiveSeparable, Term
from ddco_jax.kernels.tabulated import Tabulated
from ddco_jax.plasma.units import Scales

KNOTS = 2048
"""Knots of the tables, enough for an interpolation error at rounding level."""
LARGEST = {"rank": 64, "width": 1024, "depth": 16}
"""Largest sizes of a stored kernel, far beyond any use: they are checked before memory is asked for."""
LEVELS = {"isotropic": 0.0, "perpendicular": -4.0, "parallel": -2.5}
"""ln of the initial ratio of each weight to Landau's, chosen near the solution to shorten the training."""
Buildup = Literal["off", "rise", "quench", "quench_0.1"]
BUILDUPS: dict[Buildup, Callable[[], Markov | StretchedRise | Quench]] = {
    "off": lambda: MARKOV,
    "rise": StretchedRise.initial,
    "quench": Quench.initial,
    "quench_0.1": Quench.first,
}
"""Initial laws of the correlations, by name."""


class Learned(eqx.Module):
    """A collision model: a kernel and the law of the correlations that was learned with it, if any.

    Every array in a learned one is trained.
    """

    kernel: Kernel
    buildup: Markov | StretchedRise | Quench
    tagged: TaggedMemory | Prompt = PROMPT
    """The memory of tagged populations."""


@dataclasses.dataclass(frozen=True)
class SeparableForm:
    """Positive separable weights, sum_k m_k(|c|) m_k(|c'|) [l0_k P + l1_k (|Pr|^2 P - Pr r^T P) + l2_k Pr r^T P].

    l2 governs the energy exchange within pairs.  It falls as |u|^2 for slow pairs, where quenches do not determine it.
    """

    form: Literal["separable"] = "separable"
    rank: int = 1
    """Number of terms k."""
    isotropic: bool = True
    """Whether there is the term l0 P."""
    perpendicular: bool = True
    """Whether there is the term with l1."""
    state: State = "similarity"
    width: int = 12
    depth: int = 2
    buildup: Buildup = "quench"

    def build(self, seed: int) -> Learned:
        """A model with random parameters."""
        rngs = nnx.Rngs(seed)
        return _with_law(PositiveSeparable([self._term(rngs, k) for k in range(self.rank)]), self.buildup)

    def _term(self, rngs: nnx.Rngs, index: int) -> Term:
        absent = {"isotropic": not self.isotropic, "perpendicular": not self.perpendicular}
        size = _size(self)
        weights = {
            kind: encoder(
                rngs,
                level=level - 0.7 * index,
                power=int(kind != "isotropic"),
                slow=kind != "parallel",
                **size,
            )
            for kind, level in LEVELS.items()
            if not absent.get(kind, False)
        }
        return Term(**weights, factor=encoder(rngs, share=0.0, level=-0.1, **size))


@dataclasses.dataclass(frozen=True)
class LowRankForm:
    """The paper's kernel: Eq. (11) with the encoders (13); g0, g1 and g2 share M and N."""

    form: Literal["low_rank"] = "low_rank"
    rank: int = 1
    """J', the number of triples (L, M, N) in each g."""
    isotropic: bool = True
    """Whether there is the term g0^2 P."""
    state: State = "similarity"
    width: int = 12
    depth: int = 2
    buildup: Buildup = "off"

    def build(self, seed: int) -> Learned:
        """A model with random parameters."""
        rngs = nnx.Rngs(seed)

        def function(share: float, power: int) -> Encoder:
            return encoder(rngs, share=share, power=power, level=0.4, positive=False, **_size(self))

        names = ("g0", "g1", "g2") if self.isotropic else ("g1", "g2")
        shared = [(function(0.0, 0), function(0.0, 0)) for _ in range(self.rank)]
        triples = {name: tuple((function(0.5, int(name != "g0")), *mn) for mn in shared) for name in names}
        return _with_law(LowRank(**triples), self.buildup)


@dataclasses.dataclass(frozen=True)
class LandauForm:
    """DD-Landau (C.1): P/|u| with a learned prefactor."""

    form: Literal["landau"] = "landau"
    state: State = "similarity"
    width: int = 12
    depth: int = 2
    buildup: Buildup = "off"

    def build(self, seed: int) -> Learned:
        """A model with random parameters."""
        return _with_law(Landau(prefactor(nnx.Rngs(seed), **_size(self))), self.buildup)


@dataclasses.dataclass(frozen=True)
class ConvexForm:
    """Fixed functions with non-negative coefficients, fitted by least squares instead of by gradient descent."""

    form: Literal["convex"] = "convex"
    buildup: Literal["off", "rise"] = "rise"

    def build(self, seed: int) -> Learned:
        """A model with all coefficients zero."""
        return _with_law(Convex(jnp.zeros(SHAPE, jnp.float32)), self.buildup)


def _with_law(kernel: Kernel, buildup: Buildup) -> Learned:
    """The kernel with the initial law of the correlations; memories belong to "quench" alone."""
    return Learned(kernel, BUILDUPS[buildup](), TaggedMemory.initial() if buildup == "quench" else PROMPT)


def buildup_name(buildup: Markov | StretchedRise | Quench) -> Buildup:
    """The name in `BUILDUPS` of a law of the correlations."""

    def structure(law: Markov | StretchedRise | Quench) -> str:
        return str(jax.tree.structure(law))

    return next(name for name, initial in BUILDUPS.items() if structure(initial()) == structure(buildup))


KernelForm = SeparableForm | LowRankForm | LandauForm | ConvexForm
FORMS: dict[str, type[KernelForm]] = {cls.form: cls for cls in (SeparableForm, LowRankForm, LandauForm, ConvexForm)}
"""The forms by name."""


def form_of(specification: dict[str, Any]) -> KernelForm:
    """The form of a stored specification.  Raises ValueError for unknown forms, keys or values."""
    form = specification.get("form")
    if not isinstance(form, str) or form not in FORMS:
        raise ValueError(f"kernel.form must be one of {', '.join(FORMS)}, got {form!r}")
    cls = FORMS[form]
    known = [field.name for field in dataclasses.fields(cls)]
    if unknown := [key for key in specification if key not in known]:
        close = difflib.get_close_matches(unknown[0], known, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(known)}"
        raise ValueError(f"unknown key kernel.{unknown[0]}; {hint}")
    hints = typing.get_type_hints(cls)
    for name, value in specification.items():
        choices = typing.get_args(hints[name])
        if choices and value not in choices:
            raise ValueError(f"kernel.{name} must be one of {', '.join(choices)}, got {value!r}")
        if not choices and type(value) is not hints[name]:
            raise ValueError(f"kernel.{name} must be of type {hints[name].__name__}, got {value!r}")
        if hints[name] is int and not 1 <= value <= LARGEST[name]:
            raise ValueError(f"kernel.{name} must be 1 ... {LARGEST[name]}, got {value}")
    return cls(**specification)


def in_units(kernel: Kernel, scales: Scales) -> Kernel:
    """The kernel in the code units of `scales`, from which Gamma and Landau's prefactor are computed.

    A learned kernel is a function of Gamma and of speeds in v_th, and its arrays have no unit.  Its parts have a field
    `scales`, App. D's as long as this function does not replace it.
    """

    def has_scales(node: Any) -> bool:
        return isinstance(node, eqx.Module) and hasattr(node, "scales")

    def replaced(node: Any) -> Any:
        return dataclasses.replace(node, scales=scales) if has_scales(node) else node

    return jax.tree.map(replaced, kernel, is_leaf=has_scales)


def tabulated(kernel: Kernel) -> Kernel:
    """The kernel with its encoder networks tabulated (`Tabulated`), so that no network is evaluated on the grid."""

    def is_encoder(node: object) -> bool:
        return isinstance(node, Encoder)

    return jax.tree.map(lambda node: Tabulated(node, KNOTS) if is_encoder(node) else node, kernel, is_leaf=is_encoder)


def _size(form: SeparableForm | LowRankForm | LandauForm) -> dict[str, Any]:
    """The settings that all networks of a form share."""
    return {"width": form.width, "depth": form.depth, "state": form.state}
