"""Find the maximum along a path over continuous t."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from math import ceil, log, log1p
from typing import Any

import numpy as np

from ..backend import to_device
from .objectives import capped
from .problem import PathProblem, PathState

#: Tolerance of the maximum relative to the range of the values; largest number of rounds, and how many of them use
#: polynomials through the samples.
TOLERANCE, ROUNDS, SMOOTH_ROUNDS = 1e-6, 30, 6
#: Segments longer than this times the mean may miss a barrier, and are subdivided.
LONG_STEP = 1.5
#: Smallest number of samples per half wave of the highest term.
SAMPLES_A_TERM = 3
#: Where minima are narrow, number of parts of each interval.
HALVES = 2
#: Least distance from an endpoint, in t, at which barriers are looked for there, and how far apart samples are relative
#: to their distance: barriers next to networks of very low loss are as narrow as a seventh of that, measured. They are
#: a few hundredths of the straight line's barrier at most; so samples are sparse where a path has more than this part.
NEAREST, FINE, COARSE, LOW = 1e-4, 0.1, 1.0, 0.05
#: Largest number of samples of an interpolating polynomial.
MOST_SAMPLES = 5
#: Samples whose t differ by less coincide up to rounding.
ROUNDED = 1e-12


def path_maximum(problem: PathProblem, b: Any, values: np.ndarray) -> tuple[float, float]:
    """Find the largest value along the path b, and its t, from the values (M,) at the sample points.

    Segments are subdivided if they are long, if the highest term may turn within them, or if they are next to a high
    peak. Where minima are narrow, all are, and samples are the closer the nearer they are to an endpoint. Others follow
    at the maxima of polynomials through the samples next to high peaks, until two polynomials of different order agree
    that nothing lies above the samples. Between samples, a parabolic peak exceeds the highest sample by at most a
    quarter of the difference between that and its neighbours; four times as much is allowed for. Narrower peaks may be
    missed. No polynomial crosses a vertex of a piecewise-linear path.
    """
    curve, span = problem.curve, problem.span()
    if curve.n_terms:
        span.replace(curve.rows, b)
    t, kinks = curve.t, curve.kinks()
    eps = float(np.finfo(problem.landscape.dtype).eps)
    tolerance = max(TOLERANCE * float(np.ptp(values)), 4 * eps * float(np.abs(values).max()))
    both_sides = _beside_peaks(t, values, kinks[:0], tolerance, halve=True)
    others = np.concatenate([_between(t, _cuts(problem, b)), _beside_ends(problem, values), both_sides])
    vertices = np.setdiff1d(kinks, t)
    new = np.concatenate([vertices, _distinct(others, np.concatenate([t, vertices]))])
    for done in range(ROUNDS):
        if new.size:
            more = problem.values(span, curve.at(new), new)
            order = np.argsort(np.concatenate([t, new]), kind="stable")
            t, values = np.concatenate([t, new])[order], np.concatenate([values, more])[order]
        new = _beside_peaks(t, values, kinks, tolerance, halve=done >= SMOOTH_ROUNDS)
        if not new.size:
            break
    k = int(values.argmax())
    return float(values[k]), float(t[k])


def with_maximum(problem: PathProblem, state: PathState) -> PathState:
    """Add the maximum to a state."""
    if state.maximum is not None:
        return state
    b = to_device(state.coefficients, problem.landscape.device, problem.landscape.dtype)
    return replace(state, maximum=path_maximum(problem, b, state.values))


def _cuts(problem: PathProblem, b: Any) -> np.ndarray:
    """Choose the initial number of subdivisions of each interval, (M − 1,)."""
    lengths, curve = problem.lengths(b), problem.curve
    cuts = np.ceil(lengths / (LONG_STEP * lengths.mean()))
    if curve.basis != "hat":
        cuts = np.maximum(cuts, np.ceil(SAMPLES_A_TERM * curve.n_terms * np.diff(curve.t) - 1e-9))
    return np.maximum(cuts, HALVES if problem.landscape.narrow_minima else 1).astype(int)


def _beside_ends(problem: PathProblem, values: np.ndarray) -> np.ndarray:
    """Choose samples next to the endpoints, where minima are narrow, at distances of constant ratio."""
    if not problem.landscape.narrow_minima:
        return np.zeros(0)
    higher = float(problem.ends.max())
    low = problem.line is None or values.max() - higher <= LOW * (capped(problem.line).max() - higher)
    relative, t = FINE if low else COARSE, problem.curve.t

    def distances(interval: float) -> np.ndarray:
        # Farther away the samples of all intervals are as close.
        farthest = min(interval / (HALVES * relative), 0.5)
        n = max(0, ceil(log(farthest / NEAREST) / log1p(relative)))
        return np.geomspace(NEAREST, farthest, n + 1)[:-1] if n else np.zeros(0)

    return np.concatenate([distances(t[1]), 1 - distances(1 - t[-2])])


def _between(t: np.ndarray, cuts: np.ndarray) -> np.ndarray:
    inner = [np.linspace(a, b, max(1, c) + 1)[1:-1] for a, b, c in zip(t[:-1], t[1:], cuts, strict=True)]
    return np.concatenate(inner)


def _distinct(places: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Sort places, and leave out those that coincide with a known one, or with each other, up to rounding.

    Between two such, no peak has an inside.
    """
    places = np.unique(places)
    places = places[np.diff(places, prepend=-np.inf) > ROUNDED]
    return np.asarray(places[(np.abs(places[:, None] - known) > ROUNDED).all(axis=1)])


