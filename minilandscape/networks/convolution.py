"""Convolutions over stacks of points, images innermost: arrays are (P, channels, height, width, N).

Unfolding copies runs along the images, and a convolution is one product W @ columns.
"""

from __future__ import annotations

from typing import Any

from ..backend import Workspace

KERNEL = 5


def unfold(work: Workspace, name: str, X: Any, stride: int = 1) -> Any:
    """5×5 patches of X (P, C, H, W, N) -> (P, C, 5, 5, h, w, N)."""
    n_points, channels, height, width, n_images = X.shape
    h, w = (height - KERNEL) // stride + 1, (width - KERNEL) // stride + 1
    columns = work(name, n_points, channels, KERNEL, KERNEL, h, w, n_images)
    for a in range(KERNEL):
        for b in range(KERNEL):
            columns[:, :, a, b] = X[:, :, a : a + stride * h : stride, b : b + stride * w : stride]
    return columns


def fold(work: Workspace, name: str, columns: Any, height: int, width: int, stride: int = 1) -> Any:
    """The transpose of :func:`unfold`: adds the patches up, (P, C, 5, 5, h, w, N) -> (P, C, height, width, N)."""
    n_points, channels, _, _, h, w, n_images = columns.shape
    X = work(name, n_points, channels, height, width, n_images)
    X[...] = 0
    for a in range(KERNEL):
        for b in range(KERNEL):
            X[:, :, a : a + stride * h : stride, b : b + stride * w : stride] += columns[:, :, a, b]
    return X


def box_mean(work: Workspace, name: str, X: Any) -> Any:
    """Means over all 2×2 boxes, (P, C, H, W, N) -> (P, C, H−1, W−1, N).

    Average pooling after a convolution is a convolution with stride 2 of these, a quarter of the products.
    """
    n_points, channels, height, width, n_images = X.shape
    out = work(name, n_points, channels, height - 1, width - 1, n_images)
    work.xp.add(X[:, :, :-1, :-1], X[:, :, 1:, :-1], out=out)
    out += X[:, :, :-1, 1:]
    out += X[:, :, 1:, 1:]
    out *= 0.25
    return out


def box_mean_backward(work: Workspace, name: str, dY: Any) -> Any:
    """The transpose of :func:`box_mean`; dY is overwritten."""
    n_points, channels, height, width, n_images = dY.shape
    dY *= 0.25
    dX = work(name, n_points, channels, height + 1, width + 1, n_images)
    dX[...] = 0
    dX[:, :, :-1, :-1] = dY
    dX[:, :, 1:, :-1] += dY
    dX[:, :, :-1, 1:] += dY
    dX[:, :, 1:, 1:] += dY
    return dX


def average_pool(work: Workspace, name: str, X: Any) -> Any:
    """Means over disjoint 2×2 boxes, (P, C, H, W, N) -> (P, C, H/2, W/2, N)."""
    n_points, channels, height, width, n_images = X.shape
    out = work(name, n_points, channels, height // 2, width // 2, n_images)
    work.xp.add(X[:, :, ::2, ::2], X[:, :, 1::2, ::2], out=out)
    out += X[:, :, ::2, 1::2]
    out += X[:, :, 1::2, 1::2]
    out *= 0.25
    return out


def average_pool_backward(work: Workspace, name: str, dY: Any) -> Any:
    """The transpose of :func:`average_pool`; dY is overwritten."""
    n_points, channels, height, width, n_images = dY.shape
    dY *= 0.25
    dX = work(name, n_points, channels, 2 * height, 2 * width, n_images)
    for a in range(2):
        for b in range(2):
            dX[:, :, a::2, b::2] = dY
    return dX
