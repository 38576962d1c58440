"""The phase-space grid of Eq. (19): one periodic spatial axis, three bounded velocity axes."""

import dataclasses
from collections.abc import Sequence
from functools import cached_property

import jax
import numpy as np
from jax.sharding import Mesh

from ddco_jax.plasma.line import AXIS, WHOLE, Divided, Line


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class PhaseGrid:
    """Uniform, cell-centred grid in (x, vx, vy, vz); code units.

    It is hashable and holds no arrays on a device, so jit treats it as static.
    Raises ValueError if an extent is not positive, an axis has no cell, or v_max or nv does not have three entries.
    """

    length: float | int
    """Period Lx, L0."""
    nx: int
    """Number of spatial cells."""
    v_max: tuple[float | int, ...]
    """Half extents (Vx, Vy, Vz), V0: the axis alpha covers [-V_alpha, V_alpha]."""
    nv: tuple[int, ...]
    """Number of velocity points per axis."""
    line: Line = WHOLE
    """How the cells along x lie on devices (`over`)."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "length", float(self.length))
        object.__setattr__(self, "nx", int(self.nx))
        object.__setattr__(self, "v_max", tuple(float(v) for v in self.v_max))
        object.__setattr__(self, "nv", tuple(int(n) for n in self.nv))
        if len(self.v_max) != 3 or len(self.nv) != 3:
            raise ValueError("PhaseGrid needs three velocity extents and three counts: v_max=(Vx, Vy, Vz), nv=(...)")
        if not (self.length > 0 and min(self.v_max) > 0):
            raise ValueError(f"PhaseGrid extents must be positive, got length={self.length}, v_max={self.v_max}")
        if self.nx < 1 or min(self.nv) < 1:
            raise ValueError(f"PhaseGrid needs at least one cell per axis, got nx={self.nx}, nv={self.nv}")

    def over(self, devices: Sequence[jax.Device]) -> "PhaseGrid":
        """The same grid with its cells along x divided over some devices, at least one cell on each.

        Raises ValueError where there are more devices than cells.
        """
        line = WHOLE if len(devices) == 1 else Divided(self.nx, Mesh(np.array(devices), (AXIS,)))
        return dataclasses.replace(self, line=line)

    @property
    def whole(self) -> "PhaseGrid":
        """The same grid on one device."""
        return dataclasses.replace(self, line=WHOLE)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of f: (nx, nvx, nvy, nvz)."""
        return (self.nx, self.nv[0], self.nv[1], self.nv[2])

    @property
    def dx(self) -> float:
        """Width of a spatial cell, L0."""
        return self.length / self.nx

    @property
    def dv(self) -> tuple[float, float, float]:
        """Spacings (dvx, dvy, dvz), V0."""
        return (2 * self.v_max[0] / self.nv[0], 2 * self.v_max[1] / self.nv[1], 2 * self.v_max[2] / self.nv[2])

    @property
    def dv3(self) -> float:
        """Volume of a velocity cell, V0^3."""
        return float(np.prod(self.dv))

    @cached_property
    def x(self) -> np.ndarray:
        """Cell centres (nx,), L0."""
        return (np.arange(self.nx) + 0.5) * self.dx

    @cached_property
    def velocities(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The three velocity axes, (nvx,), (nvy,), (nvz,), V0; exactly antisymmetric about zero."""
        axes = [(np.arange(n) - (n - 1) / 2) * dv for n, dv in zip(self.nv, self.dv, strict=True)]
        return axes[0], axes[1], axes[2]

    @property
    def vx(self) -> np.ndarray:
        """vx axis (nvx,), V0."""
        return self.velocities[0]

    @property
    def vy(self) -> np.ndarray:
        """vy axis (nvy,), V0."""
        return self.velocities[1]

    @property
    def vz(self) -> np.ndarray:
        """vz axis (nvz,), V0."""
        return self.velocities[2]

    @property
    def vx_faces(self) -> np.ndarray:
        """Inner faces of the vx axis (nvx - 1,), V0."""
        return (self.vx[1:] + self.vx[:-1]) / 2
