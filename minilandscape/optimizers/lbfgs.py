"""L-BFGS-GSS, Algorithm 1: the limited-memory quasi-Newton method with a golden section search."""

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

#: Below this cosine between y and s a pair says nothing of the curvature.
LEAST_COSINE = 1e-4
#: Below this y·s is too near the underflow to be divided by.
LEAST_CURVATURE = float(np.finfo(np.float64).tiny)
#: Sufficient decrease, as a part of the slope, that accepts a unit step.
SUFFICIENT_DECREASE = 1e-4
#: Where even the gradient's own search found nothing lower, it is repeated so often, each time just below the last.
SHORTER = 3
#: A line's products are computed afresh at multiples of this many iterations; a run may resume there bit for bit.
REFRESH = 10


class Stop(StrEnum):
    """Why L-BFGS-GSS has no next step."""

    LOSS_FLOOR = "loss floor"
    ZERO_GRADIENT = "zero gradient"
    #: Not even the gradient leads down.
    LINE_SEARCH = "line search"
    NOT_FINITE = "not finite"


class Line(Protocol):
    """A function of x along lines x − u p."""

    @property
    def x(self) -> Any:
        """The variables, an array of any shape."""

    @property
    def evaluations(self) -> Evaluations:
        """What was evaluated so far."""

    def value_and_gradient(self, u: float = 0.0) -> tuple[float, Any]:
        """At x − u p."""

    def direction(self, p: Any) -> None:
        """Sets p."""

    def value(self, u: float) -> float:
        """f(x − u p)."""

    def move(self, u: float) -> None:
        """x becomes x − u p."""

    def refresh(self) -> None:
        """Forgets what rounding may have touched."""


class LandscapeLine:
    """Lines on a landscape, through a span of the rows (ω, p): trial steps share the first layer's products."""

    def __init__(self, landscape: Any, x: Any) -> None:
        landscape = as_landscape(landscape, len(x))
        x = to_device(x, landscape.device, landscape.dtype)
        self._span = landscape.span(array_module(x).stack([x, x * 0]))

    @property
    def x(self) -> Any:
        """(D,): the point."""
        return self._span.basis[0]

    @property
    def evaluations(self) -> Evaluations:
        """The points evaluated so far."""
        return self._span.evaluations

    def value_and_gradient(self, u: float = 0.0) -> tuple[float, Any]:
        """At x − u p."""
        values, pullback = self._span.values_and_pullback(np.array([[1.0, -u]]), rows=[0])
        return float(values[0]), pullback[0]

    def direction(self, p: Any) -> None:
        """Sets p (D,)."""
        self._span.replace([1], p[None])

    def value(self, u: float) -> float:
        """At x − u p."""
        return float(self._span.values(np.array([[1.0, -u]]))[0])

    def move(self, u: float) -> None:
        """x becomes x − u p."""
        self._span.combine([0], np.array([[1.0, -u]]))

    def refresh(self) -> None:
        """Forms anew what rounding has gathered in."""
        if hasattr(self._span, "refresh"):
            self._span.refresh()


