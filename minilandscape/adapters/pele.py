"""pele: its potentials as landscapes, and landscapes as its potentials."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..landscape import FunctionLandscape
from .scipy import objective


def from_potential(potential: Any, size: int) -> FunctionLandscape:
    """A potential with ``getEnergyGradient(coords) -> (E, gradient)`` as a landscape."""
    if not hasattr(potential, "getEnergyGradient"):
        raise TypeError(f"{type(potential).__name__} has no getEnergyGradient; expected a potential of pele")
    return FunctionLandscape(potential.getEnergyGradient, size=size)


class LandscapePotential:
    """A landscape with the methods of pele's ``BasePotential`` that pele's searches call."""

    def __init__(self, landscape: Any) -> None:
        self._fun = objective(landscape)

    def getEnergy(self, coords: Any) -> float:
        """The value."""
        return self.getEnergyGradient(coords)[0]

    def getEnergyGradient(self, coords: Any) -> tuple[float, np.ndarray]:
        """The value and the gradient."""
        return self._fun(np.asarray(coords, dtype=np.float64))

    def getGradient(self, coords: Any) -> np.ndarray:
        """The gradient."""
        return self.getEnergyGradient(coords)[1]
