"""Statistics of solution sets: components (Table S1), lengths (Fig. 5), distances and angles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist, pdist

from .arrays import real_numbers

#: Components whose signs are drawn at a time.
BLOCK = 2048
#: Parts of the covariance that differ by less are equal: products of signs are taken in float32.
TIE = 1e-6
#: Sets are scaled where their largest component lies outside 2 to the power of ± this, since squares would leave the
#: range of float64.
SAFE = 300


@dataclass(frozen=True)
class Components:
    """Mean μ and standard deviation σ of all components of a set, Table S1."""

    mu: float
    sigma: float


@dataclass(frozen=True)
class ShellLengths:
    """Distances of two sets from their common origin, Fig. 5.

    Attributes
    ----------
    lengths_a, lengths_b
        (K_a,), (K_b,): |ω_i − ω̄|.
    origin
        (D,): ω̄, midway between the centroids.
    centroid_distance
        |ω̄_a − ω̄| = |ω̄_b − ω̄|, the dotted line.
    """

    lengths_a: np.ndarray
    lengths_b: np.ndarray
    origin: np.ndarray
    centroid_distance: float


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation of distances, and of angles in degrees, between the vectors of one or two sets."""

    distance: tuple[float, float]
    angle: tuple[float, float]


@dataclass(frozen=True)
class SetComparison:
    """Distances and angles within two sets and between them.

    Attributes
    ----------
    within_a, within_b, between
        Mean and standard deviation (ddof 0) over the pairs.
    random_angle
        What independent random directions in D dimensions give: 90°, with a standard deviation of about 57.3°/√D.
    origin
        (D,): where the angles are seen from.
    """

    within_a: Spread
    within_b: Spread
    between: Spread
    random_angle: tuple[float, float]
    origin: np.ndarray


@dataclass(frozen=True)
class Direction:
    """Whether a set has a preferred direction.

    Attributes
    ----------
    part
        The first eigenvalue of the covariance over the sum of all.
    random
        Its mean over sets without a preferred direction.
    p
        How often such a set has as large a part.
    least
        The smallest p that so many draws allow.
    n
        Vectors in the set.
    """

    part: float
    random: float
    p: float
    least: float
    n: int


def component_statistics(vectors: Any) -> Components:
    """μ and σ (ddof 0) of all components of the concatenated vectors (K, D), Table S1."""
    (vectors,), unit = _in_range(_set(vectors))
    mu = float(vectors.mean())
    squares = sum(float(((row - mu) ** 2).sum()) for row in vectors)  # row by row: no second stack in memory
    return Components(mu * unit, float(np.sqrt(squares / vectors.size)) * unit)


def shell_lengths(a: Any, b: Any, *, centroid_a: Any = None, centroid_b: Any = None) -> ShellLengths:
    """Distances |ω_i − ω̄| from the common origin ω̄ = ½(ω̄_a + ω̄_b).

    Parameters
    ----------
    a, b
        Sets (K, D).
    centroid_a, centroid_b
        (D,): the sets' own if None. The paper takes both over the test weights, also where it shows training weights:
        for Fig. 5, pass the test sets' centroids.

    Raises
    ------
    ValueError
        If sets or centroids are not finite or not of one size D.
    """
    a, b = _sets(a, b)
    centroid_a = _centroid(a) if centroid_a is None else _vector(centroid_a, a.shape[1], "centroid_a")
    centroid_b = _centroid(b) if centroid_b is None else _vector(centroid_b, a.shape[1], "centroid_b")
    (a, b, centroid_a, centroid_b), unit = _in_range(a, b, centroid_a, centroid_b)
    origin = 0.5 * (centroid_a + centroid_b)
    from_a, from_b = (cdist(vectors, origin[None])[:, 0] * unit for vectors in (a, b))
    apart = float(0.5 * np.linalg.norm(centroid_a - centroid_b))
    return ShellLengths(from_a, from_b, origin * unit, apart * unit)


