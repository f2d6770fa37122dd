"""Stages of increasing β, for objectives that emphasise the maximum of the path."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..backend import to_host
from .batches import has_batches, rounds
from .bounded import BoundedSteps, Pairs, power_of_two
from .endings import Ending
from .maximum import with_maximum
from .meter import BudgetSpentError
from .objectives import PowerSum, SoftTop
from .problem import STATIONARY, PathProblem, PathState
from .rules import OF_REMAINING, Rule
from .solvers import Solver
from .top import lowered

#: Largest number of stages; a stage is the last one if it lowers the maximum by less than this, in units of the scale
#: of the objective.
MOST_STAGES, LEAST_DECREASE = 12, 1e-4
#: Where the maximum dominates, a stage ends if its last step decreased L by less than this fraction of the largest
#: possible decrease.
LITTLE = 1e-3
#: Tolerance between the maximum that was lowered and the maximum of the path, relative to its rise.
SAME_TOP = 1e-4


@dataclass(frozen=True)
class MaximumDescent:
    """A solver with bounded steps in stages of increasing β, which finally minimises the maximum itself.

    The maximum over continuous t is the limit of the objectives; the stages of β lead to it. Between networks over many
    samples rounds on mini-batches come first, which lower the sum of the values.
    """

    least_steps: int = 10
    most_steps: int = 500
    patient: bool = True

    def states(self, problem: PathProblem, b: Any, last: int | None = None, memory: Any = None) -> Iterator[PathState]:
        """Yield the states of all stages, and last the path of lowest maximum with the reason why the search ends."""
        step = 0
        if has_batches(problem.landscape) and not bool(to_host(b).any()):
            after = yield from _on_batches(problem, b)
            step, b = after.step, after.coefficients
        search, ending = _StagedDescent(problem, b, step), None
        while ending is None and search.stage < MOST_STAGES:
            yield from search.descended()
            if search.maximum_dominates():
                yield from search.polished()
            ending = search.ending()
            if ending is None:
                search.sharpen()
        assert search.lowest is not None
        yield replace(search.lowest, reason=ending or Ending.STAGES)


class _StagedDescent:
    """The state of a :class:`MaximumDescent`.

    Attributes
    ----------
    last
        The last state of the stage, with its maximum.
    best
        The path of lowest maximum in the stage.
    lowest, before
        The path of lowest maximum in all stages, a given path included; and in all stages before this one.
    stationary
        Whether the maximum of the best path was found to be stationary.
    """

    def __init__(self, problem: PathProblem, b: Any, step: int) -> None:
        self.steps = BoundedSteps(problem, b)
        self.given = bool(to_host(b).any())
        self.stage, self.step, self.stationary = 0, step, False
        self.last: PathState | None = None
        self.best: PathState | None = None
        self.lowest: PathState | None = None
        self.before: PathState | None = None

    def descended(self) -> Iterator[PathState]:
        """Yield the states of one stage, until L is stationary and no longer decreases."""
        problem, first, gained = self.steps.problem, self.step, float("inf")
        known = None if self.best is None else self.best.maximum
        self.last, self.stationary = None, False
        for state in self.steps.states():
            state = self._numbered(state, first + state.step)
            if state.step == first:
                state = replace(state, maximum=known)
                if self.given and self.lowest is None:
                    self.lowest = self.before = state = with_maximum(problem, state)
            else:
                assert self.last is not None
                gained = self.last.objective - state.objective
            self.last = state
            left = problem.remaining(state)
            little = LITTLE if self.steps.objective.maximum_dominates(left) else STATIONARY
            over = problem.stationary(state) and (gained <= little * left or state.slope == 0)
            if over or state.reason is not None:
                break
            yield state
        assert self.last is not None
        self.step, self.last = self.last.step, with_maximum(problem, self.last)
        self._keep(self.last)
        yield replace(self.last, reason=None)

    def polished(self) -> Iterator[PathState]:
        """Yield the path after minimising its maximum."""
        steps = self.steps
        assert self.best is not None
        b, top, stationary = lowered(steps.problem, self.best, steps.pairs)
        state = steps.jump(b)
        if state is None:
            return
        self.step += 1
        state = with_maximum(steps.problem, self._numbered(state, self.step))
        self.stationary = stationary and abs(state.top - top) <= SAME_TOP * steps.problem.remaining(state)
        self._keep(state)
        yield state

    def maximum_dominates(self) -> bool:
        """Decide whether there is a barrier, and β is large enough for the maximum to dominate."""
        assert self.best is not None
        above = self.best.top > float(self.steps.problem.ends.max())
        return above and self.steps.objective.maximum_dominates(self._rise)

    def ending(self) -> Ending | None:
        """Return the reason why there is no further stage; None if there is one."""
        assert self.best is not None
        assert self.last is not None
        problem = self.steps.problem
        if self.best.top <= float(problem.ends.max()):
            return Ending.NO_BARRIER
        if self.stationary:
            return Ending.CONVERGED
        small_decrease = _fell(self.before, self.best) <= _small(problem, self.last)
        return _verdict(problem, self.last, self.last, small_decrease, problem.stationary(self.last))

    def sharpen(self) -> None:
        """Start the next stage from the best path of this one."""
        assert self.best is not None
        objective = self.steps.objective.sharper(self._rise)
        self.stage, self.before = self.stage + 1, self.lowest
        if self.steps.place.b is not self.best.coefficients and (self.steps.place.b != self.best.coefficients).any():
            self.steps.jump(self.best.coefficients)
        self.steps.change_objective(objective)

    @property
    def _rise(self) -> float:
        assert self.last is not None
        return self.steps.problem.remaining(self.last)

    def _numbered(self, state: PathState, step: int) -> PathState:
        return replace(state, step=step, stage=self.stage, beta=self.steps.objective.beta)

    def _keep(self, state: PathState) -> None:
        first = self.best is None or self.best.stage < self.stage or state.top < self.best.top
        self.best = state if first else self.best
        self.lowest = state if self.lowest is None or state.top < self.lowest.top else self.lowest


def _on_batches(problem: PathProblem, b: Any) -> Generator[PathState, None, PathState]:
    """Yield the straight line, and the path after every round on mini-batches; returns the last one.

    Rounds follow while they lower the barrier. Where no sample point shows one, it is sought over continuous t.
    """
    assert problem.line is not None
    of_sum = replace(problem, objective=PowerSum()).fitted()
    span, higher = problem.span(), float(problem.ends.max())
    maxima: dict[int, tuple[float, float] | None] = {}

    def values_of(b: Any) -> np.ndarray:
        span.replace(problem.curve.rows, b)
        return problem.trial_values(span, problem.curve.C)

    def at_first_stage(state: PathState) -> PathState:
        found = problem.state(state.step, state.coefficients, state.values, memory=state.memory)
        if state.step not in maxima and state.height <= higher:
            with suppress(BudgetSpentError):  # then the sample points decide
                maxima[state.step] = with_maximum(problem, found).maximum
        return replace(found, beta=_beta(problem), maximum=maxima.get(state.step))

    def barrier(state: PathState) -> float:
        known = maxima.get(state.step)
        return (state.height if known is None else known[0]) - higher

    last = line = of_sum.state(0, b, problem.line)
    yield at_first_stage(line)
    for last in rounds(of_sum, line, values_of, barrier):
        yield at_first_stage(last)
    return last


@dataclass(frozen=True)
class Staged:
    """A solver at one β after another, until the maximum falls no more.

    Attributes
    ----------
    solver
        Of one stage.
    """

    solver: Solver

    @property
    def least_steps(self) -> int:
        """Of one stage."""
        return self.solver.least_steps

    @property
    def most_steps(self) -> int:
        """Of all stages together."""
        return self.solver.most_steps

    @property
    def patient(self) -> bool:
        """Of one stage."""
        return self.solver.patient

    def states(self, problem: PathProblem, b: Any, last: int | None = None, memory: Any = None) -> Iterator[PathState]:
        """Yield the states of all stages, and last the path of lowest maximum with the reason why the search ends.

        A stage starts with the path of the step before. If β is too large for the number of sample points, segments
        grow until the barrier lies between two points. Hence the maximum over continuous t has to decrease from stage
        to stage. A given initial path is one of the candidates.
        """
        assert isinstance(problem.objective, SoftTop)
        step, stationary, ending = 0, False, None
        lowest: PathState | None = None
        top_of_b: tuple[float, float] | None = None
        at_stage = problem
        for stage in range(MOST_STAGES):
            given = stage == 0 and bool(to_host(b).any())
            first, last_of_stage, best = yield from self._stage(at_stage, b, (step, stage), top_of_b, given)
            lowest = before = first if given else lowest
            step, best = last_of_stage.step, with_maximum(at_stage, best)
            small, fell = _small(at_stage, best), _fell(before, best)
            if lowest is None or fell > 0:
                lowest, stationary = best, at_stage.stationary(best)
            elif fell >= -small:
                stationary = stationary or at_stage.stationary(best)
            ending = _verdict(at_stage, last_of_stage, best, fell <= small, stationary)
            if ending is not None:
                break
            b, top_of_b = best.coefficients, best.maximum
            at_stage = _sharper(at_stage, best)
        assert lowest is not None
        if ending is Ending.CONVERGED and lowest.top > float(problem.ends.max()):
            polished = _polished(at_stage, replace(lowest, step=step + 1))
            if polished is not None:
                yield polished
                lowest = min(lowest, polished, key=lambda state: state.top)
        yield replace(lowest, reason=ending or Ending.STAGES)

    def _stage(
        self,
        problem: PathProblem,
        b: Any,
        since: tuple[int, int],
        top_of_b: tuple[float, float] | None,
        given: bool,
    ) -> Generator[PathState, None, tuple[PathState, PathState, PathState]]:
        """Yield the states at one β; returns the first one, the last one, and the one of lowest L."""
        step, stage = since
        first: PathState | None = None
        best: PathState | None = None
        for state in _at_one(self.solver, problem, b):
            state = replace(state, step=step + state.step, stage=stage, beta=_beta(problem), memory=None)
            if first is None:
                first = state = with_maximum(problem, state) if given else replace(state, maximum=top_of_b)
            if best is not None and state.step == best.step:  # the same path, with its slope
                state = replace(state, maximum=best.maximum)
            if best is None or state.step == best.step or state.objective < best.objective:
                best = state
            yield replace(state, reason=None)
        assert first is not None
        assert best is not None
        return first, state, best


def _polished(problem: PathProblem, state: PathState) -> PathState | None:
    """Minimise the maximum of a path; None where the result cannot be evaluated."""
    assert isinstance(problem.objective, SoftTop)
    unit = power_of_two(problem.objective.scale / problem.distance()) or 1.0
    b = lowered(problem, state, Pairs(unit=unit))[0]
    span = problem.span()
    span.replace(problem.curve.rows, b)
    values = problem.trial_values(span, problem.curve.C)
    if not np.isfinite(values).all():
        return None
    found = problem.state(state.step, b, values)
    return with_maximum(problem, replace(found, stage=state.stage, beta=state.beta))


def _beta(problem: PathProblem) -> float:
    assert isinstance(problem.objective, SoftTop)
    return problem.objective.beta


def _sharper(problem: PathProblem, best: PathState) -> PathProblem:
    assert isinstance(problem.objective, SoftTop)
    return replace(problem, objective=problem.objective.sharper(problem.remaining(best)))


def _small(problem: PathProblem, best: PathState) -> float:
    """The smallest decrease of the maximum that requires a further stage."""
    assert isinstance(problem.objective, SoftTop)
    return min(LEAST_DECREASE * problem.objective.scale, OF_REMAINING * problem.remaining(best))


def _fell(before: PathState | None, best: PathState) -> float:
    return float("inf") if before is None else before.top - best.top


def _verdict(
    problem: PathProblem, last: PathState, best: PathState, small_decrease: bool, stationary: bool
) -> Ending | None:
    """Return the reason why there is no further stage; None if there is one."""
    assert isinstance(problem.objective, SoftTop)
    if last.reason in (Ending.LINE_SEARCH, Ending.NOT_FINITE):
        return last.reason
    if small_decrease and problem.objective.maximum_dominates(problem.remaining(best)):
        return Ending.CONVERGED if stationary else Ending.STALLED
    return None


def _at_one(solver: Solver, problem: PathProblem, b: Any) -> Iterator[PathState]:
    """Yield the states at one β, until L has converged or the solver has no next step."""
    assert problem.line is not None
    rule = Rule(problem, solver, problem.straight(problem.line))
    for state in solver.states(problem, b):
        yield state
        if state.reason is not None or rule(state) is not None:
            return
