"""Solvers for the coefficients of a path: Adam (Algorithm 2), L-BFGS-GSS, and L-BFGS-GSS on few points first.

A solver yields the state of the initial path, then one state after every step, endlessly unless it converges. Budgets,
stopping rules and the choice of the best path are not its business. A solver resumes from a state that has a
``memory``: it yields that state again, and continues bit-identically.
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
from .batches import RoundMemory, has_batches, rounds
from .bounded import power_of_two
from .endings import Ending
from .line import PathLine
from .meter import BudgetSpentError
from .problem import PathProblem, PathState

#: Number of points per term with which the solver "auto" starts; number of its iterations that are recorded as one
#: step; smallest decrease of L in such a step, relative to the total decrease, for it to continue on few points.
FEW_POINTS, ITERATIONS_A_STEP, LEAST_DECREASE = 1.5, 10, 0.01


class Solver(Protocol):
    """The protocol of a solver for the coefficients of a path."""

    @property
    def least_steps(self) -> int:
        """The smallest number of steps after which convergence is tested."""

    @property
    def most_steps(self) -> int:
        """The largest number of steps where none is requested."""

    @property
    def patient(self) -> bool:
        """Whether the decrease of L is measured over at least ``least_steps`` steps."""

    def states(self, problem: PathProblem, b: Any, last: int | None = None, memory: Any = None) -> Iterator[PathState]:
        """Yield the path b, then the path after every step; the solver may end at step ``last``."""


@dataclass(frozen=True)
class AdamMemory:
    """The state of Adam besides b: number of steps, moments, and the unit of the gradient."""

    step: int
    moments: tuple[Any, ...]
    unit: float


@dataclass(frozen=True)
class LineMemory:
    """The state of L-BFGS-GSS besides b.

    Attributes
    ----------
    done
        Number of steps before the first iteration.
    iterate
        The state of the optimiser.
    unit, values
        Unit and values of the :class:`PathLine`.
    few, straight
        Whether the search is on few points; L of its initial path.
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
        Learning rate; None takes the default of the landscape, or |end − start| / (100 √D).
    """

    lr: float | None = None
    least_steps: int = 100
    most_steps: int = 10_000
    patient: bool = False

    def rate(self, problem: PathProblem) -> float:
        """Choose the learning rate."""
        lr: float | None = self.lr if self.lr is not None else problem.landscape.path_defaults.get("lr")
        return problem.distance() / (100 * sqrt(problem.landscape.size)) if lr is None else lr

    def states(self, problem: PathProblem, b: Any, last: int | None = None, memory: Any = None) -> Iterator[PathState]:
        """Yield the path b, then the path after every step; the path of step ``last`` requires no gradient."""
        span, curve, step, moments = problem.span(), problem.curve, 0, None
        if memory is not None:
            with problem.meter.uncounted():  # the products of the endpoints come first, as in the interrupted search
                problem.meter.values(span, curve.C[1:-1])
            step, moments = memory.step, memory.moments
        b = b.copy()
        span.replace(curve.rows, b)
        # ε = 1e-8 is small compared with gradients of losses, but large compared with those of energies in joules.
        adam = Adam(lr=self.rate(problem), relative=not problem.has_default_rate, state=moments)
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
            unit = unit or (1.0 if problem.has_default_rate else power_of_two(slope))
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
        """Yield the path b, then the path after every iteration."""
        line = PathLine(problem, b)
        if memory is not None:
            yield from _resumed_iterations(line, memory)
            return
        yield problem.state(0, line.b, _first_values(line))
        yield from _iterations(line, 0)


@dataclass(frozen=True)
class FewPointsFirst:
    """L-BFGS-GSS after a cheaper stage, which is recorded in few steps.

    Between networks over many samples that stage is Adam on mini-batches; elsewhere it is L-BFGS-GSS on 1.5 points per
    term, where ten iterations are recorded as one step.
    """

    least_steps: int = 10
    most_steps: int = 500
    patient: bool = True

    def states(self, problem: PathProblem, b: Any, last: int | None = None, memory: Any = None) -> Iterator[PathState]:
        """Yield the path b, then the path after every step of the first stage, and of iterations on all points."""
        few, line = ceil(FEW_POINTS * problem.curve.n_terms), PathLine(problem, b)
        if isinstance(memory, LineMemory) and not memory.few:
            yield from _resumed_iterations(line, memory)
            return
        if memory is None:
            state = problem.state(0, line.b, _first_values(line))
        else:
            with problem.meter.uncounted():
                state = problem.state(memory.done, line.b, line.all_values(), memory=memory)
        yield state
        # A path found on many points would get worse on few, or on mini-batches.
        begins = memory is None and not bool(to_host(line.b).any())
        step = state.step
        on_batches = begins and problem.objective.linear and has_batches(problem.landscape)
        if isinstance(memory, RoundMemory) or on_batches:
            step = (yield from self._on_batches(line, state)).step
        if isinstance(memory, LineMemory):
            line.unit = memory.unit
            step = yield from self._on_few(line, few, state, memory)
        elif begins and step == state.step and 2 * few <= len(problem.curve.t):
            step = yield from self._on_few(line, few, state, None)
        yield from _iterations(line, step)

    @staticmethod
    def _on_batches(line: PathLine, state: PathState) -> Generator[PathState, None, PathState]:
        """Yield the path after every round on mini-batches; returns the last state, at which the line is then."""

        def values_of(b: Any) -> np.ndarray:
            line.put(b)
            return line.trial_values()

        problem = line.problem
        # The barrier that is left stands between sample points, where rounds see it and other steps do not.
        to_target = problem.target is not None
        last = yield from rounds(problem, state, values_of, problem.remaining, to_target)
        if bool((line.b != last.coefficients).any()):
            line.put(last.coefficients)
        return last

    def _on_few(self, line: PathLine, few: int, state: PathState, memory: Any) -> Generator[PathState, None, int]:
        """Yield the path after every ten iterations on few points, until L decreases little; returns the last step."""
        problem, fewer, step = line.problem, line.problem.at_fewer_points(few), state.step
        straight = state.objective if memory is None else memory.straight
        last = ITERATIONS_A_STEP * self.most_steps
        line.problem, problem.meter.reserved = fewer, len(problem.curve.t)  # reserves the evaluations of all points
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
            if found is None or over or before - state.objective <= LEAST_DECREASE * (straight - state.objective):
                yield state
                break
            yield replace(state, memory=LineMemory(step, found, line.unit, line.values, True, straight))
            line.problem, problem.meter.reserved = fewer, len(problem.curve.t)
        return step


def _iterations(line: PathLine, done: int, iterate: LbfgsState | None = None) -> Iterator[PathState]:
    """Yield the path after every iteration on all points, and again with a reason where there is no next one."""
    problem = line.problem
    for found in line.search(iterate):
        if found.iteration or found.reason:
            slope = found.slope * line.unit
            kept = LineMemory(done, found, line.unit, line.values) if found.iteration % REFRESH == 0 else None
            state = problem.state(done + found.iteration, line.b, line.values, slope=slope, memory=kept)
            state = replace(state, decrement=found.decrement * line.unit)
            yield replace(state, reason=None if found.reason is None else _ending(problem, state, found.reason))


def _first_values(line: PathLine) -> np.ndarray:
    """Return the values (M,); those of the straight line may be known from setting up the problem."""
    known = line.problem.line
    return line.all_values() if known is None or bool(to_host(line.b).any()) else known


def _resumed_iterations(line: PathLine, memory: LineMemory) -> Iterator[PathState]:
    line.unit, line.values = memory.unit, memory.values
    return _iterations(line, memory.done, memory.iterate)


def _until_spent(iterates: Iterator[LbfgsState]) -> Iterator[LbfgsState | None]:
    """Yield the iterates, and None at last where the budget is spent; the line is then at the iterate before."""
    try:
        yield from iterates
    except BudgetSpentError:
        yield None


def _ending(problem: PathProblem, state: PathState, stop: Stop) -> Ending:
    """Return the reason why L-BFGS-GSS has no next step."""
    if stop is Stop.NOT_FINITE:
        return Ending.NOT_FINITE
    return Ending.CONVERGED if problem.stationary(state) else Ending.LINE_SEARCH
