"""The record of a search: history, best path, and result."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Any

import numpy as np

from ..backend import to_host
from ..landscape import Evaluations, LandscapeError
from .bands import with_images
from .batches import RoundMemory
from .endings import Ending
from .maximum import with_maximum
from .objectives import SoftTop, capped
from .problem import PathProblem, PathState
from .result import HISTORY, Path, under_resolved


class Keeps(Enum):
    """Which path of a search is its result."""

    #: The path of lowest L.
    LOWEST = auto()
    #: The path of lowest maximum among the paths of lowest L of each stage.
    STAGES = auto()
    #: The last path: a band has no L.
    LAST = auto()


@dataclass
class Record:
    """The states of a search.

    Attributes
    ----------
    problem
        The problem of the search.
    keeps
        Which path is the result.
    metadata
        Options, for the result.
    best
        The best path so far; where there are stages, of this one.
    candidates
        Other paths whose maximum is known: of earlier stages, and from before a bend.
    rounded
        The path after the last round on mini-batches, which no sample points confine.
    given
        The initial path of the user, and the problem in its family.
    history
        One entry per step.
    """

    problem: PathProblem
    keeps: Keeps
    metadata: dict[str, Any]
    best: PathState | None = None
    candidates: list[PathState] = field(default_factory=list)
    rounded: PathState | None = None
    given: tuple[PathProblem, PathState] | None = None
    history: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in HISTORY})
    line: np.ndarray | None = None
    _last: PathState | None = None
    _offset: tuple[int, int] = (0, 0)

    def add(self, state: PathState) -> PathState:
        """Add a state; returns it with steps and stages counted over the whole search."""
        step, stage = self._offset
        state = replace(state, step=state.step + step, stage=state.stage + stage)
        if self.line is None:
            self.line = self.problem.line if self.problem.line is not None else state.values
        if state.maximum is not None:
            self.candidates.append(state)
        if isinstance(state.memory, RoundMemory):
            self.rounded = state
        last, self._last = self._last, state
        if state.reason is not None and last is not None:
            if self.keeps is Keeps.STAGES:  # the path that the stages have chosen
                self.best = state
                return state
            if last.step == state.step:  # the same path, with the reason why the search ends
                return state
        self._note(state, again=last is not None and last.step == state.step)
        new_stage = last is not None and last.stage != state.stage
        if self.best is None or new_stage or self.keeps is Keeps.LAST or state.objective < self.best.objective:
            self.best = state
        return state

    def _note(self, state: PathState, again: bool) -> None:
        """Add to the history; where a new stage starts with the path of the step before, its entry is replaced."""
        for name, entries in self.history.items():
            if again:
                entries.pop()
            entries.append(getattr(state, name))

    def resumed(self, last: PathState) -> None:
        """Continue after a state that was added before."""
        self._last = last

    def begin_again(self) -> None:
        """Continue the counts from here; the path so far, whose maximum is known, is kept for comparison."""
        assert self._last is not None
        assert self.best is not None
        self._offset = self._last.step + 1, self._last.stage + 1
        self.candidates.append(self.best)

    def measure_maximum(self) -> None:
        """Find the maximum of the best path; with candidates, the path of lowest maximum becomes the best.

        So does the path after the rounds on mini-batches, where sample points of the path of lowest L miss its barrier.
        """
        best = self.best_measured()
        if self.keeps is Keeps.STAGES:
            best = min((best, *self.candidates), key=lambda state: state.top)
        if self.rounded is not None and self.under_resolved:
            self.rounded = self._with_maximum(self.rounded)
            best = min((best, self.rounded), key=lambda state: state.top)
        self.best = best
        if self.keeps is Keeps.LAST:  # a band that was still growing has fewer images than the straight line
            with self.problem.meter.unlimited():
                self.line = with_images(self.problem, len(self.best.values)).with_line().line

    def has_no_barrier(self) -> bool:
        """Decide whether the best path, measured over continuous t, has a barrier of next to nothing at most.

        No sample point lies above the higher endpoint then, and they miss no barrier (see :func:`under_resolved`).
        """
        assert self.best is not None
        if self.best.height > float(self.problem.ends.max()):
            return False
        self.best_measured()
        return not self.under_resolved

    def best_measured(self) -> PathState:
        """Find the maximum of the best path, and return that path."""
        assert self.best is not None
        self.best = self._with_maximum(self.best)
        return self.best

    def _with_maximum(self, state: PathState) -> PathState:
        with self.problem.meter.unlimited():
            problem = self.problem
            if self.keeps is Keeps.LAST:
                problem = with_images(problem, len(state.values))
            elif problem.line is None:
                problem = replace(problem, line=self.line)
            return with_maximum(problem, state)

    @property
    def under_resolved(self) -> bool:
        """Whether the sample points of the best path miss its barrier."""
        assert self.best is not None
        assert self.line is not None
        return self._under_resolved(self.best, self.line)

    def _under_resolved(self, state: PathState, line: np.ndarray) -> bool:
        top = state.height if state.maximum is None else state.maximum[0]
        eps = float(np.finfo(self.problem.landscape.dtype).eps)
        return under_resolved(top, state.height, float(self.problem.ends.max()), float(capped(line).max()), eps)

    def so_far(self, ending: Ending) -> Path | None:
        """Return the best path of a search that ends early; None where there is none.

        A path whose maximum is known is preferred to one of which only the sample points are known. Evaluations are
        made only to compare it with a given initial path.
        """
        if self.candidates and self.keeps is Keeps.STAGES:
            self.best = min(self.candidates, key=lambda state: state.top)
        if self.best is not None and self.given is not None:
            with suppress(LandscapeError, KeyboardInterrupt):  # then the given path is kept
                self.best = self._with_maximum(self.best)
        return None if self.best is None else self.path(ending)

    def path(self, ending: Ending) -> Path:
        """Make the result: the best path, or the given one if that is lower."""
        state, problem, metadata, line = self.best, self.problem, self.metadata, self.line
        assert state is not None
        if self.given is not None and self._given_is_lower(state):
            problem, state = self.given
            line = problem.line
            if ending.converged and ending is not Ending.NO_BARRIER:  # which was measured for the other path
                ending = Ending.STALLED
        if isinstance(self.problem.objective, SoftTop) and problem is self.problem and self.keeps is Keeps.STAGES:
            metadata = {**metadata, "beta": state.beta or self.problem.objective.beta}
        if problem.meter.failures:
            metadata = {**metadata, "walls": problem.meter.failures, "last_wall": problem.meter.last_failure}
        if self.rounded is not None:  # they come first, and each is a step
            metadata = {**metadata, "minibatch_rounds": self.rounded.step}
        assert line is not None
        top, top_t = state.maximum or (state.height, float("nan"))
        return Path(
            start=to_host(problem.start).copy(),
            end=to_host(problem.end).copy(),
            coefficients=to_host(state.coefficients).copy(),
            t=np.linspace(0, 1, len(state.values)),
            values=state.values.copy(),
            height_linear=float(line.max()),
            length=state.length,
            history={name: np.array(entries) for name, entries in self.history.items()},
            best_step=state.step,
            maximum=top,
            maximum_t=top_t,
            evaluations=problem.meter.evaluations + Evaluations(),
            converged=ending.converged,
            reason=ending,
            under_resolved=self._under_resolved(state, line),
            metadata=dict(metadata),
            basis=problem.curve.basis,
            rounds=problem.meter.rounds,
            line=line.copy(),
        )

    def _given_is_lower(self, state: PathState) -> bool:
        """Decide whether the given path has the lower maximum; where L applies to it, L has decided."""
        assert self.given is not None
        problem, given = self.given
        if self.keeps is Keeps.LOWEST and problem is self.problem:
            return False
        assert given.maximum is not None
        return state.maximum is None or given.maximum[0] < state.maximum[0]
