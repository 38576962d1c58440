"""Array types with named axes, used in the signatures of the package.

`nx` counts spatial cells, `nvx nvy nvz` the points of the velocity axes; `...` is any number of leading batch axes.
Shapes are checked under pytest only (jaxtyping and beartype), so they cost nothing at run time.
"""

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from jaxtyping import Array, Float

Scalar = Float[Array, ""]
Profile = Float[Array, "nx"]
VectorProfile = Float[Array, "nx 3"]
Distribution = Float[Array, "nx nvx nvy nvz"]
VelocityDistribution = Float[Array, "nvx nvy nvz"]
VelocityVector = Float[Array, "3 nvx nvy nvz"]
Tensor = Float[Array, "... 3 3"]
Vector = Float[Array, "... 3"]

RadialFunction = Callable[..., Array]
"""A function of (speed, density, temperature), elementwise in speed."""
Numbers = Array | float
"""A number or an array of JAX."""
AnyArray = TypeVar("AnyArray", np.ndarray, Array)
"""An array of NumPy or of JAX."""
AnyNumbers = TypeVar("AnyNumbers", float, np.ndarray, Array)
"""A number or an array of NumPy or of JAX."""

__all__ = [
    "AnyArray",
    "AnyNumbers",
    "Array",
    "Distribution",
    "Float",
    "Numbers",
    "Profile",
    "RadialFunction",
    "Scalar",
    "Tensor",
    "Vector",
    "VectorProfile",
    "VelocityDistribution",
    "VelocityVector",
]
