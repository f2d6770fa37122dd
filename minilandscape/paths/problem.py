"""L along a path as a function of its coefficients: what every solver of paths minimises."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..backend import array_module, to_device, to_host
from ..landscape import Evaluations, LandscapeError, Weights, as_landscape, vector
from .curve import Curve
from .endings import Ending
from .meter import Meter, placing, refuse_not_finite
from .objectives import PowerSum, SoftTop, Terms, capped

#: A path is stationary where a quasi-Newton step, or a bend along the gradient by the first part of the distance of the
#: endpoints, would lower L by less than the second part of what L has left above its least possible value.
BEND, AT_REST = 0.1, 1e-2


@dataclass(frozen=True)
class PathState:
    """One step of a path finder.

    Attributes
    ----------
    step
        Steps taken.
    coefficients
        b (N_F, D), a copy, where the landscape's points are.
    values
        (M,) along the path, both endpoints included.
    objective
        L, Eq. (4), the penalty included.
    cumulative_loss, height, penalty, length
        Σ f, max f, the part of L that no value enters (λ Σ |Δω|²), and Σ |Δω| of this path.
    evaluations, rounds
        Points evaluated since the start, and the batches that they came in.
    reason
        Why the solver ends here; None while it goes on.
    stage
        Of an objective that is minimised at one β after another. A new stage begins with the path of the step before,
        seen by the new objective.
    slope
        |∂L/∂c| of the scaled coefficients c; NaN where no gradient was evaluated.
    decrement
        By how much a quasi-Newton step should lower L; NaN where nothing is known of the Hessian.
    memory
        What the solver resumes from, where it can from here; None elsewhere.
    maximum
        The maximum over continuous t, and its t, where they are known.
    beta
        Of the stage; 0 where there are none.
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
        """The maximum over continuous t, which has to be known."""
        assert self.maximum is not None
        return self.maximum[0]


