"""Bases in which a path is linear: ω(t) = C(t) @ (start, end, b_1, …)."""

from __future__ import annotations

import numpy as np


def sine_basis(t: np.ndarray, n_terms: int) -> np.ndarray:
    """Coefficients (M, 2 + N_F) of Eq. (3): 1 − t, t, sin(πt), …, sin(N_F πt); exactly 0 sines at both ends."""
    t = np.asarray(t, dtype=np.float64)
    sines = np.sin(np.pi * t[:, None] * np.arange(1, n_terms + 1))
    sines[(t == 0) | (t == 1)] = 0
    return np.column_stack([1 - t, t, sines])
