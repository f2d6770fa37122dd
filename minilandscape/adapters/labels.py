"""Samples that hold the labels which a few others lack, so that a loss tried on them meets every label."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

import numpy as np

#: Integers that lie further apart than this are no labels.
FURTHEST = 1 << 22
#: Numbers that are looked at together.
AT_ONCE = 1 << 22


def rows_with_other_labels(arrays: Iterable[np.ndarray], seen: np.ndarray, most: int) -> np.ndarray:
    """Choose samples that hold every integer which some samples lack, in each array for itself.

    Parameters
    ----------
    arrays
        (N, …) each; those of other than whole numbers are left out.
    seen
        Indices of the samples whose integers are known.
    most
        How many samples at most. The least and the greatest integer of every array go first, which an ignored one often
        is, then arrays with few integers.

    Returns
    -------
    ndarray
        Indices of samples.
    """
    ends: list[int] = []
    others: list[list[int]] = []
    for array in arrays:
        if array.dtype.kind in "biu" and array.size:
            first = _first_rows(array.reshape(len(array), -1), seen)
            ends += [int(row) for row in first[[0, -1]] if row < len(array)] if len(first) else []
            others.append(first[first < len(array)].tolist())
    rows = dict.fromkeys(chain(ends, *sorted(others, key=len)))
    return np.array(list(rows)[:most], dtype=np.int64)


def _first_rows(array: np.ndarray, seen: Sequence[int] | np.ndarray) -> np.ndarray:
    """The first row that holds each integer from the least to the greatest; N for those seen, and for those missing."""
    least, n = int(array.min()), len(array)
    if int(array.max()) - least >= FURTHEST:
        return np.zeros(0, dtype=np.int64)
    first = np.full(int(array.max()) - least + 1, n)
    step = max(1, AT_ONCE // array.shape[1])
    for start in reversed(range(0, n, step)):
        part = array[start : start + step][::-1].astype(np.int64) - least
        rows = np.arange(start + len(part) - 1, start - 1, -1)
        first[part.ravel()] = np.repeat(rows, array.shape[1])  # the last assignment to a place is the one that stays
    first[array[seen].astype(np.int64).ravel() - least] = n
    return first
