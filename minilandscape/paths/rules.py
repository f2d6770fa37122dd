"""When a search at one objective is over."""

from __future__ import annotations

from math import ceil

import numpy as np

from .endings import Ending
from .problem import PathProblem, PathState
from .solvers import Solver

#: A search has little left to gain when the last tenth of its steps lowered L by less than this part of all that was
#: gained from the straight line, and by less than that part of what is left above the chord.
STILL, STILL_ABOVE = 1e-4, 0.01


class Rule:
    """Tells from state to state whether a search at one objective is over.

    Parameters
    ----------
    problem
        Whose units count.
    solver
        Says how many steps it takes until this can be told.
    reference
        L of the straight line; -inf if the search begins there, so that its first L is that.

    Attributes
    ----------
    best
        The path with the lowest L.
    lowest
        The lowest L so far, after every step.
    last_lower
        The step that brought it.
    """

    def __init__(self, problem: PathProblem, solver: Solver, reference: float = -np.inf) -> None:
        self.problem, self.solver, self.reference = problem, solver, reference
        self.best: PathState | None = None
        self.lowest: list[float] = []
        self.last_lower = 0

    def add(self, state: PathState) -> None:
        """Takes the next state into account."""
        if not self.lowest or state.objective < self.lowest[-1]:
            self.best, self.last_lower = state, len(self.lowest)
        assert self.best is not None
        self.lowest.append(self.best.objective)
        if len(self.lowest) == 1:
            self.reference = max(self.reference, state.objective)

    def __call__(self, state: PathState) -> Ending | None:
        """Takes the next state into account: whether the path kept is converged, or the search is stalled."""
        self.add(state)
        if self.converged:
            return Ending.CONVERGED
        k = len(self.lowest) - 1
        if k - self.last_lower >= max(self.solver.least_steps, ceil(0.5 * k)):
            return Ending.STALLED
        return None

    @property
    def converged(self) -> bool:
        """Whether L is stationary at the path kept, and has little left to gain.

        L*_⌈0.9k⌉ − L*_k ≤ min(1e-4 (L_0 − L*_k), 1e-2 × what L*_k still lies above its least possible value). Between
        deep endpoints 1e-4 of the straight line's L may be all that there is to be found. A quasi-Newton solver that
        begins anew is slow at first, so a patient one's last tenth is no fewer than its least steps.
        """
        k, least = len(self.lowest) - 1, self.solver.least_steps
        if k < least or self.best is None:
            return False
        begin = min(ceil(0.9 * k), k - least) if self.solver.patient else ceil(0.9 * k)
        gain, gained = self.lowest[begin] - self.lowest[k], self.reference - self.lowest[k]
        little = gain <= min(STILL * gained, STILL_ABOVE * self.problem.left(self.best))
        return little and self.problem.stationary(self.best)
