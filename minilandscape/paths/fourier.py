"""FourierPathFinder, Algorithm 2: a low path as a straight line and a truncated sine series."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from math import ceil, sqrt
from typing import Any

import numpy as np

from ..landscape import as_landscape
from ..optimizers import Adam, LbfgsState, lbfgs_gss
from .objectives import SoftTop, make_objective
from .problem import BudgetSpentError, PathLine, PathState, Problem, path_maximum

SOLVERS = ("adam", "lbfgs-gss", "auto")
OBJECTIVES = ("sum", "maxflux", "smoothmax")
#: A path stands still when the last tenth of its steps lowered L by less than this part of all that was gained, and,
#: where that is asked for, of all that is left above the chord.
STILL, STILL_ABOVE = 1e-4, 0.01
LEAST_STEPS = {"adam": 100, "lbfgs-gss": 10, "auto": 10}
MOST_STEPS = {"adam": 10_000, "lbfgs-gss": 500, "auto": 500}
#: β stages at most, and how little a stage has to lower the height, in units of the objective's scale, to be the last.
MOST_STAGES, HEIGHT_STILL = 12, 1e-4
#: Points a Fourier term with which "auto" begins, its iterations there that count as a step, and the part of all that
#: was gained on L that such a step has to gain, lest all points be taken.
FEW_POINTS, ITERATIONS_A_STEP, FEW_STILL = 1.5, 10, 0.01
#: The longest first trial step of L-BFGS-GSS, as a part of the distance between the ends.
FIRST_BEND = 0.1
#: A path from which no line search leads down is at rest where so long a bend along its gradient would lower L by less
#: than this part of the objective's scale. Elsewhere the gradient is not that of the values, or these are too rough.
AT_REST = 1e-2


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
        return self.states(self.problem(start, end), None)

    def problem(self, start: Any, end: Any, basis: str = "sine", n_terms: int | None = None) -> Problem:
        """What is minimised between two points, in this family of curves."""
        n_terms = self.n_terms if n_terms is None else n_terms
        return Problem(self.landscape, start, end, n_terms, self.n_points, self.objective, basis)

    def states(self, problem: Problem, last: int | None) -> Iterator[PathState]:
        """The states of a problem, beginning with its own b, as far as step ``last``.

        Those of all stages, where there are stages, until one lowers the height no more; last again the best of the
        lowest stage, with the reason for which there is no other.
        """
        if last == 0:
            yield from self._adam(problem, 0)
            return
        if not isinstance(problem.objective, SoftTop):
            yield from self._stage(problem, last)
            return
        step, kept, before, reason = 0, None, float("inf"), "stages"
        for stage in range(MOST_STAGES):
            objectives: list[float] = []
            best: PathState | None = None
            reached = -1
            for state in self._stage(problem, None):
                state = replace(state, step=step + state.step, stage=stage)
                if state.step > reached:  # else it is the last one again, which says why the stage ends
                    yield replace(state, reason=None)
                    objectives.append(state.objective)
                reached = state.step
                if best is None or state.objective < best.objective:
                    best = state
                if state.reason or stands_still(objectives, self.solver):
                    break
            assert best is not None
            step = state.step
            # With too large a β for its M points a path stretches until its steps jump over the barrier. Between the
            # points it cannot hide, so the maximum is what has to fall.
            height, _ = path_maximum(problem, best)
            if height < before:
                kept = best
            if state.reason in ("line search", "not finite"):
                reason = state.reason
                break
            if before - height <= HEIGHT_STILL * problem.objective.scale:
                reason = "stands still"
                break
            before, problem.b = height, best.coefficients
            problem.objective = problem.objective.next_stage()
        assert kept is not None
        yield replace(kept, reason=reason)

    def _stage(self, problem: Problem, last: int | None) -> Iterator[PathState]:
        return self._adam(problem, last) if self.solver == "adam" else self._lbfgs(problem)

    def _rate(self, problem: Problem) -> float:
        """Adam's learning rate."""
        lr: float | None = self.lr if self.lr is not None else problem.landscape.path_defaults["lr"]
        return problem.distance() / (100 * sqrt(problem.landscape.size)) if lr is None else lr

    def _adam(self, problem: Problem, last: int | None) -> Iterator[PathState]:
        """The last step's path needs no gradient."""
        b, span, step, adam = problem.b, problem.span, 0, None
        span.replace(problem.rows, b)
        if isinstance(problem.objective, SoftTop) and not problem.settled and step != last:
            problem.settle(problem.all_values())
        while step != last:
            values, _, gradient = problem.gradient(span, problem.C, problem.rows, b)
            problem.check_gradient(gradient)
            if adam is None:
                lam = problem.objective.lam
                problem.settle(values)
                problem.lr = self._rate(problem)
                if problem.objective.lam != lam:  # it depends on the values, of which this gradient knew nothing
                    terms = problem.terms(values, b)
                    gradient += problem.lengths_pullback(terms.by_lengths, problem.lengths(b), b)
                # ε = 1e-8 is nothing beside the slopes of losses, but all there is beside those of energies in joules.
                adam = Adam(lr=problem.lr, relative=not problem.own_scale)
            yield problem.state(step, b, values)
            adam.update(b, gradient)
            span.replace(problem.rows, b)
            step += 1
        values = problem.all_values()
        if adam is None:
            problem.settle(values)
        yield problem.state(step, b, values)

    def _lbfgs(self, problem: Problem) -> Iterator[PathState]:
        line = PathLine(problem)
        values = line.all_values()
        problem.settle(values)
        step, state = 0, problem.state(0, line.b, values)
        yield state
        # Energies come in any unit, and so do their gradients: the first bend is a part of the distance (PathLine).
        search = partial(lbfgs_gss, line, first_length=FIRST_BEND * problem.distance(), unit_step=True)
        few = ceil(FEW_POINTS * self.n_terms)
        # Few points do not carry a path that many have found, and would be worse than where it begins.
        if self.solver == "auto" and 2 * few <= self.n_points and not line.b.any():
            straight = state.objective
            line.problem = problem.at_fewer_points(few)
            if problem.budget is not None:  # leaves enough to look at all points
                line.problem.budget = problem.budget - len(problem.t)
            for iterate in _until_spent(search()):
                iteration = MOST_STEPS["auto"] if iterate is None or iterate.reason else iterate.iteration
                over = iteration == MOST_STEPS["auto"]
                if not over and (iteration == 0 or iteration % ITERATIONS_A_STEP):
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
                reason = iterate.reason
                if reason == "line search" and _at_rest(problem, iterate.slope * line.unit):
                    reason = "at rest"
                yield problem.state(step + iterate.iteration, line.b, line.values, reason)


