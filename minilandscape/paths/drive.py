"""The loop of a search: steps of a solver, stopping rules, bends away from a second negative mode, and the verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from ..landscape import Evaluations, LandscapeError
from .checkpoint import Checkpoint
from .endings import Ending
from .index import SecondMode, Top, bent_down, look_across
from .initial import given_path, initial_terms, stacked
from .meter import BudgetSpentError
from .objectives import SoftTop
from .problem import PathProblem, PathState
from .record import Keeps, Record
from .result import Path
from .rules import Rule
from .solvers import Solver

#: Largest number of times that a path is bent away from a maximum with a second negative mode.
MOST_BENDS = 3
#: The maximum is stationary perpendicular to the path if a Newton step would lower it by less than this fraction of its
#: rise above the endpoint interpolation.
STEEP = 1e-3
#: A path is followed no further where it becomes so many times as long as the straight line.
LONGEST = 1e6


class SearchInterrupted(KeyboardInterrupt):
    """Raised at Ctrl-C; ``best`` is the best path so far."""

    def __init__(self, best: Path) -> None:
        super().__init__("interrupted")
        self.best = best


class Search:
    """A search for a path.

    Parameters
    ----------
    solver
        None evaluates the straight line only.
    last
        Number of steps; None runs to convergence.
    planned
        Number of steps known to the solver; None for no limit.
    """

    def __init__(
        self,
        problem: PathProblem,
        solver: Solver | None,
        record: Record,
        last: int | None,
        planned: int | None,
        progress: Callable[[PathState], None] | None,
    ) -> None:
        self.problem, self.solver, self.record = problem, solver, record
        self.last, self.planned, self.progress = last, planned, progress
        self.rule: Rule | None = None
        self.checkpoint: Checkpoint | None = None

    def run(self, initial: Any, budget: int | None) -> Path:
        """Search, and determine why the search ended."""
        record = self.record
        with self._keeping():
            ending = self._converge(self.problem, self._begin(initial), budget)
            for bends in range(MOST_BENDS + 1):
                found = self._examined() if ending is Ending.CONVERGED else ending
                if isinstance(found, Ending):
                    ending = found
                    break
                assert record.best is not None
                at_stage = self._at_stage(record.best)
                bent = self._bent(at_stage, found) if bends < MOST_BENDS else None
                if bent is None:
                    ending = Ending.HIGHER_INDEX if self._doubtful(found, bends) else ending
                    break
                record.begin_again()
                self.checkpoint = None  # its state precedes the bend
                ending = self._converge(at_stage, bent, budget)
        return record.path(ending)

    def _bent(self, problem: PathProblem, mode: SecondMode) -> Any:
        """Bend the best path away from its maximum; None where steps are limited, or no bend lowers it."""
        if self.last is not None:
            return None
        assert self.record.best is not None
        return bent_down(problem, self.record.best, mode, by_height=self.record.keeps is Keeps.LAST)

    def _doubtful(self, mode: SecondMode, bends: int) -> bool:
        """Decide whether a second negative mode refutes convergence of a path that is not bent further.

        Where a sum is minimised, a minimum of L suffices unless the mode belongs to a stationary point nearby.
        """
        certain = self.record.keeps is not Keeps.LOWEST or mode.stationary or bends == MOST_BENDS
        return certain and not self.problem.has_default_rate

    def _begin(self, initial: Any) -> Any:
        """Return the initial b."""
        if initial is None:
            return self.problem.zeros()
        if not (isinstance(initial, Path) or callable(initial)):  # read only once, as it may be an iterator
            initial = stacked(initial, self.problem.landscape.size)
        b = initial_terms(self.problem, initial)
        if self.record.keeps is not Keeps.LOWEST or not isinstance(initial, Path):  # otherwise L decides
            self.record.given = given_path(self.problem, initial, b)
        return b

    def _converge(self, problem: PathProblem, b: Any, budget: int | None) -> Ending:
        """Search from b, and find the maximum of the best path; returns why the search ended."""
        meter = problem.meter
        try:
            ending = self._drive(problem, b, budget)
        finally:
            meter.budget, meter.reserved = None, 0
        self.record.measure_maximum()
        return self._judged(ending)

    def _drive(self, problem: PathProblem, b: Any, budget: int | None) -> Ending:
        """Step until the solver, the stopping rule, the number of steps or the budget ends the search."""
        solver, record, meter = self.solver, self.record, problem.meter
        if solver is None or not problem.curve.n_terms:
            self._add(problem.state(0, b, problem.all_values(problem.span())))
            return Ending.STRAIGHT_LINE
        rule = Rule(problem, solver, -np.inf if problem.line is None else problem.straight(problem.line))
        self.rule, states = rule, self._states(solver, rule, problem, b)
        if record.best is not None:  # without a first state there is no path
            meter.budget = budget
        try:
            for state in states:
                meter.budget = budget
                state = self._add(state)
                ending = self._ending(state, solver, rule)
                if ending is not None:
                    return ending
                if self.checkpoint is not None:
                    evaluations = meter.evaluations + Evaluations()  # a look at the maximum included
                    counted = replace(state, evaluations=evaluations, rounds=meter.rounds)
                    self.checkpoint.save(record, rule, counted)
        except BudgetSpentError:
            return Ending.BUDGET
        raise AssertionError("a solver ended without a reason")

    def _states(self, solver: Solver, rule: Rule, problem: PathProblem, b: Any) -> Iterator[PathState]:
        """Iterate the states of the solver, from the checkpoint where there is one."""
        before = None if self.checkpoint is None else self.checkpoint.restore(problem, self.record, rule)
        if before is None:
            return solver.states(problem, b, self.planned)
        states = solver.states(problem, before.coefficients, self.planned, before.memory)
        next(states)
        return states

    def _add(self, state: PathState) -> PathState:
        """Record a state, and report it."""
        state = self.record.add(state)
        if self.progress is not None:
            self.progress(state)
        return state

    def _ending(self, state: PathState, solver: Solver, rule: Rule) -> Ending | None:
        """Return the reason why the search ends at a state; None where it continues."""
        if state.length > LONGEST * self.problem.distance():
            return Ending.RAN_OFF
        if state.reason is not None:
            return state.reason
        ending = rule(state) if self.record.keeps is Keeps.LOWEST else None
        if self.last is None and ending is not None:
            return ending
        if self.last is None and self._no_barrier(state, solver):
            return Ending.NO_BARRIER
        if self._on_target():
            return Ending.TARGET
        return Ending.STEPS if state.step >= (solver.most_steps if self.planned is None else self.planned) else None

    def _no_barrier(self, state: PathState, solver: Solver) -> bool:
        """Decide whether the best path has no barrier over continuous t, nor one above the target."""
        begun = state.step >= solver.least_steps or self.record.rounded is not None
        return begun and self.record.keeps is not Keeps.LAST and self.record.has_no_barrier() and self._below_target()

    def _on_target(self) -> bool:
        """Decide whether there is a target, and the barrier of the best path over continuous t is at most that."""
        return self.problem.target is not None and self._below_target()

    def _below_target(self) -> bool:
        best, target = self.record.best, np.inf if self.problem.target is None else self.problem.target
        assert best is not None
        limit = float(self.problem.ends.max()) + target
        return best.height <= limit and self.record.best_measured().top <= limit

    def _judged(self, ending: Ending) -> Ending:
        """Return the verdict on the best path, which may differ from the reason why the search ended."""
        if ending in (Ending.STRAIGHT_LINE, Ending.RAN_OFF, Ending.NOT_FINITE):
            return ending
        if self.record.has_no_barrier():
            return Ending.NO_BARRIER
        measured = ending.converged or (
            self.record.keeps is Keeps.LOWEST and self.rule is not None and self.rule.converged
        )
        if measured:
            instead = self.record.best is self.record.rounded  # of the path of lowest L, which is under-resolved
            return Ending.UNDER_RESOLVED if self.record.under_resolved or instead else Ending.CONVERGED
        return ending

    def _examined(self) -> Ending | SecondMode:
        """Examine the maximum of a converged path: a perpendicular slope, a second negative mode, or neither.

        The slope is not examined where a sum is minimised, as the maximum of such a path need not be stationary.
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
        except LandscapeError:  # a wall next to the maximum
            return Ending.CONVERGED
        if mode is not None:
            return mode
        steep = fall > STEEP * rise and self.record.keeps is not Keeps.LOWEST
        return Ending.NOT_STATIONARY if steep else Ending.CONVERGED

    def _at_stage(self, state: PathState) -> PathProblem:
        """Return the problem at the β of a state, where there are stages."""
        objective = self.problem.objective
        if self.record.keeps is not Keeps.STAGES or not isinstance(objective, SoftTop):
            return self.problem
        return replace(self.problem, objective=replace(objective, beta=state.beta))

    @contextmanager
    def _keeping(self) -> Iterator[None]:
        """Add the best path so far to errors and interruptions."""
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
