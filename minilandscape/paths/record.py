"""What a search leaves behind: its history, the best path, and the finished result."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Any

import numpy as np

from ..backend import to_host
from ..landscape import Evaluations, LandscapeError
from .bands import with_images
from .endings import Ending
from .maximum import with_maximum
from .objectives import SoftTop, capped
from .problem import PathProblem, PathState
from .result import HISTORY, Path, under_resolved


class Keeps(Enum):
    """Which of its paths a search keeps."""

    #: The one with the lowest L.
    LOWEST = auto()
    #: The one with the lowest maximum, of the paths with the lowest L of each stage.
    STAGES = auto()
    #: The last one: a band has no L.
    LAST = auto()


@dataclass
class Record:
    """The states of a search as they come.

    Attributes
    ----------
    problem
        What is searched.
    keeps
        Which path is the best.
    metadata
        Options, for the result.
    best
        The best so far: of this stage, where there are stages.
    candidates
        Others whose maximum is known: of earlier stages, and from before a bend.
    given
        The path that the search began from, and the problem that sees it as it was given.
    history
        One entry a step.
    """

    problem: PathProblem
    keeps: Keeps
    metadata: dict[str, Any]
    best: PathState | None = None
    candidates: list[PathState] = field(default_factory=list)
    given: tuple[PathProblem, PathState] | None = None
    history: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in HISTORY})
    line: np.ndarray | None = None
    _last: PathState | None = None
    _offset: tuple[int, int] = (0, 0)

    def add(self, state: PathState) -> PathState:
        """Takes a state into account; returns it with steps and stages counted over all parts of the search."""
        step, stage = self._offset
        state = replace(state, step=state.step + step, stage=state.stage + stage)
        if self.line is None:
            self.line = self.problem.line if self.problem.line is not None else state.values
        if state.maximum is not None:
            self.candidates.append(state)
        last, self._last = self._last, state
        if state.reason is not None and last is not None:
            if self.keeps is Keeps.STAGES:  # the path that the stages have chosen
                self.best = state
                return state
            if last.step == state.step:  # the same path, with the reason why there is no other
                return state
        self._note(state, again=last is not None and last.step == state.step)
        new_stage = last is not None and last.stage != state.stage
        if self.best is None or new_stage or self.keeps is Keeps.LAST or state.objective < self.best.objective:
            self.best = state
        return state

    def _note(self, state: PathState, again: bool) -> None:
        """Writes the history, anew where a new stage sees the path of the step before."""
        for name, entries in self.history.items():
            if again:
                entries.pop()
            entries.append(getattr(state, name))

    def resumed(self, last: PathState) -> None:
        """Goes on after a state that has been taken into account before."""
        self._last = last

    def begin_again(self) -> None:
        """Counts on from here; the path so far, whose maximum is known, is kept for comparison."""
        assert self._last is not None
        assert self.best is not None
        self._offset = self._last.step + 1, self._last.stage + 1
        self.candidates.append(self.best)

    def settle(self) -> None:
        """Finds the maximum of the path kept, and where there are candidates keeps the one that is lowest."""
        assert self.best is not None
        self.best = self._with_maximum(self.best)
        if self.keeps is Keeps.STAGES:
            self.best = min((self.best, *self.candidates), key=lambda state: state.top)
        if self.keeps is Keeps.LAST:  # of a band that still grew, fewer images than the straight line has points
            with self.problem.meter.unlimited():
                self.line = with_images(self.problem, len(self.best.values)).with_line().line

    def _with_maximum(self, state: PathState) -> PathState:
        with self.problem.meter.unlimited():
            banded = self.keeps is Keeps.LAST
            return with_maximum(with_images(self.problem, len(state.values)) if banded else self.problem, state)

    @property
    def under_resolved(self) -> bool:
        """Whether the path kept has its barrier between its sample points."""
        assert self.best is not None
        assert self.line is not None
        return self._under_resolved(self.best, self.line)

    def _under_resolved(self, state: PathState, line: np.ndarray) -> bool:
        top = state.height if state.maximum is None else state.maximum[0]
        eps = float(np.finfo(self.problem.landscape.dtype).eps)
        return under_resolved(top, state.height, float(self.problem.ends.max()), float(capped(line).max()), eps)

    def so_far(self, ending: Ending) -> Path | None:
        """The best path of a search that ends early; None where there is none.

        A path whose maximum is known is preferred, since one of which only the sample points are known may hide more.
        Nothing is evaluated but what tells whether it is lower than a path that was given.
        """
        if self.candidates and self.keeps is Keeps.STAGES:
            self.best = min(self.candidates, key=lambda state: state.top)
        if self.best is not None and self.given is not None:
            with suppress(LandscapeError, KeyboardInterrupt):  # then the one that was given is kept
                self.best = self._with_maximum(self.best)
        return None if self.best is None else self.path(ending)

    def path(self, ending: Ending) -> Path:
        """The result: the path kept, or the one that was given where that is lower."""
        state, problem, metadata, line = self.best, self.problem, self.metadata, self.line
        assert state is not None
        if self.given is not None and self._given_is_lower(state):
            problem, state = self.given
            line = problem.line
            if ending.converged and ending is not Ending.NO_BARRIER:  # that was measured of the other path
                ending = Ending.STALLED
        if isinstance(self.problem.objective, SoftTop) and problem is self.problem and self.keeps is Keeps.STAGES:
            metadata = {**metadata, "beta": state.beta or self.problem.objective.beta}
        if problem.meter.failures:
            metadata = {**metadata, "walls": problem.meter.failures, "last_wall": problem.meter.last_failure}
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
        """Whether the path that was given has a lower maximum; where L decides, and it could be seen, L has decided."""
        assert self.given is not None
        problem, given = self.given
        if self.keeps is Keeps.LOWEST and problem is self.problem:
            return False
        assert given.maximum is not None
        return state.maximum is None or given.maximum[0] < state.maximum[0]
