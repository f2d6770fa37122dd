"""Check gradients against finite differences of values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any

import numpy as np

from .completed import as_landscape
from .protocol import vector
from .slopes import RESOLVED, Point, Slope

#: Slopes may differ by this many times the estimated error of the finite differences.
UNCERTAIN = 3


@dataclass(frozen=True)
class GradientCheck:
    """The result of :func:`check_gradient`, one entry per point and direction.

    ``print(check)`` shows in one line whether the gradient is right, or where it is wrong.

    Attributes
    ----------
    analytic, numeric
        (P, n): directional derivatives from the gradient, and from finite differences of values.
    relative_error
        (P, n): the larger of |analytic − numeric| and of the same difference for the change of the directional
        derivative over one step; relative to the largest directional derivative within two steps, or to |∇f| / √D.
    uncertainty
        (P, n): the estimated error of the finite differences, from noise, curvature or kinks; relative to the same.
    steps
        (P, n): the finite-difference step h.
    tolerance
        The relative error that is allowed in addition to the uncertainty.
    coordinate
        The wrong coordinate of the gradient; None where the gradient is right, or several coordinates are wrong.
    """

    analytic: np.ndarray
    numeric: np.ndarray
    relative_error: np.ndarray
    uncertainty: np.ndarray
    steps: np.ndarray
    tolerance: float
    coordinate: int | None = None

    @property
    def agrees(self) -> np.ndarray:
        """(P, n): whether the directional derivatives agree within tolerance and uncertainty."""
        agrees: np.ndarray = self.relative_error <= self.tolerance + UNCERTAIN * self.uncertainty
        return agrees

    @property
    def resolved(self) -> np.ndarray:
        """(P,): whether along some direction an error of 1 % in the gradient would be detected.

        Also true where value and gradient are constant along all directions, within the noise.
        """
        seen = (self.uncertainty <= RESOLVED) & np.isfinite(self.relative_error)
        resolved: np.ndarray = seen.any(axis=1) | np.isinf(self.uncertainty).all(axis=1)
        return resolved

    @property
    def worst(self) -> tuple[int, int]:
        """The point and the direction whose error exceeds the allowed one the most."""
        beyond = self.relative_error - UNCERTAIN * np.where(np.isinf(self.uncertainty), 1, self.uncertainty)
        p, d = np.unravel_index(int(np.nan_to_num(beyond, nan=np.inf).argmax()), beyond.shape)
        return int(p), int(d)

    @property
    def passed(self) -> bool:
        """Whether all directional derivatives agree, and errors would be detected at every point."""
        return bool(self.agrees.all() and self.resolved.all())

    def __str__(self) -> str:
        points, directions = self.relative_error.shape
        if self.passed:
            known = (self.uncertainty <= RESOLVED) | np.isinf(self.uncertainty)
            unresolved = int((~known).sum())
            largest = float(self.relative_error[known].max())
            limited = known & (self.relative_error == largest) & np.isfinite(self.uncertainty)
            beside = ""
            if largest > self.tolerance and limited.any():
                beside = f"; finite differences are known to {UNCERTAIN * float(self.uncertainty[limited].max()):.2g}"
            return (
                f"gradient check passed: {points} point{'s' if points > 1 else ''}, {directions} "
                f"direction{'s' if directions > 1 else ''} each, largest relative error "
                f"{largest:.2g} (tolerance {self.tolerance:.2g}{beside})"
                + (f"; {unresolved} of {known.size} slopes not resolved: noise or kinks" if unresolved else "")
            )
        if not self.agrees.all():
            p, d = self.worst
            where = f"at point {p} along direction {d}"
            if not np.isfinite(self.relative_error[p, d]):
                return f"gradient check failed: {where} the value or the gradient is not finite"
            off = "" if self.coordinate is None else f"; coordinate {self.coordinate} of the gradient is wrong"
            return (
                f"gradient check failed: {where} the slope is {self.analytic[p, d]:.6g} by the gradient and "
                f"{self.numeric[p, d]:.6g} by finite differences of values, relative error "
                f"{self.relative_error[p, d]:.2g} within two steps of {self.steps[p, d]:.2g} "
                f"(tolerance {self.tolerance:.2g}){off}"
            )
        p = int(np.argmin(self.resolved))
        return (
            f"gradient check inconclusive: at point {p} the values are too noisy, or have a kink: finite differences "
            f"are known to {self.uncertainty[p].min():.2g} of the slopes at best; {RESOLVED} is needed"
        )


def check_gradient(
    landscape: Any,
    points: Any,
    *,
    directions: Any = None,
    n_directions: int | None = None,
    step: float | None = None,
    tolerance: float | None = None,
    seed: int | None = None,
) -> GradientCheck:
    r"""Compare gradients with finite differences of values along random directions.

    Parameters
    ----------
    landscape
        A landscape or function that :func:`as_landscape` accepts.
    points
        (P, D) or (D,): where to check.
    directions
        (n, D): directions to use instead of random ones, of any length. No row may be zero.
    n_directions
        Number of random directions, 3 if None; the first one is biased towards the gradient, where values differ most.
    step
        Finite-difference step h, in the units of the coordinates; None searches for the best.
    tolerance
        The relative error that is allowed in addition to the estimated error of the finite differences, above 0 and
        below 1. None takes √ε of the landscape's precision ε: 1.5e-8 in float64, 3.5e-4 in float32.
    seed
        Seed of the random directions, 0 if None.

    Returns
    -------
    GradientCheck
        ``passed``, and the numbers for each point and direction; printing it shows the result in one line.

    Raises
    ------
    ValueError
        If there is no point or no direction, a point or direction is not finite, or an option is out of range or has no
        effect (``n_directions`` and ``seed`` beside ``directions``).
    TypeError
        If the points are not real numbers.

    Notes
    -----
    The directional derivative along a unit vector u is

    .. math:: u \cdot \nabla f(x) \approx \frac{f(x - 2hu) - 8 f(x - hu) + 8 f(x + hu) - f(x + 2hu)}{12 h}.

    Its change over one step h is compared as well: it detects wrong gradients at minima and saddles, where the
    directional derivative is zero. The step is the one at which halving changes the finite differences least, whether
    noise, curvature or the kinks of ReLUs limit them. It is chosen from values alone, so that a wrong gradient does not
    affect it. Where noise and kinks leave no such step, as in ReLU networks in float32, the change of the value over a
    longer interval is compared with the integral of the directional derivative.

    Examples
    --------
    >>> import numpy as np
    >>> import minilandscape as ml
    >>> print(ml.check_gradient(lambda x: (x @ x, 2.02 * x), np.ones(3)))  # doctest: +ELLIPSIS
    gradient check failed: at point 0 along direction ... relative error 0.0099 ...
    """
    points = _checked_points(points, landscape)
    _check_options(step, tolerance)
    landscape = as_landscape(landscape, points.shape[1])
    given = None if directions is None else _unit_rows(directions, points.shape[1])
    random = _random_rows(given, n_directions, seed, points.shape[1])
    enough = float(np.finfo(landscape.dtype).eps) ** 0.5 if tolerance is None else min(tolerance, RESOLVED)
    checked = [Point(landscape, point) for point in points]
    units = [_biased(random, point.gradient) if given is None else given for point in checked]
    found = [[point.along(u, step, enough) for u in rows] for point, rows in zip(checked, units, strict=True)]
    allowed = max(slope.eps for row in found for slope in row) ** 0.5 if tolerance is None else tolerance

    def differs(slope: Slope) -> bool:
        return not slope.error <= allowed + UNCERTAIN * slope.uncertainty

    for point, rows, slopes in zip(checked, units, found, strict=True):
        k = int(np.argmin([slope.uncertainty for slope in slopes]))
        unresolved = step is None and RESOLVED < slopes[k].uncertainty < np.inf
        if unresolved and not any(differs(slope) for slope in slopes):
            slopes[k] = point.over_an_interval(rows[k], slopes[k])
    names = ("analytic", "numeric", "error", "uncertainty", "step")
    columns = (np.array([[getattr(slope, name) for slope in row] for row in found]) for name in names)
    analytic, numeric, error, uncertainty, steps = columns
    check = GradientCheck(analytic, numeric, error, uncertainty, steps, allowed)
    if check.agrees.all():
        return check
    p, d = check.worst
    step = found[p][d].step
    return replace(check, coordinate=_culprit(checked[p], units[p][d], step, differs) if checked[p].finite else None)


def _checked_points(points: Any, landscape: Any) -> np.ndarray:
    """Convert points to a stack (P, D); ValueError where there are none, or one is not finite."""
    points = np.atleast_2d(vector("points", points, landscape))
    if points.ndim != 2 or not points.size:
        raise ValueError(f"points have shape {points.shape}; expected a stack (P, D) of at least one point")
    if not np.isfinite(points).all():
        raise ValueError("points hold numbers that are not finite; expected finite ones")
    return points


def _check_options(step: float | None, tolerance: float | None) -> None:
    """Raise ValueError where the step or the tolerance is out of range."""
    for name, number, below in (("tolerance", tolerance, 1.0), ("step", step, np.inf)):
        if number is not None and not (isinstance(number, Real) and 0 < number < below):
            expected = "a relative error above 0 and below 1" if name == "tolerance" else "a positive, finite number"
            raise ValueError(f"{name} is {number!r}; expected {expected}")


def _random_rows(given: np.ndarray | None, n_directions: Any, seed: Any, size: int) -> np.ndarray:
    """Draw random directions (n, D), none beside given ones; ValueError where an option has no effect."""
    for name, option in (("n_directions", n_directions), ("seed", seed)):
        if given is not None and option is not None:
            raise ValueError(
                f"{name} is {option}, but the directions are given and none is random; remove one of the two"
            )
    n_directions = 3 if n_directions is None else n_directions
    if not isinstance(n_directions, Integral) or n_directions < 1:
        raise ValueError(f"n_directions is {n_directions}; expected a whole number, at least 1")
    rng = np.random.default_rng(0 if seed is None else seed)
    return rng.standard_normal((int(n_directions), size)) if given is None else np.zeros((0, 0))


def _unit_rows(directions: Any, size: int) -> np.ndarray:
    rows = np.atleast_2d(np.asarray(directions, dtype=np.float64))
    if rows.ndim != 2 or rows.shape[1] != size or not len(rows):
        raise ValueError(f"directions have shape {rows.shape}; expected (n, {size}), at least one")
    largest = np.abs(rows).max(axis=1, keepdims=True)
    if not (np.isfinite(largest).all() and largest.all()):
        raise ValueError("a direction is zero, or not finite; expected finite rows that are not zero")
    rows = rows / largest  # squares of tiny entries would vanish
    unit: np.ndarray = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def _biased(random: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """Normalise random directions, the first one biased towards the gradient component by component."""
    largest = float(np.abs(gradient).max())
    rows = _unit_rows(random, gradient.size)
    if 0 < largest < np.inf:
        towards = np.abs(rows[0]) * (gradient / largest)
        rows[0] += towards / (np.linalg.norm(towards) or 1.0)
    return _unit_rows(rows, gradient.size)


def _culprit(point: Point, u: np.ndarray, step: float, differs: Callable[[Slope], bool]) -> int | None:
    """Find the wrong coordinate of a gradient along u by bisection; None where several are wrong."""
    left = np.flatnonzero(u)
    while len(left) > 1:
        wrong = []
        for half in np.array_split(left, 2):
            part = np.zeros_like(u)
            part[half] = u[half]
            if differs(point.along(_unit_rows(part, u.size)[0], step, 0.0)):
                wrong.append(half)
        if len(wrong) != 1:
            return None
        (left,) = wrong
    return int(left[0])
