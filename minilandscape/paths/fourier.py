"""FourierPathFinder, Algorithm 2: a low path as a straight line and a truncated sine series."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from math import ceil, sqrt
from typing import Any

import numpy as np

from ..backend import array_module, to_device, to_host
from ..landscape import Evaluations, LandscapeError, as_landscape, describe_point
from ..optimizers import Adam, lbfgs_gss
from .bases import BASES
from .neb import Band, band_path, nudged_band
from .objectives import PowerSum, SoftTop, Terms, make_objective
from .result import HISTORY, Path

SOLVERS = ("adam", "lbfgs-gss", "auto")
METHODS = ("fourier", "linear", "bezier", "polyline", "neb", "autoneb")
#: The basis of each path family.
FAMILIES = {"fourier": "sine", "linear": "sine", "bezier": "bernstein", "polyline": "hat"}
OBJECTIVES = ("sum", "maxflux", "smoothmax")
#: A path stands still when the last tenth of its steps lowered L by less than this part of all that was gained, and,
#: where that is asked for, of all that is left above the chord.
STILL, STILL_ABOVE = 1e-4, 0.01
LEAST_STEPS = {"adam": 100, "lbfgs-gss": 10, "auto": 10}
#: β stages at most, and how little a stage has to lower the height, in units of the objective's scale, to be the last.
MOST_STAGES, HEIGHT_STILL = 12, 1e-4
MOST_STEPS = {"adam": 10_000, "lbfgs-gss": 500, "auto": 500}
#: Points a Fourier term with which "auto" begins, its iterations there that count as a step, and the part of all that
#: was gained on L that such a step has to gain, lest all points be taken.
FEW_POINTS, ITERATIONS_A_STEP, FEW_STILL = 1.5, 10, 0.01
#: The longest first trial step of L-BFGS-GSS, as a part of the distance between the ends.
FIRST_BEND = 0.1
#: The dense height is refined to this part of the range of the values, in so many rounds at most.
DENSE_TOLERANCE, DENSE_ROUNDS = 1e-6, 30
#: A step longer than this times the mean may jump over a barrier, and is looked into.
LONG_STEP = 1.5


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


class SearchInterrupted(KeyboardInterrupt):
    """A search was interrupted; ``best`` is the best path so far."""

    def __init__(self, best: Path) -> None:
        super().__init__("interrupted")
        self.best = best


class _Problem:
    """L as a function of b, and its gradient, through a span of the rows (start, end, b_1, …, b_NF)."""

    def __init__(
        self,
        landscape: Any,
        start: Any,
        end: Any,
        t: np.ndarray,
        n_terms: int,
        objective: PowerSum | SoftTop,
        basis: str = "sine",
    ) -> None:
        self.landscape, self.t, self.objective = landscape, t, objective
        self.settled = False
        xp = array_module(start)
        self.start, self.displacement = start, landscape.displacement(start, end)
        if to_host(self.displacement != end - start).any():  # a periodic cell: the image of the end that is nearest
            end = start + self.displacement
        self.end = end
        self.basis = basis
        self.C = BASES[basis](t, n_terms)
        self.b = xp.zeros((n_terms, landscape.size), dtype=landscape.dtype)
        self.span = landscape.span(xp.concatenate([start[None], end[None], self.b]))
        self.rows = range(2, 2 + n_terms)
        # The penalty sees steps only: Δω_m = Δt · displacement + Σ_n b_n ΔS_mn.
        self.dC = np.diff(self.C[:, 1:], axis=0)
        self.ends = self._values(self.C[[0, -1]], t[[0, -1]])
        self.lr: float | None = None
        self.height_linear: float | None = None

    def at_fewer_points(self, n_points: int) -> _Problem:
        """The same path at fewer points, with the steps weighing as heavily against the values."""
        fewer = copy(self)
        fewer.t = np.linspace(0, 1, n_points)
        fewer.C = BASES[self.basis](fewer.t, len(self.b))
        fewer.dC = np.diff(fewer.C[:, 1:], axis=0)
        fewer.objective = self.objective.at_fewer_points(n_points, len(self.t))
        return fewer

    def _values(self, C: np.ndarray, t: np.ndarray) -> np.ndarray:
        with self.placing(C, t):
            values = self.span.values(C)
        self.check(values, t)
        return values

    @contextmanager
    def placing(self, C: np.ndarray, t: np.ndarray) -> Iterator[None]:
        """An error that the landscape raises is told which t its point belongs to."""
        try:
            yield
        except LandscapeError as error:
            if error.t is None and error.point is not None:
                C = to_device(C, self.landscape.device, self.landscape.dtype)
                away = to_host(C @ self.span.basis).astype(np.float64) - error.point
                error.t = float(t[int((away**2).sum(axis=1).argmin())])
                error.args = (f"at t = {error.t:.4g}, {error}",)
            raise

    def check(self, values: np.ndarray, t: np.ndarray) -> None:
        """Refuses values that are not finite, naming the point."""
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            C = to_device(BASES[self.basis](t[bad[:1]], len(self.b)), self.landscape.device, self.landscape.dtype)
            point = (C @ self.span.basis[: self.C.shape[1]])[0]
            what = f"t = {t[bad[0]]:.4g} is {values[bad[0]]}, at {describe_point(to_host(point))}"
            raise LandscapeError(f"the value at {what}", point, float(t[bad[0]]))

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

    def chord(self) -> float:
        """L of a straight line whose values go straight from end to end: about the lowest that L can become."""
        values = self.ends[0] + self.t * (self.ends[1] - self.ends[0])
        return self.terms(values, array_module(self.b).zeros_like(self.b)).value

    def gradient(
        self, span: Any, C: np.ndarray, rows: Any, b: Any, trial: bool = False
    ) -> tuple[np.ndarray, float, Any]:
        """Values (M,), L and ∂L/∂b (N_F, D); only a trial step's values may be infinite or NaN."""
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


