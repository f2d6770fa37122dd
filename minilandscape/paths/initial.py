"""Initial paths: of another search, of points, or of a function of t."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ..backend import to_device, to_host
from ..landscape import real_numbers
from .bands import piecewise_linear, with_images
from .curve import Curve
from .maximum import path_maximum
from .problem import PathProblem, PathState
from .result import Path

#: Number of samples per term of a path of another family.
SAMPLES_A_TERM = 8
#: Tolerances of equal endpoints, relative to their size and to their distance.
SAME, CLOSE = 1e-6, 1e-3


def initial_terms(problem: PathProblem, initial: Any) -> Any:
    """Convert an initial path to b (N, D): exactly where it is of the same family, else by least squares.

    Parameters
    ----------
    initial
        A :class:`Path` between the same endpoints; points (K, D) along it, with or without its endpoints; or a function
        of t that returns one.

    Raises
    ------
    ValueError
        If it has other endpoints, more terms than the search, or values that are not finite.
    """
    curve = problem.curve
    if isinstance(initial, Path):
        _same_endpoints(problem, initial)
        if initial.basis == curve.basis and curve.basis == "sine":
            given = initial.coefficients
            if len(given) > curve.n_terms:
                raise ValueError(
                    f"initial has {len(given)} terms, the search {curve.n_terms}: give n_terms={len(given)}"
                )
            return _device(problem, np.pad(given, ((0, curve.n_terms - len(given)), (0, 0))))
        if _of_family(initial, curve):
            return _device(problem, initial.coefficients)
        t, away = _sampled(problem, initial.points)
    elif callable(initial):
        # One by one: a function may write every point into the same work array.
        t, away = _sampled(problem, lambda t: stacked((initial(x) for x in t), problem.landscape.size))
    else:
        t, away = _of_points(problem, initial)
    if curve.basis == "hat" and curve.n_terms == len(curve.t) - 2:  # a band, whose images lie on the path
        return _device(problem, np.stack([np.interp(curve.t[1:-1], t, column) for column in away.T], axis=1))
    return _device(problem, curve.through(t, away))


def given_path(problem: PathProblem, initial: Any, b: Any) -> tuple[PathProblem, PathState]:
    """Evaluate the given path and its maximum: in its family, or for a function of t in that of the search."""
    curve = problem.curve
    if isinstance(initial, Path) and not _of_family(initial, curve):
        same_family = replace(problem, curve=Curve.of(initial.basis, initial.t, len(initial.coefficients)), line=None)
        same_family, b, span = same_family.with_line(), _device(same_family, initial.coefficients), same_family.span()
        span.replace(same_family.curve.rows, b)
        state = same_family.state(0, b, same_family.all_values(span))
    elif isinstance(initial, Path) or callable(initial):
        span = problem.span()
        span.replace(curve.rows, b)
        state = problem.state(0, b, problem.all_values(span))
        same_family = problem
    else:
        t, away = _of_points(problem, initial)
        same_family = with_images(problem, len(t)).with_line()
        line = _line(problem, np.linspace(0, 1, len(t)))
        images = _line(problem, t) + away
        span = same_family.span()
        span.replace(same_family.curve.rows, _device(same_family, (images - line)[1:-1]))
        state = piecewise_linear(same_family, images, same_family.all_values(span))
    top = path_maximum(same_family, _device(same_family, to_host(state.coefficients)), state.values)
    return same_family, replace(state, maximum=top)


def _of_family(path: Path, curve: Curve) -> bool:
    """Decide whether a path belongs to the family of a curve; a sine series may have more terms."""
    return path.basis == curve.basis and (curve.basis == "sine" or len(path.coefficients) == curve.n_terms)


def _device(problem: PathProblem, b: np.ndarray) -> Any:
    return to_device(b, problem.landscape.device, problem.landscape.dtype).copy()


def _line(problem: PathProblem, t: np.ndarray) -> np.ndarray:
    start, displacement = (to_host(a).astype(np.float64) for a in (problem.start, problem.displacement))
    return start + t[:, None] * displacement


def _sampled(problem: PathProblem, points: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Sample a path that is a function of t: t, and displacements from the straight line."""
    n = max(len(problem.curve.t), SAMPLES_A_TERM * problem.curve.n_terms)
    t = np.linspace(0, 1, n)
    return t, _checked(problem, points(t) - _line(problem, t))


def _of_points(problem: PathProblem, initial: Any) -> tuple[np.ndarray, np.ndarray]:
    """Convert points to t by arc length, and displacements from the straight line, endpoints included."""
    points = stacked(initial, problem.landscape.size)
    ends = _line(problem, np.array([0.0, 1.0]))
    first, last = (_near(problem, points[k], ends[k]) for k in (0, -1))
    if first != last:
        raise ValueError("initial contains one of the endpoints only; expected both, or inner points alone")
    if first:
        points = points[1:-1]
    points = np.concatenate([ends[:1], points, ends[1:]])
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    t = np.concatenate([[0.0], np.cumsum(steps) / steps.sum()])
    t[-1] = 1.0
    kept = np.concatenate([[True], np.diff(t) > 0])
    return t[kept], _checked(problem, points[kept] - _line(problem, t[kept]))


def stacked(given: Any, size: int, ends: str = "") -> np.ndarray:
    """Convert given points to (K, size); ValueError where they are not, with `ends` after the shape expected."""
    expected = f"expected a Path, points (K, {size}){ends}, or a function of t that returns one"
    if isinstance(given, (str, bytes)) or not np.iterable(given):
        raise ValueError(f"initial is {given!r}; {expected}")
    try:
        points = np.array([real_numbers(point) for point in given], dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"initial holds something that is not a point: {error}; {expected}") from None
    if points.ndim != 2 or points.shape[1] != size:
        raise ValueError(f"initial has shape {points.shape}; {expected}")
    if not np.isfinite(points).all():
        raise ValueError("initial holds points that are not finite")
    return points


def check_size(theirs: int, size: int) -> None:
    """Raise where a given path has another number of coordinates than the endpoints."""
    if theirs != size:
        raise ValueError(f"initial is a path in {theirs} coordinates; the endpoints have {size}")


def _checked(problem: PathProblem, away: np.ndarray) -> np.ndarray:
    if not np.isfinite(away).all():
        raise ValueError("initial holds points that are not finite")
    if np.abs(away[[0, -1]]).max() > _slack(problem):
        raise ValueError("initial has other endpoints; expected a path between the same two points")
    return away


def _same_endpoints(problem: PathProblem, initial: Path) -> None:
    check_size(initial.start.size, problem.landscape.size)
    for name in ("start", "end"):
        if not _near(problem, to_host(getattr(problem, name)), getattr(initial, name)):
            raise ValueError(f"initial has another {name}; expected a path between the same two points")


def _near(problem: PathProblem, a: np.ndarray, b: np.ndarray) -> bool:
    return float(np.abs(a - b).max()) <= _slack(problem)


def _slack(problem: PathProblem) -> float:
    """Tolerance of equal points: small compared with the distance between the endpoints.

    Far from the origin, that distance may itself be small compared with the coordinates.
    """
    size = float(np.abs(_line(problem, np.array([0.0, 1.0]))).max())
    rounding = 4 * float(np.finfo(problem.landscape.dtype).eps) * size
    return max(min(SAME * size, CLOSE * problem.distance()), rounding)
