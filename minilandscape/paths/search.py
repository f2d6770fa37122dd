"""The search of any method: what drives a solver, ends it, and judges the path that it leaves."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from inspect import signature
from math import ceil
from typing import Any

import numpy as np

from ..landscape import LandscapeError
from .bands import Fire
from .checkpoint import Checkpoint
from .endings import Ending
from .fourier import FourierPathFinder
from .index import SecondMode, Top, bent_down, look_across
from .initial import given_path, initial_terms, stacked
from .meter import BudgetSpentError
from .objectives import PowerSum, SoftTop
from .problem import PathProblem, PathState
from .record import Keeps, Record
from .result import Path
from .rules import Rule
from .solvers import Solver

#: Times that a path is bent away from a maximum with a second negative mode, at most.
MOST_BENDS = 3
#: The maximum is stationary across the path where a Newton step across it would lower it by less than this part of its
#: rise above the chord.
STEEP = 5e-3
#: A growing band has this part of its images on average.
GROWING = 0.75


@dataclass(frozen=True)
class Method:
    """A family of paths, and the options of :func:`find_path` that have no effect on it."""

    basis: str
    without_effect: tuple[str, ...] = ()


_OF_CURVES = ("n_terms", "solver", "lr", "objective", "power", "offset", "lam")
METHODS = {
    "fourier": Method("sine"),
    "linear": Method("sine", (*_OF_CURVES, "steps", "initial", "budget")),
    "bezier": Method("bernstein"),
    "polyline": Method("hat"),
    "neb": Method("hat", _OF_CURVES),
    "autoneb": Method("hat", _OF_CURVES),
}


class SearchInterrupted(KeyboardInterrupt):
    """A search was interrupted; ``best`` is the best path so far."""

    def __init__(self, best: Path) -> None:
        super().__init__("interrupted")
        self.best = best


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
    solver: str | None = None,
    budget: int | None = None,
    initial: Any = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: Callable[[PathState], None] | None = None,
) -> Path:
    """Finds a path of low maximum value between two points.

    Parameters
    ----------
    landscape
        Anything that :func:`~minilandscape.landscape.as_landscape` takes.
    start, end
        (D,): the endpoints; they are copied.
    method
        ``"fourier"`` (:class:`FourierPathFinder`, which explains the other options); ``"linear"``, the straight line;
        ``"bezier"`` and ``"polyline"``, the same with n_terms control points of a Bézier curve or vertices of a
        piecewise-linear path (Garipov et al., 2018); ``"neb"``, a nudged elastic band of n_points images with a
        climbing one, and ``"autoneb"``, which inserts them where the band is worst (Kolsbjerg et al., 2016; Draxler et
        al., 2018). Bands have no objective, terms or solver. Options without effect on a method are refused.
    steps
        How many; ``"auto"`` runs to convergence, but takes no fewer than ten steps (100 of Adam), nor more than 500
        (10,000 of Adam and of bands). None takes the landscape's own number (100 Adam steps on networks), else
        ``"auto"``.
    budget
        Points, with and without gradients, that the search may evaluate: it ends before it would take more, once it has
        a path. What is measured of the final path, its maximum and the modes there, is not counted against it.
    initial
        A path to begin from: a :class:`Path` of any family between the same endpoints, such as the ``best`` of a search
        that was interrupted; points (K, D); or a function of t. An objective with stages resumes at the β where a path
        left off. What is given is never made worse. None begins with the straight line.
    checkpoint
        A file in which a search that minimises the sum leaves its state every half minute, and from which it goes on
        where the file exists, with the same bits as if it had not been interrupted. Remove it once the path is kept.
    progress
        Called with every state.

    Returns
    -------
    Path
        The path of lowest L of all steps (of the lowest maximum of all stages, or a band as its last step left it).
        ``converged`` and ``reason`` say what was measured.

    Raises
    ------
    ValueError
        If an option or endpoint is invalid.
    TypeError
        If an endpoint is no vector of real numbers, such as atoms in place of their positions.
    LandscapeError
        If a value or a gradient on the path is not finite; its ``best`` is the best path so far. Trial steps that
        cannot be evaluated are walls, which a search goes around; ``metadata["walls"]`` counts them.
    SearchInterrupted
        If Ctrl-C comes once there is a path; its ``best`` is the best so far.

    Examples
    --------
    >>> import minilandscape as ml
    >>> from minilandscape.potentials import MullerBrown
    >>> land = MullerBrown()
    >>> path = ml.find_path(land, *land.minima[:2])
    >>> round(path.maximum, 2), path.converged
    (-40.66, True)
    """
    _refuse_without_effect(method, locals())
    banded = method in ("neb", "autoneb")
    finder = FourierPathFinder(
        landscape, n_terms, n_points, lam=lam, lr=lr, objective=objective, power=power, offset=offset, solver=solver
    )
    n_terms, n_points = finder.n_terms, finder.n_points
    if budget is not None:
        check_budget(budget, n_points)
    finder.objective = _resumed(finder.objective, initial)
    no_terms = 0 if method == "linear" else n_points - 2 if banded else None
    problem = finder.problem(start, end, METHODS[method].basis, no_terms)
    moves: Solver = Fire(grows=method == "autoneb") if banded else finder.moves()
    if steps is None and finder.solver == "adam" and not banded:
        steps = problem.landscape.path_defaults.get("steps")
    steps = _checked_steps("auto" if steps is None else steps)
    metadata = {
        "method": method,
        "solver": finder.solver,
        "n_terms": n_terms,
        "n_points": n_points,
        "power": float(power),
        "offset": float(offset),
        "steps": steps,
        "objective": problem.objective.name,
        "lam": problem.objective.lam,
        "lr": finder.rate(problem),
    }
    metadata = {name: fact for name, fact in metadata.items() if name not in METHODS[method].without_effect}
    if banded or initial is not None:
        problem = problem.with_line()
    keeps = Keeps.LAST if banded else Keeps.STAGES if problem.objective.staged else Keeps.LOWEST
    if checkpoint is not None and keeps is not Keeps.LOWEST:
        raise ValueError("checkpoint serves the objective 'sum'; resume others from a path (initial)")
    search = _Search(
        problem, moves, Record(problem, keeps, metadata), None if steps == "auto" else int(steps), progress
    )
    if checkpoint is not None:
        search.checkpoint = Checkpoint.of(checkpoint, problem, metadata)
    return search.run(initial, budget)


def _resumed(objective: PowerSum | SoftTop, initial: Any) -> PowerSum | SoftTop:
    """The objective, at the β where a path of the same objective left off."""
    if not (isinstance(objective, SoftTop) and isinstance(initial, Path)):
        return objective
    left_off = initial.metadata.get("beta", 0.0) if initial.metadata.get("objective") == objective.name else 0.0
    return replace(objective, beta=left_off)


class _Search:
    """A search on its way.

    Parameters
    ----------
    last
        Steps; None runs to convergence.
    """

    def __init__(
        self,
        problem: PathProblem,
        solver: Solver,
        record: Record,
        last: int | None,
        progress: Callable[[PathState], None] | None,
    ) -> None:
        self.problem, self.solver, self.record, self.last, self.progress = problem, solver, record, last, progress
        self.rule: Rule | None = None
        self.checkpoint: Checkpoint | None = None

    def run(self, initial: Any, budget: int | None) -> Path:
        """Searches, and judges what was found."""
        record = self.record
        with self._keeping():
            ending = self._converge(self.problem, self._begin(initial), budget)
            for bends in range(MOST_BENDS + 1):
                found = self._examined() if ending is Ending.CONVERGED else ending
                if isinstance(found, Ending):
                    ending = found
                    break
                assert record.best is not None
                at_stage, banded = self._at_stage(record.best), record.keeps is Keeps.LAST
                bent = None
                if self.last is None and bends < MOST_BENDS:
                    bent = bent_down(at_stage, record.best, found, by_height=banded)
                if bent is None:  # where a sum is minimised, L is as low as it gets, and decides unless it is a saddle
                    certain = record.keeps is not Keeps.LOWEST or found.stationary or bends == MOST_BENDS
                    doubtful = certain and not self.problem.own_scale
                    ending = Ending.HIGHER_INDEX if doubtful else ending
                    break
                record.begin_again()
                self.checkpoint = None  # what it holds leads here again
                ending = self._converge(at_stage, bent, budget)
        return record.path(ending)

    def _begin(self, initial: Any) -> Any:
        """b to begin with."""
        if initial is None:
            return self.problem.zeros()
        if not (isinstance(initial, Path) or callable(initial)):  # read once: it may be an iterator
            initial = stacked(self.problem, initial)
        b = initial_terms(self.problem, initial)
        if self.record.keeps is not Keeps.LOWEST or not isinstance(initial, Path):  # else L decides
            self.record.given = given_path(self.problem, initial, b)
        return b

    def _converge(self, problem: PathProblem, b: Any, budget: int | None) -> Ending:
        """Searches from b, and finds the maximum of the path kept; what is then known of why it ended."""
        meter = problem.meter
        try:
            ending = self._drive(problem, b, budget)
        finally:
            meter.budget, meter.reserved = None, 0
        self.record.settle()
        return self._judged(ending)

    def _drive(self, problem: PathProblem, b: Any, budget: int | None) -> Ending:
        """Takes steps until the solver, the rules, the number of steps or the budget end it."""
        solver, record, meter = self.solver, self.record, problem.meter
        if not problem.curve.n_terms:
            state = record.add(problem.state(0, b, problem.all_values(problem.span())))
            if self.progress is not None:
                self.progress(state)
            return Ending.STRAIGHT_LINE
        self.rule = rule = Rule(problem, solver, -np.inf if problem.line is None else problem.straight(problem.line))
        last = _band_steps(solver, self.last, budget, problem) if isinstance(solver, Fire) else self.last
        most = solver.most_steps if last is None else last
        before = None if self.checkpoint is None else self.checkpoint.restore(problem, record, rule)
        states = solver.states(problem, b, last)
        if before is not None:
            states = solver.states(problem, before.coefficients, last, before.memory)
            next(states)
        if record.best is not None:  # without a first state there is no path
            meter.budget = budget
        try:
            for state in states:
                meter.budget = budget
                state = record.add(state)
                if self.progress is not None:
                    self.progress(state)
                if state.reason is not None:
                    return state.reason
                ending = None if record.keeps is not Keeps.LOWEST else rule(state)
                if self.last is None and ending is not None:
                    return ending
                if self.last is None and self._no_barrier(state):
                    return Ending.NO_BARRIER
                if state.step >= most:
                    return Ending.STEPS
                if self.checkpoint is not None:
                    self.checkpoint.save(record, rule, state)
        except BudgetSpentError:
            return Ending.BUDGET
        raise AssertionError("a solver ended without a reason")

    def _no_barrier(self, state: PathState) -> bool:
        """Whether no sample point of the best path lies above the higher endpoint, which no path can lower."""
        best = self.record.best
        assert best is not None
        banded = self.record.keeps is Keeps.LAST
        return not banded and state.step >= self.solver.least_steps and best.height <= float(self.problem.ends.max())

    def _judged(self, ending: Ending) -> Ending:
        """What was measured of the path kept, which may be more or less than why the search ended."""
        best, higher = self.record.best, float(self.problem.ends.max())
        assert best is not None
        if ending in (Ending.STRAIGHT_LINE, Ending.NOT_FINITE):
            return ending
        under_resolved = self.record.under_resolved
        if best.height <= higher and not under_resolved:
            return Ending.NO_BARRIER
        measured = ending.converged or (
            self.record.keeps is Keeps.LOWEST and self.rule is not None and self.rule.converged
        )
        if measured:
            return Ending.UNDER_RESOLVED if under_resolved else Ending.CONVERGED
        return ending

    def _examined(self) -> Ending | SecondMode:
        """What a converged path has at its maximum: a slope across it, a second negative mode, or none of these.

        What minimises a sum has no reason to be stationary there, so that is not asked of it.
        """
        best, problem = self.record.best, self.problem
        assert best is not None
        assert best.maximum is not None
        value, t = best.maximum
        if not 0 < t < 1:
            return Ending.CONVERGED
        points = self.record.path(Ending.CONVERGED).points(np.clip([t - 1e-3, t, t + 1e-3], 0, 1))
        before, x, after = points.astype(np.float64)
        try:
            top = Top.of(problem, t, x, after - before)
            rise = abs(value - float(problem.ends[0] + t * (problem.ends[1] - problem.ends[0])))
            fall, mode = look_across(problem, top)
        except LandscapeError:  # a wall beside the maximum: nothing is known
            return Ending.CONVERGED
        if mode is not None:
            return mode
        steep = fall > STEEP * rise and self.record.keeps is not Keeps.LOWEST
        return Ending.NOT_STATIONARY if steep else Ending.CONVERGED

    def _at_stage(self, state: PathState) -> PathProblem:
        """The problem at the β of a state, where there are stages."""
        objective = self.problem.objective
        if self.record.keeps is not Keeps.STAGES or not isinstance(objective, SoftTop):
            return self.problem
        return replace(self.problem, objective=replace(objective, beta=state.beta))

    @contextmanager
    def _keeping(self) -> Iterator[None]:
        """Errors and interruptions carry the best path so far, where there is one."""
        try:
            yield
        except LandscapeError as error:
            error.best = self.record.so_far(Ending.NOT_FINITE)
            raise
        except KeyboardInterrupt as interrupt:
            best = self.record.so_far(Ending.INTERRUPTED)
            if best is None:
                raise
            raise SearchInterrupted(best) from interrupt


def _band_steps(solver: Fire, last: int | None, budget: int | None, problem: PathProblem) -> int | None:
    """Steps of a band, half of which it may take to relax: no more than the budget pays for."""
    if budget is None:
        return last
    paid = ceil(budget / (GROWING if solver.grows else 1) / problem.curve.n_terms)
    return min(solver.most_steps if last is None else last, paid)


def check_budget(budget: Any, n_points: int) -> None:
    """Raises ValueError where a budget is no number of points, or below one path."""
    if not (isinstance(budget, (int, np.integer)) and budget >= n_points):
        raise ValueError(f"the budget is {budget} points; expected at least the {n_points} of one path")


def _checked_steps(steps: Any) -> int | str:
    if isinstance(steps, (int, np.integer)) and not isinstance(steps, bool) and steps >= 0:
        return int(steps)
    if steps == "auto":
        return "auto"
    raise ValueError(f"steps is {steps!r}; expected a whole number or 'auto'")


def _refuse_without_effect(method: str, options: dict[str, Any]) -> None:
    """Raises ValueError where options that have no effect on the method are not :func:`find_path`'s own."""
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; expected one of {', '.join(METHODS)}")
    own = {name: parameter.default for name, parameter in signature(find_path).parameters.items()}
    given = [name for name in METHODS[method].without_effect if not _same(options[name], own[name])]
    if given:
        raise ValueError(
            f"{', '.join(given)} {'has' if len(given) == 1 else 'have'} no effect on the method {method!r}: "
            f"remove {'it' if len(given) == 1 else 'them'}"
        )


def _same(a: Any, b: Any) -> bool:
    return a is b or (isinstance(a, (int, float, str)) and a == b)
