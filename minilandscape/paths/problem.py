"""The objective L of a path as a function of its coefficients, which solvers minimise."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..backend import array_module, norm, to_device, to_host
from ..landscape import Evaluations, LandscapeError, Weights, as_landscape, displacement_between, two_points
from .curve import Curve
from .endings import Ending
from .meter import Meter, placing, refuse_not_finite
from .objectives import PowerSum, SoftTop, Terms, capped

#: A path is stationary if a quasi-Newton step, or a displacement along the gradient by the first fraction of the
#: distance between the endpoints, would decrease L by less than the second fraction of its largest possible decrease.
BEND, STATIONARY = 0.1, 1e-2


@dataclass(frozen=True)
class PathState:
    """The state of a path search after a step.

    Attributes
    ----------
    step
        Number of steps.
    coefficients
        b (N_F, D), a copy, on the device of the landscape.
    values
        (M,): values at the sample points, both endpoints included.
    objective
        L, Eq. (4), the penalty included.
    cumulative_loss, height, penalty, length
        Σ f, max f, the part of L that does not depend on values (λ Σ |Δω|²), and Σ |Δω| of this path.
    evaluations, rounds
        Numbers of evaluations since the start, and number of batches.
    reason
        Why the solver ends here; None while it continues.
    stage
        The stage of an objective that is minimised at increasing β. A new stage starts with the path of the step
        before.
    slope
        |∂L/∂c| of the scaled coefficients c; NaN where no gradient was evaluated.
    decrement
        Expected decrease of L in a quasi-Newton step; NaN where no curvature is known.
    memory
        The state of the solver, where it can resume from here; None elsewhere.
    maximum
        The maximum over continuous t, and its t; None while unknown.
    beta
        β of the stage; 0 where there are no stages.
    """

    step: int
    coefficients: Any
    values: np.ndarray
    objective: float
    cumulative_loss: float
    height: float
    penalty: float
    length: float
    evaluations: Evaluations
    reason: Ending | None = None
    stage: int = 0
    slope: float = float("nan")
    decrement: float = float("nan")
    memory: Any = None
    maximum: tuple[float, float] | None = None
    beta: float = 0.0
    rounds: int = 0

    @property
    def top(self) -> float:
        """The maximum over continuous t, which must be known."""
        assert self.maximum is not None
        return self.maximum[0]


@dataclass(frozen=True)
class PathProblem:
    """Two endpoints on a landscape, a family of curves between them, and an objective.

    Attributes
    ----------
    landscape
        A complete landscape, see :func:`~minilandscape.landscape.as_landscape`.
    start, end, displacement
        (D,): copies on the device of the landscape; in a periodic cell the end is the image nearest to the start.
    curve
        The family of curves.
    objective
        The objective, fitted to the straight line.
    meter
        The counter of evaluations.
    ends
        (2,): the values at the endpoints.
    line
        (M,): the values on the straight line; None until they are required.
    pulled
        (N, D): the pulled-back gradients on the straight line, where they were evaluated with ``line``.
    target
        The barrier over continuous t at which the search ends; None where there is none.
    """

    landscape: Any
    start: Any
    end: Any
    displacement: Any
    curve: Curve
    objective: PowerSum | SoftTop
    meter: Meter
    ends: np.ndarray
    line: np.ndarray | None = None
    pulled: Any = None
    target: float | None = None

    @classmethod
    def of(
        cls,
        landscape: Any,
        start: Any,
        end: Any,
        curve: Curve,
        objective: PowerSum | SoftTop,
        meter: Meter,
        *,
        with_gradients: bool = False,
    ) -> PathProblem:
        """Make the problem between two points, with its objective fitted to the straight line if it depends on that.

        ``with_gradients`` also keeps the gradients there, for a solver that starts with them.

        Raises
        ------
        ValueError, TypeError
            If the endpoints are not two different, finite vectors of the size of the landscape.
        """
        landscape, start, end, displacement = _endpoints(landscape, start, end)
        problem = cls(landscape, start, end, displacement, curve, objective, meter, np.zeros(2))
        with meter.unlimited():
            ends = problem.values(problem.span(), curve.C[[0, -1]], curve.t[[0, -1]])
            problem = replace(problem, ends=ends)
            if not objective.needs_line:
                return problem
            if with_gradients and curve.n_terms:
                problem = problem._with_pulled()
            return problem.with_line().fitted()

    def _with_pulled(self) -> PathProblem:
        span, C, t = self.span(), self.curve.C[1:-1], self.curve.t[1:-1]
        with self.placing(span, C, t):
            interior, pulled = self.meter.pullback(span, C, self._first_weights(), self.curve.rows)
        self._check(span, C, interior, t)
        return replace(self, line=self.along(interior), pulled=pulled)

    def with_line(self) -> PathProblem:
        """Evaluate the values on the straight line, if they are not known."""
        if self.line is not None:
            return self
        return replace(self, line=self.all_values(self.span()))

    def fitted(self) -> PathProblem:
        """Fit the objective to the straight line."""
        assert self.line is not None
        return replace(self, objective=self.objective.fitted(self.line, self.distance()))

    @property
    def has_default_rate(self) -> bool:
        """Whether the landscape has a default learning rate: networks, whose losses are of order 1 and have no unit."""
        return self.landscape.path_defaults.get("lr") is not None

    def distance(self) -> float:
        """Compute |end − start|."""
        return float(np.linalg.norm(to_host(self.displacement).astype(np.float64)))

    def zeros(self) -> Any:
        """Make b (N, D) of the straight line."""
        return array_module(self.start).zeros((self.curve.n_terms, self.landscape.size), dtype=self.landscape.dtype)

    def span(self, *more: Any) -> Any:
        """Make a span of the rows (start, end, b = 0), and of others (K, D)."""
        xp = array_module(self.start)
        return self.landscape.span(xp.concatenate([self.start[None], self.end[None], self.zeros(), *more]))

    def at_fewer_points(self, n_points: int) -> PathProblem:
        """Use fewer sample points, with the same weight of the penalty relative to the values."""
        objective = self.objective.at_fewer_points(n_points, len(self.curve.t))
        return replace(self, curve=self.curve.at_points(n_points), objective=objective, line=None)

    # Evaluation --------------------------------------------------------------------------------------------------

    def values(self, span: Any, C: np.ndarray, t: np.ndarray) -> np.ndarray:
        """Evaluate values at rows of C, checked."""
        with self.placing(span, C, t):
            values = self.meter.values(span, C)
        self._check(span, C, values, t)
        return values

    def all_values(self, span: Any, C: np.ndarray | None = None) -> np.ndarray:
        """Evaluate values (M,) along the path of the span; C is that of the curve if None."""
        C = self.curve.C if C is None else C
        return self.along(self.values(span, C[1:-1], self.curve.t[1:-1]))

    def trial_values(self, span: Any, C: np.ndarray) -> np.ndarray:
        """Evaluate values (M,), infinite where the landscape cannot be evaluated."""
        interior = self.meter.walled(lambda: self.meter.values(span, C[1:-1]), len(C) - 2)
        return self.along(interior)

    def along(self, interior: np.ndarray) -> np.ndarray:
        """Add the endpoints to the values of the interior points: (M,)."""
        return np.concatenate([self.ends[:1], interior, self.ends[1:]])

    def gradient(self, span: Any, C: np.ndarray, b: Any) -> tuple[np.ndarray, float, Any]:
        """Evaluate values (M,), L and ∂L/∂b (N, D), checked."""
        lengths, t = self.lengths(b), self.curve.t[1:-1]
        with self.placing(span, C[1:-1], t):
            interior, pullback = self.meter.pullback(span, C[1:-1], self._weights(lengths), self.curve.rows)
        self._check(span, C[1:-1], interior, t)
        values = self.along(interior)
        terms = self.objective.terms(values, lengths)
        return values, terms.value, pullback + self._lengths_pullback(terms, lengths, b)

    def gradient_again(self, span: Any, values: np.ndarray, b: Any) -> Any | None:
        """Compute ∂L/∂b of the path that a span has evaluated last; None where it has not kept the gradients."""
        if not hasattr(span, "pulled_again"):
            return None
        lengths = self.lengths(b)
        pulled = span.pulled_again(self._weights(lengths), self.curve.rows)
        return pulled + self._lengths_pullback(self.objective.terms(values, lengths), lengths, b)

    def first_gradient(self, b: Any) -> tuple[np.ndarray, Any] | None:
        """Return values (M,) and ∂L/∂b of the straight line, if they are known and b is that; else None."""
        if self.pulled is None or self.line is None or bool(to_host(b).any()):
            return None
        lengths = self.lengths(b)
        return self.line, self.pulled + self._lengths_pullback(self.objective.terms(self.line, lengths), lengths, b)

    def trial_gradient(self, span: Any, C: np.ndarray, b: Any) -> tuple[np.ndarray, float, Any]:
        """Evaluate as :meth:`gradient`; L is infinite, and the gradient None, where that fails."""
        lengths, pulled = self.lengths(b), None

        def evaluate() -> np.ndarray:
            nonlocal pulled
            interior, pulled = self.meter.pullback(span, C[1:-1], self._weights(lengths), self.curve.rows)
            return interior

        values = self.along(self.meter.walled(evaluate, len(C) - 2))
        if not np.isfinite(values).all() or pulled is None:
            return values, float("inf"), None
        terms = self.objective.terms(values, lengths)
        return values, terms.value, pulled + self._lengths_pullback(terms, lengths, b)

    def _first_weights(self) -> Weights:
        """Make the weights of the gradients on the straight line, for the objective fitted to it."""
        if self.objective.linear:
            return None
        lengths, distance = self.lengths(self.zeros()), self.distance()

        def weights(interior: np.ndarray) -> np.ndarray:
            line = self.along(interior)
            return self.objective.fitted(line, distance).terms(line, lengths).by_values[1:-1]

        return weights

    def _weights(self, lengths: np.ndarray) -> Weights:
        if self.objective.linear:
            return None
        return lambda interior: self.objective.terms(self.along(interior), lengths).by_values[1:-1]

    def _lengths_pullback(self, terms: Terms, lengths: np.ndarray, b: Any) -> Any:
        return self.curve.lengths_pullback(terms.by_lengths, lengths, self.displacement, b)

    def check_gradient(self, span: Any, gradient: Any) -> None:
        """Raise where ∂L/∂b is not finite; the points are evaluated one by one to name the first such."""
        if bool(to_host(array_module(gradient).isfinite(gradient).all())):
            return
        curve = self.curve
        for C, t in zip(curve.C[1:-1, None], curve.t[1:-1, None], strict=True):
            C = np.pad(C, ((0, 0), (0, span.basis.shape[0] - C.shape[1])))
            _, one = self.meter.pullback(span, C, None, None)
            refuse_not_finite("gradient", to_host(one)[:1] / C[0, 0], t, self._points(span, C))
        raise LandscapeError("the gradient of L along the path is not finite")

    def placing(self, span: Any, C: np.ndarray, t: np.ndarray) -> AbstractContextManager[None]:
        """Add to an error of the landscape the t of its point."""
        return placing(t, lambda: self._points(span, C))

    def _points(self, span: Any, C: np.ndarray) -> np.ndarray:
        """Compute the points of rows of C (P, …), on the host."""
        C = to_device(C, self.landscape.device, self.landscape.dtype)
        return to_host(C @ span.basis[: C.shape[1]])

    def _check(self, span: Any, C: np.ndarray, values: np.ndarray, t: np.ndarray) -> None:
        """Raise where values are not finite; the message names the point."""
        bad = np.flatnonzero(~np.isfinite(values))[:1]
        if bad.size:
            refuse_not_finite("value", values[bad], t[bad], self._points(span, C[bad]))

    # L -----------------------------------------------------------------------------------------------------------

    def lengths(self, b: Any) -> np.ndarray:
        """Compute the lengths |Δω| of the segments (M − 1,)."""
        return self.curve.lengths(self.displacement, b)

    def terms(self, values: np.ndarray, b: Any) -> Terms:
        """Compute L of a path."""
        return self.objective.terms(values, self.lengths(b))

    def straight(self, values: np.ndarray) -> float:
        """Compute L of the straight line with these values (M,), spikes cut off."""
        return self.terms(capped(values), self.zeros()).value

    def remaining(self, state: PathState) -> float:
        """Compute the largest possible decrease of L: down to the endpoint interpolation of the values."""
        endpoint_interpolation = self.ends[0] + self.curve.t * (self.ends[1] - self.ends[0])
        lengths = self.lengths(self.zeros())
        return self.objective.remaining(state.objective, state.values, endpoint_interpolation, lengths)

    def stationary(self, state: PathState) -> bool:
        """Decide whether ∂L/∂b vanishes, in units of the problem: see :data:`STATIONARY`."""
        fall = state.slope * BEND * self.distance() if np.isnan(state.decrement) else state.decrement
        return bool(state.slope == 0 or fall <= STATIONARY * self.remaining(state))

    def slope(self, gradient: Any) -> float:
        """Compute |∂L/∂c| for the scaled coefficients c_n = n b_n (c = b for other bases than the sines)."""
        return float(norm(to_host(gradient).astype(np.float64) / self.curve.scale()[:, None]))

    def state(
        self,
        step: int,
        b: Any,
        values: np.ndarray,
        reason: Ending | None = None,
        slope: float = float("nan"),
        memory: Any = None,
    ) -> PathState:
        """Make the state of the path b after some steps."""
        lengths = self.lengths(b)
        terms = self.objective.terms(values, lengths)
        return PathState(
            step=step,
            coefficients=b.copy(),
            values=values.copy(),
            objective=terms.value,
            cumulative_loss=float(values.sum()),
            height=float(values.max()),
            penalty=terms.penalty,
            length=float(lengths.sum()),
            evaluations=self.meter.evaluations + Evaluations(),
            rounds=self.meter.rounds,
            reason=reason,
            slope=slope,
            memory=memory,
        )


def _endpoints(landscape: Any, start: Any, end: Any) -> tuple[Any, Any, Any, Any]:
    """Complete the landscape, and copy two different, finite endpoints and their displacement."""
    start, end = two_points(start, end, landscape)
    landscape = as_landscape(landscape, start.size)
    start, end = (to_device(point, landscape.device, landscape.dtype).copy() for point in (start, end))
    displacement = displacement_between(landscape, start, end)
    if to_host(displacement != end - start).any():
        end = start + displacement
    return landscape, start, end, displacement
