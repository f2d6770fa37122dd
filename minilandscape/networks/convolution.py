"""A 5×5 convolution and the 2×2 average pooling after it, as products over 6×6 windows.

The four outputs that a pooling window averages depend on one 6×6 window of the input, two pixels from the next window.
So the kernel is embedded in four 6×6 kernels, the 5×5 kernel in another corner of each, and the convolution is one
product of these with the windows. The product is larger, and therefore faster, than one of 5×5 patches at every pixel.
If the pooling comes before the activation, the four kernels are averaged first, which leaves a quarter of the product.

Windows are unfolded along rows only. Arrays are (P, height, channels, width, N). The windows of one row of outputs are
six rows of strips, which are contiguous and therefore the second factor of a product without a copy: each pixel is
copied six times instead of 36. Images are innermost, so that every copy runs along the images.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from ..backend import Workspace
from .products import UNPACKED_OUTPUTS, blocks, matmul, transposed

KERNEL, WINDOW, POOL = 5, 6, 2
#: Offsets of the 5×5 kernel in a 6×6 window.
CORNERS = tuple((a, b) for a in range(POOL) for b in range(POOL))
#: Number of windows that contain a pixel, along one axis.
OVERLAP = WINDOW // POOL


def _cut(array: Any, n_blocks: int) -> Any:
    """Return the blocks (P, h, n_blocks, K, L) of (P, h, K, n_blocks·L), a view."""
    return array.reshape(*array.shape[:3], n_blocks, -1).swapaxes(2, 3)


def _rows(xp: Any, array: Any, n_windows: int, height: int, step: int) -> Any:
    """Return overlapping windows (P, n_windows, height·K, L) of ``height`` rows of (P, H, K, L), a view."""
    n_points, _, n_inner, length = array.shape
    a, b, c, d = array.strides
    shape = (n_points, n_windows, height * n_inner, length)
    return xp.lib.stride_tricks.as_strided(array, shape, (a, step * b, c, d))


def _input_windows(xp: Any, strips: Any) -> Any:
    """Return the inputs (P, h, 6·C·6, w·N) of each row of outputs from strips (P, H, C, 6, w, N), a view."""
    n_points, height, n_in, _, width, n_images = strips.shape
    flat = strips.reshape(n_points, height, n_in * WINDOW, width * n_images)
    return _rows(xp, flat, height // POOL - OVERLAP + 1, WINDOW, POOL)


def _blocks(xp: Any, n_out: int, columns: Any, width: int) -> int:
    """Return the number of blocks, along the width, for columns (P, h, k, width·N) and ``n_out`` kernels."""
    return blocks(xp, width, n_out * columns.shape[2] * columns.shape[3] // width, width)


def _product(xp: Any, K: Any, columns: Any, width: int, out: Any) -> None:
    """Compute K (P, O, k) @ columns (P, h, k, width·N) into ``out`` (P, h, O, width·N); either P may be 1."""
    n_blocks = _blocks(xp, K.shape[1], columns, width)
    matmul(K[:, None, None], _cut(columns, n_blocks), out=_cut(out, n_blocks))


def strips_shape(X: Any) -> tuple[int, ...]:
    """Return the shape (P, H, C, 6, w, N), w = W/2 − 2, of the strips of X (P, H, C, W, N)."""
    *rows, width, n_images = X.shape
    return (*rows, WINDOW, width // POOL - OVERLAP + 1, n_images)


def unfold(X: Any, out: Any) -> Any:
    """Unfold the windows of every row of X (P, H, C, W, N) into ``out`` (P, H, C, 6, w, N)."""
    *rows, _, width, n_images = out.shape
    pixels = X.reshape(*rows, -1, POOL, n_images)
    by_pair = out.reshape(*rows, OVERLAP, POOL, width, n_images).swapaxes(-3, -2)
    for k in range(OVERLAP):
        by_pair[:, :, :, k] = pixels[:, :, :, k : k + width]
    return out


def fold(strips: Any, out: Any) -> Any:
    """Sum strips (P, H, C, 6, w, N) into ``out`` (P, H, C, W, N); the transpose of :func:`unfold`."""
    *rows, _, width, n_images = strips.shape
    pixels = out.reshape(*rows, -1, POOL, n_images)
    by_pair = strips.reshape(*rows, OVERLAP, POOL, width, n_images).swapaxes(-3, -2)
    pixels[:, :, :, :width] = by_pair[:, :, :, 0]
    pixels[:, :, :, width:] = 0
    for k in range(1, OVERLAP):
        pixels[:, :, :, k : k + width] += by_pair[:, :, :, k]
    return out


def convolve(xp: Any, K: Any, strips: Any, out: Any) -> Any:
    """Convolve strips (P, H, C, 6, w, N) by kernels (P, O, 6, C·6) into ``out`` (P, h, O, w, N); either P may be 1."""
    n_points, height, n_out, width, _ = out.shape
    K = K.reshape(*K.shape[:2], -1)
    _product(xp, K, _input_windows(xp, strips), width, out.reshape(n_points, height, n_out, -1))
    return out


def convolve_backward_kernels(work: Workspace, strips: Any, dZ: Any) -> Any:
    """Map dZ (P, h, O, w, N) and strips (P or 1, H, C, 6, w, N) to dK (P, O, 6, C·6)."""
    xp, (n_points, height, n_out, width, _) = work.xp, dZ.shape
    columns = _input_windows(xp, strips)
    n_blocks = _blocks(xp, n_out, columns, width)
    dZ = _cut(dZ.reshape(n_points, height, n_out, -1), n_blocks)
    few = xp is not np or columns.shape[2] * n_out <= UNPACKED_OUTPUTS
    dZ_T = dZ.swapaxes(3, 4) if few else transposed(work, "dZ_T", dZ)
    # The columns come first: transposed as the second factor they take up to twice as long.
    dK = matmul(_cut(columns, n_blocks), dZ_T).sum(axis=2).sum(axis=1)
    return dK.swapaxes(1, 2).reshape(n_points, n_out, WINDOW, -1)


def convolve_backward_strips(xp: Any, K: Any, dZ: Any, out: Any) -> Any:
    """Map kernels (P, O, 6, C·6) and dZ (P, h, O, w, N) to d strips, into ``out`` (P, H, C, 6, w, N).

    Two rows of strips are computed at a time: the same output rows depend on both, up to three, each through other rows
    of the kernels.
    """
    n_points, height, n_out, width, _ = dZ.shape
    K = K.reshape(n_points, n_out, OVERLAP, POOL, -1)[
        :, :, ::-1
    ]  # the last output row meets a pair with its first kernel rows
    K = xp.ascontiguousarray(K.transpose(0, 3, 4, 2, 1)).reshape(n_points, -1, OVERLAP * n_out)
    dZ = dZ.reshape(n_points, height, n_out, -1)
    pairs = out.reshape(n_points, height + OVERLAP - 1, K.shape[1], -1)
    edges = OVERLAP - 1
    cuts = [*range(edges + 1), *range(max(height, edges + 1), height + edges + 1)]
    for begin, end in itertools.pairwise(cuts):
        first, last = max(begin - edges, 0), min(begin, height - 1)
        used = slice((first - begin + edges) * n_out, (last - begin + edges + 1) * n_out)
        rows = _rows(xp, dZ[:, first:], end - begin, last - first + 1, 1)
        _product(xp, K[:, :, used], rows, width, pairs[:, begin:end])
    return out


def window_kernels(xp: Any, W: Any, averaged: bool) -> Any:
    """Embed kernels (P, O, C, 5, 5) in windows: (P, 4·O, 6, C·6), one for each corner; (P, O, 6, C·6) if averaged."""
    n_points, n_out, n_in = W.shape[:3]
    K = xp.zeros((n_points, 1 if averaged else len(CORNERS), n_out, WINDOW, n_in, WINDOW), dtype=W.dtype)
    W = W.swapaxes(2, 3)
    for k, (a, b) in enumerate(CORNERS):
        if averaged:
            K[:, 0, :, a : a + KERNEL, :, b : b + KERNEL] += 0.25 * W
        else:
            K[:, k, :, a : a + KERNEL, :, b : b + KERNEL] = W
    return K.reshape(n_points, -1, WINDOW, n_in * WINDOW)


def window_kernels_backward(dK: Any, n_corners: int) -> Any:
    """Map dK (P, n_corners·O, 6, C·6) to dW (P, O, C, 5, 5); n_corners is 4, or 1 if averaged."""
    n_points, n_kernels, _, n_inner = dK.shape
    dK = dK.reshape(n_points, n_corners, n_kernels // n_corners, WINDOW, n_inner // WINDOW, WINDOW)
    parts = [
        dK[:, 0 if n_corners == 1 else k, :, a : a + KERNEL, :, b : b + KERNEL] for k, (a, b) in enumerate(CORNERS)
    ]
    dW = (parts[0] + parts[1] + parts[2] + parts[3]).swapaxes(2, 3)
    return 0.25 * dW if n_corners == 1 else dW


def pool(work: Workspace, name: str, A: Any) -> Any:
    """Average over the corners of the windows, (P, h, 4·C, w, N) -> (P, h, C, w, N)."""
    n_points, height, _, width, n_images = A.shape
    A = A.reshape(n_points, height, len(CORNERS), -1, width, n_images)
    out = work.xp.add(A[:, :, 0], A[:, :, 1], out=work(name, n_points, height, *A.shape[3:]))
    out += A[:, :, 2]
    out += A[:, :, 3]
    out *= 0.25
    return out


def pool_backward(work: Workspace, name: str, dF: Any) -> Any:
    """Map dF (P, h, C, w, N), overwritten, to dA (P, h, 4·C, w, N)."""
    n_points, height, n_channels, width, n_images = dF.shape
    dF *= 0.25
    dA = work(name, n_points, height, len(CORNERS), n_channels, width, n_images)
    dA[...] = dF[:, :, None]
    return dA.reshape(n_points, height, -1, width, n_images)
