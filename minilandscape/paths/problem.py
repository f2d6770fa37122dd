"""L along a path as a function of its coefficients, through a span: what every solver of paths minimises."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backend import array_module, to_device, to_host
from ..landscape import Evaluations, LandscapeError, as_landscape, describe_point, vector
from .bases import BASES
from .objectives import PowerSum, SoftTop, Terms

#: The maximum is refined to this part of the range of the values, in so many rounds at most.
DENSE_TOLERANCE, DENSE_ROUNDS = 1e-6, 30
#: A step longer than this times the mean may jump over a barrier, and is looked into.
LONG_STEP = 1.5
#: The unit of L for line searches, in units of its first slope / distance.
LITTLE = 1e-9


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
        (M,) along the path, both ends included.
    objective
        L, Eq. (4), the penalty included.
    cumulative_loss, height, penalty, length
        Σ f, max f, the part of L that no value enters (λ Σ |Δω|²), and Σ |Δω| of this path.
    evaluations
        Points evaluated since the start.
    reason
        Why the solver ends here; None while it goes on.
    stage
        Of an objective that is minimised at one β after another. A new stage begins with the path of the step before,
        seen by the new objective.
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
    reason: str | None = None
    stage: int = 0


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
    """An error that the landscape raises is told which of some t (P,) its point belongs to, of points (P, D)."""
    try:
        yield
    except LandscapeError as error:
        if error.t is None and error.point is not None:
            away = points().astype(np.float64) - error.point
            error.t = float(t[int((away**2).sum(axis=1).argmin())])
            error.args = (f"at t = {error.t:.4g}, {error}",)
        raise


class BudgetSpentError(Exception):
    """The next points would be more than the budget."""


class Problem:
    """L as a function of b, at first 0, and its gradient, through a span of the rows (start, end, b_1, …, b_NF).

    Attributes
    ----------
    budget
        Points that may be evaluated in all, beyond which ``BudgetSpentError`` is raised; None lets any number.

    Raises
    ------
    ValueError, TypeError
        If the ends are no two different, finite vectors of the landscape's size.
    """

    def __init__(
        self,
        landscape: Any,
        start: Any,
        end: Any,
        n_terms: int,
        n_points: int,
        objective: PowerSum | SoftTop,
        basis: str = "sine",
    ) -> None:
        start, end = vector("start", start, landscape), vector("end", end, landscape)
        if start.ndim != 1 or start.shape != end.shape:
            raise ValueError(
                f"start and end have shapes {start.shape} and {end.shape}; expected two vectors of one size"
            )
        for name, point in (("start", start), ("end", end)):
            if not np.isfinite(point).all():
                raise ValueError(f"{name} holds values that are not finite")
        landscape = as_landscape(landscape, start.size)
        start, end = (to_device(point, landscape.device, landscape.dtype) for point in (start, end))
        displacement = landscape.displacement(start, end)
        if not to_host(displacement).any():
            raise ValueError("start and end are equal; expected two different points")
        if to_host(displacement != end - start).any():  # a periodic cell: the image of the end that is nearest
            end = start + displacement
        self.landscape, self.objective, self.basis, self.settled = landscape, objective, basis, False
        self.start, self.end, self.displacement = start, end, displacement
        self.budget: int | None = None
        self.t = np.linspace(0, 1, n_points)
        self.C = BASES[basis](self.t, n_terms)
        xp = array_module(start)
        self.b = xp.zeros((n_terms, landscape.size), dtype=landscape.dtype)
        self.span = landscape.span(xp.concatenate([start[None], end[None], self.b]))
        self.rows = range(2, 2 + n_terms)
        # The penalty sees steps only: Δω_m = Δt · displacement + Σ_n b_n ΔS_mn.
        self.dC = np.diff(self.C[:, 1:], axis=0)
        self.ends = self.values(self.C[[0, -1]], self.t[[0, -1]])
        self.lr: float | None = None
        self.height_linear: float | None = None

    @property
    def own_scale(self) -> bool:
        """Whether the landscape says how far to step: a network, whose losses are of order 1 and have no unit."""
        return self.landscape.path_defaults["lr"] is not None

    def at_fewer_points(self, n_points: int) -> Problem:
        """The same path at fewer points, with the steps weighing as heavily against the values."""
        fewer = copy(self)
        fewer.t = np.linspace(0, 1, n_points)
        fewer.C = BASES[self.basis](fewer.t, len(self.b))
        fewer.dC = np.diff(fewer.C[:, 1:], axis=0)
        fewer.objective = self.objective.at_fewer_points(n_points, len(self.t))
        return fewer

    def polygon(self, coefficients: np.ndarray) -> Problem:
        """The polygon through a band's images, their ways from the straight line being its coefficients (K, D)."""
        polygon, K, xp = copy(self), len(coefficients), array_module(self.start)
        polygon.basis, polygon.t = "hat", np.linspace(0, 1, K + 2)
        polygon.C = BASES["hat"](polygon.t, K)
        polygon.dC = np.diff(polygon.C[:, 1:], axis=0)
        polygon.b = to_device(coefficients, self.landscape.device, self.landscape.dtype)
        polygon.span = self.landscape.span(xp.concatenate([self.start[None], self.end[None], polygon.b]))
        polygon.span.evaluations += self.span.evaluations
        polygon.rows = range(2, 2 + K)
        return polygon

    def distance(self) -> float:
        """|end − start|."""
        return float(np.linalg.norm(to_host(self.displacement).astype(np.float64)))

    def settle(self, line_values: np.ndarray) -> None:
        """Fits the objective to the straight line's values (M,), once."""
        if not self.settled:
            self.objective, self.settled = self.objective.settle(line_values, self.distance()), True

    def spend(self, n_points: int) -> None:
        """Raises BudgetSpentError where so many more points are more than the budget."""
        counts = self.span.evaluations
        if self.budget is not None and counts.values + counts.gradients + n_points > self.budget:
            raise BudgetSpentError

    def values(self, C: np.ndarray, t: np.ndarray) -> np.ndarray:
        """(rows of C,), checked."""
        self.spend(len(C))
        with self.placing(C, t):
            values = self.span.values(C)
        self.check(values, t)
        return values

    def placing(self, C: np.ndarray, t: np.ndarray) -> AbstractContextManager[None]:
        """An error that the landscape raises is told which t its point belongs to."""
        return placing(t, lambda: self._points(C))

    def _points(self, C: np.ndarray) -> np.ndarray:
        """Rows of C (P, …) as points on the host."""
        C = to_device(C, self.landscape.device, self.landscape.dtype)
        return to_host(C @ self.span.basis[: C.shape[1]])

    def check(self, values: np.ndarray, t: np.ndarray) -> None:
        """Refuses values that are not finite, naming the point."""
        bad = np.flatnonzero(~np.isfinite(values))[:1]
        if bad.size:
            refuse_not_finite("value", values[bad], t[bad], self._points(BASES[self.basis](t[bad], len(self.b))))

    def check_gradient(self, gradient: Any) -> None:
        """Refuses a ∂L/∂b that is not finite, for which the points are asked one by one, naming the first such."""
        if bool(to_host(array_module(gradient).isfinite(gradient).all())):
            return
        for C, t in zip(self.C[1:-1, None], self.t[1:-1, None], strict=True):
            _, one = self.span.values_and_pullback(C, None, None)
            refuse_not_finite("gradient", to_host(one)[:1] / C[0, 0], t, self._points(C))
        raise LandscapeError("the gradient of L along the path is not finite")

    def all_values(self) -> np.ndarray:
        """(M,) along the path whose coefficients the span holds."""
        return self.along(self.values(self.C[1:-1], self.t[1:-1]))

    def along(self, interior: np.ndarray) -> np.ndarray:
        """(M,) from the values of the interior points."""
        return np.concatenate([self.ends[:1], interior, self.ends[1:]])

    def lengths(self, b: Any) -> np.ndarray:
        """The step lengths |Δω| (M − 1,), from the Gram matrix of (displacement, b)."""
        V = array_module(b).concatenate([self.displacement[None], b])
        gram = to_host(V @ V.T).astype(np.float64)
        return np.sqrt(np.maximum(np.einsum("mi,ij,mj->m", self.dC, gram, self.dC), 0))

    def lengths_pullback(self, by_lengths: np.ndarray, lengths: np.ndarray, b: Any) -> Any:
        """Σ_k ∂L/∂l_k ∂l_k/∂b_n = Σ_k ∂L/∂l_k (Δω_k / l_k) ΔS_kn, (N_F, D); 2 λ Σ_k Δω_k ΔS_kn for Eq. (4)."""
        V = array_module(b).concatenate([self.displacement[None], b])
        each = np.divide(by_lengths, lengths, out=np.zeros_like(lengths), where=lengths > 0)
        return to_device((each[:, None] * self.dC[:, 1:]).T @ self.dC, self.landscape.device, self.landscape.dtype) @ V

    def terms(self, values: np.ndarray, b: Any) -> Terms:
        """L of a path."""
        return self.objective.terms(values, self.lengths(b))

    def straight(self, values: np.ndarray) -> float:
        """L of the straight line, had it these values (M,)."""
        return self.terms(values, array_module(self.b).zeros_like(self.b)).value

    def chord(self) -> float:
        """L of a straight line whose values go straight from end to end: about the lowest that L can become."""
        return self.straight(self.ends[0] + self.t * (self.ends[1] - self.ends[0]))

    def gradient(
        self, span: Any, C: np.ndarray, rows: Any, b: Any, trial: bool = False
    ) -> tuple[np.ndarray, float, Any]:
        """Values (M,), L and ∂L/∂b (N_F, D); only a trial step's values may be infinite or NaN."""
        self.spend(len(C) - 2)
        lengths = self.lengths(b)

        def weights(interior: np.ndarray) -> np.ndarray:
            return self.objective.terms(self.along(interior), lengths).by_values[1:-1]

        with self.placing(C[1:-1], self.t[1:-1]):
            interior, pullback = span.values_and_pullback(C[1:-1], None if self.objective.linear else weights, rows)
        if not trial:
            self.check(interior, self.t[1:-1])
        values = self.along(interior)
        terms = self.objective.terms(values, lengths)
        return values, terms.value, pullback + self.lengths_pullback(terms.by_lengths, lengths, b)

    def state(self, step: int, b: Any, values: np.ndarray, reason: str | None = None) -> PathState:
        """What is known of the path b after some steps."""
        lengths = self.lengths(b)
        terms = self.objective.terms(values, lengths)
        return PathState(
            step=step,
            coefficients=b.copy(),
            values=values,
            objective=terms.value,
            cumulative_loss=float(values.sum()),
            height=float(values.max()),
            penalty=terms.penalty,
            length=float(lengths.sum()),
            evaluations=self.span.evaluations + Evaluations(),
            reason=reason,
        )


