"""Statistics of solution sets: components (Table S1), lengths (Fig. 5), distances and angles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Components:
    """Mean μ and standard deviation σ of all components of a set, Table S1."""

    mu: float
    sigma: float


@dataclass(frozen=True)
class Lengths:
    """Distances of two sets from their common origin, Fig. 5.

    Attributes
    ----------
    a, b
        (K_a,), (K_b,): |ω_i − ω̄|.
    origin
        (D,): ω̄, midway between the centroids.
    centroid_distance
        |ω̄_a − ω̄|, the dotted line.
    """

    a: np.ndarray
    b: np.ndarray
    origin: np.ndarray
    centroid_distance: float


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation of distances, and of angles in degrees, between the vectors of one or two sets."""

    distance: tuple[float, float]
    angle: tuple[float, float]


def component_statistics(vectors: Any) -> Components:
    """μ and σ of all components of the concatenated vectors (K, D)."""
    vectors = _set(vectors)
    return Components(float(vectors.mean()), float(vectors.std()))


def lengths(a: Any, b: Any, *, centroid_a: Any = None, centroid_b: Any = None) -> Lengths:
    """Distances |ω_i − ω̄| from the common origin ω̄ = ½(ω̄_a + ω̄_b).

    Parameters
    ----------
    a, b
        Sets (K, D).
    centroid_a, centroid_b
        (D,): the sets' own if None. The paper takes both over the test weights, also where it shows training weights.
    """
    a, b = _set(a), _set(b)
    centroid_a = a.mean(axis=0) if centroid_a is None else np.asarray(centroid_a, dtype=np.float64)
    centroid_b = b.mean(axis=0) if centroid_b is None else np.asarray(centroid_b, dtype=np.float64)
    origin = 0.5 * (centroid_a + centroid_b)
    from_a, from_b = (np.linalg.norm(vectors - origin, axis=1) for vectors in (a, b))
    return Lengths(from_a, from_b, origin, float(np.linalg.norm(centroid_a - origin)))


def spread(a: Any, b: Any = None, *, origin: Any = None) -> Spread:
    """Distances and angles between the vectors of a set, or of two; angles are seen from ``origin`` (0 if None).

    Random directions in D dimensions stand at 90° with a standard deviation of about 57.3°/√D.
    """
    a = _set(a)
    origin = np.zeros(a.shape[1]) if origin is None else np.asarray(origin, dtype=np.float64)
    distances, angles = [], []
    others = None if b is None else _set(b)
    for k, vector in enumerate(a):
        rest = a[k + 1 :] if others is None else others
        distances.append(np.linalg.norm(rest - vector, axis=1))
        seen, seen_rest = vector - origin, rest - origin
        norms = np.linalg.norm(seen) * np.linalg.norm(seen_rest, axis=1)
        with np.errstate(invalid="ignore"):  # a vector at the origin has no direction
            angles.append(np.degrees(np.arccos(np.clip(seen_rest @ seen / norms, -1, 1))))
    d, t = np.concatenate(distances), np.concatenate(angles)
    if not d.size:
        raise ValueError("a set of one vector has no distances; give a second set or more vectors")
    return Spread((float(d.mean()), float(d.std())), (float(t.mean()), float(t.std())))


def _set(vectors: Any) -> np.ndarray:
    vectors = np.asarray(vectors, dtype=np.float64)
    if vectors.ndim != 2 or not vectors.size:
        raise ValueError(f"vectors have shape {vectors.shape}; expected a set (K, D)")
    return vectors
