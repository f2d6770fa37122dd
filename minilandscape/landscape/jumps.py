"""Values at neighbouring points that their gradients do not explain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

#: Points that are compared at most, the last ones, and numbers of all of them together.
MOST_POINTS, MOST_NUMBERS = 400, 4_000_000


@dataclass(frozen=True)
class Jump:
    """Two points whose values differ by more than the slopes at both allow.

    Attributes
    ----------
    values
        f at the two, the earlier one first.
    distance
        Between the two.
    allowed
        The larger of the two changes that the slopes imply.
    """

    values: tuple[float, float]
    distance: float
    allowed: float


def largest_jump(
    points: Sequence[np.ndarray], values: Sequence[float], gradients: Sequence[np.ndarray], near: float, least: float
) -> Jump | None:
    """Find the two points whose values contradict their gradients most; None if no two do.

    Where the slope along the straight line between two points changes monotonically, f(b) − f(a) lies between
    g(a)·(b − a) and g(b)·(b − a), and deviates from their mean by at most half their difference. It is a contradiction
    if it deviates by more than the larger of the two and ``least`` together.

    Parameters
    ----------
    points, values, gradients
        (D,), f and (D,) of each evaluation, in their order.
    near
        Distance up to which two points are compared: the slope between them should change monotonically.
    least
        Deviation that is ignored, in units of f.
    """
    size = max(len(points[-1]), 1) if len(points) else 1
    last = min(MOST_POINTS, max(MOST_NUMBERS // size, 2))
    x, g = (np.array(rows[-last:], dtype=np.float64).reshape(-1, size) for rows in (points, gradients))
    f = np.array(values[-last:], dtype=np.float64)
    finite = np.isfinite(f) & np.isfinite(g).all(axis=1)  # beyond a wall there is nothing to compare
    x, g, f = x[finite], g[finite], f[finite]
    found: Jump | None = None
    excess = 0.0
    for k in range(1, len(x)):
        step = x[k] - x[:k]
        distance = np.linalg.norm(step, axis=1)
        slopes = np.stack([np.einsum("kd,kd->k", g[:k], step), step @ g[k]])
        allowed = np.abs(slopes).max(axis=0)
        beyond = np.abs(f[k] - f[:k] - slopes.mean(axis=0)) - allowed - least
        beyond[(distance == 0) | (distance > near)] = -np.inf
        first = int(beyond.argmax())
        if beyond[first] > excess:
            excess = float(beyond[first])
            found = Jump((float(f[first]), float(f[k])), float(distance[first]), float(allowed[first]))
    return found
