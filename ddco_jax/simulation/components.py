"""A start that is a sum of components: sections of [initial], and their conversion to code units."""

import math
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from ddco_jax.plasma import starts
from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.plasma.units import Scales
from ddco_jax.settings import PlasmaSection, Section, tuples

SUM = 1e-6
"""Largest deviation of the sum of the fractions from one; it is removed."""
Triple = tuple[PositiveFloat, PositiveFloat, PositiveFloat]


class Start(Section):
    """Settings of every initial condition: an optional density perturbation 1 + a cos(2 pi mode x/Lx)."""

    density_perturbation: Annotated[float, Field(gt=-1, lt=1)] = 0.0
    perturbation_mode: PositiveInt = 1


class Component(Section):
    """One part of f, with a density, drift and temperature of its own."""

    fraction: Annotated[float, Field(gt=0, le=1)]
    """Share of the density; all fractions add up to one."""
    shape: Literal["maxwellian", "ball", "ring", "kappa"] = "maxwellian"
    """Uniform in a ball, a ring in the vx-vy plane, or a power law (1 + v^2/((2 kappa - 3) kT/m))^-(kappa + 1)."""
    drift_m_s: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """With field = "ampere", a mean drift of all components along x is a current, which drives a uniform field."""
    temperature_eV: PositiveFloat | Triple | None = None
    """One temperature, or those along vx, vy and vz; of a ring that of its width.  By default that of the plasma."""
    temperature_ratio: PositiveFloat | Triple | None = None
    """Instead: the same over plasma.temperature_eV."""
    kappa: Annotated[float, Field(gt=1.5)] | None = None
    """For shape = "kappa"."""
    ring_speed_m_s: PositiveFloat | None = None
    """For shape = "ring": its radius."""

    @model_validator(mode="before")
    @classmethod
    def _lists(cls, data: Any) -> Any:
        return tuples(data)

    @model_validator(mode="after")
    def _consistent(self) -> "Component":
        if self.temperature_eV is not None and self.temperature_ratio is not None:
            raise ValueError("give temperature_eV or temperature_ratio, not both")
        for shape, key in (("kappa", "kappa"), ("ring", "ring_speed_m_s")):
            if (self.shape == shape) != (getattr(self, key) is not None):
                raise ValueError(f'shape = "{shape}" and {key} belong together')
        if self.shape == "ring" and len(set(self.temperatures(1.0))) > 1:
            raise ValueError("a ring takes one temperature, that of its width; give one number")
        return self

    def temperatures(self, mean: float) -> tuple[float, float, float]:
        """Temperatures along vx, vy, vz in the unit of the mean temperature of the plasma."""
        given, unit = (self.temperature_eV, 1.0) if self.temperature_eV is not None else (self.temperature_ratio, mean)
        x, y, z = given if isinstance(given, tuple) else (1.0 if given is None else given,) * 3
        return x * unit, y * unit, z * unit


class Perturbation(Section):
    """A wave amplitude cos(2 pi mode x/Lx + phase) of all components."""

    quantity: Literal["density", "drift", "temperature"]
    amplitude: float
    """Relative to the density or temperature; of the drift along x in thermal speeds of the plasma.  A wave of the
    temperature multiplies that of plasma.temperature_modulation_eV, which is zero by default."""
    mode: PositiveInt = 1
    phase: float = 0.0
    """Radians."""


class Components(Start):
    """A sum of components, `[[initial.component]]`, with waves, `[[initial.perturbation]]`."""

    kind: Literal["components"] = "components"
    component: tuple[Component, ...] = Field(min_length=1)
    perturbation: tuple[Perturbation, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _lists(cls, data: Any) -> Any:
        return tuples(data)

    @model_validator(mode="after")
    def _consistent(self) -> "Components":
        total = math.fsum(c.fraction for c in self.component)
        if abs(total - 1) > SUM:
            raise ValueError(f"the fractions of the components must add up to 1, not to {total:.6g}")
        for quantity in ("density", "temperature"):
            if sum(abs(p.amplitude) for p in self.perturbation if p.quantity == quantity) >= 1:
                raise ValueError(f"the amplitudes of the {quantity} must add up to less than 1, or it is not positive")
        return self

    @property
    def equilibrium(self) -> bool:
        """Whether f is a Maxwellian in every cell."""
        c = self.component[0]
        return len(self.component) == 1 and c.shape == "maxwellian" and len(set(c.temperatures(1.0))) == 1

    def wave(self, grid: PhaseGrid, quantity: str) -> np.ndarray:
        """The sum of the perturbations of a quantity in every cell, (nx,)."""
        chosen = [p for p in self.perturbation if p.quantity == quantity]
        x = 2 * np.pi * grid.x / grid.length
        return sum((p.amplitude * np.cos(p.mode * x + p.phase) for p in chosen), np.zeros(grid.nx))

    def parts(self, scales: Scales, plasma: PlasmaSection) -> tuple[starts.Component, ...]:
        """The components in code units, at the mean temperature of the plasma."""
        total = math.fsum(c.fraction for c in self.component)
        return tuple(
            starts.Component(
                c.fraction / total,
                scales.temperature_from_ev(np.array(c.temperatures(plasma.temperature_eV))),
                np.array(c.drift_m_s) / scales.velocity,
                c.shape,
                c.kappa or (c.ring_speed_m_s or 0.0) / scales.velocity,
            )
            for c in self.component
        )
