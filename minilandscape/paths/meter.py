"""The one counter of what a search evaluates: its budget, its walls, and where an error belongs on the path."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..landscape import Evaluations, LandscapeError, Span, Weights, describe_point


class BudgetSpentError(Exception):
    """The next points would be more than the budget."""


class Meter:
    """Counts the points of a search, second passes included, and refuses those beyond its budget.

    Attributes
    ----------
    budget
        Points that may be evaluated in all, with and without gradients; None for any number.
    reserved
        Of these, points that are kept for what comes next.
    evaluations
        The points so far.
    rounds
        How many batches they came in: points of one batch may be evaluated side by side.
    failures
        Trial points that could not be evaluated, or whose values are not finite: walls, which a search goes around.
    last_failure
        What the last of them said.
    """

    def __init__(self, budget: int | None = None) -> None:
        self.budget, self.reserved = budget, 0
        self.evaluations = Evaluations()
        self.rounds = 0
        self.failures = 0
        self.last_failure = ""

    @property
    def spent(self) -> int:
        """Points so far, with and without gradients."""
        return self.evaluations.values + self.evaluations.gradients

    def spend(self, n_points: int) -> None:
        """Raises BudgetSpentError where so many more points are more than the budget."""
        if self.budget is not None and self.spent + n_points + self.reserved > self.budget:
            raise BudgetSpentError

    @contextmanager
    def unlimited(self) -> Iterator[None]:
        """Evaluates what the search itself does not decide by, whatever the budget."""
        budget, self.budget = self.budget, None
        try:
            yield
        finally:
            self.budget = budget

    def values(self, span: Span, C: np.ndarray) -> np.ndarray:
        """Values (P,) of the points C (P, R) @ basis."""
        self.spend(len(C))
        with self._counting(span):
            return span.values(C)

    def pullback(self, span: Span, C: np.ndarray, weights: Weights, rows: Any) -> tuple[np.ndarray, Any]:
        """Values (P,), and the gradients pulled back to some rows."""
        second_pass = callable(weights) and getattr(span, "weighs_in_a_second_pass", False)
        self.spend(len(C) * (2 if second_pass else 1))
        with self._counting(span):
            return span.values_and_pullback(C, weights, rows)

    @contextmanager
    def uncounted(self) -> Iterator[None]:
        """Evaluates again what has been counted before."""
        before = self.evaluations + Evaluations(), self.rounds
        with self.unlimited():
            yield
        self.evaluations, self.rounds = before

    def count(self, n_gradients: int) -> None:
        """Adds a batch of points that were evaluated with their gradients elsewhere."""
        self.evaluations += Evaluations(0, n_gradients)
        self.rounds += 1

    @contextmanager
    def _counting(self, span: Span) -> Iterator[None]:
        before = span.evaluations + Evaluations()
        try:
            yield
        finally:
            self.evaluations += span.evaluations - before
            self.rounds += 1

    def walled(self, evaluate: Callable[[], np.ndarray], n_points: int) -> np.ndarray:
        """Values (P,) of a trial step: all infinite where the landscape raises, so that the step is refused."""
        try:
            values = evaluate()
        except LandscapeError as error:
            self.note_wall(str(error))
            return np.full(n_points, np.inf)
        if not (finite := np.isfinite(values)).all():
            self.note_wall(f"a value is {values[~finite][0]}", int((~finite).sum()))
        return values

    def note_wall(self, said: str, n_points: int = 1) -> None:
        """Takes into account that some trial points could not be evaluated."""
        self.failures, self.last_failure = self.failures + n_points, said


def refuse_not_finite(what: str, numbers: np.ndarray, t: np.ndarray, points: np.ndarray) -> None:
    """Raises for the first of some points (P, D) whose value (P,) or gradient (P, D) holds what is not finite."""
    if np.isfinite(numbers).all():
        return
    for number, place, point in zip(numbers.reshape(len(t), -1), t, points, strict=True):
        bad = number[~np.isfinite(number)]
        if bad.size:
            what = f"the {what} at t = {place:.4g} {'is' if number.size == 1 else 'holds'} {bad[0]}"
            raise LandscapeError(f"{what}, at {describe_point(point)}", point, float(place))


@contextmanager
def placing(t: np.ndarray, points: Callable[[], np.ndarray]) -> Iterator[None]:
    """Tells an error that the landscape raises which of some t (P,) its point belongs to, of points (P, D)."""
    try:
        yield
    except LandscapeError as error:
        if error.t is None and error.point is not None:
            away = points().astype(np.float64) - error.point
            error.t = float(t[int((away**2).sum(axis=1).argmin())])
            error.args = (f"at t = {error.t:.4g}, {error}",)
        raise
