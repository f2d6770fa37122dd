"""Losses of P points summed over N images, with their gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import cuda
from ..backend import Workspace


def cross_entropy(work: Workspace, Y: Any, labels: Any, gradient: bool) -> tuple[Any, Any, Any]:
    """Compute the cross-entropy −log softmax(y)[label] of logits Y (P, 10, N).

    With e_j = exp(y_j − max y) and s the sum of e_j over all classes but the label, the loss is
    log1p(s + (e_label − 1)) − (y_label − max y). If the label has the largest logit, the bracket and the last term are
    exactly 0, so that losses far below the precision of a number near 1 are resolved.

    Parameters
    ----------
    Y
        Contiguous; overwritten.
    labels
        (N,), or (P, N) if each point has its own images.

    Returns
    -------
    sums : (P,) float64
        The losses summed over the images.
    correct : (P,) float64
        The number of images whose label has the largest logit; an image counts 1/k if k classes share that logit.
    dY : (P, 10, N)
        The gradient of the sums, which overwrites Y; meaningless unless ``gradient``.
    """
    xp = work.xp
    n_points, n_classes, n_images = Y.shape
    if xp is not np:
        by_class = [Y[:, k] for k in range(n_classes)]
        losses, hits = (work(name, n_points, n_images) for name in ("losses", "hits"))
        cuda.elementwise("cross_entropy", *by_class, labels, *by_class, losses, hits)
        return losses.sum(axis=1, dtype=np.float64), hits.sum(axis=1, dtype=np.float64), Y
    # One index into the flat array: four times faster than three indices that are broadcast.
    flat = Y.reshape(-1)
    at_label = xp.arange(n_points)[:, None] * (n_classes * n_images) + (labels * n_images + xp.arange(n_images))
    Y -= Y.max(axis=1)[:, None]
    y_label = flat.take(at_label)
    hits = y_label == 0
    n_top = (Y == 0).sum(axis=1, dtype=np.uint8)
    xp.exp(Y, out=Y)
    sharp = _sharp(Y) if gradient else ()
    e_label = flat.take(at_label)
    flat[at_label] = 0
    off = Y.sum(axis=1)
    sums = (xp.log1p(off + (e_label - 1)) - y_label).sum(axis=1, dtype=np.float64)
    correct = (hits / xp.maximum(n_top, 1)).sum(axis=1, dtype=np.float64)
    if gradient:
        total = off + e_label
        Y /= total[:, None]
        flat[at_label] = -off / total
        if len(sharp):
            Y[sharp] = _without_negligible(Y[sharp])
    return sums, correct, Y


def _sharp(E: Any) -> Any:
    """Return the points whose e^(y − max y), E (P, 10, N), come close to underflow."""
    least = E.reshape(len(E), -1).min(axis=1, initial=1)
    return np.flatnonzero(least < np.finfo(E.dtype).tiny / np.finfo(E.dtype).eps)


def _without_negligible(dY: Any) -> Any:
    """Set entries of dY (P, 10, N) to 0 that are below ε² times a point's largest, beyond the digits of any sum.

    Where images are fitted almost exactly, such entries and their products with weights are subnormal numbers, with
    which a CPU computes ten times and more as slowly.
    """
    sizes = np.abs(dY)
    least = float(np.finfo(dY.dtype).eps) ** 2 * sizes.max(axis=(1, 2))
    return dY * (sizes >= least[:, None, None])


def probabilities(xp: Any, Y: Any) -> Any:
    """Compute the softmax of Y (P, 10, N) over the classes, in place."""
    Y -= Y.max(axis=1)[:, None]
    xp.exp(Y, out=Y)
    Y /= Y.sum(axis=1)[:, None]
    return Y


def squared_error(work: Workspace, T: Any, centred: Any, gradient: bool) -> tuple[Any, Any]:
    """Compute the squared error of reconstructions ½ + ½ T, T (P, N, 784), averaged over pixels, summed over images.

    Parameters
    ----------
    centred
        (N, 784) or (P, N, 784): 2x − 1 of the pixels x.

    Returns
    -------
    sums : (P,) float64
    E : (P, N, 784)
        Twice the errors, T − (2x − 1). They overwrite T unless ``gradient``, whose backward pass reads T again.
    """
    xp = work.xp
    E = work("E", *T.shape) if gradient else T
    if xp is np:
        np.subtract(T, centred, out=E)
        squares = np.matmul(
            E[:, :, None], E[:, :, :, None]
        )  # one BLAS dot product for each image, twice as fast as einsum
        sums = squares.sum(axis=(1, 2, 3), dtype=np.float64)
    else:
        squares = work("squares", *E.shape)
        cuda.elementwise("squared_error", T, centred, E, squares)
        sums = squares.sum(axis=2).sum(
            axis=1, dtype=np.float64
        )  # one sum over both axes would run on a single multiprocessor
    return sums / (4 * T.shape[2]), E
