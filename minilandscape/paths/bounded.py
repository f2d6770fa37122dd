"""L-BFGS for paths with bounded displacements and backtracking."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..backend import array_module, norm, to_host
from ..optimizers import two_loop
from .endings import Ending
from .objectives import SoftTop
from .problem import BEND, PathProblem, PathState

#: Number of L-BFGS pairs, and the smallest cosine between s and y of a pair.
HISTORY, LEAST_COSINE = 40, 1e-6
#: Largest displacement of a sample point in a step, relative to the distance between the endpoints.
LONGEST_MOVE = 0.1
#: Sufficient decrease relative to the slope; largest number of trial steps; factor for a step into a wall.
SUFFICIENT_DECREASE, TRIALS, FROM_A_WALL = 1e-4, 8, 0.3


@dataclass(frozen=True)
class Pairs:
    """The L-BFGS pairs: changes of the variables and of the gradient, oldest first.

    Attributes
    ----------
    s, y
        Arrays, all of one shape.
    unit
        The unit of gradients and function values; 0 before there is a slope.
    """

    s: tuple[Any, ...] = ()
    y: tuple[Any, ...] = ()
    unit: float = 0.0

    def __bool__(self) -> bool:
        return bool(self.s)

    def added(self, ds: Any, dy: Any) -> Pairs:
        """Add a pair if the curvature along it is positive."""
        ds64, dy64 = to_host(ds).astype(np.float64), to_host(dy).astype(np.float64)
        if not float((ds64 * dy64).sum()) > LEAST_COSINE * norm(ds64) * norm(dy64):
            return self
        return replace(self, s=(*self.s, ds)[-HISTORY:], y=(*self.y, dy)[-HISTORY:])

    def step(self, gradient: Any) -> Any:
        """Compute H ∇f, with the approximate inverse Hessian H."""
        return two_loop(gradient, self.s, self.y)


@dataclass(frozen=True)
class _Place:
    """A path b with its values (M,), L, and ∂L/∂c for the scaled coefficients c, in units."""

    b: Any
    values: np.ndarray
    value: float
    gradient: Any


class BoundedSteps:
    """Quasi-Newton steps on the coefficients of a path that decrease L.

    Attributes
    ----------
    pairs
        The L-BFGS pairs, of this objective and of those of earlier stages.
    """

    def __init__(self, problem: PathProblem, b: Any) -> None:
        self.problem, self.span, self.pairs = problem, problem.span(), Pairs()
        self.scale = array_module(b).asarray(problem.curve.scale(), dtype=problem.landscape.dtype)[:, None]
        self.span.replace(problem.curve.rows, b)
        known = problem.first_gradient(b)
        values, gradient = self._evaluated(b) if known is None else known
        problem.check_gradient(self.span, gradient)
        self.pairs = Pairs(unit=power_of_two(problem.slope(gradient)) or 1.0)
        self.place, self._is_last = self._at(b.copy(), values, gradient), known is None

    @property
    def objective(self) -> SoftTop:
        """The objective at its current β."""
        assert isinstance(self.problem.objective, SoftTop)
        return self.problem.objective

    def states(self) -> Iterator[PathState]:
        """Yield the current path, then the path after every step, and again with a reason at the end."""
        step = 0
        while True:
            direction = self._direction()
            state = self._state(step, direction)
            yield state
            found = self._lower(direction)
            if found is None and self.pairs:
                self.pairs = Pairs(unit=self.pairs.unit)
                found = self._lower(self._direction())
            if found is None:
                stationary = self.problem.stationary(state)
                yield replace(state, reason=Ending.CONVERGED if stationary else Ending.LINE_SEARCH)
                return
            self.place, step = found, step + 1

    def change_objective(self, objective: SoftTop) -> None:
        """Continue with another objective."""
        self.problem = replace(self.problem, objective=objective)
        b, values, C = self.place.b, self.place.values, self.problem.curve.C
        gradient = self.problem.gradient_again(self.span, values, b) if self._is_last else None
        if gradient is None:
            self.span.replace(self.problem.curve.rows, b)
            values, _, gradient = self.problem.gradient(self.span, C, b)
        self.place, self._is_last = self._at(b, values, gradient), True

    def jump(self, b: Any) -> PathState | None:
        """Continue from another path; None where it cannot be evaluated."""
        self.span.replace(self.problem.curve.rows, b)
        self._is_last = False
        found = self._trial(b)
        if found is None:
            return None
        self.place, self._is_last = found, True
        return self._state(0, self._direction())

    def _evaluated(self, b: Any) -> tuple[np.ndarray, Any]:
        values, _, gradient = self.problem.gradient(self.span, self.problem.curve.C, b)
        return values, gradient

    def _at(self, b: Any, values: np.ndarray, gradient: Any) -> _Place:
        unit = self.pairs.unit
        return _Place(b, values, self.problem.terms(values, b).value / unit, gradient / self.scale / unit)

    def _trial(self, b: Any) -> _Place | None:
        """Evaluate the path b of the span; None where it cannot be evaluated."""
        values, _, gradient = self.problem.trial_gradient(self.span, self.problem.curve.C, b)
        if gradient is None or not bool(to_host(array_module(gradient).isfinite(gradient).all())):
            return None
        return self._at(b, values, gradient)

    def _direction(self) -> Any:
        """Compute the step of the coefficients c: that of L-BFGS, or at first along the negative gradient."""
        g, pairs = self.place.gradient, self.pairs
        if pairs:
            d = -pairs.step(g)
            if np.isfinite(slope := _dot(d, g)) and slope < 0:
                return d
            self.pairs = Pairs(unit=pairs.unit)
        return g * (-BEND * self.problem.distance() / (norm(to_host(g).astype(np.float64)) or 1.0))

    def _state(self, step: int, direction: Any) -> PathState:
        place, unit = self.place, self.pairs.unit
        slope = norm(to_host(place.gradient).astype(np.float64)) * unit
        state = self.problem.state(step, place.b, place.values, slope=slope)
        return replace(state, decrement=-0.5 * _dot(direction, place.gradient) * unit) if self.pairs else state

    def _lower(self, d: Any) -> _Place | None:
        """Step to a path of lower L; None where there is none.

        Raises
        ------
        LandscapeError
            If the current path itself can no longer be evaluated.
        """
        place, problem, C = self.place, self.problem, self.problem.curve.C
        slope = _dot(d, place.gradient)
        if not slope < 0:
            return None
        moved = to_host(array_module(d).asarray(C[:, 2:], dtype=d.dtype) @ (d / self.scale)).astype(np.float64)
        longest = float(np.linalg.norm(moved, axis=1).max())
        u = min(1.0, LONGEST_MOVE * problem.distance() / (longest or 1.0))
        walls, self._is_last = 0, False
        for _ in range(TRIALS):
            b = (place.b + u * d / self.scale).astype(place.b.dtype)
            self.span.replace(problem.curve.rows, b)
            found = self._trial(b)
            if found is None:
                u, walls = u * FROM_A_WALL, walls + 1
                continue
            self.pairs = self.pairs.added(u * d, found.gradient - place.gradient)
            if place.value + SUFFICIENT_DECREASE * u * slope >= found.value:
                self._is_last = True
                return found
            u *= float(np.clip(-slope * u / (2 * (found.value - place.value - u * slope)), 0.1, 0.5))
        if walls == TRIALS:
            self.span.replace(problem.curve.rows, place.b)
            problem.gradient(self.span, C, place.b)
        return None


def power_of_two(slope: float) -> float:
    """Choose a power of two as the unit of a gradient whose squares could under- or overflow; 0 for a zero slope.

    Division by a power of two causes no rounding.
    """
    return float(2.0 ** np.clip(np.round(np.log2(slope)), -1000, 1000)) if 0 < slope < np.inf else 0.0


def _dot(a: Any, b: Any) -> float:
    return float((a.astype(np.float64) * b.astype(np.float64)).sum())
