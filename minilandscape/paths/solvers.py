"""What moves a path's coefficients: Adam (Algorithm 2), L-BFGS-GSS, and the same on few points first.

A solver yields the state of the path that it is given, then one after every step, without end unless it finds one. It
knows nothing of budgets, of when to stop, or of which path was the best. From a state that has a ``memory`` a solver
resumes: it yields that state again, and goes on with the same bits.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from math import ceil, sqrt
from typing import Any, Protocol

import numpy as np

from ..backend import to_host
from ..optimizers import Adam, LbfgsState, Stop
from ..optimizers.lbfgs import REFRESH
from .endings import Ending
from .line import PathLine
from .meter import BudgetSpentError
from .problem import PathProblem, PathState

#: Points a term with which the solver "auto" begins, its iterations there that count as a step, and the part of all
#: that was gained on L that such a step has to gain, so that it goes on with few points.
FEW_POINTS, ITERATIONS_A_STEP, FEW_STILL = 1.5, 10, 0.01


class Solver(Protocol):
    """What moves a path's coefficients."""

    @property
    def least_steps(self) -> int:
        """The fewest steps after which convergence can be told."""

    @property
    def most_steps(self) -> int:
        """The most steps that are taken without being asked for."""

    @property
    def patient(self) -> bool:
        """Whether the steps in which L has to fall are never fewer than ``least_steps``."""

    def states(self, problem: PathProblem, b: Any, last: int | None = None, memory: Any = None) -> Iterator[PathState]:
        """The path b, then the path after every step; the solver may end at step ``last``."""


@dataclass(frozen=True)
class AdamMemory:
    """What Adam resumes from, beside b: steps taken, the moments, and the unit of the gradient."""

    step: int
    moments: tuple[Any, ...]
    unit: float


@dataclass(frozen=True)
class LineMemory:
    """What L-BFGS-GSS resumes from, beside b.

    Attributes
    ----------
    done
        Steps before the first iteration.
    iterate
        The state of the optimiser.
    unit, values
        Of the line.
    few, straight
        Whether the search is on few points, and L of the path that it began with.
    """

    done: int
    iterate: LbfgsState
    unit: float
    values: np.ndarray
    few: bool = False
    straight: float = 0.0


@dataclass(frozen=True)
class AdamSolver:
    """Adam on b_n.

    Attributes
    ----------
    lr
        Learning rate; None takes the landscape's own, or |end − start| / (100 √D).
    """

    lr: float | None = None
    least_steps: int = 100
    most_steps: int = 10_000
    patient: bool = False

    def rate(self, problem: PathProblem) -> float:
        """The learning rate."""
        lr: float | None = self.lr if self.lr is not None else problem.landscape.path_defaults.get("lr")
        return problem.distance() / (100 * sqrt(problem.landscape.size)) if lr is None else lr

    def states(self, problem: PathProblem, b: Any, last: int | None = None, memory: Any = None) -> Iterator[PathState]:
        """The path b, then the path after every step; that of step ``last`` needs no gradient."""
        span, curve, step, moments = problem.span(), problem.curve, 0, None
        if memory is not None:
            with problem.meter.uncounted():  # as on the way here, where the endpoints' products were formed first
                problem.meter.values(span, curve.C[1:-1])
            step, moments = memory.step, memory.moments
        b = b.copy()
        span.replace(curve.rows, b)
        # ε = 1e-8 is nothing beside the slopes of losses, but all there is beside those of energies in joules.
        adam = Adam(lr=self.rate(problem), relative=not problem.own_scale, state=moments)
        unit, resumed = (0.0 if memory is None else memory.unit), memory is not None
        while step != last:
            if resumed:
                with problem.meter.uncounted():
                    values, _, gradient = problem.gradient(span, curve.C, b)
                resumed = False
            elif (first := problem.first_gradient(b) if step == 0 else None) is not None:
                values, gradient = first
            else:
                values, _, gradient = problem.gradient(span, curve.C, b)
            problem.check_gradient(span, gradient)
            slope = problem.slope(gradient)
            unit = unit or (1.0 if problem.own_scale else _power_of_two(slope))
            kept = AdamMemory(step, adam.state, unit)
            yield problem.state(step, b, values, slope=slope, memory=kept)
            adam.update(b, gradient / unit if unit not in (0.0, 1.0) else gradient)
            span.replace(curve.rows, b)
            step += 1
        yield problem.state(step, b, problem.all_values(span))


