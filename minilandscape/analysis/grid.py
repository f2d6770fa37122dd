"""Values on the grid of a plane, row by row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..landscape import LandscapeError

#: The values among the quantities that a landscape measures.
LOSS = "loss"


def fill_rows(
    found: dict[str, np.ndarray], land: Any, rows: np.ndarray, x: np.ndarray, y: np.ndarray, metrics: bool, first: int
) -> Iterator[int]:
    """Fill values (ny, nx) by name, from a row of the grid on; yields the number of rows that are filled.

    Parameters
    ----------
    found
        Name to values; NaN where a point cannot be evaluated.
    rows
        (3, D): origin and axes of the plane.
    metrics
        Whether all quantities are measured that the landscape measures.
    first
        The first row that is evaluated.

    Raises
    ------
    LandscapeError
        If no point of the whole grid can be evaluated.
    """
    n, span = len(x), None if metrics else land.span(rows)
    failure: LandscapeError | None = None

    def evaluate(coefficients: np.ndarray) -> dict[str, np.ndarray]:
        if span is None:
            measured: dict[str, np.ndarray] = land.measure((coefficients @ rows).astype(land.dtype))
            return measured
        return {LOSS: span.values(coefficients)}

    found.setdefault(LOSS, np.full((len(y), n), np.nan))
    for k in range(first, len(y)):
        coefficients = np.stack([np.ones(n), x, np.full(n, y[k])], axis=1)
        parts = [slice(0, n)]
        while parts:
            part = parts.pop()
            try:
                for name, values in evaluate(coefficients[part]).items():
                    found.setdefault(name, np.full((len(y), n), np.nan))[k, part] = values
            except LandscapeError as error:
                failure = error
                if part.stop - part.start > 1:  # one by one, to keep those that can be evaluated
                    parts = [slice(m, m + 1) for m in range(n)]
        found[LOSS][k, ~np.isfinite(found[LOSS][k])] = np.nan
        yield k + 1
    if np.isnan(found[LOSS]).all():
        raise LandscapeError(f"no point of the plane could be evaluated{f': {failure}' if failure else ''}", rows[0])