def preferred_direction(vectors: Any, draws: int = 200, seed: int = 0) -> Direction:
    """Whether the vectors of a set scatter along one direction more than by chance.

    λ_1/Σλ_k of the covariance of ω_i, against that of s_i ∘ (ω_i − ω̄) with random signs s_i: every component keeps its
    spread and every vector its distance from the centroid, and what they have in common goes.

    Parameters
    ----------
    vectors
        A set (K, D), K of at least 3.
    draws
        Sets of random signs.
    seed
        Of the signs.

    Raises
    ------
    ValueError
        If the set is not finite, holds fewer than 3 vectors, of which two always lie on a line, or one vector only;
        or if ``draws`` is below 1.
    """
    vectors = _set(vectors)
    if len(vectors) < 3:
        raise ValueError(f"the set holds {len(vectors)} vectors; expected at least 3, since two always lie on a line")
    if draws < 1:
        raise ValueError(f"draws is {draws}; expected at least 1")
    (vectors,), _ = _in_range(vectors)
    centred = vectors - vectors.mean(axis=0)
    if np.abs(centred).max() <= 4 * np.finfo(float).eps * np.abs(vectors).max():  # a mean's own rounding
        raise ValueError("all vectors of the set are the same; expected some that scatter")
    centred = np.ldexp(centred, -_exponent(centred))  # products of signs are taken in float32, whose range is narrow
    part = _first_part(centred @ centred.T)
    others = [_first_part(products) for products in _of_random_signs(centred, draws, np.random.default_rng(seed))]
    extreme = 1 + sum(other >= part - TIE for other in others)
    return Direction(part, float(np.mean(others)), extreme / (draws + 1), 1 / (draws + 1), len(vectors))


def _first_part(products: np.ndarray) -> float:
    """The first eigenvalue of the covariance over the sum of all, from the vectors' products (K, K)."""
    products = products - products.mean(axis=0)  # as of vectors about their centroid
    spectrum = np.linalg.eigvalsh(products - products.mean(axis=1, keepdims=True))
    return float(spectrum[-1] / spectrum.sum())


