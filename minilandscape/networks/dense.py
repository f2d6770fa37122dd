"""Fully connected layers for stacks of points, and how images are stored for the first layer."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..backend import Workspace
from .products import matmul, rows_times_transposed

#: For wide first layers, where mixing products is always cheaper than multiplying.
MANY_ROWS = 1 << 30


class Pixels(NamedTuple):
    """N images for a fully connected first layer.

    A pixel that is 0 in all images adds nothing to a product and has a gradient of exactly 0. Only the other F columns
    are stored and multiplied.

    Attributes
    ----------
    ink
        (N, F), the columns that are not all 0; (P, N, 784) if each point has its own images.
    columns
        (F,), the numbers of the pixels in ``ink``; None if it holds all 784.
    labels
        (N,) or (P, N).
    """

    ink: Any
    columns: Any
    labels: Any


def whole_pixels(xp: Any, images: Any, labels: Any) -> Pixels:
    """Store images (N, 784) or (P, N, 784) as they are."""
    return Pixels(images, None, labels)


def ink_only(xp: Any, images: np.ndarray, labels: np.ndarray, dtype: Any) -> Pixels:
    """Store host images (N, 784) without their blank columns, on the device of ``xp``."""
    columns = np.flatnonzero(images.any(axis=0))
    ink = np.ascontiguousarray(images[:, columns], dtype=dtype)
    return Pixels(xp.asarray(ink), xp.asarray(columns), xp.asarray(labels))


def as_they_are(work: Workspace, inputs: Any) -> Any:
    """Return inputs that need no preparation."""
    return inputs


def first_dense(work: Workspace, inputs: Pixels, rows: Any, units: int) -> Any:
    """Compute Z = X Wᵀ, (R, N, units), of weights (R, units·784)."""
    W = rows.reshape(len(rows), units, -1)
    if inputs.columns is not None:
        W = W[:, :, inputs.columns]
    out = work("first", len(rows), inputs.ink.shape[-2], units)
    return rows_times_transposed(work.xp, inputs.ink.reshape(-1, *inputs.ink.shape[-2:]), W, out)


def first_dense_backward(work: Workspace, inputs: Pixels, dZ: Any, into: Any) -> None:
    """Add dW = dZᵀ X, of dZ (R, N, units), to ``into`` (R, units·784)."""
    n_rows, _, units = dZ.shape
    n_ink = inputs.ink.shape[-1]
    dW = matmul(dZ.swapaxes(1, 2), inputs.ink, out=work("dfirst", n_rows, units, n_ink))
    if inputs.columns is None:
        into += dW.reshape(n_rows, -1)
    else:
        total = into.reshape(n_rows, units, -1)
        total[:, :, inputs.columns] += dW


def by_label_and_extent(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Order images so that neighbours share their blank pixels: by label, then width, then height of the ink."""
    squares = images.reshape(len(images), 28, 28) != 0
    width = squares.any(axis=1).sum(axis=1)
    height = squares.any(axis=2).sum(axis=1)
    return np.lexsort((height, width, labels))