@dataclass(frozen=True)
class QuasiNewton:
    """L-BFGS-GSS on the scaled coefficients n b_n."""

    least_steps: int = 10
    most_steps: int = 500
    patient: bool = False

    def states(self, problem: PathProblem, b: Any, last: int | None = None, memory: Any = None) -> Iterator[PathState]:
        """The path b, then the path after every iteration."""
        line = PathLine(problem, b)
        if memory is not None:
            yield from _resumed_iterations(line, memory)
            return
        yield problem.state(0, line.b, _first_values(line))
        yield from _iterations(line, 0)


@dataclass(frozen=True)
class FewPointsFirst:
    """L-BFGS-GSS, at first on 1.5 points a term, ten iterations of which count as a step."""

    least_steps: int = 10
    most_steps: int = 500
    patient: bool = True

    def states(self, problem: PathProblem, b: Any, last: int | None = None, memory: Any = None) -> Iterator[PathState]:
        """The path b, then the path after every ten iterations on few points, then after every one on all."""
        few, line = ceil(FEW_POINTS * problem.curve.n_terms), PathLine(problem, b)
        if memory is not None and not memory.few:
            yield from _resumed_iterations(line, memory)
            return
        if memory is None:
            state = problem.state(0, line.b, _first_values(line))
        else:
            with problem.meter.uncounted():
                state = problem.state(memory.done, line.b, line.all_values(), memory=memory)
            line.unit = memory.unit
        yield state
        # Few points do not carry a path that many have found, and would be worse than where it begins.
        if memory is not None or (2 * few <= len(problem.curve.t) and not bool(to_host(line.b).any())):
            step = yield from self._on_few(line, few, state, memory)
        else:
            step = state.step
        yield from _iterations(line, step)

    def _on_few(self, line: PathLine, few: int, state: PathState, memory: Any) -> Generator[PathState, None, int]:
        """The path after every ten iterations on few points, until that gains little; returns the steps taken."""
        problem, fewer, step = line.problem, line.problem.at_fewer_points(few), state.step
        straight = state.objective if memory is None else memory.straight
        last = ITERATIONS_A_STEP * self.most_steps
        line.problem, problem.meter.reserved = fewer, len(problem.curve.t)  # leaves enough to look at all points
        iterates = _until_spent(line.search(None if memory is None else memory.iterate))
        if memory is not None:
            next(iterates)
        for found in iterates:
            over = found is None or found.reason is not None or found.iteration >= last
            if found is not None and not over and (found.iteration == 0 or found.iteration % ITERATIONS_A_STEP):
                continue
            step, before = step + 1, state.objective
            line.problem, problem.meter.reserved = problem, 0
            state = problem.state(step, line.b, line.all_values())
            if found is None or over or before - state.objective <= FEW_STILL * (straight - state.objective):
                yield state
                break
            yield replace(state, memory=LineMemory(step, found, line.unit, line.values, True, straight))
            line.problem, problem.meter.reserved = fewer, len(problem.curve.t)
        return step


def _iterations(line: PathLine, done: int, iterate: LbfgsState | None = None) -> Iterator[PathState]:
    """The path after every iteration on all points, and again with a reason where there is no next one."""
    problem = line.problem
    for found in line.search(iterate):
        if found.iteration or found.reason:
            slope = found.slope * line.unit
            kept = LineMemory(done, found, line.unit, line.values) if found.iteration % REFRESH == 0 else None
            state = problem.state(done + found.iteration, line.b, line.values, slope=slope, memory=kept)
            state = replace(state, decrement=found.decrement * line.unit)
            yield replace(state, reason=None if found.reason is None else _ending(problem, state, found.reason))


def _first_values(line: PathLine) -> np.ndarray:
    """(M,): those of the straight line are known where the problem is settled."""
    known = line.problem.line
    return line.all_values() if known is None or bool(to_host(line.b).any()) else known


def _resumed_iterations(line: PathLine, memory: LineMemory) -> Iterator[PathState]:
    line.unit, line.values = memory.unit, memory.values
    return _iterations(line, memory.done, memory.iterate)


def _power_of_two(slope: float) -> float:
    """The unit of a gradient whose squares would else be beyond what a number can hold; dividing by it rounds nothing.

    0 while there is no slope.
    """
    return float(2.0 ** np.clip(np.round(np.log2(slope)), -1000, 1000)) if 0 < slope < np.inf else 0.0


def _until_spent(iterates: Iterator[LbfgsState]) -> Iterator[LbfgsState | None]:
    """The iterates; a last one is None where the budget is spent, the line being where the one before it was."""
    try:
        yield from iterates
    except BudgetSpentError:
        yield None


def _ending(problem: PathProblem, state: PathState, stop: Stop) -> Ending:
    """Why L-BFGS-GSS has no next step."""
    if stop is Stop.NOT_FINITE:
        return Ending.NOT_FINITE
    return Ending.CONVERGED if problem.stationary(state) else Ending.LINE_SEARCH