def _until_spent(iterates: Iterator[LbfgsState]) -> Iterator[LbfgsState | None]:
    """The iterates; a last one is None where the budget is spent, the line being where the one before it was."""
    try:
        yield from iterates
    except BudgetSpentError:
        yield None


def _at_rest(problem: Problem, slope: float) -> bool:
    """Whether L of one stage has no slope to speak of; the sum's line searches end as they always do."""
    objective = problem.objective
    return isinstance(objective, SoftTop) and slope * FIRST_BEND * problem.distance() <= AT_REST * objective.scale


def stands_still(objectives: list[float], solver: str, chord: float | None = None, line: float = -np.inf) -> bool:
    """Whether L has stopped falling: L*_⌈0.9k⌉ − L*_k ≤ 1e-4 (L_0 − L*_k) at k of at least 100 (L-BFGS-GSS: 10).

    Between deep ends 1e-4 of the straight line's L may be all that there is to be found. So, where ``chord`` is given,
    the last tenth of the steps must also have gained no more than 1 % of what L*_k still lies above it; and it is no
    fewer than ten steps, since a quasi-Newton solver that begins anew on all points is slow at first.

    Parameters
    ----------
    objectives
        L_0 … L_k.
    chord
        L of a straight line whose values go straight from end to end.
    line
        L of the straight line, in the place of a lower L_0, where a search goes on from a path.
    """
    k = len(objectives) - 1
    if k < LEAST_STEPS[solver]:
        return False
    lowest = np.minimum.accumulate(objectives)
    begin = ceil(0.9 * k) if chord is None else min(ceil(0.9 * k), k - LEAST_STEPS[solver])
    gain = lowest[begin] - lowest[k]
    left = np.inf if chord is None or lowest[k] <= chord else STILL_ABOVE * (lowest[k] - chord)
    return bool(gain <= min(STILL * (max(objectives[0], line) - lowest[k]), left))
