"""Base class of all time steps."""

import abc
from typing import TYPE_CHECKING, ClassVar

import equinox as eqx

from ddco_jax.plasma.arrays import Scalar
from ddco_jax.plasma.grid import PhaseGrid
from ddco_jax.plasma.state import State
from ddco_jax.plasma.units import Scales


class Stepper(eqx.Module):
    """A scheme that advances a state by dt."""

    order: ClassVar[int]
    """Order of convergence in dt."""

    if TYPE_CHECKING:  # subclasses have these as fields; read-only for type checkers

        @property
        def grid(self) -> PhaseGrid: ...

        @property
        def scales(self) -> Scales: ...

    @abc.abstractmethod
    def step(self, state: State, dt: Scalar | float) -> State:
        """The state after dt (t0).  Pure and differentiable."""
