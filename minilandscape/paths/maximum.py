"""The maximum along a path over continuous t."""

from __future__ import annotations

from typing import Any

import numpy as np

from .problem import PathProblem

#: The maximum is refined to this part of the range of the values, in so many rounds at most.
TOLERANCE, ROUNDS = 1e-6, 30
#: A step longer than this times the mean may jump over a barrier, and is looked into.
LONG_STEP = 1.5
#: Samples that a half wave of the highest term has at least.
SAMPLES_A_TERM = 3


def path_maximum(problem: PathProblem, b: Any, values: np.ndarray) -> tuple[float, float]:
    """The largest value along the path b, and its t, from the values (M,) at the sample points.

    Steps that are long, or in which the highest term may turn, are looked into; then the intervals beside high peaks
    are halved. Between samples a peak stands at most a quarter as far above the highest one as that stands above its
    neighbours, if the peak is a parabola there; four times as much is allowed for. A peak narrower than that may be
    missed.
    """
    curve, span = problem.curve, problem.span()
    if curve.n_terms:
        span.replace(curve.rows, b)
    t = curve.t
    eps = float(np.finfo(problem.landscape.dtype).eps)
    tolerance = max(TOLERANCE * float(np.ptp(values)), 4 * eps * float(np.abs(values).max()))
    new = _between(t, _cuts(problem, b))
    for _ in range(ROUNDS):
        if new.size:
            more = problem.values(span, curve.at(new), new)
            order = np.argsort(np.concatenate([t, new]), kind="stable")
            t, values = np.concatenate([t, new])[order], np.concatenate([values, more])[order]
        new = _beside_peaks(t, values, tolerance)
        if not new.size:
            break
    k = int(values.argmax())
    return float(values[k]), float(t[k])


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


def _beside_peaks(t: np.ndarray, values: np.ndarray, tolerance: float) -> np.ndarray:
    """The middles of the intervals beside peaks that may hide something higher than all samples."""
    # A lower sample may stand beside a higher peak, so none is left out; a plateau is seen to at its last point.
    padded = np.concatenate([[-np.inf], values, [-np.inf]])
    peaks = np.flatnonzero((values >= padded[:-2]) & (values > padded[2:]))
    drops = values[peaks] - np.minimum(values[np.maximum(peaks - 1, 0)], values[np.minimum(peaks + 1, len(t) - 1)])
    peaks = peaks[(values[peaks] + drops >= values.max()) & (drops > tolerance)]
    left = np.unique(np.concatenate([peaks - 1, peaks]))
    left = left[(left >= 0) & (left < len(t) - 1)]
    new = 0.5 * (t[left] + t[left + 1])
    return new[(new > t[left]) & (new < t[left + 1])]
