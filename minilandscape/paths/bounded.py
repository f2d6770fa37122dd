"""L-BFGS on a path whose steps are bounded by how far they move it, with no line search but halving."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..backend import array_module, to_host
from ..optimizers import two_loop
from .endings import Ending
from .objectives import SoftTop
from .problem import BEND, PathProblem, PathState, norm

#: Pairs that are kept, and the cosine between s and y below which a pair says nothing of the curvature.
HISTORY, LEAST_COSINE = 40, 1e-6
#: The longest move of a sample point in a step, as a part of the distance between the endpoints.
LONGEST_MOVE = 0.1
#: Sufficient decrease, as a part of the slope; trial steps at most; what is left of a step into a wall.
SUFFICIENT_DECREASE, TRIALS, FROM_A_WALL = 1e-4, 8, 0.3


@dataclass(frozen=True)
class Pairs:
    """What L-BFGS knows of a Hessian: changes of the variables and of the gradient, oldest first.

    Attributes
    ----------
    s, y
        Arrays of any one shape.
    unit
        What the gradients, and the function, are measured in; 0 until there is a slope.
    """

    s: tuple[Any, ...] = ()
    y: tuple[Any, ...] = ()
    unit: float = 0.0

    def __bool__(self) -> bool:
        return bool(self.s)

    def added(self, ds: Any, dy: Any) -> Pairs:
        """With one more pair, where the curvature along it is positive."""
        ds64, dy64 = to_host(ds).astype(np.float64), to_host(dy).astype(np.float64)
        if not float((ds64 * dy64).sum()) > LEAST_COSINE * norm(ds64) * norm(dy64):
            return self
        return replace(self, s=(*self.s, ds)[-HISTORY:], y=(*self.y, dy)[-HISTORY:])

    def step(self, gradient: Any) -> Any:
        """H ∇f."""
        return two_loop(gradient, self.s, self.y)


@dataclass(frozen=True)
class _Place:
    """The path b, its values (M,), and L and ∂L/∂c of the scaled coefficients, in units."""

    b: Any
    values: np.ndarray
    value: float
    gradient: Any


class BoundedSteps:
    """L of a path at its coefficients, and quasi-Newton steps that lower it.

    Attributes
    ----------
    pairs
        What is known of the Hessian, of this objective and of those before.
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
        """At its β of now."""
        assert isinstance(self.problem.objective, SoftTop)
        return self.problem.objective

    def states(self) -> Iterator[PathState]:
        """The path as it is, then the path after every step, and again with a reason where there is no next one."""
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
                still = self.problem.stationary(state)
                yield replace(state, reason=Ending.CONVERGED if still else Ending.LINE_SEARCH)
                return
            self.place, step = found, step + 1

    def turn(self, objective: SoftTop) -> None:
        """Goes on with another objective."""
        self.problem = replace(self.problem, objective=objective)
        b, values, C = self.place.b, self.place.values, self.problem.curve.C
        gradient = self.problem.gradient_again(self.span, values, b) if self._is_last else None
        if gradient is None:
            self.span.replace(self.problem.curve.rows, b)
            values, _, gradient = self.problem.gradient(self.span, C, b)
        self.place, self._is_last = self._at(b, values, gradient), True

    def jump(self, b: Any) -> PathState | None:
        """Goes on from another path; None where it cannot be evaluated."""
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
        """The path b, which the span holds; None in a wall."""
        values, _, gradient = self.problem.trial_gradient(self.span, self.problem.curve.C, b)
        if gradient is None or not bool(to_host(array_module(gradient).isfinite(gradient).all())):
            return None
        return self._at(b, values, gradient)

    def _direction(self) -> Any:
        """The step of the coefficients c: that of L-BFGS, or down the gradient as far as the first bend."""
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
        """The path after a step of lower L; None where there is none.

        Raises
        ------
        LandscapeError
            If not even the path itself can be evaluated any more.
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
    """The unit of a gradient whose squares would else be beyond what a number can hold; dividing by it rounds nothing.

    0 while there is no slope.
    """
    return float(2.0 ** np.clip(np.round(np.log2(slope)), -1000, 1000)) if 0 < slope < np.inf else 0.0


def _dot(a: Any, b: Any) -> float:
    return float((a.astype(np.float64) * b.astype(np.float64)).sum())
