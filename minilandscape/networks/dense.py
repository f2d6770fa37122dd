"""Fully connected layers over stacks of points, and the store of images that their first layer reads."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..backend import Workspace
from .products import matmul, rows_times_transposed

#: A wide first layer: mixing its products is always cheaper than multiplying.
MANY_ROWS = 1 << 30


class Pixels(NamedTuple):
    """N images for a fully connected first layer.

    A pixel that is 0 in every one of them adds nothing to a product and gets a gradient of exactly 0, so only the
    other F columns are stored and multiplied.

    Attributes
    ----------
    ink
        (N, F): the columns that are not 0 throughout; (P, N, 784) where each point has images of its own.
    columns
        (F,): the pixels that ``ink`` holds; None where it holds all 784.
    labels
        (N,) or (P, N).
    """

    ink: Any
    columns: Any
    labels: Any


def whole_pixels(xp: Any, images: Any, labels: Any) -> Pixels:
    """Images (N, 784), or (P, N, 784), as they are."""
    return Pixels(images, None, labels)


def ink_only(xp: Any, images: np.ndarray, labels: np.ndarray, dtype: Any) -> Pixels:
    """Host images (N, 784) with their blank columns left out, on the device of ``xp``."""
    columns = np.flatnonzero(images.any(axis=0))
    ink = np.ascontiguousarray(images[:, columns], dtype=dtype)
    return Pixels(xp.asarray(ink), xp.asarray(columns), xp.asarray(labels))


def as_they_are(work: Workspace, inputs: Any) -> Any:
    """Inputs from which nothing is worked out."""
    return inputs


def first_dense(work: Workspace, inputs: Pixels, rows: Any, units: int) -> Any:
    """Z = X Wᵀ of weights (R, units·784) -> (R, N, units)."""
    W = rows.reshape(len(rows), units, -1)
    if inputs.columns is not None:
        W = W[:, :, inputs.columns]
    out = work("first", len(rows), inputs.ink.shape[-2], units)
    return rows_times_transposed(work.xp, inputs.ink.reshape(-1, *inputs.ink.shape[-2:]), W, out)


def first_dense_backward(work: Workspace, inputs: Pixels, dZ: Any, into: Any) -> None:
    """Adds dW = dZᵀ X of dZ (R, N, units) to ``into`` (R, units·784)."""
    n_rows, _, units = dZ.shape
    n_ink = inputs.ink.shape[-1]
    dW = matmul(dZ.swapaxes(1, 2), inputs.ink, out=work("dfirst", n_rows, units, n_ink))
    if inputs.columns is None:
        into += dW.reshape(n_rows, -1)
    else:
        total = into.reshape(n_rows, units, -1)
        total[:, :, inputs.columns] += dW


def by_label_and_extent(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """An order of the images in which neighbours share their blank pixels: by label, then width, then height of ink."""
    squares = images.reshape(len(images), 28, 28) != 0
    width = squares.any(axis=1).sum(axis=1)
    height = squares.any(axis=2).sum(axis=1)
    return np.lexsort((height, width, labels))
