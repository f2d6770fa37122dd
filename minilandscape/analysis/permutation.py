"""Permutation tests of differences between two groups of runs, or between two quantities of the same runs."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import comb, nan
from typing import Any

import numpy as np
from scipy.spatial.distance import pdist, squareform
from scipy.stats import median_abs_deviation, rankdata

#: Permutations that are drawn if there are too many to try all.
PERMUTATIONS = 50_000

Seeds = tuple[Sequence[int], Sequence[int]]


@dataclass(frozen=True)
class Comparison:
    """The test of whether one number lies above another.

    Attributes
    ----------
    first, second
        The numbers, means over runs or paths; NaN if a run diverged, p is 1 then.
    p
        Two-sided: the fraction of permutations with at least as large a difference.
    least
        The smallest attainable p, given the number of runs and of permutations.
    n
        Number of runs in each group; one number if both quantities are of the same runs.
    """

    first: float
    second: float
    p: float
    least: float
    n: tuple[int, ...]


def relabelings(n: int, m: int, seeds: Seeds | None = None) -> tuple[np.ndarray, float]:
    """Return the permutations of n + m runs as (K, n + m) masks of the first group, observed one first; and least p.

    Runs of both groups with the same seed share an initialisation, so their results may be correlated: they are
    swapped within the pair. All others are permuted freely.
    """
    if seeds is None:
        seeds = range(n), range(n, n + m)
    return _relabelings(n, m, (tuple(seeds[0]), tuple(seeds[1])))


@lru_cache(maxsize=4)  # all tests of a network use the same permutations
def _relabelings(n: int, m: int, seeds: tuple[tuple[int, ...], tuple[int, ...]]) -> tuple[np.ndarray, float]:
    places = {seed: n + k for k, seed in enumerate(seeds[1])}
    common = np.array([(k, places[seed]) for k, seed in enumerate(seeds[0]) if seed in places], dtype=int)
    common = common.reshape(-1, 2)
    alone = np.setdiff1d(np.arange(n + m), common)
    n_alone = n - len(common)
    count = 2 ** len(common) * comb(len(alone), n_alone)
    if count <= PERMUTATIONS:
        flips = np.array(list(itertools.product((0, 1), repeat=len(common))), dtype=int)
        permuted = np.array(list(itertools.combinations(range(len(alone)), n_alone)), dtype=int)
        flips, permuted = np.repeat(flips, len(permuted), axis=0), np.tile(permuted, (len(flips), 1))
        least = (2 if n == m else 1) / count
    else:
        rng = np.random.default_rng(0)
        flips = rng.integers(0, 2, (PERMUTATIONS, len(common)))
        permuted = rng.random((PERMUTATIONS, len(alone))).argsort(axis=1)[:, :n_alone]
        flips = np.concatenate([np.zeros((1, len(common)), dtype=int), flips])
        permuted = np.concatenate([np.arange(n_alone)[None], permuted])
        least = 1 / len(flips)
    chosen = np.concatenate([common[np.arange(len(common)), flips], alone[permuted]], axis=1)
    first = np.zeros((len(chosen), n + m), dtype=bool)
    np.put_along_axis(first, chosen, True, axis=1)
    return first, least


def compare_runs(a: Any, b: Any, seeds: Seeds | None = None) -> Comparison:
    """Compare the means of two groups of runs by a permutation test.

    Parameters
    ----------
    seeds
        Seeds of the runs in each group; None if the groups share none.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    pooled, n = np.concatenate([a, b]), (len(a), len(b))
    if not np.isfinite(pooled).all():
        return _diverged(*n)
    if not np.ptp(pooled):
        return Comparison(float(a.mean()), float(b.mean()), 1.0, 1.0, n)
    first, least = relabelings(*n, seeds)
    centred = pooled - pooled.mean()  # else rounding would decide between small differences of large numbers
    of_a = first @ centred
    differences = of_a / n[0] - (centred.sum() - of_a) / n[1]
    return Comparison(float(a.mean()), float(b.mean()), _p(np.abs(differences)), least, n)


