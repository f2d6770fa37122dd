"""The maximum of a path as an objective of its own: one gradient, at the maximum, says how to lower it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backend import to_device, to_host
from ..landscape import LandscapeError
from .bounded import FROM_A_WALL, Pairs
from .meter import BudgetSpentError
from .problem import PathProblem, PathState, norm

#: Gradients at most, and at most for one path: the maximum is found where what a parabola promises above a point is
#: less than this part of the rise of the maximum above the chord.
GRADIENTS, LOOKS, NEAR = 24, 4, 1e-4
#: The maximum is stationary where a quasi-Newton step would lower it by less than the first part of its rise, and the
#: step before did by less than the second: what a step over a spike tells of the curvature does not hold where it ends.
STILL_TOP, LAST_FALL = 1e-5, 1e-2
#: The longest and the first move, as parts of the distance between the endpoints.
LONGEST_MOVE, FIRST_MOVE = 0.05, 0.01
#: A peak that rises by so large a part of what the highest one does stays where it is.
OTHERS = 0.5
#: The step in t by which the direction of the curve is told.
SHIFT = 1e-6


@dataclass(frozen=True)
class _Peak:
    """The maximum of one path.

    Attributes
    ----------
    b
        (N, D): its coefficients.
    value, t
        The maximum, and where it stands.
    gradient
        (D,): across the path, in units.
    shares
        (N,): φ_n(t).
    """

    b: np.ndarray
    value: float
    t: float
    gradient: np.ndarray
    shares: np.ndarray


class _Spent(Exception):
    """There are no more gradients."""


def lowered(problem: PathProblem, state: PathState, pairs: Pairs) -> tuple[Any, float, bool]:
    """b (N, D) of a path with a lower maximum than that of a state, the maximum, and whether it falls no more.

    Of the budget, enough is kept to look at all sample points of the path. What the pairs know of the Hessian of L
    says how far to move at first.
    """
    problem.meter.reserved = len(problem.curve.t) - 2
    try:
        return Top(problem, state, pairs).lowered()
    finally:
        problem.meter.reserved = 0


class Top:
    """Lowers the maximum over continuous t of a path.

    Where the maximum stands, the gradient along the path is 0, and the one across it is that of the maximum by where
    the path crosses. A quasi-Newton step in these D coordinates moves the path there by the smoothest bend.
    """

    def __init__(self, problem: PathProblem, state: PathState, pairs: Pairs) -> None:
        assert state.maximum is not None
        self.problem, self.state, self.pairs = problem, state, pairs
        self.start, self.end = (to_host(x).astype(np.float64) for x in (problem.start, problem.end))
        self.spacing = 1 / (len(problem.curve.t) - 1)
        self._maximum = state.maximum
        value, self.t = state.maximum
        self.bend = self._bend(value)
        self.others = problem.curve.at(self._others())[:, 2:]
        self.looks = 0

    def lowered(self) -> tuple[Any, float, bool]:
        """b (N, D) of a path, its maximum there, and whether that falls no more."""
        land = self.problem.landscape
        best, settled = None, False
        try:
            best = self._peak(to_host(self.state.coefficients).astype(np.float64), self.t)
            known, fell = Pairs(unit=1.0), float("inf")
            while best is not None:
                move, fall = self._move(best, known)
                rise = self._rise(best.value, best.t)
                if settled := fall <= STILL_TOP * rise and (fell <= LAST_FALL * rise or fall == 0):
                    break
                lower, known = self._lower(best, move, known)
                if lower is None:
                    break
                fell, best = best.value - lower.value, lower
        except (BudgetSpentError, _Spent):
            pass
        if best is None:
            return self.state.coefficients, self.state.top, False
        return to_device(best.b, land.device, land.dtype), best.value, settled

    def _bend(self, value: float) -> float:
        """The second derivative along t there, from the value at a sample that is no neighbour's neighbour."""
        t, values = self.problem.curve.t, self.state.values
        away = np.abs(t - self.t)
        k = int(np.argmin(np.where(away >= 0.5 * self.spacing, away, np.inf)))
        return min(2 * (float(values[k]) - value) / (t[k] - self.t) ** 2, 0.0)

    def _others(self) -> np.ndarray:
        """The t of the sample points on other peaks, the highest first."""
        t, values = self.problem.curve.t, self.state.values
        inner = values[1:-1]
        peaks = 1 + np.flatnonzero((inner >= values[:-2]) & (inner > values[2:]))
        rises = np.array([self._rise(values[k], t[k]) for k in peaks])
        peaks = peaks[
            (rises >= OTHERS * self._rise(*self._maximum)) & (np.abs(t[peaks] - self._maximum[1]) > 2 * self.spacing)
        ]
        return t[peaks[np.argsort(-values[peaks])]][: self.problem.curve.n_terms // 2]

    def _shape(self, peak: _Peak) -> np.ndarray:
        """(N,): the smoothest bend that is 1 at a peak, and 0 at the others."""
        rows = np.concatenate([peak.shares[None], self.others]) / self.problem.curve.scale()
        one: np.ndarray = np.linalg.lstsq(rows, np.eye(len(rows))[0], rcond=None)[0] / self.problem.curve.scale()
        return one / float(one @ peak.shares)

    def _rise(self, value: float, t: float) -> float:
        ends = self.problem.ends
        return abs(value - float(ends[0] + t * (ends[1] - ends[0])))

    def _peak(self, b: np.ndarray, t: float) -> _Peak | None:
        """The maximum of the path b near t; None where there is none, or a wall."""
        curve, unit = self.problem.curve, self.pairs.unit
        before: tuple[float, float] | None = None
        for _ in range(LOOKS):
            C = curve.at(np.array([t, t - SHIFT, t + SHIFT]))
            rows = C @ np.concatenate([self.start[None], self.end[None], b])
            tangent = (rows[2] - rows[1]) / (2 * SHIFT)
            found = self._evaluate(rows[0])
            if found is None:
                return None
            value, gradient = found
            slope = float(gradient @ tangent)
            if before is not None and (bend := (slope - before[1]) / (t - before[0])) < 0:
                self.bend = bend
            if not self.bend < 0:
                return None
            shift = float(np.clip(-slope / self.bend, -self.spacing, self.spacing))
            if 0.5 * abs(slope * shift) <= NEAR * self._rise(value, t):
                across = gradient - tangent * (slope / float(tangent @ tangent))
                return _Peak(b, value + 0.5 * slope * shift, t + shift, across / unit, C[0, 2:])
            before, t = (t, slope), float(np.clip(t + shift, 0.1 * self.spacing, 1 - 0.1 * self.spacing))
            if t == before[0]:
                return None
        return None

    def _evaluate(self, x: np.ndarray) -> tuple[float, np.ndarray] | None:
        """Value and gradient (D,); None in a wall."""
        if self.looks >= GRADIENTS:
            raise _Spent
        self.looks += 1
        land, meter = self.problem.landscape, self.problem.meter
        meter.spend(1)
        meter.count(1)
        try:
            values, gradients = land.values_and_gradients(to_device(x[None], land.device, land.dtype))
        except LandscapeError as error:
            meter.note_wall(str(error))
            return None
        gradient = to_host(gradients)[0].astype(np.float64)
        return (float(values[0]), gradient) if np.isfinite(values[0]) and np.isfinite(gradient).all() else None

    def _move(self, peak: _Peak, known: Pairs) -> tuple[np.ndarray, float]:
        """Where to move the path at its maximum, and by how much that should lower it.

        The first move is the one that what is known of L allows for.
        """
        g, distance = peak.gradient, self.problem.distance()
        if known:
            move = -known.step(g)
        elif self.pairs:
            scaled = peak.shares / self.problem.curve.scale()
            move = -scaled @ to_host(self.pairs.step(np.outer(scaled, g)))
        else:
            move = -g * (FIRST_MOVE * distance / (norm(g) or 1.0))
        fall = -0.5 * float(move @ g)
        if not fall >= 0:
            move, fall = -g * (FIRST_MOVE * distance / (norm(g) or 1.0)), float("inf")
        size = norm(move)
        return move * min(1.0, LONGEST_MOVE * distance / (size or 1.0)), fall * self.pairs.unit

    def _lower(self, peak: _Peak, move: np.ndarray, known: Pairs) -> tuple[_Peak | None, Pairs]:
        """The path after a move, or a part of it, with a lower maximum; and what that tells of the Hessian."""
        shape = self._shape(peak)
        while True:
            found = self._peak(peak.b + np.outer(shape, move), peak.t)
            if found is not None:
                known = known.added(move, found.gradient - peak.gradient)
                if found.value < peak.value:
                    return found, known
            move = move * FROM_A_WALL
            if norm(move) <= 1e-6 * self.problem.distance():
                return None, known
