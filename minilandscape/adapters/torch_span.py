"""Combinations of a few points of a module's landscape, whose pullback is added up point by point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..landscape import PointSpan, Weights, read_stack


class TorchSpan(PointSpan):
    """The span of a module's landscape.

    Where weights do not depend on the values, a pullback needs memory for its rows alone, (len(rows), D), and not for
    the gradients of all points, (P, D).
    """

    def values_and_pullback(
        self, coefficients: np.ndarray, weights: Weights = None, rows: Sequence[int] | None = None
    ) -> tuple[np.ndarray, Any]:
        """Compute values (P,), and ``(weights[:, None] * coefficients).T @ gradients`` (len(rows), D)."""
        if callable(weights):
            return super().values_and_pullback(coefficients, weights, rows)
        coefficients = np.asarray(coefficients)
        self.evaluations.gradients += len(coefficients)
        self._last, self._coefficients = None, coefficients
        pull = coefficients if rows is None else coefficients[:, list(rows)]
        if weights is not None:
            pull = np.asarray(weights)[:, None] * pull
        land = self._landscape
        points = read_stack(self._device(coefficients) @ self.basis, land.size, land.dtype)
        values, total, start = np.zeros(len(points)), np.zeros((pull.shape[1], land.size), dtype=land.dtype), 0
        pull = self._device(pull)
        for value, slopes in land.values_and_gradients_in_parts(points):
            part = slice(start, start + len(value))
            values[part], start = value, part.stop
            total += pull[part].T @ slopes
        return values, total

    def pulled_again(self, weights: Weights = None, rows: Sequence[int] | None = None) -> Any:
        """Compute the pullback of the points that were evaluated last, with other weights.

        Gradients that were not kept are evaluated anew.
        """
        if self._last is None:
            return super().values_and_pullback(self._coefficients, weights, rows)[1]
        return super().pulled_again(weights, rows)
