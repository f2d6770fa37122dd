"""L-BFGS-GSS (Algorithm 1 of arXiv:2602.21276): limited-memory BFGS with a golden section line search."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Protocol

import numpy as np

from ..backend import array_module, to_device, to_host
from ..landscape import Evaluations, as_landscape
from .line_search import GOLDEN, Minimum, search_step

#: Below this cosine between y and s a pair holds no information on the curvature.
LEAST_COSINE = 1e-4
#: Below this y·s is too close to underflow to divide by.
LEAST_CURVATURE = float(np.finfo(np.float64).tiny)
#: A unit step is accepted if the value falls by this fraction of the slope (sufficient decrease).
SUFFICIENT_DECREASE = 1e-4
#: If the search along the gradient finds no lower value it is repeated this often, each time at shorter steps.
SHORTER = 3
#: Products are computed afresh at multiples of this many iterations; from there a run resumes bit-identical.
REFRESH = 10


class Stop(StrEnum):
    """Why L-BFGS-GSS ended."""

    TARGET_LOSS = "target loss"
    ZERO_GRADIENT = "zero gradient"
    #: No lower value along the negative gradient.
    LINE_SEARCH = "line search"
    NOT_FINITE = "not finite"


class Line(Protocol):
    """A function along the line x − u p."""

    @property
    def x(self) -> Any:
        """Return the variables, an array of any shape."""

    @property
    def evaluations(self) -> Evaluations:
        """Return the number of points evaluated so far."""

    def value_and_gradient(self, u: float = 0.0) -> tuple[float, Any]:
        """Return value and gradient at x − u p."""

    def direction(self, p: Any) -> None:
        """Set p."""

    def value(self, u: float) -> float:
        """Return f(x − u p)."""

    def move(self, u: float) -> None:
        """Move x to x − u p."""

    def refresh(self) -> None:
        """Compute anew whatever has accumulated rounding errors."""


class LandscapeLine:
    """A line on a landscape, evaluated by a span of the rows (ω, p), so that trial steps share the first layer."""

    def __init__(self, landscape: Any, x: Any) -> None:
        landscape = as_landscape(landscape, len(x))
        x = to_device(x, landscape.device, landscape.dtype)
        self._span = landscape.span(array_module(x).stack([x, x * 0]))

    @property
    def x(self) -> Any:
        """Return the point (D,)."""
        return self._span.basis[0]

    @property
    def evaluations(self) -> Evaluations:
        """Return the number of points evaluated so far."""
        return self._span.evaluations

    def value_and_gradient(self, u: float = 0.0) -> tuple[float, Any]:
        """Return value and gradient at x − u p."""
        values, pullback = self._span.values_and_pullback(np.array([[1.0, -u]]), rows=[0])
        return float(values[0]), pullback[0]

    def direction(self, p: Any) -> None:
        """Set p (D,)."""
        self._span.replace([1], p[None])

    def value(self, u: float) -> float:
        """Return the value at x − u p."""
        return float(self._span.values(np.array([[1.0, -u]]))[0])

    def move(self, u: float) -> None:
        """Move x to x − u p."""
        self._span.combine([0], np.array([[1.0, -u]]))

    def refresh(self) -> None:
        """Have the span compute its products anew, without accumulated rounding errors."""
        if hasattr(self._span, "refresh"):
            self._span.refresh()


@dataclass(frozen=True)
class LbfgsState:
    """One iteration of :func:`lbfgs_gss`.

    Attributes
    ----------
    iteration
        Iterations done.
    x
        The variables, a copy.
    value
        f(x).
    evaluations
        Points evaluated since the start.
    s, y
        The pairs of the history, oldest first: differences of x and of the gradient.
    last
        x and gradient of the iteration before, for the next pair; None after the history was cleared.
    reason
        Why the run ends here; None before its end.
    slope
        The gradient's norm |∇f(x)|.
    gradient
        ∇f(x) if the accepted unit step computed it; else None.
    decrement
        ½ ∇f·H ∇f, the expected decrease of f in the next step; NaN while the history is empty.
    """

    iteration: int
    x: Any
    value: float
    evaluations: Evaluations
    s: tuple[Any, ...] = ()
    y: tuple[Any, ...] = ()
    last: tuple[Any, Any] | None = None
    reason: Stop | None = None
    slope: float = float("nan")
    gradient: Any = None
    decrement: float = float("nan")


def _scalars(*arrays: Any) -> np.ndarray:
    """Return 0-d arrays of any device as host numbers, in one transfer."""
    return to_host(array_module(arrays[0]).stack(arrays)).astype(np.float64)


def _dot(a: Any, b: Any) -> Any:
    return (a.ravel().astype(np.float64, copy=False) * b.ravel().astype(np.float64, copy=False)).sum()


def two_loop(gradient: Any, s: tuple[Any, ...], y: tuple[Any, ...]) -> Any:
    """Return H ∇f by the two-loop recursion, H being the limited-memory inverse Hessian of the pairs s, y.

    The pairs are given oldest first. The initial H is (s·y / y·y) of the newest pair times the identity. All sums are
    float64, on the arrays' device.

    References
    ----------
    J. Nocedal and S. J. Wright, Numerical Optimization, 2nd ed., Springer, 2006, Algorithm 7.4.
    """
    q = gradient.astype(np.float64)
    pairs = [(a.astype(np.float64), b.astype(np.float64)) for a, b in zip(s, y, strict=True)]
    rho = [1 / _dot(a, b) for a, b in pairs]
    alphas: list[Any] = []
    for (a, b), r in zip(reversed(pairs), reversed(rho), strict=True):
        alphas.append(r * _dot(a, q))
        q = q - alphas[-1] * b
    if pairs:
        a, b = pairs[-1]
        q = q * (_dot(a, b) / _dot(b, b))
    for (a, b), r, alpha in zip(pairs, rho, reversed(alphas), strict=True):
        q = q + a * (alpha - r * _dot(b, q))
    return q


@dataclass
class _History:
    """The pairs s, y of the last iterations, oldest first, and the point and gradient before."""

    size: int
    s: tuple[Any, ...] = ()
    y: tuple[Any, ...] = ()
    last: tuple[Any, Any] | None = None

    def clear(self) -> None:
        self.s, self.y = (), ()

    def add(self, x: Any, gradient: Any) -> None:
        """Add the pair from the last point to x; a pair without information on the curvature clears the history."""
        if self.last is not None:
            ds, dy = x - self.last[0], gradient - self.last[1]
            ys, yy, ss = _scalars(_dot(dy, ds), _dot(dy, dy), _dot(ds, ds))
            resolved = min(ys, yy, ss) > LEAST_CURVATURE
            if resolved and ys / np.sqrt(yy) / np.sqrt(ss) >= LEAST_COSINE:
                oldest = max(0, len(self.s) + 1 - self.size)
                self.s, self.y = (*self.s, ds)[oldest:], (*self.y, dy)[oldest:]
            else:
                self.clear()
        self.last = (x, gradient)

    def direction(self, gradient: Any) -> tuple[Any, Any, Any]:
        """Return p = H ∇f, p·∇f and p·p."""
        p = two_loop(gradient, self.s, self.y)
        return p, *_scalars(_dot(p, gradient), _dot(p, p))


@dataclass(frozen=True)
class _LineSearch:
    """The line search of :func:`lbfgs_gss`, with its options."""

    first_step: float
    first_length: float | None
    unit_step: bool
    budget: int
    tolerance: float

    def step(
        self, line: Line, history: _History, direction: tuple[Any, Any, Any], value: float, gradient: Any
    ) -> tuple[Minimum, tuple[float, Any] | None]:
        """Return the step found (u = 0 if there is no lower value), and value and gradient of an accepted unit step.

        If a direction fails, the history is cleared and the negative gradient is tried, then shorter steps along it.
        """
        found, shrunk = None, 1.0
        p, slope, size = direction
        for attempt in range(2 + SHORTER):
            if attempt > 0:
                p, slope, size = history.direction(gradient)
            if history.s and not (np.isfinite(size) and slope > 0):
                history.clear()
                p = gradient
                slope = size = float(_scalars(_dot(gradient, gradient))[0])
            if not history.s:
                p, slope = self._shortened(p, slope, size)
            if shrunk < 1:
                p, slope = p * shrunk, slope * shrunk
            line.direction(p.astype(gradient.dtype))
            if self.unit_step and history.s:
                after = line.value_and_gradient(1.0)
                if after[0] <= value - SUFFICIENT_DECREASE * slope:
                    return Minimum(1.0, after[0], 1), after
            found = search_step(line.value, value, first=self.first_step, budget=self.budget, tolerance=self.tolerance)
            if found.u != 0:
                break
            if not history.s:  # every trial step lay beyond the point where the function rises again
                shrunk *= GOLDEN**self.budget
            history.clear()
        assert found is not None
        return found, None

    def _shortened(self, p: Any, slope: Any, size: Any) -> tuple[Any, Any]:
        """Limit the first trial step along the gradient to ``first_length``."""
        if self.first_length is None or not self.first_step * np.sqrt(size) > self.first_length:
            return p, slope
        shorter = self.first_length / (self.first_step * float(np.sqrt(size)))
        return p * shorter, slope * shorter


def _end(value: float, squared: float, loss_floor: float) -> Stop | None:
    """Return why a run ends at a value and a squared gradient norm; None if it does not."""
    if not (np.isfinite(value) and np.isfinite(squared)):
        return Stop.NOT_FINITE
    if value <= loss_floor and loss_floor > 0:
        return Stop.TARGET_LOSS
    return Stop.ZERO_GRADIENT if squared == 0 else None


def lbfgs_gss(
    line: Line,
    *,
    history: int = 10,
    first_step: float = 0.2,
    first_length: float | None = None,
    unit_step: bool = False,
    budget: int = 6,
    tolerance: float = 1e-4,
    loss_floor: float = 0.0,
    state: LbfgsState | None = None,
) -> Iterator[LbfgsState]:
    """Minimise a function by L-BFGS-GSS (Algorithm 1 of arXiv:2602.21276); yields the state of every iteration.

    Parameters
    ----------
    line
        The function along a line, which holds the variables.
    history
        m, the number of pairs kept; 0 gives steepest descent.
    first_step
        The first trial step of a line search, in units of the direction.
    first_length
        The largest length of the first trial step along the gradient, whose scale is unknown; None sets no limit.
    unit_step
        From the second iteration on, evaluate u = 1 first, with its gradient, and accept it on sufficient decrease;
        the golden section search runs only if it is refused.
    budget, tolerance
        Evaluations and relative tolerance of :func:`search_step`.
    loss_floor
        Target value: the run ends at a value this low; 0 turns it off.
    state
        A state to resume from, whose x is the line's.

    Yields
    ------
    LbfgsState
        Iteration 0 before any step (or ``state`` again), then one after each step. The last one has a ``reason``:
        ``"target loss"``, ``"zero gradient"``, ``"line search"`` (no lower value along the negative gradient) or
        ``"not finite"``.

    Raises
    ------
    ValueError
        If ``history`` is below 0.

    Notes
    -----
    ρ = 1/(y·s), without the constant that the authors' code adds to y·s: the constant dominates once y·s is smaller.
    The history is cleared, and the step falls back to the negative gradient, if a pair's cosine y·s/(|y||s|) is below
    1e-4, its products underflow, or the direction is not finite.
    """
    size = operator.index(history)
    if size < 0:
        raise ValueError(f"history is {size}; expected the number of pairs kept, at least 0")
    search = _LineSearch(first_step, first_length, unit_step, budget, tolerance)
    iteration = 0 if state is None else state.iteration
    pairs = _History(size) if state is None else _History(size, state.s, state.y, state.last)
    if state is None or state.gradient is None:
        value, gradient = line.value_and_gradient()
    else:
        value, gradient = state.value, state.gradient
    # The state has counted this evaluation already.
    before = Evaluations() if state is None else state.evaluations - line.evaluations

    def make(computed: Any = None) -> LbfgsState:
        counted = before + line.evaluations
        return LbfgsState(iteration, line.x.copy(), value, counted, pairs.s, pairs.y, pairs.last, gradient=computed)

    current = make(None if state is None else state.gradient)
    while True:
        squared = float(_scalars(_dot(gradient, gradient))[0])
        current = replace(current, slope=float(np.sqrt(squared)))
        if (reason := _end(value, squared, loss_floor)) is not None:
            yield replace(current, reason=reason)
            return
        pairs.add(current.x, gradient)
        direction = pairs.direction(gradient)
        current = replace(current, decrement=0.5 * float(direction[1]) if pairs.s else float("nan"))
        yield current
        found, after = search.step(line, pairs, direction, value, gradient)
        if found.u == 0:
            counted = before + line.evaluations
            yield replace(current, evaluations=counted, s=(), y=(), last=None, reason=Stop.LINE_SEARCH)
            return
        line.move(found.u)
        iteration += 1
        if iteration % REFRESH == 0:
            line.refresh()
        value, gradient = after or line.value_and_gradient()
        current = make(None if after is None else gradient)
