"""One β after another: the stages of an objective that weighs the top of the path."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..backend import to_host
from .bounded import BoundedSteps, Pairs, power_of_two
from .endings import Ending
from .maximum import with_maximum
from .objectives import SoftTop
from .problem import AT_REST, PathProblem, PathState
from .rules import STILL_ABOVE, Rule
from .solvers import Solver
from .top import lowered

#: β stages at most, and how little a stage has to lower the maximum, in units of the objective's scale, to be the last.
MOST_STAGES, STILL_MAXIMUM = 12, 1e-4


#: By so small a part of what is left above the chord the last step of a stage lowered L, where the top outweighs the
#: rest.
LITTLE = 1e-3
#: A maximum that was lowered is that of the path where both differ by less than this part of its rise.
SAME_TOP = 1e-4


@dataclass(frozen=True)
class ToTheTop:
    """Bounded steps at one β after another, until the top of the path outweighs the rest; then the maximum itself.

    The last objective is the limit of all, the maximum over continuous t. A stage of β is but the way there.
    """

    least_steps: int = 10
    most_steps: int = 500
    patient: bool = True

    def states(self, problem: PathProblem, b: Any, last: int | None = None, memory: Any = None) -> Iterator[PathState]:
        """The states of all stages, and last the path of the lowest maximum, with the reason why there is no other."""
        search, ending = _TopSearch(problem, b), None
        while ending is None and search.stage < MOST_STAGES:
            yield from search.descended()
            if search.weighs_the_top():
                yield from search.polished()
            ending = search.ending()
            if ending is None:
                search.sharpen()
        assert search.lowest is not None
        yield replace(search.lowest, reason=ending or Ending.STAGES)


class _TopSearch:
    """The stages of :class:`ToTheTop` on their way.

    Attributes
    ----------
    last
        The state that the stage ended with, its maximum known.
    best
        The path of the stage with the lowest maximum.
    lowest, before
        That of all stages, a path that is given included; and of all before this one.
    settled
        Whether the maximum of the best path was seen to fall no more.
    """

    def __init__(self, problem: PathProblem, b: Any) -> None:
        self.steps = BoundedSteps(problem, b)
        self.given = bool(to_host(b).any())
        self.stage, self.step, self.settled = 0, 0, False
        self.last: PathState | None = None
        self.best: PathState | None = None
        self.lowest: PathState | None = None
        self.before: PathState | None = None

    def descended(self) -> Iterator[PathState]:
        """The states of one stage, until L is stationary and its last step gained as little."""
        problem, first, gained = self.steps.problem, self.step, float("inf")
        known = None if self.best is None else self.best.maximum
        self.last, self.settled = None, False
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
            left = problem.left(state)
            little = LITTLE if self.steps.objective.weighs_the_top(left) else AT_REST
            over = problem.stationary(state) and (gained <= little * left or state.slope == 0)
            if over or state.reason is not None:
                break
            yield state
        assert self.last is not None
        self.step, self.last = self.last.step, with_maximum(problem, self.last)
        self._keep(self.last)
        yield replace(self.last, reason=None)

    def polished(self) -> Iterator[PathState]:
        """The path whose maximum was lowered on its own account."""
        steps = self.steps
        assert self.best is not None
        b, top, settled = lowered(steps.problem, self.best, steps.pairs)
        state = steps.jump(b)
        if state is None:
            return
        self.step += 1
        state = with_maximum(steps.problem, self._numbered(state, self.step))
        self.settled = settled and abs(state.top - top) <= SAME_TOP * steps.problem.left(state)
        self._keep(state)
        yield state

    def weighs_the_top(self) -> bool:
        """Whether β is large enough, and there is a barrier."""
        assert self.best is not None
        above = self.best.top > float(self.steps.problem.ends.max())
        return above and self.steps.objective.weighs_the_top(self._rise)

    def ending(self) -> Ending | None:
        """Why there is no other stage."""
        assert self.best is not None
        assert self.last is not None
        problem = self.steps.problem
        if self.best.top <= float(problem.ends.max()):
            return Ending.NO_BARRIER
        if self.settled:
            return Ending.CONVERGED
        still = _fell(self.before, self.best) <= _small(problem, self.last)
        return _verdict(problem, self.last, self.last, still, problem.stationary(self.last))

    def sharpen(self) -> None:
        """Begins the next stage, with the best path of this one."""
        assert self.best is not None
        objective = self.steps.objective.sharper(self._rise)
        self.stage, self.before = self.stage + 1, self.lowest
        if self.steps.place.b is not self.best.coefficients and (self.steps.place.b != self.best.coefficients).any():
            self.steps.jump(self.best.coefficients)
        self.steps.turn(objective)

    @property
    def _rise(self) -> float:
        assert self.last is not None
        return self.steps.problem.left(self.last)

    def _numbered(self, state: PathState, step: int) -> PathState:
        return replace(state, step=step, stage=self.stage, beta=self.steps.objective.beta)

    def _keep(self, state: PathState) -> None:
        first = self.best is None or self.best.stage < self.stage or state.top < self.best.top
        self.best = state if first else self.best
        self.lowest = state if self.lowest is None or state.top < self.lowest.top else self.lowest


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
        """The states of all stages, and last the path of the lowest maximum, with the reason why there is no other.

        A stage begins with the path of the step before, seen by the new objective. With too large a β for its sample
        points a path stretches until its steps jump over the barrier. It cannot hide from the maximum over continuous
        t, so that is what has to fall from stage to stage. A path that is given is one of those that are kept.
        """
        assert isinstance(problem.objective, SoftTop)
        step, settled, ending = 0, False, None
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
                lowest, settled = best, at_stage.stationary(best)
            elif fell >= -small:
                settled = settled or at_stage.stationary(best)
            ending = _verdict(at_stage, last_of_stage, best, fell <= small, settled)
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
        """The states at one β; the first, the last, and the one with the lowest L."""
        step, stage = since
        first: PathState | None = None
        best: PathState | None = None
        for state in _at_one(self.solver, problem, b):
            state = replace(state, step=step + state.step, stage=stage, beta=_beta(problem), memory=None)
            if first is None:
                first = state = with_maximum(problem, state) if given else replace(state, maximum=top_of_b)
            if best is not None and state.step == best.step:  # the same path, whose slope is now known
                state = replace(state, maximum=best.maximum)
            if best is None or state.step == best.step or state.objective < best.objective:
                best = state
            yield replace(state, reason=None)
        assert first is not None
        assert best is not None
        return first, state, best


def _polished(problem: PathProblem, state: PathState) -> PathState | None:
    """The path whose maximum was lowered on its own account; None where it cannot be evaluated."""
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
    return replace(problem, objective=problem.objective.sharper(problem.left(best)))


def _small(problem: PathProblem, best: PathState) -> float:
    """So little the maximum has to fall in the last stage."""
    assert isinstance(problem.objective, SoftTop)
    return min(STILL_MAXIMUM * problem.objective.scale, STILL_ABOVE * problem.left(best))


def _fell(before: PathState | None, best: PathState) -> float:
    return float("inf") if before is None else before.top - best.top


def _verdict(problem: PathProblem, last: PathState, best: PathState, still: bool, settled: bool) -> Ending | None:
    """Why there is no other stage; None where there is."""
    assert isinstance(problem.objective, SoftTop)
    if last.reason in (Ending.LINE_SEARCH, Ending.NOT_FINITE):
        return last.reason
    if still and problem.objective.weighs_the_top(problem.left(best)):
        return Ending.CONVERGED if settled else Ending.STALLED
    return None


def _at_one(solver: Solver, problem: PathProblem, b: Any) -> Iterator[PathState]:
    """The states at one β, until L has little left to gain or the solver knows no next step."""
    assert problem.line is not None
    rule = Rule(problem, solver, problem.straight(problem.line))
    for state in solver.states(problem, b):
        yield state
        if state.reason is not None or rule(state) is not None:
            return
