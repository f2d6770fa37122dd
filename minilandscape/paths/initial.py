"""Paths to begin from: of another search, of points, or of a function of t."""

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

#: Samples of a path of another family, a term.
SAMPLES_A_TERM = 8
#: Endpoints are the same within the first part of their own size, but no more than the second of their distance.
SAME, CLOSE = 1e-6, 1e-3


def initial_terms(problem: PathProblem, initial: Any) -> Any:
    """b (N, D) of a path to begin from: exact where it is of the same family, else the nearest in least squares.

    Parameters
    ----------
    initial
        A :class:`Path` between the same endpoints; points (K, D) along it, with or without its endpoints; or a function
        of t that returns one.

    Raises
    ------
    ValueError
        If it has other endpoints, more terms than the search, or is not finite.
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
        # One after another: a function may write every point into one work array.
        t, away = _sampled(problem, lambda t: stacked(problem, (initial(x) for x in t)))
    else:
        t, away = _of_points(problem, initial)
    if curve.basis == "hat" and curve.n_terms == len(curve.t) - 2:  # a band: its images lie on the path
        return _device(problem, np.stack([np.interp(curve.t[1:-1], t, column) for column in away.T], axis=1))
    return _device(problem, curve.through(t, away))


def given_path(problem: PathProblem, initial: Any, b: Any) -> tuple[PathProblem, PathState]:
    """The path that was given, its maximum known: as it is, or, of a function of t, as the search sees it."""
    curve = problem.curve
    if isinstance(initial, Path) and not _of_family(initial, curve):
        own = replace(problem, curve=Curve.of(initial.basis, initial.t, len(initial.coefficients)), line=None)
        own, b, span = own.with_line(), _device(own, initial.coefficients), own.span()
        span.replace(own.curve.rows, b)
        state = own.state(0, b, own.all_values(span))
    elif isinstance(initial, Path) or callable(initial):
        span = problem.span()
        span.replace(curve.rows, b)
        state = problem.state(0, b, problem.all_values(span))
        own = problem
    else:
        t, away = _of_points(problem, initial)
        own = with_images(problem, len(t)).with_line()
        line = _line(problem, np.linspace(0, 1, len(t)))
        images = _line(problem, t) + away
        span = own.span()
        span.replace(own.curve.rows, _device(own, (images - line)[1:-1]))
        state = piecewise_linear(own, images, own.all_values(span))
    top = path_maximum(own, _device(own, to_host(state.coefficients)), state.values)
    return own, replace(state, maximum=top)


def _of_family(path: Path, curve: Curve) -> bool:
    """Whether some coefficients of the curve are this very path; a sine series may have more terms."""
    return path.basis == curve.basis and (curve.basis == "sine" or len(path.coefficients) == curve.n_terms)


def _device(problem: PathProblem, b: np.ndarray) -> Any:
    return to_device(b, problem.landscape.device, problem.landscape.dtype).copy()


def _line(problem: PathProblem, t: np.ndarray) -> np.ndarray:
    start, displacement = (to_host(a).astype(np.float64) for a in (problem.start, problem.displacement))
    return start + t[:, None] * displacement


def _sampled(problem: PathProblem, points: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """t and ways from the straight line of a path that is a function of t."""
    n = max(len(problem.curve.t), SAMPLES_A_TERM * problem.curve.n_terms)
    t = np.linspace(0, 1, n)
    return t, _checked(problem, points(t) - _line(problem, t))


def _of_points(problem: PathProblem, initial: Any) -> tuple[np.ndarray, np.ndarray]:
    """t, by arc length, and ways from the straight line of points, endpoints included."""
    points = stacked(problem, initial)
    ends = _line(problem, np.array([0.0, 1.0]))
    first, last = (_near(problem, points[k], ends[k]) for k in (0, -1))
    if first != last:
        raise ValueError("initial begins or ends at one of the endpoints only; expected both, or inner points alone")
    if first:
        points = points[1:-1]
    points = np.concatenate([ends[:1], points, ends[1:]])
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    t = np.concatenate([[0.0], np.cumsum(steps) / steps.sum()])
    t[-1] = 1.0
    kept = np.concatenate([[True], np.diff(t) > 0])
    return t[kept], _checked(problem, points[kept] - _line(problem, t[kept]))


def stacked(problem: PathProblem, given: Any) -> np.ndarray:
    """(K, D): points that were given, as they are; ValueError where they are none."""
    expected = f"expected a Path, points (K, {problem.landscape.size}), or a function of t that returns one"
    if isinstance(given, (str, bytes)) or not np.iterable(given):
        raise ValueError(f"initial is {given!r}; {expected}")
    try:
        points = np.array([real_numbers(point) for point in given], dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"initial holds what is no point: {error}; {expected}") from None
    if points.ndim != 2 or points.shape[1] != problem.landscape.size:
        raise ValueError(f"initial has shape {points.shape}; {expected}")
    if not np.isfinite(points).all():
        raise ValueError("initial holds points that are not finite")
    return points


def _checked(problem: PathProblem, away: np.ndarray) -> np.ndarray:
    if not np.isfinite(away).all():
        raise ValueError("initial holds points that are not finite")
    if np.abs(away[[0, -1]]).max() > _slack(problem):
        raise ValueError("initial has other endpoints; expected a path between the same two points")
    return away


def _same_endpoints(problem: PathProblem, initial: Path) -> None:
    for name in ("start", "end"):
        ours, theirs = to_host(getattr(problem, name)), getattr(initial, name)
        if ours.shape != theirs.shape or not _near(problem, ours, theirs):
            raise ValueError(f"initial has another {name}; expected a path between the same two points")


def _near(problem: PathProblem, a: np.ndarray, b: np.ndarray) -> bool:
    return float(np.abs(a - b).max()) <= _slack(problem)


def _slack(problem: PathProblem) -> float:
    """How far apart two points may lie that are one but for rounding: little beside the distance between the endpoints,
    which far from the origin may itself be little beside their coordinates."""
    size = float(np.abs(_line(problem, np.array([0.0, 1.0]))).max())
    rounding = 4 * float(np.finfo(problem.landscape.dtype).eps) * size
    return max(min(SAME * size, CLOSE * problem.distance()), rounding)