def _beside_peaks(t: np.ndarray, values: np.ndarray, kinks: np.ndarray, tolerance: float, halve: bool) -> np.ndarray:
    """Choose new samples next to high peaks, between one kink and the next."""
    # A lower sample may be next to a higher peak, so all are kept; a plateau counts at its last point.
    padded = np.concatenate([[-np.inf], values, [-np.inf]])
    peaks = np.flatnonzero((values >= padded[:-2]) & (values > padded[2:]))
    drops = values[peaks] - np.minimum(values[np.maximum(peaks - 1, 0)], values[np.minimum(peaks + 1, len(t) - 1)])
    peaks = peaks[(values[peaks] + drops >= values.max()) & (drops > tolerance)]
    cuts = [0, *np.searchsorted(t, kinks), len(t) - 1]
    new = [
        more
        for first, last in pairwise(cuts)
        for k in peaks[(peaks >= first) & (peaks <= last)] - first
        for more in _beside(t[first : last + 1], values[first : last + 1], k, tolerance, halve)
    ]
    return _distinct(np.array(new), t)


def _beside(t: np.ndarray, values: np.ndarray, k: int, tolerance: float, halve: bool) -> list[float]:
    """Choose new samples next to peak k: midpoints of both intervals, or the maximum of a polynomial, if any."""
    ends = max(k - 1, 0), min(k + 1, len(t) - 1)
    if halve or len(t) < MOST_SAMPLES:
        return [0.5 * (t[a] + t[b]) for a, b in ((ends[0], k), (k, ends[1])) if a != b]
    order = np.lexsort([np.abs(t - t[k]), np.abs(np.arange(len(t)) - k)])
    n = MOST_SAMPLES
    place, promised = _polynomial_maximum(t[order[:n]], values[order[:n]], t[ends[0]], t[ends[1]])
    _, before = _polynomial_maximum(t[order[: n - 1]], values[order[: n - 1]], t[ends[0]], t[ends[1]])
    return [place] if promised + abs(promised - before) > tolerance else []


def _polynomial_maximum(t: np.ndarray, values: np.ndarray, low: float, high: float) -> tuple[float, float]:
    """Find the maximum between two t of a polynomial through samples, and its height above the first of them."""
    unit = high - low
    x = (t - t[0]) / unit
    powers = x[1:, None] ** np.arange(1, len(x))
    a = np.linalg.lstsq(powers, values[1:] - values[0], rcond=None)[0]
    roots = np.roots((a * np.arange(1, len(x)))[::-1])
    inside = roots.real[np.abs(roots.imag) <= 1e-9]
    inside = inside[(inside > (low - t[0]) / unit) & (inside < (high - t[0]) / unit)]
    rises = inside[:, None] ** np.arange(1, len(x)) @ a
    if not rises.size or not rises.max() > 0:
        return float(t[0]), 0.0
    best = int(rises.argmax())
    return float(t[0] + unit * inside[best]), float(rises[best])