class _PathLine:
    """L along lines of the scaled coefficients c_n = n b_n, through a span of the rows (ends, b, p)."""

    def __init__(self, problem: _Problem) -> None:
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
        self._trial: tuple[float, np.ndarray] | None = None

    @property
    def b(self) -> Any:
        return self.span.basis[2 : 2 + self._n]

    @property
    def x(self) -> Any:
        return self.b * self.scale

    @property
    def evaluations(self) -> Evaluations:
        return self.span.evaluations

    def all_values(self) -> np.ndarray:
        """(M,) at x."""
        problem = self.problem
        return problem.along(problem._values(self._coefficients(0.0)[1:-1], problem.t[1:-1]))

    def _coefficients(self, u: float) -> np.ndarray:
        C = self.problem.C
        return np.concatenate([C, -u * C[:, 2:]], axis=1)

    def value_and_gradient(self, u: float = 0.0) -> tuple[float, Any]:
        problem, b = self.problem, self.b
        if u:
            b = b - u * self.span.basis[2 + self._n :]
        C = self._coefficients(u)
        values, value, gradient = problem.gradient(self.span, C, problem.rows, b, trial=u != 0)
        if u:
            self._trial = (u, values)
        else:
            self.values = values
        return value, gradient / self.scale

    def direction(self, p: Any) -> None:
        self._trial = None
        self.span.replace(range(2 + self._n, 2 + 2 * self._n), p / self.scale)

    def value(self, u: float) -> float:
        problem = self.problem
        C = self._coefficients(u)[1:-1]
        with problem.placing(C, problem.t[1:-1]):
            interior = self.span.values(C)
        return problem.terms(problem.along(interior), self.b - u * self.span.basis[2 + self._n :]).value

    def move(self, u: float) -> None:
        n = self._n
        mix = np.zeros((n, 2 + 2 * n))
        mix[range(n), range(2, 2 + n)] = 1
        mix[range(n), range(2 + n, 2 + 2 * n)] = -u
        self.span.combine(range(2, 2 + n), mix)
        if self._trial is not None and self._trial[0] == u:
            self.values = self._trial[1]

    def refresh(self) -> None:
        if hasattr(self.span, "refresh"):
            self.span.refresh()


