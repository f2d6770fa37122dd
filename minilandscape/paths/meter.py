"""Count the evaluations of a search, keep its budget, and assign errors to positions on the path."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..landscape import Evaluations, LandscapeError, Span, Weights, describe_point


class BudgetSpentError(Exception):
    """Raised where the next points would exceed the budget."""


class Meter:
    """A counter of the points of a search, second passes included, with a budget.

    Attributes
    ----------
    budget
        Largest number of points, with and without gradients; None for no limit.
    reserved
        Number of these points that are reserved for later.
    evaluations
        Numbers of evaluations so far.
    rounds
        Number of batches; points of one batch may be evaluated in parallel.
    failures
        Number of trial points that could not be evaluated, or whose values are not finite: walls, which are avoided.
    last_failure
        Message of the last one.
    """

    def __init__(self, budget: int | None = None) -> None:
        self.budget, self.reserved = budget, 0
        self.evaluations = Evaluations()
        self.rounds = 0
        self.failures = 0
        self.last_failure = ""

    @property
    def spent(self) -> int:
        """The number of points so far, with and without gradients."""
        return self.evaluations.values + self.evaluations.gradients

    def spend(self, n_points: int) -> None:
        """Raise BudgetSpentError where n_points more points exceed the budget."""
        if self.budget is not None and self.spent + n_points + self.reserved > self.budget:
            raise BudgetSpentError

    @contextmanager
    def unlimited(self) -> Iterator[None]:
        """Suspend the budget for evaluations that are not part of the search."""
        budget, self.budget = self.budget, None
        try:
            yield
        finally:
            self.budget = budget

    def values(self, span: Span, C: np.ndarray) -> np.ndarray:
        """Evaluate values (P,) of the points C (P, R) @ basis."""
        self.spend(len(C))
        with self._counting(span):
            return span.values(C)

    def pullback(self, span: Span, C: np.ndarray, weights: Weights, rows: Any) -> tuple[np.ndarray, Any]:
        """Evaluate values (P,), and the gradients pulled back to some rows."""
        second_pass = callable(weights) and getattr(span, "weighs_in_a_second_pass", False)
        self.spend(len(C) * (2 if second_pass else 1))
        with self._counting(span):
            return span.values_and_pullback(C, weights, rows)

    @contextmanager
    def uncounted(self) -> Iterator[None]:
        """Suspend counting for points that were counted before."""
        before = self.evaluations + Evaluations(), self.rounds
        with self.unlimited():
            yield
        self.evaluations, self.rounds = before

    def count(self, n_gradients: int, rounds: int = 1) -> None:
        """Count points that were evaluated with gradients elsewhere, in so many batches."""
        self.evaluations += Evaluations(0, n_gradients)
        self.rounds += rounds

    @contextmanager
    def _counting(self, span: Span) -> Iterator[None]:
        before = span.evaluations + Evaluations()
        try:
            yield
        finally:
            self.evaluations += span.evaluations - before
            self.rounds += 1

    def walled(self, evaluate: Callable[[], np.ndarray], n_points: int) -> np.ndarray:
        """Evaluate values (P,) of a trial step: infinite where the landscape raises, so that the step is rejected."""
        try:
            values = evaluate()
        except LandscapeError as error:
            self.note_wall(str(error))
            return np.full(n_points, np.inf)
        if not (finite := np.isfinite(values)).all():
            self.note_wall(f"a value is {values[~finite][0]}", int((~finite).sum()))
        return values

    def note_wall(self, message: str, n_points: int = 1) -> None:
        """Count trial points that could not be evaluated."""
        self.failures, self.last_failure = self.failures + n_points, message


def refuse_not_finite(quantity: str, numbers: np.ndarray, t: np.ndarray, points: np.ndarray) -> None:
    """Raise for the first of points (P, D) whose value (P,) or gradient (P, D) is not finite."""
    if np.isfinite(numbers).all():
        return
    for number, place, point in zip(numbers.reshape(len(t), -1), t, points, strict=True):
        bad = number[~np.isfinite(number)]
        if bad.size:
            found = f"the {quantity} at t = {place:.4g} {'is' if number.size == 1 else 'holds'} {bad[0]}"
            raise LandscapeError(f"{found}, at {describe_point(point)}", point, float(place))


@contextmanager
def placing(t: np.ndarray, points: Callable[[], np.ndarray]) -> Iterator[None]:
    """Add to an error of the landscape the t (P,) that its point belongs to, among points (P, D)."""
    try:
        yield
    except LandscapeError as error:
        if error.t is None and error.point is not None:
            away = points().astype(np.float64) - error.point
            error.t = float(t[int((away**2).sum(axis=1).argmin())])
            error.args = (f"at t = {error.t:.4g}, {error}",)
        raise
