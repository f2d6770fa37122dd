"""Analytic landscapes with known stationary points."""

from __future__ import annotations

from typing import Any

import numpy as np

from .landscape import LandscapeDefaults


class Fig3(LandscapeDefaults):
    """The two-dimensional landscape of the paper's Fig. 3.

    f(r) = −Σ_c exp(−3|r−c|²) + Σ_d exp(−15|r−d|²) + C, with c = (−0.5, −0.5), (0.5, 0.0), d = (−0.2, −0.4), (0.0, 0.3).

    Parameters
    ----------
    constant
        C.

    Notes
    -----
    Stationary points with C = 1.019: minima 0.108702 at (−0.61380, −0.53542) and −0.000036 at (0.48810, −0.02226); the
    lowest saddle between them 0.624388 at (−0.16473, −0.06992), a second one 0.637252 at (0.05289, −0.68816).
    """

    size = 2
    START = (-0.62, -0.54)
    END = (0.49, -0.02)
    N_POINTS = 100

    _wells = np.array([[-0.5, -0.5], [0.5, 0.0]])
    _peaks = np.array([[-0.2, -0.4], [0.0, 0.3]])

    def __init__(self, constant: float = 1.019) -> None:
        self.constant = constant

    def values(self, points: Any) -> np.ndarray:
        """(P, 2) -> (P,)."""
        return self.values_and_gradients(points)[0]

    def values_and_gradients(self, points: Any) -> tuple[np.ndarray, np.ndarray]:
        """(P, 2) -> (P,), (P, 2)."""
        points = np.asarray(points, dtype=np.float64)
        values, gradients = np.full(len(points), self.constant), np.zeros(points.shape)
        for centres, sign, width in ((self._wells, -1, 3), (self._peaks, 1, 15)):
            away = points[:, None] - centres
            bumps = sign * np.exp(-width * (away**2).sum(axis=2))
            values += bumps.sum(axis=1)
            gradients -= 2 * width * (bumps[:, :, None] * away).sum(axis=1)
        return values, gradients
