"""Minimise the maximum of a path, with one gradient, at the maximum, for each step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backend import norm, to_device, to_host
from ..landscape import LandscapeError
from .bounded import FROM_A_WALL, Pairs
from .meter import BudgetSpentError
from .problem import PathProblem, PathState

#: Largest number of gradients in all and for one path; the maximum is located if a parabola predicts less than this
#: fraction of its rise above the endpoint interpolation.
GRADIENTS, LOOKS, NEAR = 24, 4, 1e-4
#: The maximum is stationary if a quasi-Newton step would lower it by less than the first fraction of its rise, and the
#: last step did by less than the second: a step across a spike yields a wrong curvature.
STATIONARY_MAXIMUM, LAST_DECREASE = 1e-5, 1e-2
#: The largest and the first displacement, relative to the distance between the endpoints.
LONGEST_MOVE, FIRST_MOVE = 0.05, 0.01
#: Other peaks are kept fixed if their rise is above this fraction of that of the highest one.
OTHERS = 0.5
#: Finite-difference step in t for the direction of the curve.
SHIFT = 1e-6


@dataclass(frozen=True)
class _Peak:
    """The maximum of one path.

    Attributes
    ----------
    b
        (N, D): its coefficients.
    value, t
        The maximum, and its position.
    gradient
        (D,): the gradient perpendicular to the path, in units.
    shares
        (N,): φ_n(t).
    """

    b: np.ndarray
    value: float
    t: float
    gradient: np.ndarray
    shares: np.ndarray


class _Spent(Exception):
    """Raised where the largest number of gradients is reached."""


def lowered(problem: PathProblem, state: PathState, pairs: Pairs) -> tuple[Any, float, bool]:
    """Lower the maximum of a path: returns b (N, D), the maximum, and whether it is stationary.

    The evaluation of all sample points is reserved in the budget. The L-BFGS pairs of L determine the first step.
    """
    problem.meter.reserved = len(problem.curve.t) - 2
    try:
        return Top(problem, state, pairs).lowered()
    finally:
        problem.meter.reserved = 0


class Top:
    """A search that minimises the maximum over continuous t of a path.

    At the maximum, the gradient along the path is 0. The perpendicular gradient is the derivative of the maximum with
    respect to a displacement of the path there. A quasi-Newton step in these D coordinates is applied as the smoothest
    deformation of the path.
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
        """Minimise: returns b (N, D), the maximum, and whether it is stationary."""
        land = self.problem.landscape
        best, stationary = None, False
        try:
            best = self._peak(to_host(self.state.coefficients).astype(np.float64), self.t)
            known, fell = Pairs(unit=1.0), float("inf")
            while best is not None:
                move, fall = self._move(best, known)
                rise = self._rise(best.value, best.t)
                if stationary := fall <= STATIONARY_MAXIMUM * rise and (fell <= LAST_DECREASE * rise or fall == 0):
                    break
                lower, known = self._lower(best, move, known)
                if lower is None:
                    break
                fell, best = best.value - lower.value, lower
        except (BudgetSpentError, _Spent):
            pass
        if best is None:
            return self.state.coefficients, self.state.top, False
        return to_device(best.b, land.device, land.dtype), best.value, stationary

    def _bend(self, value: float) -> float:
        """Estimate the second derivative along t, from the value at a nearby sample point."""
        t, values = self.problem.curve.t, self.state.values
        away = np.abs(t - self.t)
        k = int(np.argmin(np.where(away >= 0.5 * self.spacing, away, np.inf)))
        return min(2 * (float(values[k]) - value) / (t[k] - self.t) ** 2, 0.0)

    def _others(self) -> np.ndarray:
        """Find the t of the sample points on other peaks, the highest first."""
        t, values = self.problem.curve.t, self.state.values
        inner = values[1:-1]
        peaks = 1 + np.flatnonzero((inner >= values[:-2]) & (inner > values[2:]))
        rises = np.array([self._rise(values[k], t[k]) for k in peaks])
        peaks = peaks[
            (rises >= OTHERS * self._rise(*self._maximum)) & (np.abs(t[peaks] - self._maximum[1]) > 2 * self.spacing)
        ]
        return t[peaks[np.argsort(-values[peaks])]][: self.problem.curve.n_terms // 2]

    def _shape(self, peak: _Peak) -> np.ndarray:
        """Compute the smoothest deformation (N,) that is 1 at a peak, and 0 at the others."""
        rows = np.concatenate([peak.shares[None], self.others]) / self.problem.curve.scale()
        one: np.ndarray = np.linalg.lstsq(rows, np.eye(len(rows))[0], rcond=None)[0] / self.problem.curve.scale()
        return one / float(one @ peak.shares)

    def _rise(self, value: float, t: float) -> float:
        ends = self.problem.ends
        return abs(value - float(ends[0] + t * (ends[1] - ends[0])))

    def _peak(self, b: np.ndarray, t: float) -> _Peak | None:
        """Locate the maximum of the path b near t; None where there is none, or where it cannot be evaluated."""
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
        """Evaluate value and gradient (D,); None where that fails."""
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
        """Compute the displacement of the path at its maximum, and the expected decrease.

        The first displacement follows from the L-BFGS pairs of L.
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
        """Apply a displacement, or a fraction of it, that lowers the maximum; returns also the updated pairs."""
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