class PathLine:
    """L along lines of the scaled coefficients c_n = n b_n, through a span of the rows (ends, b, p).

    Attributes
    ----------
    unit
        What L is measured in: 1 on landscapes with a scale of their own. Elsewhere so little of the first slope that no
        step along a gradient is tried at less than the longest first length, from where a line search goes down by many
        orders of magnitude, but up by only one.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        xp, n = array_module(problem.b), len(problem.b)
        self._n = n
        # The higher the harmonic, the smaller its natural scale; corners and control points are all alike.
        scale = xp.arange(1, n + 1) if problem.basis == "sine" else xp.ones(n)
        self.scale = scale.astype(problem.landscape.dtype)[:, None]
        counted = problem.span.evaluations
        rows = [problem.start[None], problem.end[None], problem.b, xp.zeros_like(problem.b)]
        self.span = problem.span = problem.landscape.span(xp.concatenate(rows))
        self.span.evaluations += counted
        self.values = problem.ends
        self.unit = 1.0 if problem.own_scale else 0.0
        self._trial: tuple[float, np.ndarray] | None = None

    @property
    def b(self) -> Any:
        """(N, D): the coefficients."""
        return self.span.basis[2 : 2 + self._n]

    @property
    def x(self) -> Any:
        """The scaled coefficients, which the optimiser moves."""
        return self.b * self.scale

    @property
    def evaluations(self) -> Evaluations:
        """The points evaluated so far."""
        return self.span.evaluations

    def all_values(self) -> np.ndarray:
        """(M,) at x."""
        problem = self.problem
        return problem.along(problem.values(self._coefficients(0.0)[1:-1], problem.t[1:-1]))

    def _coefficients(self, u: float) -> np.ndarray:
        C = self.problem.C
        return np.concatenate([C, -u * C[:, 2:]], axis=1)

    def value_and_gradient(self, u: float = 0.0) -> tuple[float, Any]:
        """L and its gradient at x − u p, in units of the first slope."""
        problem, b = self.problem, self.b
        if u:
            b = b - u * self.span.basis[2 + self._n :]
        C = self._coefficients(u)
        values, value, gradient = problem.gradient(self.span, C, problem.rows, b, trial=u != 0)
        if u:
            self._trial = (u, values)
        else:
            self.values = values
        gradient = gradient / self.scale
        if not self.unit:
            slope = float(np.linalg.norm(to_host(gradient).astype(np.float64)))
            self.unit = LITTLE * slope / problem.distance() if slope and np.isfinite(slope) else 1.0
        return value / self.unit, gradient / self.unit

    def direction(self, p: Any) -> None:
        """Sets p."""
        self._trial = None
        self.span.replace(range(2 + self._n, 2 + 2 * self._n), p / self.scale)

    def value(self, u: float) -> float:
        """L at x − u p."""
        problem = self.problem
        C = self._coefficients(u)[1:-1]
        problem.spend(len(C))
        with problem.placing(C, problem.t[1:-1]):
            interior = self.span.values(C)
        return problem.terms(problem.along(interior), self.b - u * self.span.basis[2 + self._n :]).value / self.unit

    def move(self, u: float) -> None:
        """x becomes x − u p."""
        n = self._n
        mix = np.zeros((n, 2 + 2 * n))
        mix[range(n), range(2, 2 + n)] = 1
        mix[range(n), range(2 + n, 2 + 2 * n)] = -u
        self.span.combine(range(2, 2 + n), mix)
        if self._trial is not None and self._trial[0] == u:
            self.values = self._trial[1]

    def refresh(self) -> None:
        """Forms anew what rounding has gathered in."""
        if hasattr(self.span, "refresh"):
            self.span.refresh()


def path_maximum(problem: Problem, best: PathState) -> tuple[float, float]:
    """Maximum over t: steps that are long are looked into, then the intervals beside high peaks halved.

    Between samples a peak stands at most a quarter as far above the highest one as that stands above its neighbours, if
    the peak is a parabola there; four times as much is allowed for.
    """
    t, values = problem.t, best.values
    n = len(best.coefficients)
    if n:
        problem.span.replace(range(2, 2 + n), best.coefficients)
    pad = problem.span.basis.shape[0] - 2 - n
    eps = float(np.finfo(problem.landscape.dtype).eps)
    tolerance = max(DENSE_TOLERANCE * float(np.ptp(values)), 4 * eps * float(np.abs(values).max()))
    lengths = problem.lengths(best.coefficients)
    cuts = np.ceil(lengths / (LONG_STEP * lengths.mean())).astype(int)
    new = np.concatenate([np.linspace(a, b, c + 1)[1:-1] for a, b, c in zip(t[:-1], t[1:], cuts, strict=True)])
    for _ in range(DENSE_ROUNDS):
        if new.size:
            more = problem.values(np.pad(BASES[problem.basis](new, n), ((0, 0), (0, pad))), new)
            order = np.argsort(np.concatenate([t, new]), kind="stable")
            t, values = np.concatenate([t, new])[order], np.concatenate([values, more])[order]
        # A lower sample may stand beside a higher peak, so none is left out; a plateau is seen to at its last point.
        padded = np.concatenate([[-np.inf], values, [-np.inf]])
        peaks = np.flatnonzero((values >= padded[:-2]) & (values > padded[2:]))
        drops = values[peaks] - np.minimum(values[np.maximum(peaks - 1, 0)], values[np.minimum(peaks + 1, len(t) - 1)])
        peaks = peaks[(values[peaks] + drops >= values.max()) & (drops > tolerance)]
        left = np.unique(np.concatenate([peaks - 1, peaks]))
        left = left[(left >= 0) & (left < len(t) - 1)]
        new = 0.5 * (t[left] + t[left + 1])
        new = new[(new > t[left]) & (new < t[left + 1])]
        if not new.size:
            break
    k = int(values.argmax())
    return float(values[k]), float(t[k])
