"""Sets of vectors as arguments: checked, and scaled so that their squares can be summed."""

from __future__ import annotations

from typing import Any

import numpy as np

from .arrays import real_numbers

#: Sets are scaled where their largest component lies outside 2 to the power of ± this, since squares would leave the
#: range of float64.
SAFE = 300


def exponent(*arrays: np.ndarray) -> int:
    """Find the exponent of the next power of two above the largest number of some arrays; 0 where all are 0."""
    largest = max(max(float(array.max()), -float(array.min())) for array in arrays)
    return int(np.frexp(largest)[1])


def in_range(*arrays: np.ndarray) -> tuple[tuple[np.ndarray, ...], float]:
    """Scale arrays so that their squares can be summed; return them and the unit, a power of two (no rounding)."""
    power = exponent(*arrays)
    if abs(power) <= SAFE:
        return arrays, 1.0
    power = min(max(power, -1020), 1023)  # the unit must not be subnormal
    return tuple(np.ldexp(array, -power) for array in arrays), float(np.ldexp(1.0, power))


def centroid(vectors: np.ndarray) -> np.ndarray:
    """Compute the mean of a set (K, D)."""
    (scaled,), unit = in_range(vectors)
    return np.asarray(scaled.mean(axis=0) * unit)


def as_set(vectors: Any) -> np.ndarray:
    """Convert to a set (K, D) of finite numbers."""
    vectors = real_numbers(vectors, "vectors")
    if vectors.ndim != 2 or not vectors.size:
        raise ValueError(f"vectors have shape {vectors.shape}; expected a set (K, D)")
    if not np.isfinite(vectors).all():
        raise ValueError("vectors hold values that are not finite")
    return vectors


def as_sets(a: Any, b: Any) -> tuple[np.ndarray, np.ndarray]:
    """Convert to two sets of vectors of one size."""
    a, b = as_set(a), as_set(b)
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"the sets have vectors of {a.shape[1]} and {b.shape[1]} numbers; expected equal sizes")
    return a, b


def as_vector(vector: Any, size: int, name: str) -> np.ndarray:
    """Convert to a vector (D,) of finite numbers, which errors call ``name``."""
    vector = real_numbers(vector, f"numbers of {name}")
    if vector.shape != (size,):
        raise ValueError(f"{name} has shape {vector.shape}; expected ({size},)")
    if not np.isfinite(vector).all():
        raise ValueError(f"{name} holds numbers that are not finite")
    return vector
