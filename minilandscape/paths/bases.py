"""Bases in which a path is linear: ω(t) = (1 − t) start + t end + Σ_n b_n φ_n(t), with φ_n(0) = φ_n(1) = 0."""

from __future__ import annotations

from math import comb

import numpy as np


def sine_basis(t: np.ndarray, n_terms: int) -> np.ndarray:
    """Coefficients (M, 2 + N_F) of Eq. (3): 1 − t, t, sin(πt), …, sin(N_F πt); exactly 0 at both endpoints."""
    t = np.asarray(t, dtype=np.float64)
    sines = np.sin(np.pi * t[:, None] * np.arange(1, n_terms + 1))
    sines[(t == 0) | (t == 1)] = 0
    return np.column_stack([1 - t, t, sines])


def bernstein_basis(t: np.ndarray, n_terms: int) -> np.ndarray:
    """1 − t, t, and the Bernstein polynomials B_k of degree n + 1 for 0 < k < n + 1.

    A Bézier curve; b_k is the displacement of control point k from the point k/(n + 1) of the straight line.
    """
    t = np.asarray(t, dtype=np.float64)
    k = np.arange(1, n_terms + 1)
    binomials = np.array([comb(n_terms + 1, each) for each in k], dtype=np.float64)
    return np.column_stack([1 - t, t, binomials * t[:, None] ** k * (1 - t[:, None]) ** (n_terms + 1 - k)])


def hat_basis(t: np.ndarray, n_terms: int) -> np.ndarray:
    """1 − t, t, and the hat functions of the vertices k/(n + 1): a piecewise-linear path.

    b_k is the displacement of vertex k from the straight line.
    """
    t = np.asarray(t, dtype=np.float64)
    hats = np.maximum(0, 1 - np.abs(t[:, None] * (n_terms + 1) - np.arange(1, n_terms + 1)))
    return np.column_stack([1 - t, t, hats])


BASES = {"sine": sine_basis, "bernstein": bernstein_basis, "hat": hat_basis}