@dataclass(frozen=True)
class PathProblem:
    """Two endpoints on a landscape, a family of curves between them, and what is minimised over its coefficients.

    Attributes
    ----------
    landscape
        Complete, see :func:`~minilandscape.landscape.as_landscape`.
    start, end, displacement
        (D,), own copies where the landscape's points are; the end is the image nearest to the start where there is a
        periodic cell.
    curve
        The family.
    objective
        Settled on the straight line.
    meter
        Counts what is evaluated.
    ends
        (2,): the values at both endpoints.
    line
        (M,): the values along the straight line; None until they are needed.
    pulled
        (N, D): the gradients along the straight line, pulled back, where they came with ``line``.
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
        """The problem between two points, its objective settled on the straight line where it has to be.

        ``with_gradients`` keeps the gradients there, for a solver that begins with them.

        Raises
        ------
        ValueError, TypeError
            If the endpoints are no two different, finite vectors of the landscape's size.
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
            return problem.with_line().settled()

    def _with_pulled(self) -> PathProblem:
        span, C, t = self.span(), self.curve.C[1:-1], self.curve.t[1:-1]
        with self.placing(span, C, t):
            interior, pulled = self.meter.pullback(span, C, self._first_weights(), self.curve.rows)
        self._check(span, C, interior, t)
        return replace(self, line=self.along(interior), pulled=pulled)

    def with_line(self) -> PathProblem:
        """The same, the values along the straight line known."""
        if self.line is not None:
            return self
        return replace(self, line=self.all_values(self.span()))

    def settled(self) -> PathProblem:
        """The same, its objective fitted to the straight line."""
        assert self.line is not None
        return replace(self, objective=self.objective.settle(self.line, self.distance()))

    @property
    def own_scale(self) -> bool:
        """Whether the landscape says how far to step: a network, whose losses are of order 1 and have no unit."""
        return self.landscape.path_defaults.get("lr") is not None

    def distance(self) -> float:
        """|end − start|."""
        return float(np.linalg.norm(to_host(self.displacement).astype(np.float64)))

    def zeros(self) -> Any:
        """(N, D): b of the straight line."""
        return array_module(self.start).zeros((self.curve.n_terms, self.landscape.size), dtype=self.landscape.dtype)

    def span(self, *more: Any) -> Any:
        """A span of the rows (start, end, b = 0), and of others (K, D)."""
        xp = array_module(self.start)
        return self.landscape.span(xp.concatenate([self.start[None], self.end[None], self.zeros(), *more]))

    def at_fewer_points(self, n_points: int) -> PathProblem:
        """The same path at fewer points, with the steps weighing as heavily against the values."""
        objective = self.objective.at_fewer_points(n_points, len(self.curve.t))
        return replace(self, curve=self.curve.at_points(n_points), objective=objective, line=None)

    # Evaluation --------------------------------------------------------------------------------------------------

    def values(self, span: Any, C: np.ndarray, t: np.ndarray) -> np.ndarray:
        """(rows of C,), checked."""
        with self.placing(span, C, t):
            values = self.meter.values(span, C)
        self._check(span, C, values, t)
        return values

    def all_values(self, span: Any, C: np.ndarray | None = None) -> np.ndarray:
        """(M,) along the path whose coefficients the span holds; C is the curve's own if None."""
        C = self.curve.C if C is None else C
        return self.along(self.values(span, C[1:-1], self.curve.t[1:-1]))

    def trial_values(self, span: Any, C: np.ndarray) -> np.ndarray:
        """(M,), infinite where the landscape cannot be evaluated."""
        interior = self.meter.walled(lambda: self.meter.values(span, C[1:-1]), len(C) - 2)
        return self.along(interior)

    def along(self, interior: np.ndarray) -> np.ndarray:
        """(M,) from the values of the interior points."""
        return np.concatenate([self.ends[:1], interior, self.ends[1:]])

    def gradient(self, span: Any, C: np.ndarray, b: Any) -> tuple[np.ndarray, float, Any]:
        """Values (M,), L and ∂L/∂b (N, D), checked."""
        lengths, t = self.lengths(b), self.curve.t[1:-1]
        with self.placing(span, C[1:-1], t):
            interior, pullback = self.meter.pullback(span, C[1:-1], self._weights(lengths), self.curve.rows)
        self._check(span, C[1:-1], interior, t)
        values = self.along(interior)
        terms = self.objective.terms(values, lengths)
        return values, terms.value, pullback + self._lengths_pullback(terms, lengths, b)

    def gradient_again(self, span: Any, values: np.ndarray, b: Any) -> Any | None:
        """∂L/∂b of the path that a span has evaluated last; None where it does not know its points' gradients."""
        if not hasattr(span, "pulled_again"):
            return None
        lengths = self.lengths(b)
        pulled = span.pulled_again(self._weights(lengths), self.curve.rows)
        return pulled + self._lengths_pullback(self.objective.terms(values, lengths), lengths, b)

    def first_gradient(self, b: Any) -> tuple[np.ndarray, Any] | None:
        """Values (M,) and ∂L/∂b of the straight line, where they are known and b is that."""
        if self.pulled is None or self.line is None or bool(to_host(b).any()):
            return None
        lengths = self.lengths(b)
        return self.line, self.pulled + self._lengths_pullback(self.objective.terms(self.line, lengths), lengths, b)

    def trial_gradient(self, span: Any, C: np.ndarray, b: Any) -> tuple[np.ndarray, float, Any]:
        """As :meth:`gradient`; L is infinite, and the gradient None, where the landscape cannot be evaluated."""
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
        """Those on the straight line, of an objective that is settled there."""
        if self.objective.linear:
            return None
        lengths, distance = self.lengths(self.zeros()), self.distance()

        def weights(interior: np.ndarray) -> np.ndarray:
            line = self.along(interior)
            return self.objective.settle(line, distance).terms(line, lengths).by_values[1:-1]

        return weights

    def _weights(self, lengths: np.ndarray) -> Weights:
        if self.objective.linear:
            return None
        return lambda interior: self.objective.terms(self.along(interior), lengths).by_values[1:-1]

    def _lengths_pullback(self, terms: Terms, lengths: np.ndarray, b: Any) -> Any:
        return self.curve.lengths_pullback(terms.by_lengths, lengths, self.displacement, b)

    def check_gradient(self, span: Any, gradient: Any) -> None:
        """Refuses a ∂L/∂b that is not finite, for which the points are asked one by one, naming the first such."""
        if bool(to_host(array_module(gradient).isfinite(gradient).all())):
            return
        curve = self.curve
        for C, t in zip(curve.C[1:-1, None], curve.t[1:-1, None], strict=True):
            C = np.pad(C, ((0, 0), (0, span.basis.shape[0] - C.shape[1])))
            _, one = self.meter.pullback(span, C, None, None)
            refuse_not_finite("gradient", to_host(one)[:1] / C[0, 0], t, self._points(span, C))
        raise LandscapeError("the gradient of L along the path is not finite")

    def placing(self, span: Any, C: np.ndarray, t: np.ndarray) -> AbstractContextManager[None]:
        """Tells an error that the landscape raises which t its point belongs to."""
        return placing(t, lambda: self._points(span, C))

    def _points(self, span: Any, C: np.ndarray) -> np.ndarray:
        """Rows of C (P, …) as points on the host."""
        C = to_device(C, self.landscape.device, self.landscape.dtype)
        return to_host(C @ span.basis[: C.shape[1]])

    def _check(self, span: Any, C: np.ndarray, values: np.ndarray, t: np.ndarray) -> None:
        """Refuses values that are not finite, naming the point."""
        bad = np.flatnonzero(~np.isfinite(values))[:1]
        if bad.size:
            refuse_not_finite("value", values[bad], t[bad], self._points(span, C[bad]))

    # L -----------------------------------------------------------------------------------------------------------

    def lengths(self, b: Any) -> np.ndarray:
        """The step lengths |Δω| (M − 1,)."""
        return self.curve.lengths(self.displacement, b)

    def terms(self, values: np.ndarray, b: Any) -> Terms:
        """L of a path."""
        return self.objective.terms(values, self.lengths(b))

    def straight(self, values: np.ndarray) -> float:
        """L of the straight line, had it these values (M,), spikes cut off."""
        return self.terms(capped(values), self.zeros()).value

    def left(self, state: PathState) -> float:
        """How far L may still fall: what a path has above its chord, the straight line in value from end to end."""
        chord = self.ends[0] + self.curve.t * (self.ends[1] - self.ends[0])
        return self.objective.left(state.objective, state.values, chord, self.lengths(self.zeros()))

    def stationary(self, state: PathState) -> bool:
        """Whether ∂L/∂b vanishes, in units of the problem: see :data:`AT_REST`."""
        fall = state.slope * BEND * self.distance() if np.isnan(state.decrement) else state.decrement
        return bool(state.slope == 0 or fall <= AT_REST * self.left(state))

    def slope(self, gradient: Any) -> float:
        """|∂L/∂c| of the scaled coefficients c_n = n b_n (of other bases than the sines, c = b)."""
        return norm(to_host(gradient).astype(np.float64) / self.curve.scale()[:, None])

    def state(
        self,
        step: int,
        b: Any,
        values: np.ndarray,
        reason: Ending | None = None,
        slope: float = float("nan"),
        memory: Any = None,
    ) -> PathState:
        """What is known of the path b after some steps."""
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


def norm(x: np.ndarray) -> float:
    """|x|, also where its square is beyond what a number can hold."""
    largest = float(np.abs(x).max(initial=0))
    return largest * float(np.linalg.norm(x / largest)) if 0 < largest < np.inf else largest


def _endpoints(landscape: Any, start: Any, end: Any) -> tuple[Any, Any, Any, Any]:
    """The landscape complete, and own copies of two different, finite endpoints and their displacement."""
    start, end = vector("start", start, landscape), vector("end", end, landscape)
    if start.ndim != 1 or start.shape != end.shape:
        raise ValueError(f"start and end have shapes {start.shape} and {end.shape}; expected two vectors of one size")
    for name, point in (("start", start), ("end", end)):
        if not np.isfinite(point).all():
            raise ValueError(f"{name} holds values that are not finite")
    landscape = as_landscape(landscape, start.size)
    start, end = (to_device(point, landscape.device, landscape.dtype).copy() for point in (start, end))
    displacement = landscape.displacement(start, end)
    if not to_host(displacement).any():
        raise ValueError("start and end are equal; expected two different points")
    if to_host(displacement != end - start).any():
        end = start + displacement
    return landscape, start, end, displacement
