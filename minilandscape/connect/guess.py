"""A first path between two minima, evaluated at a few points with its gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.interpolate import CubicHermiteSpline, CubicSpline

from ..landscape import LandscapeError
from ..paths import Path
from ..saddles import Surface

#: Points of a first path, both ends included.
POINTS = 5
#: The direction of a path is that between points so far apart in t.
STEP = 1e-4
#: How far the middle of a bent line lies aside, as parts of the distance of the ends, where the straight one cannot be
#: evaluated; and along how many directions.
ASIDE, DIRECTIONS = (0.2, -0.2, 0.4, -0.4), 3


@dataclass(frozen=True)
class Guess:
    """A path ω(t), and what was evaluated on it.

    Attributes
    ----------
    t, points
        (K,), (K, D): where.
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
        """ω(t) at one t."""
        return self.curve(np.array([t]))[0]

    @property
    def finite(self) -> bool:
        """Whether no point is a wall."""
        return bool(np.isfinite(self.values).all() and np.isfinite(self.gradients).all())

    @property
    def highest(self) -> float:
        """The highest value on the path: of the cubics between the points that have their values and slopes."""
        return float(self._cubic(self._candidates()).max())

    def top(self) -> tuple[float, np.ndarray, np.ndarray]:
        """Where the highest point between the ends should be: t, the point, and the direction of the path there."""
        candidates = self._candidates()[1:-1]
        t = float(candidates[np.argmax(self._cubic(candidates))])
        around = self.curve(np.clip([t - 1e-3, t + 1e-3], 0, 1))
        return t, self.curve(np.array([t]))[0], around[1] - around[0]

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
    """The path that is given, or the landscape's own, or the straight line; a bent one where that meets a wall."""
    t = np.linspace(0, 1, POINTS)
    curve = _curve(surface, start, displacement, initial)
    guess = _evaluated(surface, t, curve)
    if guess.finite or initial is not None:
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
    """ω(t) of a path that is given in any way."""
    if isinstance(initial, Path):
        return lambda t: initial.points(t).astype(np.float64)
    if callable(initial):
        return lambda t: np.array([np.asarray(initial(float(s)), dtype=np.float64) for s in t])
    if initial is None:
        own = getattr(surface.landscape, "initial_path", None)
        initial = None if own is None else own(start, start + displacement)
    if initial is None:
        return lambda t: start + t[:, None] * displacement
    points = np.asarray(initial, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != start.size or len(points) < 2 or not np.isfinite(points).all():
        raise ValueError(
            f"initial has shape {points.shape}; expected finite points (K, {start.size}), the ends included"
        )
    lengths = np.linalg.norm(np.diff(points, axis=0), axis=1)
    t = np.concatenate([[0.0], np.cumsum(lengths)]) / lengths.sum()
    kept = np.concatenate([[True], np.diff(t) > 0])
    return CubicSpline(t[kept], points[kept]) if kept.sum() > 2 else lambda t: start + t[:, None] * displacement


def _evaluated(surface: Surface, t: np.ndarray, curve: Callable[[np.ndarray], np.ndarray]) -> Guess:
    """All points in one batch; one after another where one of them raises, which is then a wall."""
    points = curve(t)
    try:
        values, gradients = surface.stack(points)
    except LandscapeError:
        each = [surface.value_and_gradient(point) for point in points]
        values, gradients = np.array([value for value, _ in each]), np.array([gradient for _, gradient in each])
    return Guess(t, points, values, gradients, curve)