def compare_same_runs(a: Any, b: Any) -> Comparison:
    """Compare the means of two quantities of the same runs or paths, by flipping the signs of their differences."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if not np.isfinite([a, b]).all():
        return _diverged(len(a))
    differences = (a - b)[a != b]  # a difference of 0 has no sign
    if not (n := len(differences)):
        return Comparison(float(a.mean()), float(b.mean()), 1.0, 1.0, (len(a),))
    if 2**n <= PERMUTATIONS:
        signs = np.array(list(itertools.product((1, -1), repeat=n)))
        least = 2 / 2**n
    else:
        signs = np.random.default_rng(0).choice((1, -1), (PERMUTATIONS, n))
        signs = np.concatenate([np.ones((1, n), dtype=int), signs])
        least = 1 / len(signs)
    return Comparison(float(a.mean()), float(b.mean()), _p(np.abs(signs @ differences)), least, (len(a),))


def compare_centroids(a: np.ndarray, b: np.ndarray, seeds: Seeds | None = None) -> Comparison:
    """Compare half the distance of two centroids with the mean distance of vectors from their own centroid.

    p is small if centroids of permuted sets do not lie as far apart.
    """
    n, both = (len(a), len(b)), np.concatenate([a, b]).astype(np.float64)
    if not np.isfinite(both).all():
        return _diverged(*n)
    first, least = relabelings(*n, seeds)
    z = np.where(first, 1 / n[0], -1 / n[1])
    centred = both - both.mean(axis=0)
    squares = ((z @ (centred @ centred.T)) * z).sum(axis=1)
    own = np.concatenate([np.linalg.norm(s - s.mean(axis=0, dtype=np.float64), axis=1) for s in (a, b)])
    half = 0.5 * float(np.sqrt(max(squares[0], 0.0)))
    return Comparison(half, float(own.mean()), _p(squares), least, n)


def compare_distances(a: np.ndarray, b: np.ndarray, seeds: Seeds | None = None) -> Comparison:
    """Compare the mean distances between vectors within each of two sets."""
    n, both = (len(a), len(b)), np.concatenate([a, b]).astype(np.float64)
    if not np.isfinite(both).all():
        return _diverged(*n)
    first, least = relabelings(*n, seeds)
    distances = squareform(pdist(both))
    means = [
        ((chosen @ distances) * chosen).sum(axis=1) / (size * (size - 1))
        for chosen, size in ((first.astype(float), n[0]), ((~first).astype(float), n[1]))
    ]
    return Comparison(float(means[0][0]), float(means[1][0]), _p(np.abs(means[0] - means[1])), least, n)


def _diverged(*n: int) -> Comparison:
    return Comparison(nan, nan, 1.0, nan, n)


def _p(statistics: np.ndarray) -> float:
    """Return the fraction at least as extreme as the first, up to rounding."""
    return float((statistics >= statistics[0] * (1 - 1e-9)).mean())


@dataclass(frozen=True)
class Separation:
    """How well a threshold separates two groups.

    Attributes
    ----------
    area
        The larger area under the ROC curve, from 0.5 to 1.
    gap
        The distance of the medians, in standard deviations of the wider group, estimated from the median absolute
        deviation, which outliers do not change.
    p
        Of the area: the fraction of permutations with at least as large an area.
    least
        The smallest attainable p.
    """

    area: float
    gap: float
    p: float
    least: float


def separation(a: np.ndarray, b: np.ndarray, seeds: Seeds | None = None) -> Separation:
    """Measure how well a threshold separates a from b."""
    n, m = len(a), len(b)
    first, least = relabelings(n, m, seeds)
    areas = (first @ rankdata(np.concatenate([a, b])) - n * (n + 1) / 2) / (n * m)
    wider = max(float(median_abs_deviation(x, scale="normal")) for x in (a, b))
    gap = abs(float(np.median(a) - np.median(b)))
    gap = gap / wider if wider else (float("inf") if gap else 0.0)
    beyond = np.abs(areas - 0.5)
    return Separation(0.5 + float(beyond[0]), gap, _p(beyond), least)
