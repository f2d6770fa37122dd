"""The maximum along a path over continuous t."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from ..backend import to_device
from .problem import PathProblem, PathState

#: The maximum is refined to this part of the range of the values, in so many rounds at most, of which the first ones
#: follow polynomials through the samples.
TOLERANCE, ROUNDS, SMOOTH_ROUNDS = 1e-6, 30, 6
#: A step longer than this times the mean may jump over a barrier, and is looked into.
LONG_STEP = 1.5
#: Samples that a half wave of the highest term has at least.
SAMPLES_A_TERM = 3
#: Samples that a polynomial goes through at most.
MOST_SAMPLES = 5


def path_maximum(problem: PathProblem, b: Any, values: np.ndarray) -> tuple[float, float]:
    """The largest value along the path b, and its t, from the values (M,) at the sample points.

    Steps that are long, or in which the highest term may turn, are looked into, as are both beside a high peak. Then
    new samples are taken at the maxima of polynomials through the samples beside high peaks, until what two polynomials
    promise above the samples is the same, and nothing. Between samples a peak stands at most a quarter as far above the
    highest one as that stands above its neighbours, if the peak is a parabola there; four times as much is allowed for.
    A peak narrower than that may be missed. No polynomial goes across a vertex of a piecewise-linear path.
    """
    curve, span = problem.curve, problem.span()
    if curve.n_terms:
        span.replace(curve.rows, b)
    t, kinks = curve.t, curve.kinks()
    eps = float(np.finfo(problem.landscape.dtype).eps)
    tolerance = max(TOLERANCE * float(np.ptp(values)), 4 * eps * float(np.abs(values).max()))
    both_sides = _beside_peaks(t, values, kinks[:0], tolerance, halve=True)
    new = np.setdiff1d(np.concatenate([_between(t, _cuts(problem, b)), kinks, both_sides]), t)
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
    """The state, its maximum known."""
    if state.maximum is not None:
        return state
    b = to_device(state.coefficients, problem.landscape.device, problem.landscape.dtype)
    return replace(state, maximum=path_maximum(problem, b, state.values))


def _cuts(problem: PathProblem, b: Any) -> np.ndarray:
    """(M − 1,): into how many parts each interval is cut at first."""
    lengths, curve = problem.lengths(b), problem.curve
    cuts = np.ceil(lengths / (LONG_STEP * lengths.mean()))
    if curve.basis != "hat":
        cuts = np.maximum(cuts, np.ceil(SAMPLES_A_TERM * curve.n_terms * np.diff(curve.t) - 1e-9))
    return cuts.astype(int)


def _between(t: np.ndarray, cuts: np.ndarray) -> np.ndarray:
    inner = [np.linspace(a, b, max(1, c) + 1)[1:-1] for a, b, c in zip(t[:-1], t[1:], cuts, strict=True)]
    return np.concatenate(inner)


def _beside_peaks(t: np.ndarray, values: np.ndarray, kinks: np.ndarray, tolerance: float, halve: bool) -> np.ndarray:
    """Where to look for something higher than all samples, between one kink and the next."""
    # A lower sample may stand beside a higher peak, so none is left out; a plateau is seen to at its last point.
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
    return np.setdiff1d(new, t)


def _beside(t: np.ndarray, values: np.ndarray, k: int, tolerance: float, halve: bool) -> list[float]:
    """Where to look beside the peak k: in the middles of both intervals, or at the maximum of a polynomial, if any."""
    ends = max(k - 1, 0), min(k + 1, len(t) - 1)
    if halve or len(t) < MOST_SAMPLES:
        return [0.5 * (t[a] + t[b]) for a, b in ((ends[0], k), (k, ends[1])) if a != b]
    order = np.lexsort([np.abs(t - t[k]), np.abs(np.arange(len(t)) - k)])
    n = MOST_SAMPLES
    place, promised = _polynomial_maximum(t[order[:n]], values[order[:n]], t[ends[0]], t[ends[1]])
    _, before = _polynomial_maximum(t[order[: n - 1]], values[order[: n - 1]], t[ends[0]], t[ends[1]])
    return [place] if promised + abs(promised - before) > tolerance else []


def _polynomial_maximum(t: np.ndarray, values: np.ndarray, low: float, high: float) -> tuple[float, float]:
    """Where between two t a polynomial through samples is highest, and how far above the first of them."""
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
