"""Conversion of arguments to arrays of real numbers."""

from __future__ import annotations

from typing import Any

import numpy as np


def real_numbers(values: Any, name: str) -> np.ndarray:
    """Convert values to an array of float64, without a copy where possible.

    Raises
    ------
    ValueError
        If some values are masked, complex or not numbers; the message calls them ``name``.
    """
    if np.ma.is_masked(values):
        raise ValueError(f"{name} are a masked array with {np.ma.count_masked(values)} numbers masked; expected none")
    array = np.asarray(values)
    if np.iscomplexobj(array):
        if array.imag.any():
            raise ValueError(f"{name} are complex; expected real numbers")
        array = array.real
    try:
        return np.asarray(array, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} hold {array.dtype} values; expected real numbers") from None


def check_finite(name: str, numbers: np.ndarray) -> None:
    """Refuse numbers that are not finite, which SciPy's assignment would report for an internal matrix.

    Raises
    ------
    ValueError
        If one is not; the message calls them ``name``.
    """
    (bad,) = np.nonzero(~np.isfinite(numbers.ravel()))
    if bad.size:
        raise ValueError(
            f"{name} is not finite in {bad.size} of {numbers.size} numbers, the first at {bad[0]}; "
            "expected finite numbers"
        )