@dataclass(frozen=True)
class LbfgsState:
    """One iteration of :func:`lbfgs_gss`.

    Attributes
    ----------
    iteration
        Steps taken.
    x
        The variables, a copy.
    value
        f(x).
    evaluations
        Since the start.
    s, y
        The pairs of the history, oldest first, never changed.
    last
        x and gradient of the step before, from which the next pair comes; None where the history was cleared.
    reason
        Why the run ends here; None before its end.
    slope
        |∇f(x)|.
    gradient
        ∇f(x), where the accepted trial step brought it along; None where it was evaluated at x.
    decrement
        ½ ∇f·H ∇f, by how much the next step should lower f; NaN where no pair says anything of H.
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
    """0-d arrays, wherever they are, as host numbers in one transfer."""
    return to_host(array_module(arrays[0]).stack(arrays)).astype(np.float64)


def _dot(a: Any, b: Any) -> Any:
    return (a.ravel().astype(np.float64, copy=False) * b.ravel().astype(np.float64, copy=False)).sum()


def two_loop(gradient: Any, s: tuple[Any, ...], y: tuple[Any, ...]) -> Any:
    """H ∇f by the two-loop recursion, H the limited-memory inverse Hessian of the pairs s, y (oldest first).

    The initial H is (s·y / y·y) of the newest pair times the identity. All sums are taken in float64, where the
    arrays are.
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
    """Minimises a function by L-BFGS with a golden section search (Algorithm 1); yields every iteration.

    Parameters
    ----------
    line
        The function.
    history
        m, pairs kept; 0 keeps none, which leaves the gradient's direction.
    first_step
        The first trial step of a line search, in units of the direction.
    first_length
        A step along the gradient, which knows no length of its own, is tried no longer than this; None lets it.
    unit_step
        From the second iteration on, try u = 1 first, with its gradient, and take it on sufficient decrease; the
        golden section runs only when it is refused.
    budget, tolerance
        Of :func:`search_step`.
    loss_floor
        Ends the run at a value this low; 0 turns it off.
    state
        A state to resume from, its x being the line's.

    Yields
    ------
    LbfgsState
        First iteration 0 before any step (or ``state`` again), then one after each step. The last has a reason:
        ``"loss floor"``, ``"zero gradient"``, ``"line search"`` (not even the gradient leads down) or
        ``"not finite"``.

    Raises
    ------
    ValueError
        If ``history`` is below 0.

    Notes
    -----
    rho = 1/(y·s), without the constant that the authors' code adds to y·s, which swallows the curvature once y·s is
    smaller. The history is cleared, and the step falls back to the gradient, when a pair's cosine y·s/(|y||s|) is
    below 1e-4, its products underflow, or the direction is not finite.
    """
    history = operator.index(history)
    if history < 0:
        raise ValueError(f"history is {history}; expected the number of pairs kept, at least 0")
    iteration = 0 if state is None else state.iteration
    s: tuple[Any, ...] = () if state is None else state.s
    y: tuple[Any, ...] = () if state is None else state.y
    last = None if state is None else state.last
    if state is None or state.gradient is None:
        value, gradient = line.value_and_gradient()
    else:
        value, gradient = state.value, state.gradient
    # The state has counted this evaluation already.
    before = Evaluations() if state is None else state.evaluations - line.evaluations

    def make(brought: Any = None) -> LbfgsState:
        counted = before + line.evaluations
        return LbfgsState(iteration, line.x.copy(), value, counted, s, y, last, gradient=brought)

    current = make(None if state is None else state.gradient)
    while True:
        x = current.x
        squared = float(_scalars(_dot(gradient, gradient))[0])
        current = replace(current, slope=float(np.sqrt(squared)))
        if not (np.isfinite(value) and np.isfinite(squared)):
            yield replace(current, reason=Stop.NOT_FINITE)
            return
        if value <= loss_floor and loss_floor > 0:
            yield replace(current, reason=Stop.LOSS_FLOOR)
            return
        if squared == 0:
            yield replace(current, reason=Stop.ZERO_GRADIENT)
            return
        if last is not None:
            ds, dy = x - last[0], gradient - last[1]
            ys, yy, ss = _scalars(_dot(dy, ds), _dot(dy, dy), _dot(ds, ds))
            resolved = min(ys, yy, ss) > LEAST_CURVATURE
            if resolved and ys / np.sqrt(yy) / np.sqrt(ss) >= LEAST_COSINE:
                oldest = max(0, len(s) + 1 - history)
                s, y = (*s, ds)[oldest:], (*y, dy)[oldest:]
            else:
                s, y = (), ()
        last = (x, gradient)
        p = two_loop(gradient, s, y)
        slope, size = _scalars(_dot(p, gradient), _dot(p, p))
        current = replace(current, decrement=0.5 * float(slope) if s else float("nan"))
        yield current
        found = after = None
        shrunk = 1.0
        for attempt in range(2 + SHORTER):
            if attempt > 0:
                p = two_loop(gradient, s, y)
                slope, size = _scalars(_dot(p, gradient), _dot(p, p))
            if s and not (np.isfinite(size) and slope > 0):
                s, y = (), ()
                p, slope, size = gradient, squared, squared
            if not s and first_length is not None and first_step * np.sqrt(size) > first_length:
                shorter = first_length / (first_step * float(np.sqrt(size)))
                p, slope = p * shorter, slope * shorter
            if shrunk < 1:
                p, slope = p * shrunk, slope * shrunk
            line.direction(p.astype(gradient.dtype))
            if unit_step and s:
                after = line.value_and_gradient(1.0)
                if after[0] <= value - SUFFICIENT_DECREASE * slope:
                    found = Minimum(1.0, after[0], 1)
                    break
                after = None
            found = search_step(line.value, value, first=first_step, budget=budget, tolerance=tolerance)
            if found.u != 0:
                break
            if not s:  # the whole search lay beyond the point where it goes up again
                shrunk *= GOLDEN**budget
            s, y = (), ()
        assert found is not None
        if found.u == 0:
            yield replace(
                current, evaluations=before + line.evaluations, s=(), y=(), last=None, reason=Stop.LINE_SEARCH
            )
            return
        line.move(found.u)
        iteration += 1
        if iteration % REFRESH == 0:
            line.refresh()
        value, gradient = after or line.value_and_gradient()
        current = make(None if after is None else gradient)
