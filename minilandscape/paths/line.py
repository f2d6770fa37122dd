"""L along lines of the scaled coefficients, for L-BFGS-GSS."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..backend import array_module, norm, to_host
from ..landscape import Evaluations
from ..optimizers import LbfgsState, lbfgs_gss
from .problem import BEND, PathProblem

#: The unit of L for line searches, in units of its first slope / distance.
LITTLE = 1e-9


class PathLine:
    """L along lines of the scaled coefficients c_n = n b_n, through a span of the rows (start, end, b, p).

    Attributes
    ----------
    problem
        The problem whose sample points are evaluated; may be replaced by one of the same family.
    values
        (M,) at x.
    unit
        The unit of L: 1 on landscapes with default learning rates. Elsewhere a small fraction of the first slope, so
        that a line search along a gradient starts at its longest first length, from where it can decrease the length
        by many orders of magnitude, but increase it by only one. 0 before there is a slope.
    """

    def __init__(self, problem: PathProblem, b: Any) -> None:
        self.problem = problem
        xp, n = array_module(b), len(b)
        self._n = n
        self.scale = xp.asarray(problem.curve.scale(), dtype=problem.landscape.dtype)[:, None]
        rows = [problem.start[None], problem.end[None], b, xp.zeros_like(b)]
        self.span = problem.landscape.span(xp.concatenate(rows))
        self.values = problem.ends
        self.unit = 1.0 if problem.has_default_rate else 0.0
        self._trial: tuple[float, np.ndarray] | None = None

    def search(self, resumed: LbfgsState | None = None) -> Iterator[LbfgsState]:
        """Iterate L-BFGS-GSS from the current coefficients."""
        # Energies may have any unit: the first displacement is a fraction of the distance between the endpoints.
        first = BEND * self.problem.distance()
        iterates = lbfgs_gss(self, first_length=first, unit_step=True, state=resumed)
        if resumed is not None:
            with self.problem.meter.uncounted():
                first_again = next(iterates)
            yield first_again
        yield from iterates

    @property
    def b(self) -> Any:
        """The coefficients b (N, D)."""
        return self.span.basis[2 : 2 + self._n]

    @property
    def x(self) -> Any:
        """The scaled coefficients, the variables of the optimiser."""
        return self.b * self.scale

    @property
    def evaluations(self) -> Evaluations:
        """The numbers of evaluations so far."""
        return self.problem.meter.evaluations

    def all_values(self) -> np.ndarray:
        """Evaluate the values (M,) at x."""
        return self.problem.all_values(self.span, self._coefficients(0.0))

    def put(self, b: Any) -> None:
        """Replace the coefficients."""
        self.span.replace(range(2, 2 + self._n), b)

    def trial_values(self) -> np.ndarray:
        """Evaluate the values (M,) at x, infinite where the landscape cannot be evaluated."""
        return self.problem.trial_values(self.span, self._coefficients(0.0))

    def _coefficients(self, u: float) -> np.ndarray:
        C = self.problem.curve.C
        return np.concatenate([C, -u * C[:, 2:]], axis=1)

    def _at(self, u: float) -> Any:
        """Return b at x − u p."""
        return self.b - u * self.span.basis[2 + self._n :] if u else self.b

    def value_and_gradient(self, u: float = 0.0) -> tuple[float, Any]:
        """Evaluate L and its gradient at x − u p, in units; (inf, 0) for a trial step that cannot be evaluated."""
        problem, b, C = self.problem, self._at(u), self._coefficients(u)
        if u:
            values, value, gradient = problem.trial_gradient(self.span, C, b)
            self._trial = (u, values)
            if gradient is None:
                return float("inf"), b * 0
        else:
            values, value, gradient = problem.gradient(self.span, C, b)
            self.values = values
        gradient = gradient / self.scale
        if not self.unit:
            slope = norm(to_host(gradient).astype(np.float64))
            self.unit = LITTLE * slope / problem.distance() if slope and np.isfinite(slope) else 1.0
        return value / self.unit, gradient / self.unit

    def direction(self, p: Any) -> None:
        """Set the direction p."""
        self._trial = None
        self.span.replace(range(2 + self._n, 2 + 2 * self._n), p / self.scale)

    def value(self, u: float) -> float:
        """Evaluate L at x − u p."""
        values = self.problem.trial_values(self.span, self._coefficients(u))
        if not np.isfinite(values).all():
            return float("inf")
        return self.problem.terms(values, self._at(u)).value / self.unit

    def move(self, u: float) -> None:
        """Replace x by x − u p."""
        n = self._n
        mix = np.zeros((n, 2 + 2 * n))
        mix[range(n), range(2, 2 + n)] = 1
        mix[range(n), range(2 + n, 2 + 2 * n)] = -u
        self.span.combine(range(2, 2 + n), mix)
        if self._trial is not None and self._trial[0] == u:
            self.values = self._trial[1]

    def refresh(self) -> None:
        """Recompute products in which rounding errors have accumulated."""
        if hasattr(self.span, "refresh"):
            self.span.refresh()