class FourierPathFinder:
    """Finds a low path ω(t) = (1 − t) start + t end + Σ_n b_n sin(nπt) between two points (Eqs. 3–5, Algorithm 2).

    It minimises L over b at M equally spaced t: Σ_m F_m + λ Σ_m |ω(t_{m+1}) − ω(t_m)|² with F = (f − offset)^power,
    or another objective of the values and the steps between them.

    Parameters
    ----------
    landscape
        Anything that :func:`~minilandscape.landscape.as_landscape` takes.
    n_terms
        N_F.
    n_points
        M, both ends included.
    lam
        λ of the sum. None takes the landscape's own default (1e-4 on networks), or else
        0.1 (M − 1) M · median_m(F_m − min F) / |end − start|² over the straight line.
    lr
        Adam's learning rate. None takes the landscape's own (1e-3 on networks), or |end − start| / (100 √D).
    objective
        ``"sum"``, Eq. (4); ``"maxflux"`` or ``"smoothmax"``, which weigh the top of the path, with β raised from
        stage to stage until the height falls no more. None takes the landscape's own: the sum on networks, else
        MaxFlux.
    power, offset
        Of the sum's summand.
    solver
        ``"adam"`` (Algorithm 2); ``"lbfgs-gss"`` on the scaled coefficients n·b_n; or ``"auto"``, the same at first
        on 1.5 N_F points only, each ten iterations of which count as one step, until ten of them lower L by less than
        1 % of all that was gained.

    Raises
    ------
    ValueError
        If options are out of range or do not go together.
    """

    def __init__(
        self,
        landscape: Any,
        n_terms: int = 10,
        n_points: int = 50,
        *,
        lam: float | None = None,
        lr: float | None = None,
        objective: str | None = None,
        power: float = 1,
        offset: float = 0.0,
        solver: str = "adam",
    ) -> None:
        if n_terms < 1:
            raise ValueError(f"n_terms is {n_terms}; expected at least 1")
        if n_points < 3:
            raise ValueError(f"n_points is {n_points}; expected at least 3, both ends included")
        if solver not in SOLVERS:
            raise ValueError(f"solver is {solver!r}; expected one of {', '.join(SOLVERS)}")
        if objective not in (None, *OBJECTIVES):
            raise ValueError(f"objective is {objective!r}; expected one of {', '.join(OBJECTIVES)}")
        landscape = as_landscape(landscape)
        objective = landscape.path_defaults["objective"] if objective is None else objective
        if lr is not None and solver != "adam":
            raise ValueError(f"lr belongs to the solver 'adam'; {solver!r} finds its own steps")
        for name, number in (("lam", lam), ("lr", lr)):
            if number is not None and not (np.isfinite(number) and number >= 0):
                raise ValueError(f"{name} is {number}; expected a number of at least 0")
        self.landscape, self.n_terms, self.n_points = landscape, n_terms, n_points
        if lam is None and objective == "sum":
            lam = landscape.path_defaults["lam"]
        self.objective, self.lr, self.solver = make_objective(objective, power, offset, lam), lr, solver

    def steps(self, start: Any, end: Any) -> Iterator[PathState]:
        """Yields the straight line, then the path after every step, without end unless the solver finds one."""
        problem = self._problem(start, end)
        return self._steps(problem, None)

    def _steps(self, problem: _Problem, last: int | None) -> Iterator[PathState]:
        """The states of all stages, until one lowers the height no more; last again the best of the lowest stage."""
        if not isinstance(problem.objective, SoftTop):
            yield from self._stage(problem, last)
            return
        step, kept, before = 0, None, float("inf")
        for stage in range(MOST_STAGES):
            objectives: list[float] = []
            best: PathState | None = None
            for state in self._stage(problem, None):
                state = replace(state, step=step + state.step, stage=stage)
                yield replace(state, reason=None)
                objectives.append(state.objective)
                if best is None or state.objective < best.objective:
                    best = state
                if state.reason or stands_still(objectives, self.solver):
                    break
            assert best is not None
            step = state.step
            # With too large a β for its M points a path stretches until its steps jump over the barrier. Between the
            # points it cannot hide, so the dense height is what has to fall.
            height, _ = _dense_height(problem, best)
            if height < before:
                kept = best
            if before - height <= HEIGHT_STILL * problem.objective.scale:
                break
            before, problem.b = height, best.coefficients
            problem.objective = problem.objective.next_stage()
        assert kept is not None
        yield replace(kept, reason="stands still")

    def _stage(self, problem: _Problem, last: int | None) -> Iterator[PathState]:
        return self._adam(problem, last) if self.solver == "adam" else self._lbfgs(problem)

    def _problem(self, start: Any, end: Any, n_terms: int | None = None, basis: str = "sine") -> _Problem:
        start, end = np.asarray(to_host(start)), np.asarray(to_host(end))
        if start.ndim != 1 or start.shape != end.shape:
            raise ValueError(
                f"start and end have shapes {start.shape} and {end.shape}; expected two vectors of one size"
            )
        for name, point in (("start", start), ("end", end)):
            if not np.isfinite(point).all():
                raise ValueError(f"{name} holds values that are not finite")
        landscape = as_landscape(self.landscape, start.size)
        ends = [to_device(point, landscape.device, landscape.dtype) for point in (start, end)]
        t = np.linspace(0, 1, self.n_points)
        if not to_host(landscape.displacement(*ends)).any():
            raise ValueError("start and end are equal; expected two different points")
        n_terms = self.n_terms if n_terms is None else n_terms
        return _Problem(landscape, ends[0], ends[1], t, n_terms, self.objective, basis)

    def _settle(self, problem: _Problem, line_values: np.ndarray) -> float:
        """Fits the objective to the straight line's values; returns the learning rate."""
        distance = float(np.linalg.norm(to_host(problem.displacement).astype(np.float64)))
        if not problem.settled:
            problem.objective, problem.settled = problem.objective.settle(line_values, distance), True
        lr = self.lr if self.lr is not None else problem.landscape.path_defaults["lr"]
        return distance / (100 * sqrt(problem.landscape.size)) if lr is None else lr

    def _adam(self, problem: _Problem, last: int | None) -> Iterator[PathState]:
        """The last step's path needs no gradient."""
        b, span, step, adam = problem.b, problem.span, 0, None
        span.replace(problem.rows, b)
        if isinstance(problem.objective, SoftTop) and not problem.settled:
            self._settle(problem, problem.along(problem._values(problem.C[1:-1], problem.t[1:-1])))
        while step != last:
            values, _, gradient = problem.gradient(span, problem.C, problem.rows, b)
            if adam is None:
                lam = problem.objective.lam
                problem.lr = self._settle(problem, values)
                if problem.objective.lam != lam:  # it depends on the values, of which this gradient knew nothing
                    terms = problem.terms(values, b)
                    gradient += problem.lengths_pullback(terms.by_lengths, problem.lengths(b), b)
                adam = Adam(lr=problem.lr)
            yield problem.state(step, b, values)
            adam.update(b, gradient)
            span.replace(problem.rows, b)
            step += 1
        values = problem.along(problem._values(problem.C[1:-1], problem.t[1:-1]))
        if adam is None:
            self._settle(problem, values)
        yield problem.state(step, b, values)

    def _lbfgs(self, problem: _Problem) -> Iterator[PathState]:
        line = _PathLine(problem)
        values = line.all_values()
        self._settle(problem, values)
        step, state = 0, problem.state(0, line.b, values)
        yield state
        # Energies come in any unit, and so do their gradients: the first bend is a part of the distance.
        distance = float(np.linalg.norm(to_host(problem.displacement).astype(np.float64)))
        search = partial(lbfgs_gss, line, first_length=FIRST_BEND * distance, unit_step=True)
        few = ceil(FEW_POINTS * self.n_terms)
        if self.solver == "auto" and 2 * few <= self.n_points:
            straight = state.objective
            line.problem = problem.at_fewer_points(few)
            for iterate in search():
                over = iterate.reason is not None or iterate.iteration == MOST_STEPS["auto"]
                if not (over or (iterate.iteration and iterate.iteration % ITERATIONS_A_STEP == 0)):
                    continue
                step, before = step + 1, state.objective
                fewer, line.problem = line.problem, problem
                state = problem.state(step, line.b, line.all_values())
                yield state
                line.problem = fewer
                if over or before - state.objective <= FEW_STILL * (straight - state.objective):
                    break
            line.problem = problem
        for iterate in search():
            if iterate.iteration or iterate.reason:
                yield problem.state(step + iterate.iteration, line.b, line.values, iterate.reason)


