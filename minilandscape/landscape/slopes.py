"""Directional derivatives (slopes) by finite differences of values, at the step of least error."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf, isfinite, log2, nan, sqrt
from typing import Any

import numpy as np

from ..backend import to_device, to_host
from .protocol import LandscapeError

#: Stencil x + k h u: the offsets k; weights for h f', for h² f'', and for the third and fourth differences.
OFFSETS = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
FIRST, SECOND = np.array([1.0, -8.0, 0.0, 8.0, -1.0]) / 12, np.array([-1.0, 16.0, -30.0, 16.0, -1.0]) / 12
THIRD, FOURTH = np.array([[-1.0, 3, -3, 1, 0], [0, -1, 3, -3, 1]]), np.array([1.0, -4, 6, -4, 1])
#: Upper bound of the standard deviation of h² f'' for noise of standard deviation 1.
NOISE = 4
#: Finite differences are resolved if their relative error is below this.
RESOLVED = 1e-3
#: Weights of Simpson's rule; differences of values up to so many standard deviations may be noise.
SIMPSON, FLAT = np.array([1.0, 4.0, 1.0]) / 6, 10
#: Largest number of slopes along an interval.
MOST_NODES = 128
#: Largest number of halvings and doublings of the step, of doublings without a smaller error, and the largest step
#: relative to the coordinates.
MOST, PATIENCE, FARTHEST = 100, 4, 100.0
#: Much finer steps are smaller by 2 to this power. The smallest step moves a coordinate by so many units of rounding.
FINER, ROUNDED = 10, 16


@dataclass(frozen=True)
class Slope:
    """The slope along a line, by the gradient and by finite differences.

    Attributes
    ----------
    analytic, numeric
        The slope at the point.
    error, uncertainty
        The difference of the two, in the slope or in its change over one step, and the estimated error of the finite
        differences; both relative to the slopes nearby. Infinite uncertainty: everything is zero within the noise.
    step
        Finite-difference step h.
    eps
        Precision of the values.
    """

    analytic: float
    numeric: float
    error: float
    uncertainty: float
    step: float
    eps: float


@dataclass(frozen=True)
class _Stencil:
    """Finite differences at one step: f', h f'', the mean slopes on both sides, their error, the noise of the values,
    and the size of slopes nearby."""

    step: float
    slope: float
    bend: float
    sides: tuple[float, float]
    error: float
    sigma: float
    scale: float

    @property
    def noise(self) -> float:
        return NOISE * self.sigma / self.step

    @property
    def part(self) -> float:
        return self.error / self.scale if self.scale > 0 and isfinite(self.error) else inf


class Point:
    """A point of a landscape, and the slopes along lines through it."""

    def __init__(self, landscape: Any, point: np.ndarray) -> None:
        self.landscape = landscape
        self.x = np.asarray(point.astype(landscape.dtype), dtype=np.float64)
        (value,), (gradient,) = self._with_gradients(self.x[None])
        self.value, self.gradient = float(value), gradient
        largest = float(np.abs(gradient).max())
        self.finite = isfinite(self.value) and isfinite(largest)
        #: The slope along a typical random direction.
        self.typical = largest * sqrt(float(np.mean((gradient / largest) ** 2))) if 0 < largest < inf else 0.0

    def along(self, u: np.ndarray, step: float | None, enough: float) -> Slope:
        """Compute the slope along a unit vector u, at a given step or at the best one."""
        line = _Line(self, u, step)
        if not self.finite:
            return Slope(nan, nan, nan, nan, line.first, line.eps)
        analytic = float(self.gradient @ u)
        found = line.best(enough) if step is None else line.at(0)
        slopes = np.full(5, analytic)
        slopes[OFFSETS != 0] = self.slopes(OFFSETS[OFFSETS != 0] * found.step, u)
        scale = max(found.scale, float(np.abs(slopes).max()))
        # Where slope and curvature are zero, only the changes of value to both sides detect errors.
        halves = slopes[2::-1], slopes[2:]
        sides = [abs(SIMPSON @ half - change) for half, change in zip(halves, found.sides, strict=True)]
        error = max(abs(analytic - found.slope), abs(float(FIRST @ slopes) - found.bend), *sides)
        # The gradients are noisy too.
        noise = max(abs(float(FOURTH @ slopes)) / sqrt(70), float(np.abs(THIRD @ slopes).max()) / sqrt(20))
        uncertain = found.error + 3 * noise
        if not (isfinite(error) and isfinite(uncertain) and isfinite(scale)):
            return Slope(analytic, found.slope, nan, nan, found.step, line.eps)
        if line.flat(found, scale):
            return Slope(analytic, found.slope, 0.0, inf, found.step, line.eps)
        return Slope(analytic, found.slope, error / scale, uncertain / scale, found.step, line.eps)

    def over_an_interval(self, u: np.ndarray, known: Slope) -> Slope:
        """Compare the changes of value over intervals on both sides with the integral of the slope (Simpson's rule).

        For values that cannot be differentiated because of both noise and kinks: over a long interval the noise is
        small compared with the change of value, and a discontinuous slope can be integrated from many samples.
        """
        line, best = _Line(self, u, None), known
        reach = 4 * known.step
        while reach <= line.first / line.eps**0.2:
            both = [self._integral(sign * u, reach, known) for sign in (1, -1)]
            worse = max(both, key=lambda slope: (slope.error - 3 * slope.uncertainty, slope.uncertainty))
            found = replace(worse, uncertainty=max(slope.uncertainty for slope in both))
            best = min(best, found, key=lambda slope: slope.uncertainty)
            if best.uncertainty <= 0.5 * RESOLVED:
                break
            reach *= 4
        return best

    def _integral(self, u: np.ndarray, reach: float, known: Slope) -> Slope:
        """Compare over one interval; returns the slope known before where it cannot be evaluated."""
        change = float(np.diff(self.values(self.x + np.outer([0.0, reach], u)))[0]) / reach
        noise = NOISE * known.eps * abs(self.value) / reach
        slopes = np.array([float(self.gradient @ u), *self.slopes(np.array([0.5, 1.0]) * reach, u)])
        mean = float(SIMPSON @ slopes)
        while len(slopes) <= MOST_NODES:
            finer = np.empty(2 * len(slopes) - 1)
            finer[::2], finer[1::2] = slopes, self.slopes(np.linspace(0, reach, len(finer))[1::2], u)
            slopes, before = finer, mean
            mean = float(slopes[0] + slopes[-1] + 4 * slopes[1::2].sum() + 2 * slopes[2:-1:2].sum())
            mean /= 3 * (len(slopes) - 1)
            scale = max(float(np.abs(slopes).max()), abs(change), self.typical)
            uncertain = abs(mean - before) + noise
            if not uncertain > 0.5 * RESOLVED * scale or noise > RESOLVED * scale:
                break
        if not (isfinite(change) and isfinite(uncertain) and scale > 0):
            return known
        return Slope(mean, change, abs(mean - change) / scale, uncertain / scale, 0.5 * reach, known.eps)

    def slopes(self, distances: np.ndarray, u: np.ndarray) -> np.ndarray:
        """Compute slopes (n,) from gradients at distances along u; NaN where a gradient cannot be evaluated."""
        try:
            return self._with_gradients(self.x + np.outer(distances, u))[1] @ u
        except LandscapeError:
            return np.full(len(distances), nan)

    def values(self, points: np.ndarray) -> np.ndarray:
        """Evaluate values (P,); NaN where the landscape cannot be evaluated, or is not finite."""
        try:
            found = np.asarray(self.landscape.values(self._device(points)), dtype=np.float64)
        except LandscapeError:
            if len(points) == 1:
                return np.full(1, nan)
            return np.concatenate([self.values(point[None]) for point in points])
        return np.where(np.isfinite(found), found, nan)

    def _with_gradients(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values, gradients = self.landscape.values_and_gradients(self._device(points))
        return np.asarray(values, dtype=np.float64), np.asarray(to_host(gradients), dtype=np.float64)

    def _device(self, points: np.ndarray) -> Any:
        return to_device(points, self.landscape.device, self.landscape.dtype)


class _Line:
    """Values along a line, at distances of 2^k times the first step on both sides of the point."""

    def __init__(self, point: Point, u: np.ndarray, first: float | None) -> None:
        self.point, self.u = point, u
        self.eps = float(np.finfo(point.landscape.dtype).eps)
        size = float(np.abs(point.x).max())
        rms = size * sqrt(float(np.mean((point.x / size) ** 2))) if size > 0 else 1.0
        self.first = self.eps**0.2 * rms / float(np.abs(u).max()) if first is None else first
        #: Much nearer points have the same coordinates once they are rounded.
        self.least = ROUNDED * self.eps * size / float(np.abs(u).max())
        #: At the origin no length scale is known.
        self.doublings = int(log2(FARTHEST / self.eps**0.2)) if size > 0 else MOST
        self.known: dict[int, tuple[float, float]] = {}
        self.centre = float(point.values(point.x[None])[0])

    def best(self, enough: float) -> _Stencil:
        """Find the stencil with the smallest relative error, or the first whose error is small enough."""
        best = self.at(0)
        if best.part <= enough:
            return best
        smallest, tried = best, 0
        for k in range(1, MOST):  # halve until noise dominates
            if self.first * 2.0 ** (-k - 2) < self.least:
                break
            new = self.at(-k)
            best, smallest = min(best, new, key=_part), min(smallest, new, key=_error)
            if new.part <= enough:
                return new
            # Noise grows as the step shrinks; a fine structure that resembles noise does not.
            if new.noise >= best.part * new.scale and not any(
                4 * self.at(-k - finer).sigma < new.sigma for finer in (FINER, 2 * FINER)
            ):
                break
        for k in range(1, self.doublings):  # double as long as the error decreases
            new = self.at(k)
            tried = 0 if new.part < best.part or new.error < smallest.error else tried + 1
            best, smallest = min(best, new, key=_part), min(smallest, new, key=_error)
            if new.part <= enough:
                return new
            if not isfinite(new.error) or tried == PATIENCE:
                break
        return best if best.part <= RESOLVED else smallest

    def at(self, k: int) -> _Stencil:
        """Compute the stencil of step 2^k, and estimate its error from two halvings of the step."""
        self._evaluate(range(k - 2, k + 2))
        rows = [self._row(j) for j in (k, k - 1, k - 2)]
        h = self.first * 2.0**k
        slopes = [float(FIRST @ row) / h * 2**j for j, row in enumerate(rows)]
        bends = [float(SECOND @ row) / h * 4**j for j, row in enumerate(rows[:2])]
        # One value that is exact in single precision may be a coincidence, many are not.
        values = np.unique(np.concatenate(rows))
        with np.errstate(over="ignore"):
            if len(values) > 2 and np.array_equal(values, values.astype(np.float32)):
                self.eps = max(self.eps, float(np.finfo(np.float32).eps))
        sigma = max(
            *(abs(float(FOURTH @ row)) / sqrt(70) for row in rows), 0.5 * self.eps * float(np.abs(rows[0]).max())
        )
        changes = [*np.abs(np.diff(slopes)), abs(bends[0] - bends[1])]
        scale = max(abs(slopes[0]) + 2 * abs(bends[0]), self.point.typical)
        sides = float(rows[0][2] - rows[0][0]) / (2 * h), float(rows[0][4] - rows[0][2]) / (2 * h)
        return _Stencil(h, slopes[0], bends[0], sides, max(changes) + NOISE * sigma / h, sigma, scale)

    def flat(self, found: _Stencil, slope: float) -> bool:
        """Decide whether all values on the stencil, and the slope over it, are within the noise."""
        if found.part <= RESOLVED:
            return False
        k = round(log2(found.step / self.first))
        noise = max(self.at(k - FINER).sigma, float(np.finfo(np.float64).tiny))
        return bool(np.ptp(self._row(k)) <= FLAT * noise and slope * found.step <= FLAT * noise)

    def _row(self, k: int) -> np.ndarray:
        (a, b), (c, d) = self.known[k + 1], self.known[k]
        return np.array([a, c, self.centre, d, b])

    def _evaluate(self, ks: range) -> None:
        new = [k for k in ks if k not in self.known]
        distances = self.first * 2.0 ** np.array(new)
        offsets = np.stack([-distances, distances], axis=1).ravel()
        values = self.point.values(self.point.x + np.outer(offsets, self.u)).reshape(-1, 2)
        self.known.update({k: (float(a), float(b)) for k, (a, b) in zip(new, values, strict=True)})


def _part(stencil: _Stencil) -> float:
    return stencil.part


def _error(stencil: _Stencil) -> float:
    return stencil.error if isfinite(stencil.error) else inf
