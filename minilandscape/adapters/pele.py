"""pele: its potentials as landscapes, and landscapes as its potentials."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..landscape import FunctionLandscape
from .scipy import objective


def from_potential(
    potential: Any, size: int, *, zero_modes: Callable[[np.ndarray], Any] | None = None, workers: int = 1
) -> FunctionLandscape:
    """Make a landscape of a potential with ``getEnergyGradient(coords) -> (E, gradient)``.

    Parameters
    ----------
    potential
        Of pele.
    size
        D, the number of coordinates.
    zero_modes
        ``zero_modes(x) -> (Z, D)``: directions that leave the energy alone; None for none. For a cluster,
        ``lambda x: rigid_motions(x.reshape(-1, 3))``.
    workers
        How many points are evaluated side by side, in threads; more than 1 requires a potential that may be called
        from several threads at a time.

    Raises
    ------
    TypeError
        If the potential has no ``getEnergyGradient``.
    """
    if not hasattr(potential, "getEnergyGradient"):
        raise TypeError(f"{type(potential).__name__} has no getEnergyGradient; expected a potential of pele")
    return FunctionLandscape(potential.getEnergyGradient, size=size, zero_modes=zero_modes, workers=workers)


class LandscapePotential:
    """A landscape with the methods of pele's ``BasePotential`` that pele's searches call."""

    def __init__(self, landscape: Any) -> None:
        self._fun = objective(landscape)

    def getEnergy(self, coords: Any) -> float:
        """Return the value."""
        return self.getEnergyGradient(coords)[0]

    def getEnergyGradient(self, coords: Any) -> tuple[float, np.ndarray]:
        """Return the value and the gradient."""
        return self._fun(np.asarray(coords, dtype=np.float64))

    def getGradient(self, coords: Any) -> np.ndarray:
        """Return the gradient."""
        return self.getEnergyGradient(coords)[1]
