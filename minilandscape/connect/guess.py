"""A first path between two minima, evaluated at a few points with its gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.interpolate import CubicHermiteSpline, CubicSpline

from ..landscape import LandscapeError
from ..motion import moved_near
from ..paths import Path
from ..paths.initial import check_size, stacked
from ..saddles import Surface

#: Number of points of a first path, both endpoints included.
POINTS = 5
#: Position of a second set of points between neighbours, as a fraction that is not a simple ratio: if the first points
#: are all minima of a lattice, the second ones are not.
AGAIN = 0.382
#: Values and gradients contradict each other if the cosine between their changes is below minus this.
AGAINST = 0.8
#: Tolerance of the endpoints of a given path, relative to the distance between the minima.
ENDS = 1e-3
#: Which points are expected of a path given as points.
BOTH = " with both endpoints"
#: Step in t for the direction of a path.
STEP = 1e-4
#: Lateral displacements of the middle of a curved path, relative to the distance between the endpoints, for use where
#: the straight line cannot be evaluated; number of directions.
ASIDE, DIRECTIONS = (0.2, -0.2, 0.4, -0.4), 3


@dataclass(frozen=True)
class Guess:
    """A path ω(t), and its values and gradients at a few points.

    Attributes
    ----------
    t, points
        (K,), (K, D): the sample points.
    values, gradients
        (K,), (K, D).
    curve
        ω(t), (n,) -> (n, D).
    """

    t: np.ndarray
    points: np.ndarray
    values: np.ndarray
    gradients: np.ndarray
    curve: Callable[[np.ndarray], np.ndarray]

    def curve_at(self, t: float) -> np.ndarray:
        """Compute ω(t) at one t."""
        return self.curve(np.array([t]))[0]

    @property
    def finite(self) -> bool:
        """Whether all values and gradients are finite."""
        return bool(np.isfinite(self.values).all() and np.isfinite(self.gradients).all())

    @property
    def rise(self) -> float:
        """The rise of the path above its higher endpoint."""
        return self.highest - float(max(self.values[0], self.values[-1]))

    @property
    def highest(self) -> float:
        """The highest value on the path, of the cubic Hermite splines through values and slopes."""
        return float(self._cubic(self._candidates()).max())

    def top(self) -> tuple[float, np.ndarray, np.ndarray]:
        """Estimate the maximum between the endpoints: t, the point, and the direction of the path there."""
        candidates = self._candidates()[1:-1]
        t = float(candidates[np.argmax(self._cubic(candidates))])
        around = self.curve(np.clip([t - 1e-3, t + 1e-3], 0, 1))
        return t, self.curve(np.array([t]))[0], around[1] - around[0]

    @property
    def against(self) -> bool:
        """Whether the changes of the values have the opposite sign of those that the gradients imply."""
        rises, slopes = np.diff(self.values), self._cubic(self.t, 1)
        predicted = 0.5 * np.diff(self.t) * (slopes[:-1] + slopes[1:])
        return bool(rises @ predicted < -AGAINST * np.linalg.norm(rises) * np.linalg.norm(predicted))

    def looked_at_again(self, surface: Surface) -> Guess:
        """The same path, evaluated once more between all of its points."""
        t = self.t[:-1] + AGAIN * np.diff(self.t)
        more = _evaluated(surface, t, self.curve)
        order = np.argsort(np.concatenate([self.t, t]))

        def both(name: str) -> np.ndarray:
            return np.concatenate([getattr(self, name), getattr(more, name)])[order]

        return Guess(both("t"), both("points"), both("values"), both("gradients"), self.curve)

    @cached_property
    def _cubic(self) -> CubicHermiteSpline:
        ahead, behind = np.minimum(self.t + STEP, 1), np.maximum(self.t - STEP, 0)
        directions = (self.curve(ahead) - self.curve(behind)) / (ahead - behind)[:, None]
        return CubicHermiteSpline(self.t, self.values, np.einsum("kd,kd->k", self.gradients, directions))

    def _candidates(self) -> np.ndarray:
        turns = self._cubic.derivative().roots(extrapolate=False)
        inner = np.concatenate([self.t[1:-1], turns[(turns > 0) & (turns < 1)]])
        return np.concatenate([[0.0], np.sort(inner), [1.0]])


def first_guess(surface: Surface, start: np.ndarray, displacement: np.ndarray, initial: Any = None) -> Guess:
    """Evaluate the given path, or that of the landscape, or the straight line; a curved one if that meets a wall."""
    t = np.linspace(0, 1, POINTS)
    curve = _curve(surface, start, displacement, initial)
    guess = _evaluated(surface, t, curve)
    ends = np.isfinite(guess.values[[0, -1]]).all() and np.isfinite(guess.gradients[[0, -1]]).all()
    if guess.finite or initial is not None or start.size == 1 or not ends:
        return guess
    rng = np.random.default_rng(0)
    for _ in range(DIRECTIONS):
        aside = rng.standard_normal(start.size)
        aside -= displacement * (aside @ displacement) / (displacement @ displacement)
        aside *= np.linalg.norm(displacement) / np.linalg.norm(aside)
        for part in ASIDE:
            bent = _evaluated(surface, t, _bent(start, displacement, part * aside))
            if bent.finite:
                return bent
    return guess


def _bent(start: np.ndarray, displacement: np.ndarray, aside: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    return lambda t: start + t[:, None] * displacement + np.sin(np.pi * t)[:, None] * aside


def _curve(
    surface: Surface, start: np.ndarray, displacement: np.ndarray, initial: Any
) -> Callable[[np.ndarray], np.ndarray]:
    """Make ω(t) of a path given in any form."""
    if initial is None:
        initial_path = getattr(surface.landscape, "initial_path", None)
        points = None if initial_path is None else initial_path(start, start + displacement)
        if points is None or not np.isfinite(points).all():
            return lambda t: start + t[:, None] * displacement
        return _through(np.asarray(points, dtype=np.float64))
    if isinstance(initial, Path):
        curve: Callable[[np.ndarray], np.ndarray] = lambda t: initial.points(t).astype(np.float64)  # noqa: E731
    elif callable(initial):
        curve = lambda t: stacked((initial(float(s)) for s in t), start.size, BOTH)  # noqa: E731
    else:
        curve = _through(stacked(initial, start.size, BOTH))
    _check_ends(surface, curve(np.array([0.0, 1.0])), start, displacement)
    return curve


def _through(points: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Make the cubic spline through points (K, D), by arc length."""
    lengths = np.linalg.norm(np.diff(points, axis=0), axis=1)
    whole = float(lengths.sum()) or 1.0
    t = np.concatenate([[0.0], np.cumsum(lengths) / whole])
    t[-1] = 1.0
    kept = np.concatenate([[True], np.diff(t) > 0])
    if kept.sum() > 2:
        return CubicSpline(t[kept], points[kept])
    return lambda t: points[0] + t[:, None] * (points[-1] - points[0])


def _check_ends(surface: Surface, ends: np.ndarray, start: np.ndarray, displacement: np.ndarray) -> None:
    """Raise where a given path has other endpoints, up to zero modes."""
    check_size(ends.shape[1], start.size)
    for name, theirs, ours in zip(("start", "end"), ends, (start, start + displacement), strict=True):
        away = float(np.linalg.norm(moved_near(surface.landscape, ours, theirs, surface.zero_modes)))
        if not away <= ENDS * float(np.linalg.norm(displacement)):
            raise ValueError(
                f"initial has another {name}, {away:.3g} away from the given one; expected a path between the "
                "same two points"
            )


def _evaluated(surface: Surface, t: np.ndarray, curve: Callable[[np.ndarray], np.ndarray]) -> Guess:
    """Evaluate all points in one batch; one by one where one of them raises, which is then a wall."""
    points = curve(t)
    try:
        values, gradients = surface.stack(points)
    except LandscapeError:
        each = [surface.value_and_gradient(point) for point in points]
        values, gradients = np.array([value for value, _ in each]), np.array([gradient for _, gradient in each])
    return Guess(t, points, values, gradients, curve)
