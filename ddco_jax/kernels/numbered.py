"""Reads format 1 of stored kernels, which numbered the arrays and described the correlations by six on/off flags.

Version 0.1 wrote it.  The order of the arrays is listed here, so that the fields of classes may be reordered.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ddco_jax.kernels.forms import ConvexForm, KernelForm, LandauForm, LowRankForm, SeparableForm

FORMAT = 1
FLAGS = ("overshoot", "memory", "microfield", "passing", "hole", "way")
"""Flags of the correlations: all on in the default kernel, all off in the others."""
DEFAULTS = {"rank": 1, "isotropic": True, "perpendicular": True, "factors": False, "slow_exchange": True}
KEPT = {
    "separable": ("rank", "isotropic", "perpendicular", "state", "width", "depth"),
    "low_rank": ("rank", "isotropic", "state", "width", "depth"),
    "landau": ("state", "width", "depth"),
    "convex": (),
}
"""Keys of each form whose meaning has not changed."""
SWITCHES = (*FLAGS, "buildup", "isotropic", "perpendicular", "factors", "slow_exchange")
KEYS = ("form", "rank", "state", "width", "depth", *SWITCHES)
Parts = tuple[tuple[str, tuple[Any, ...]], ...]
"""Names of the parameters that one numbered array held, each with the index of its part."""
Names = dict[str, Parts]
QUENCH: tuple[Parts, ...] = (
    (("pairs.rise.time", ()),),
    (("pairs.rise.exponent", ()),),
    tuple((f"pairs.ringing.{k}", (i,)) for i, k in enumerate(("amplitude", "lifetime", "frequency", "phase"))),
    (
        ("pairs.lead.rate", (0, 0)),
        ("pairs.lead.saturation", (0, 1)),
        ("pairs.slow_pairs.deficit", (1,)),
        ("pairs.slow_pairs.width", (2,)),
    ),
    tuple((f"microfield.{k}", (i,)) for i, k in enumerate(("time", "exponent", "narrowness"))),
    (
        ("microfield.neighbour_fading.time", (slice(2),)),
        ("microfield.neighbour_fading.exponent", (slice(2, None),)),
    ),
    (("hole.radius", ()),),
    (("pairs.rise.slowest", ()),),
)
"""Parameters in each array of the former build-up; those arrays were called, in this order, time, exponent, overshoot,
memory, microfield, passing, hole, way."""
BUILDUPS: dict[str, tuple[Parts, ...]] = {
    "off": (),
    "rise": ((("time", ()),), (("exponent", ()),)),
    "quench_0.1": QUENCH,
}


def specification(stored: dict[str, Any]) -> dict[str, Any]:
    """The settings of the form under their present names.

    Raises ValueError for unknown keys, wrong values and combinations that are no longer supported.
    """
    for key, value in stored.items():
        if key not in KEYS:
            raise ValueError(f"unknown key kernel.{key}")
        if key in SWITCHES and not isinstance(value, bool):
            raise ValueError(f"kernel.{key} must be true or false, got {value!r}")
    stored = DEFAULTS | stored
    form = str(stored.get("form"))
    on = [flag for flag in FLAGS if stored.get(flag, False)]
    retired = form == "separable" and (stored["slow_exchange"] or not stored["factors"])
    if form not in KEPT or on not in ([], list(FLAGS)) or retired:
        raise ValueError("kernels of this form are no longer read; train a new one with `ddco train`")
    buildup = "quench_0.1" if on else "rise"
    out = {"form": form, "buildup": buildup if stored.get("buildup", True) else "off"}
    return out | {key: stored[key] for key in KEPT[form] if key in stored}


def names(form: KernelForm) -> Names:
    """Name and part of every parameter, by the number of the array that held it."""
    rows: list[Parts] = [((f"kernel.{name}", ()),) for name in _kernel(form)]
    rows += [tuple((f"buildup.{name}", part) for name, part in parts) for parts in BUILDUPS[form.buildup]]
    return {str(number): parts for number, parts in enumerate(rows)}


def renamed(arrays: dict[str, np.ndarray], numbers: Names, path: Path) -> dict[str, np.ndarray]:
    """Named arrays from numbered ones.  Raises ValueError if arrays are missing, superfluous or too short."""
    if set(arrays) != set(numbers):
        raise ValueError(
            f"{path} holds {len(arrays)} arrays, but its kernel.json needs {len(numbers)}; copy the folder again"
        )
    try:
        return {name: arrays[number][part] for number, parts in numbers.items() for name, part in parts}
    except IndexError:
        raise ValueError(
            f"{path}: an array has fewer entries than its kernel.json needs; copy the folder again"
        ) from None


def _kernel(form: KernelForm) -> Iterator[str]:
    """Names of the kernel's arrays in the order in which they were numbered."""
    if isinstance(form, ConvexForm):
        yield "coefficients"
        return
    if isinstance(form, LandauForm):
        networks = ["prefactor"]
    elif isinstance(form, LowRankForm):
        count = form.rank * (5 if form.isotropic else 4)
        networks = [f"functions.{i}" for i in range(count)]
    else:
        assert isinstance(form, SeparableForm)
        absent = {"isotropic": not form.isotropic, "perpendicular": not form.perpendicular}
        kinds = [k for k in ("isotropic", "perpendicular", "parallel", "factor") if not absent.get(k, False)]
        networks = [f"terms.{i}.{kind}" for i in range(form.rank) for kind in kinds]
    for network in networks:
        for layer in range(form.depth + 1):
            yield f"{network}.network.layers.{layer}.bias"
            yield f"{network}.network.layers.{layer}.kernel"
