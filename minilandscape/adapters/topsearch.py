"""topsearch: its potentials as landscapes, and landscapes as its potentials."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..hessian import Differences
from ..landscape import FunctionLandscape, as_landscape
from ..noise import measure_noise, product_step
from .scipy import objective

#: Eigenvalues of the Hessian nearer to 0 than this part of the largest may be 0, whatever their error.
NO_CURVATURE = 1e-7


def from_potential(
    potential: Any, size: int, *, zero_modes: Callable[[np.ndarray], Any] | None = None, workers: int = 1
) -> FunctionLandscape:
    """Make a landscape of a potential with ``function_gradient(position) -> (value, gradient)``.

    Parameters
    ----------
    potential
        Of topsearch.
    size
        D, the number of coordinates.
    zero_modes
        ``zero_modes(x) -> (Z, D)``: directions that leave the value alone; None for none. For a cluster,
        ``lambda x: rigid_motions(x.reshape(-1, 3))``.
    workers
        How many points are evaluated side by side, in threads; more than 1 requires a potential that may be called from
        several threads at a time.

    Raises
    ------
    TypeError
        If the potential has no ``function_gradient``.
    """
    if not hasattr(potential, "function_gradient"):
        raise TypeError(f"{type(potential).__name__} has no function_gradient; expected a potential of topsearch")
    return FunctionLandscape(potential.function_gradient, size=size, zero_modes=zero_modes, workers=workers)


class LandscapePotential:
    """A landscape with the methods of topsearch's ``Potential``.

    Zero modes of the landscape, a cluster's six among them, are no eigenvalues when a stationary point is judged.
    """

    atomistic = False

    def __init__(self, landscape: Any) -> None:
        self._landscape, self._fun = landscape, objective(landscape)

    def function(self, position: Any) -> float:
        """Return the value."""
        return self.function_gradient(position)[0]

    def gradient(self, position: Any) -> np.ndarray:
        """Return the gradient."""
        return self.function_gradient(position)[1]

    def function_gradient(self, position: Any) -> tuple[float, np.ndarray]:
        """Return both."""
        return self._fun(np.asarray(position, dtype=np.float64))

    def hessian(self, position: Any, displacement: float = 1e-5) -> np.ndarray:
        """Return the Hessian (D, D) by central finite differences of gradients."""
        position = np.asarray(position, dtype=np.float64)
        steps = displacement * np.eye(position.size)
        rows = [
            (self.gradient(position + step) - self.gradient(position - step)) / (2 * displacement) for step in steps
        ]
        return 0.5 * (np.array(rows) + np.array(rows).T)

    def check_valid_minimum(self, coords: Any) -> bool:
        """Return whether all eigenvalues of the Hessian beside the zero modes are positive.

        A point at the bounds is valid unseen, as in topsearch: its gradient need not be zero there.
        """
        return bool(coords.at_bounds()) or self._signs(coords.position) == (0, True)

    def check_valid_ts(self, coords: Any) -> bool:
        """Return whether exactly one eigenvalue of the Hessian is negative, and all others beside the zero modes are
        positive; a point at the bounds is valid unseen, as in topsearch.
        """
        return bool(coords.at_bounds()) or self._signs(coords.position) == (1, True)

    def _signs(self, position: Any) -> tuple[int, bool]:
        """How many eigenvalues are negative, and whether all others are positive, by more than their error."""
        position = np.asarray(position, dtype=np.float64)
        landscape = as_landscape(self._landscape, position.size)
        step, error = product_step(measure_noise(landscape, position))
        differences = Differences(landscape, step)
        eigenvalues, _ = differences.whole_spectrum(position, differences.zero_modes(position))
        smallest = max(error, NO_CURVATURE * np.abs(eigenvalues).max())
        negative, positive = int((eigenvalues < -smallest).sum()), int((eigenvalues > smallest).sum())
        return negative, negative + positive == len(eigenvalues)
