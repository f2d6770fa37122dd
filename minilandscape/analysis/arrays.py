"""What a caller hands in, as real numbers."""

from __future__ import annotations

from typing import Any

import numpy as np


def real_numbers(values: Any, name: str) -> np.ndarray:
    """An array of float64, which may be the caller's own.

    Raises
    ------
    ValueError
        If some are masked, have an imaginary part or are no numbers; it names them by ``name``.
    """
    if np.ma.is_masked(values):
        raise ValueError(f"{name} are a masked array with {np.ma.count_masked(values)} numbers masked; fill them in")
    array = np.asarray(values)
    if np.iscomplexobj(array):
        if array.imag.any():
            raise ValueError(f"{name} are complex; expected real numbers")
        array = array.real
    try:
        return np.asarray(array, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} hold {array.dtype} values; expected real numbers") from None
