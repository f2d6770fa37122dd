"""topsearch: its potentials as landscapes, and landscapes as its potentials."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..landscape import FunctionLandscape
from .scipy import objective


def from_potential(potential: Any, size: int) -> FunctionLandscape:
    """A potential with ``function_gradient(position) -> (value, gradient)`` as a landscape."""
    if not hasattr(potential, "function_gradient"):
        raise TypeError(f"{type(potential).__name__} has no function_gradient; expected a potential of topsearch")
    return FunctionLandscape(potential.function_gradient, size=size)


class LandscapePotential:
    """A landscape with the methods of topsearch's ``Potential``."""

    atomistic = False

    def __init__(self, landscape: Any) -> None:
        self._fun = objective(landscape)

    def function(self, position: Any) -> float:
        """The value."""
        return self.function_gradient(position)[0]

    def gradient(self, position: Any) -> np.ndarray:
        """The gradient."""
        return self.function_gradient(position)[1]

    def function_gradient(self, position: Any) -> tuple[float, np.ndarray]:
        """Both."""
        return self._fun(np.asarray(position, dtype=np.float64))

    def hessian(self, position: Any, displacement: float = 1e-5) -> np.ndarray:
        """By central differences of gradients."""
        position = np.asarray(position, dtype=np.float64)
        steps = displacement * np.eye(position.size)
        rows = [
            (self.gradient(position + step) - self.gradient(position - step)) / (2 * displacement) for step in steps
        ]
        return 0.5 * (np.array(rows) + np.array(rows).T)

    def check_valid_minimum(self, coords: Any) -> bool:
        """Whether the lowest eigenvalue of the Hessian is positive."""
        return bool(np.linalg.eigvalsh(self.hessian(coords.position))[0] > 0)

    def check_valid_ts(self, coords: Any) -> bool:
        """Whether exactly one eigenvalue of the Hessian is negative."""
        return bool((np.linalg.eigvalsh(self.hessian(coords.position)) < 0).sum() == 1)