def _of_random_signs(vectors: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """(draws, K, K): the products of vectors whose entries have random signs."""
    products = np.zeros((draws, len(vectors), len(vectors)))
    for start in range(0, vectors.shape[1], BLOCK):  # a block stays in the cache for all draws
        block = np.ascontiguousarray(vectors[:, start : start + BLOCK], dtype=np.float32)
        bits, size = block.view(np.uint32), block.size
        for k in range(draws):
            signs = np.unpackbits(np.frombuffer(rng.bytes(-(-size // 8)), np.uint8), count=size)
            signed = (bits ^ (signs.astype(np.uint32) << 31).reshape(bits.shape)).view(np.float32)
            products[k] += signed @ signed.T
    return products


def pairwise_distances(a: Any, b: Any = None) -> np.ndarray:
    """Distances |a_i − a_j| within a set, or |a_i − b_j| between two.

    Formed from differences, so that near-identical vectors keep their digits.

    Parameters
    ----------
    a, b
        Sets (K, D), (L, D).

    Returns
    -------
    numpy.ndarray
        (K(K − 1)/2,) in the order (0, 1), (0, 2), …, (1, 2), … for one set; (K, L) for two.

    Raises
    ------
    ValueError
        If the sets are not finite or not of one size D.
    """
    if b is None:
        (a,), unit = _in_range(_set(a))
        return pdist(a) * unit
    (a, b), unit = _in_range(*_sets(a, b))
    return cdist(a, b) * unit


def pairwise_angles(a: Any, b: Any = None, origin: Any = None) -> np.ndarray:
    """Angles in degrees between the directions ω_i − ω̄, within a set or between two.

    2 atan2(|û − v̂|, |û + v̂|) of the unit vectors, which is accurate near 0° and 180°, where the arc cosine is not.

    Parameters
    ----------
    a, b
        Sets (K, D), (L, D).
    origin
        (D,): ω̄. If None, the common origin ½(ω̄_a + ω̄_b) of two sets; 0 for a single one, which has none.

    Returns
    -------
    numpy.ndarray
        Shaped like :func:`pairwise_distances`; NaN for a vector at the origin, which has no direction.

    Raises
    ------
    ValueError
        If sets or origin are not finite or not of one size D.
    """
    if b is None:
        a = _set(a)
        u = _directions(a, np.zeros(a.shape[1]) if origin is None else _vector(origin, a.shape[1], "origin"))
        first, second = np.triu_indices(len(u), 1)
        return np.degrees(2 * np.arctan2(pdist(u), cdist(u, -u)[first, second]))
    a, b = _sets(a, b)
    seen_from = 0.5 * _centroid(a) + 0.5 * _centroid(b) if origin is None else _vector(origin, a.shape[1], "origin")
    u, v = _directions(a, seen_from), _directions(b, seen_from)
    return np.degrees(2 * np.arctan2(cdist(u, v), cdist(u, -v)))


def spread(a: Any, b: Any = None, *, origin: Any = None) -> Spread:
    """Distances and angles between the vectors of a set, or of two.

    Angles are seen from ``origin``; if None, as of :func:`pairwise_angles`, from the common origin ½(ω̄_a + ω̄_b) of two
    sets and from 0 for a single one; both numbers are NaN where a vector lies there. Random directions in D dimensions
    stand at 90° with a standard deviation of about 57.3°/√D.

    Raises
    ------
    ValueError
        If a single set holds a single vector, or as for :func:`pairwise_angles`.
    """
    distances = pairwise_distances(a, b)
    if not distances.size:
        raise ValueError("a set of one vector has no distances; give a second set or more vectors")
    angles = pairwise_angles(a, b, origin)
    (scaled,), unit = _in_range(distances)
    about = float(scaled.mean()) * unit, float(scaled.std()) * unit
    return Spread(about, (float(angles.mean()), float(angles.std())))


def compare_sets(a: Any, b: Any, origin: Any = None) -> SetComparison:
    """Distances and angles within two sets and between them: how distant, and is there a preferred direction?

    The paper calls sets "more distant" and finds "no preferred direction" without measuring either.

    Parameters
    ----------
    a, b
        Sets (K, D) of two vectors or more.
    origin
        (D,): where angles are seen from; the common origin ½(ω̄_a + ω̄_b) if None.

    Raises
    ------
    ValueError
        If a set holds one vector, or as for :func:`pairwise_angles`.

    Notes
    -----
    An origin made from the sets themselves is not independent of them: for K random vectors in each, cos θ is
    −1/(2K) on average, within the sets and between them, so that all angles lie about 28.6°/K above 90°.
    """
    a, b = _sets(a, b)
    seen_from = 0.5 * _centroid(a) + 0.5 * _centroid(b) if origin is None else _vector(origin, a.shape[1], "origin")
    within_a, within_b = (spread(vectors, origin=seen_from) for vectors in (a, b))
    random_angle = (90.0, float(np.degrees(1 / np.sqrt(a.shape[1]))))
    return SetComparison(within_a, within_b, spread(a, b, origin=seen_from), random_angle, seen_from)


def _directions(vectors: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """Unit vectors from the origin; NaN where a vector lies there."""
    (vectors, origin), _ = _in_range(vectors, origin)
    seen = vectors - origin
    seen = np.ldexp(seen, -np.frexp(np.abs(seen).max(axis=1, keepdims=True))[1])  # each row to a size of about 1
    norms = np.linalg.norm(seen, axis=1, keepdims=True)
    return np.divide(seen, norms, out=np.full_like(seen, np.nan), where=norms > 0)


def _exponent(*arrays: np.ndarray) -> int:
    """The power of two next above the largest number of some arrays; 0 where all are 0."""
    largest = max(max(float(array.max()), -float(array.min())) for array in arrays)
    return int(np.frexp(largest)[1])


def _in_range(*arrays: np.ndarray) -> tuple[tuple[np.ndarray, ...], float]:
    """Arrays whose squares can be summed, and the unit that they are in: a power of two, so that no digit is lost."""
    exponent = _exponent(*arrays)
    if abs(exponent) <= SAFE:
        return arrays, 1.0
    exponent = min(max(exponent, -1020), 1023)  # the unit itself has to be a number of full precision
    return tuple(np.ldexp(array, -exponent) for array in arrays), float(np.ldexp(1.0, exponent))


def _centroid(vectors: np.ndarray) -> np.ndarray:
    """The mean of a set (K, D)."""
    (scaled,), unit = _in_range(vectors)
    return np.asarray(scaled.mean(axis=0) * unit)


def _set(vectors: Any) -> np.ndarray:
    vectors = real_numbers(vectors, "vectors")
    if vectors.ndim != 2 or not vectors.size:
        raise ValueError(f"vectors have shape {vectors.shape}; expected a set (K, D)")
    if not np.isfinite(vectors).all():
        raise ValueError("vectors hold values that are not finite")
    return vectors


def _sets(a: Any, b: Any) -> tuple[np.ndarray, np.ndarray]:
    a, b = _set(a), _set(b)
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"the sets hold vectors of {a.shape[1]} and {b.shape[1]} numbers; expected one size")
    return a, b


def _vector(vector: Any, size: int, name: str) -> np.ndarray:
    vector = real_numbers(vector, f"numbers of {name}")
    if vector.shape != (size,) or not np.isfinite(vector).all():
        raise ValueError(f"{name} has shape {vector.shape}; expected ({size},), all finite")
    return vector
