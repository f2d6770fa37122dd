"""Gradients against differences of values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backend import to_device, to_host
from .completed import as_landscape


@dataclass(frozen=True)
class GradientCheck:
    """What :func:`check_gradient` found, one entry a point and direction.

    Attributes
    ----------
    analytic, numeric
        (P, n) slopes along the directions: from the gradient, and from differences of values.
    relative_error
        (P, n): |analytic − numeric| over the larger of the two, or over what rounding alone can make of them.
    tolerance
        The largest relative error that passes.
    """

    analytic: np.ndarray
    numeric: np.ndarray
    relative_error: np.ndarray
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether every slope agrees."""
        return bool((self.relative_error <= self.tolerance).all())


def check_gradient(
    landscape: Any,
    points: Any,
    *,
    directions: Any = None,
    n_directions: int = 3,
    step: float | None = None,
    tolerance: float = 1e-6,
    seed: int = 0,
) -> GradientCheck:
    """Compares gradients with differences of values along random directions.

    The slope of f along a unit vector u is taken by the five-point formula
    [8 (f(x+hu) − f(x−hu)) − (f(x+2hu) − f(x−2hu))] / 12h and compared with g·u.

    Parameters
    ----------
    landscape
        Anything that :func:`as_landscape` takes.
    points
        (P, D) or (D,).
    directions
        (n, D) to use instead of random ones; made unit vectors.
    n_directions
        How many random ones.
    step
        h; None takes eps^(1/5) of the landscape's precision times the larger of 1 and the root mean square coordinate.
    tolerance
        The largest relative error that counts as agreement.
    seed
        Of the random directions.

    Raises
    ------
    ValueError
        If there is no point or no direction: nothing would have been compared.
    """
    points = np.atleast_2d(np.asarray(to_host(points)))
    if points.ndim != 2 or not points.size:
        raise ValueError(f"points have shape {points.shape}; expected a stack (P, D) of at least one point")
    landscape = as_landscape(landscape, points.shape[1])
    eps = float(np.finfo(landscape.dtype).eps)
    if directions is None:
        if n_directions < 1:
            raise ValueError(f"n_directions is {n_directions}; expected at least 1")
        directions = np.random.default_rng(seed).standard_normal((n_directions, points.shape[1]))
    directions = np.atleast_2d(np.asarray(directions, dtype=np.float64))
    if directions.shape[1:] != points.shape[1:] or not len(directions):
        raise ValueError(f"directions have shape {directions.shape}; expected (n, {points.shape[1]}), at least one")
    directions = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    analytic = np.empty((len(points), len(directions)))
    numeric, floor = np.empty_like(analytic), np.empty_like(analytic)
    for p, point in enumerate(np.asarray(points, dtype=np.float64)):
        h = step or eps**0.2 * max(1.0, float(np.sqrt(np.mean(point**2))))
        _, gradient = landscape.values_and_gradients(to_device(point[None], landscape.device, landscape.dtype))
        analytic[p] = directions @ np.asarray(to_host(gradient)[0], dtype=np.float64)
        offsets = h * np.array([-2.0, -1.0, 1.0, 2.0])
        stack = point + (offsets[:, None, None] * directions).reshape(-1, point.size)
        f = landscape.values(to_device(stack, landscape.device, landscape.dtype)).reshape(4, -1)
        numeric[p] = (8 * (f[2] - f[1]) - (f[3] - f[0])) / (12 * h)
        floor[p] = eps * np.abs(f).max(axis=0) / (h * tolerance)
    scale = np.maximum(np.maximum(np.abs(analytic), np.abs(numeric)), np.maximum(floor, np.finfo(float).tiny))
    return GradientCheck(analytic, numeric, np.abs(analytic - numeric) / scale, tolerance)
