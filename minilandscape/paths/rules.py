"""The stopping rule of a search with one objective."""

from __future__ import annotations

from math import ceil

import numpy as np

from .endings import Ending
from .problem import PathProblem, PathState
from .solvers import Solver

#: A search has converged if L decreased in the last tenth of its steps by less than the first fraction of the decrease
#: since the straight line, and by less than the second fraction of its largest possible decrease.
DECREASE, OF_REMAINING = 1e-4, 0.01


class Rule:
    """The stopping rule of a search with one objective, evaluated after every step.

    Parameters
    ----------
    problem
        The problem, for its units.
    solver
        The solver, for its smallest number of steps.
    reference
        L of the straight line; -inf if the search starts there: its first L is used.

    Attributes
    ----------
    best
        The path of lowest L.
    lowest
        The lowest L up to every step.
    last_lower
        The last step that decreased it.
    """

    def __init__(self, problem: PathProblem, solver: Solver, reference: float = -np.inf) -> None:
        self.problem, self.solver, self.reference = problem, solver, reference
        self.best: PathState | None = None
        self.lowest: list[float] = []
        self.last_lower = 0

    def add(self, state: PathState) -> None:
        """Add the next state."""
        if not self.lowest or state.objective < self.lowest[-1]:
            self.best, self.last_lower = state, len(self.lowest)
        assert self.best is not None
        self.lowest.append(self.best.objective)
        if len(self.lowest) == 1:
            self.reference = max(self.reference, state.objective)

    def __call__(self, state: PathState) -> Ending | None:
        """Add the next state; returns whether the best path is converged or the search has stalled, else None."""
        self.add(state)
        if self.converged:
            return Ending.CONVERGED
        k = len(self.lowest) - 1
        if k - self.last_lower >= max(self.solver.least_steps, ceil(0.5 * k)):
            return Ending.STALLED
        return None

    @property
    def converged(self) -> bool:
        """Whether L is stationary at the best path and no longer decreases.

        L*_⌈0.9k⌉ − L*_k ≤ min(1e-4 (L_0 − L*_k), 1e-2 × the largest possible decrease of L*_k). Between deep endpoints
        the whole decrease may be 1e-4 of L on the straight line. A quasi-Newton solver that restarts is slow at first,
        so for a patient one the last tenth is at least its smallest number of steps.
        """
        k, least = len(self.lowest) - 1, self.solver.least_steps
        if k < least or self.best is None:
            return False
        begin = min(ceil(0.9 * k), k - least) if self.solver.patient else ceil(0.9 * k)
        gain, gained = self.lowest[begin] - self.lowest[k], self.reference - self.lowest[k]
        little = gain <= min(DECREASE * gained, OF_REMAINING * self.problem.remaining(self.best))
        return little and self.problem.stationary(self.best)
