"""One β after another: the stages of an objective that weighs the top of the path."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from ..backend import to_host
from .endings import Ending
from .maximum import path_maximum
from .objectives import SoftTop
from .problem import PathProblem, PathState
from .rules import STILL_ABOVE, Rule
from .solvers import Solver

#: β stages at most, and how little a stage has to lower the maximum, in units of the objective's scale, to be the last.
MOST_STAGES, STILL_MAXIMUM = 12, 1e-4


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
        step, ending, settled = 0, Ending.STAGES, False
        lowest: PathState | None = None
        top_of_b: tuple[float, float] | None = None
        objective = problem.objective
        for stage in range(MOST_STAGES):
            at_stage = replace(problem, objective=objective)
            best: PathState | None = None
            before = lowest
            for state in _stage(self.solver, at_stage, b):
                state = replace(state, step=step + state.step, stage=stage, beta=objective.beta, memory=None)
                if best is None and stage == 0 and bool(to_host(b).any()):
                    lowest = before = state = _with_maximum(at_stage, state)
                elif best is None and stage > 0:
                    state = replace(state, maximum=top_of_b)
                if best is not None and state.step == best.step:  # the same path, whose slope is now known
                    state = replace(state, maximum=best.maximum)
                if best is None or state.step == best.step or state.objective < best.objective:
                    best = state
                yield replace(state, reason=None)
            assert best is not None
            step, best = state.step, _with_maximum(at_stage, best)
            rise = at_stage.left(best)
            small = min(STILL_MAXIMUM * objective.scale, STILL_ABOVE * rise)
            fell = float("inf") if before is None else before.top - best.top
            if lowest is None or fell > 0:
                lowest, settled = best, at_stage.stationary(best)
            elif fell >= -small:
                settled = settled or at_stage.stationary(best)
            if state.reason in (Ending.LINE_SEARCH, Ending.NOT_FINITE):
                ending = state.reason
                break
            if fell <= small and objective.weighs_the_top(rise):
                ending = Ending.CONVERGED if settled else Ending.STALLED
                break
            b, top_of_b, objective = best.coefficients, best.maximum, objective.sharper(rise)
        assert lowest is not None
        yield replace(lowest, reason=ending)


def _stage(solver: Solver, problem: PathProblem, b: Any) -> Iterator[PathState]:
    """The states at one β, until L has little left to gain or the solver knows no next step."""
    assert problem.line is not None
    rule = Rule(problem, solver, problem.straight(problem.line))
    for state in solver.states(problem, b):
        yield state
        if state.reason is not None or rule(state) is not None:
            return


def _with_maximum(problem: PathProblem, state: PathState) -> PathState:
    if state.maximum is not None:
        return state
    return replace(state, maximum=path_maximum(problem, state.coefficients, state.values))
