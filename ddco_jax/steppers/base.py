"""The contract of a time step."""

import abc
from typing import TYPE_CHECKING, ClassVar

import equinox as eqx

from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.plasma.state import State
from ddco_jax.plasma.units import Scales


class Stepper(eqx.Module):
    """A scheme that advances a state by dt."""

    order: ClassVar[int]
    """Order of convergence in dt."""

    if TYPE_CHECKING:  # fields of the schemes: read-only here

        @property
        def grid(self) -> PhaseGrid: ...

        @property
        def scales(self) -> Scales: ...

    @abc.abstractmethod
    def step(self, state: State, dt) -> State:
        """The state dt later.  Pure and differentiable; dt in t0."""