def stands_still(objectives: list[float], solver: str, chord: float | None = None) -> bool:
    """Whether L has stopped falling: L*_⌈0.9k⌉ − L*_k ≤ 1e-4 (L_0 − L*_k) at k of at least 100 (L-BFGS-GSS: 10).

    Between deep ends 1e-4 of the straight line's L may be all that there is to be found. So, where ``chord`` is given,
    the last tenth of the steps must also have gained no more than 1 % of what L*_k still lies above it.

    Parameters
    ----------
    objectives
        L_0 … L_k.
    chord
        L of a straight line whose values go straight from end to end.
    """
    k = len(objectives) - 1
    if k < LEAST_STEPS[solver]:
        return False
    lowest = np.minimum.accumulate(objectives)
    gain = lowest[ceil(0.9 * k)] - lowest[k]
    left = np.inf if chord is None or lowest[k] <= chord else STILL_ABOVE * (lowest[k] - chord)
    return bool(gain <= min(STILL * (objectives[0] - lowest[k]), left))


def find_path(
    landscape: Any,
    start: Any,
    end: Any,
    method: str = "fourier",
    *,
    n_terms: int = 10,
    n_points: int = 50,
    lam: float | None = None,
    steps: int | str | None = None,
    lr: float | None = None,
    objective: str | None = None,
    power: float = 1,
    offset: float = 0.0,
    solver: str = "adam",
    budget: int | None = None,
    initial: Path | None = None,
    progress: Callable[[PathState], None] | None = None,
) -> Path:
    """A low path between two points; the one with the lowest L of all steps is kept.

    Parameters
    ----------
    method
        ``"fourier"`` (:class:`FourierPathFinder`, which explains the other options); ``"linear"``, the straight line;
        ``"bezier"`` and ``"polyline"``, the same with n_terms control points of a Bézier curve or corners of a polygon
        (Garipov et al., 2018); ``"neb"``, a nudged elastic band of n_points images with a climbing one, and
        ``"autoneb"``, which inserts them where the band is worst (Kolsbjerg et al., 2016; Draxler et al., 2018). Bands
        have no objective, terms or solver.
    steps
        How many; ``"auto"`` goes on until L stands still, and, with the solver of that name, until nothing on the path
        stands above its ends (reason ``"no barrier"``), but no shorter than ten steps. None takes the landscape's own
        number (100 Adam steps on networks), else ``"auto"``.
    budget
        Points, with and without gradients, after which the search ends at the next step.
    initial
        A path between the same ends and of the same family to go on from, such as the ``best`` of a search that was
        interrupted; None begins with the straight line. Terms that it lacks are 0.
    progress
        Called with every state.

    Returns
    -------
    Path

    Raises
    ------
    ValueError
        If options or ends do not do.
    LandscapeError
        If a value on the path is not finite; its ``best`` is the best path so far.
    SearchInterrupted
        If Ctrl-C comes once there is a path; its ``best`` is the best so far.
    """
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; expected one of {', '.join(METHODS)}")
    finder = FourierPathFinder(
        landscape, n_terms, n_points, lam=lam, lr=lr, objective=objective, power=power, offset=offset, solver=solver
    )
    solver = finder.solver
    banded = method in ("neb", "autoneb")
    problem = finder._problem(start, end, 0 if method == "linear" or banded else None, FAMILIES.get(method, "sine"))
    if steps is None:
        steps = (problem.landscape.path_defaults.get("steps") if solver == "adam" else None) or "auto"
    if method == "linear":
        steps = 0
    whole = isinstance(steps, (int, np.integer)) and steps >= 0
    if not (steps == "auto" or whole):
        raise ValueError(f"steps is {steps!r}; expected a whole number or 'auto'")
    steps = int(steps) if whole else "auto"
    most = MOST_STEPS[solver] if steps == "auto" else int(steps)
    facts = {
        "method": method,
        "solver": solver,
        "n_terms": n_terms,
        "n_points": n_points,
        "power": power,
        "offset": offset,
        "steps": steps,
    }
    if initial is not None:
        if banded or method == "linear":
            raise ValueError(f"initial is for curves; the method {method!r} begins with the straight line")
        problem.b = _initial_terms(problem, initial)
        # λ and β's scale come from the straight line, whatever the search begins with.
        line = problem.along(problem._values(problem.C[1:-1], problem.t[1:-1]))
        finder._settle(problem, line)
        problem.height_linear = float(line.max())
    if banded:
        most = MOST_STEPS["adam"] if steps == "auto" else int(steps)
        if budget is not None:  # each step evaluates all inner images once
            most = min(most, max(0, budget // (n_points - 2) - 1))
        return _banded(problem, n_points, most, facts, progress)
    states: list[PathState] = []
    best: PathState | None = None
    before: PathState | None = None
    objectives: list[float] = []
    reason = "straight line" if method == "linear" else "steps"

    def chord() -> float | None:
        """Only for auto: when the others stand still is theirs by contract."""
        return problem.chord() if solver == "auto" and problem.settled and not problem.objective.staged else None

    def no_barrier(state: PathState, best: PathState) -> bool:
        """Nothing on the path stands above its ends, whose height no path can lower; for auto alone, as well."""
        asked = solver == "auto" and not problem.objective.staged and state.step >= LEAST_STEPS[solver]
        return asked and best.height <= problem.ends.max()

    try:
        for state in finder._steps(problem, most) if most else finder._adam(problem, 0):
            if states and states[-1].stage != state.stage and state.reason is None:
                stage_begins = PathState(**{**vars(state), "coefficients": None})
                states[-1], before, best, objectives = stage_begins, best, state, [state.objective]
                continue
            if state.reason is not None and problem.objective.staged:
                best, reason = state, state.reason
                break
            if states and states[-1].step == state.step:  # says why it ends
                reason = state.reason or reason
                break
            states.append(PathState(**{**vars(state), "coefficients": None}))
            objectives.append(state.objective)
            if best is None or state.objective < best.objective:
                best = state
            if progress is not None:
                progress(state)
            if state.reason is not None:
                reason = state.reason
                break
            if steps == "auto" and not problem.objective.staged and stands_still(objectives, solver, chord()):
                reason = "stands still"
                break
            if steps == "auto" and no_barrier(state, best):
                reason = "no barrier"
                break
            if state.step >= most:
                break
            if budget is not None and state.evaluations.gradients + state.evaluations.values >= budget:
                reason = "budget"
                break
        assert best is not None
        dense_height, dense_t = _dense_height(problem, best)
        if before is not None and reason != "stands still":  # cut off in a stage that may have done no good yet
            height, t = _dense_height(problem, before)
            if height < dense_height:
                best, dense_height, dense_t = before, height, t
    except LandscapeError as error:
        if best is not None:
            error.best = _result(problem, states, best, False, "not finite", facts, best.height, float("nan"))
        raise
    except KeyboardInterrupt as interrupt:
        if best is not None:
            kept = _result(problem, states, best, False, "interrupted", facts, best.height, float("nan"))
            raise SearchInterrupted(kept) from interrupt
        raise
    converged = reason == "no barrier" or stands_still(objectives, solver, chord())
    return _result(problem, states, best, converged, reason, facts, dense_height, dense_t)


def _initial_terms(problem: _Problem, initial: Path) -> Any:
    """b (N_F, D) of a path to go on from, checked."""
    if initial.basis != problem.basis:
        raise ValueError(f"initial is a path in the basis {initial.basis!r}; this family's is {problem.basis!r}")
    if initial.basis != "sine" and len(initial.coefficients) != len(problem.b):
        raise ValueError(f"initial has {len(initial.coefficients)} terms, not {len(problem.b)}")
    for name in ("start", "end"):
        ours, theirs = to_host(getattr(problem, name)), getattr(initial, name)
        if ours.shape != theirs.shape or not np.allclose(ours, theirs, rtol=1e-6, atol=1e-12):
            raise ValueError(f"initial has another {name}; expected a path between the same two points")
    b = np.zeros(problem.b.shape)
    n = min(len(b), len(initial.coefficients))
    b[:n] = initial.coefficients[:n]
    return to_device(b, problem.landscape.device, problem.landscape.dtype)


def _dense_height(problem: _Problem, best: PathState) -> tuple[float, float]:
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
            more = problem._values(np.pad(BASES[problem.basis](new, n), ((0, 0), (0, pad))), new)
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


def _result(
    problem: _Problem,
    states: list[PathState],
    best: PathState,
    converged: bool,
    reason: str,
    facts: dict[str, Any],
    dense_height: float,
    dense_t: float,
) -> Path:
    return Path(
        start=to_host(problem.start),
        end=to_host(problem.end),
        coefficients=to_host(best.coefficients),
        t=problem.t,
        values=best.values,
        height_linear=states[0].height if problem.height_linear is None else problem.height_linear,
        length=best.length,
        history={name: np.array([getattr(state, name) for state in states]) for name in HISTORY},
        best_step=best.step,
        dense_height=dense_height,
        dense_t=dense_t,
        evaluations=problem.span.evaluations + Evaluations(),
        converged=converged,
        reason=reason,
        facts={**facts, "objective": problem.objective.name, "lam": problem.objective.lam, "lr": problem.lr},
        basis=problem.basis,
    )


def _banded(
    problem: _Problem, n_points: int, steps: int, facts: dict[str, Any], progress: Callable[[PathState], None] | None
) -> Path:
    """A nudged elastic band in the same terms as the other paths."""

    def state(step: int, band: Band) -> PathState:
        lengths = np.linalg.norm(np.diff(band.images, axis=0), axis=1)
        total, height = float(band.values.sum()), float(band.values.max())
        counts = band.evaluations + problem.span.evaluations
        return PathState(step, None, band.values.copy(), height, total, height, 0.0, float(lengths.sum()), counts)

    start, end = (to_host(point).astype(np.float64) for point in (problem.start, problem.end))
    band, states, converged = nudged_band(
        problem.landscape,
        start,
        end,
        problem.ends,
        n_points - 2,
        steps,
        grows=facts["method"] == "autoneb",
        progress=progress,
        state=state,
    )
    return band_path(band, states, converged, states[-1].evaluations, facts)
