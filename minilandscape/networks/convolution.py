"""A 5×5 convolution and the 2×2 average pooling after it, as one product over 6×6 windows.

The four outputs that a pooling window averages see one 6×6 window of the input, two pixels from the next. So the
kernel becomes four 6×6 kernels, each with the 5×5 one in another corner, and the convolution is one product of these
with the windows: larger, and so faster, than 5×5 patches at every pixel. Where the pooling comes before the activation
the four kernels may be averaged first, a quarter of the products.

Arrays are (P, channels, height, width, N), images innermost, so that every copy runs along the images.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import Workspace

KERNEL, WINDOW, POOL = 5, 6, 2
CORNERS = tuple((a, b) for a in range(POOL) for b in range(POOL))
#: Up to so many multiplications OpenBLAS works on the arrays as they lie; larger ones it packs first, which takes
#: longer than multiplying where a factor has few rows.
UNPACKED = 1_000_000


def _blocks(xp: Any, n_kernels: int, n_columns: int, n_places: int) -> int:
    """Into how many blocks the columns of a product with kernels of ``n_kernels`` numbers are cut.

    As few as keep a block below :data:`UNPACKED`, where a cut of the n_places·N columns between places does; else 1,
    and on a GPU.
    """
    fitting = (n for n in range(1, n_places + 1) if n_places % n == 0 and n_kernels * n_columns <= n * UNPACKED)
    return next(fitting, 1) if xp is np else 1


def _cut(array: Any, n_blocks: int) -> Any:
    """(P, K, n_blocks·L) -> its blocks (P, n_blocks, K, L); a view."""
    return array.reshape(*array.shape[:2], n_blocks, -1).swapaxes(1, 2)


def kernel_product(xp: Any, K: Any, columns: Any, n_places: int, out: Any) -> Any:
    """K (P, O, k) @ columns (P, k, n_places·N), either P may be 1, into ``out`` (P, O, n_places·N)."""
    n_blocks = _blocks(xp, K.shape[1] * K.shape[2], columns.shape[2], n_places)
    xp.matmul(K[:, None], _cut(columns, n_blocks), out=_cut(out, n_blocks))
    return out


def kernel_product_backward(xp: Any, columns: Any, dZ: Any, n_places: int) -> Any:
    """dZ (P, O, n_places·N) and columns (P or 1, k, n_places·N) -> dK (P, O, k)."""
    n_blocks = _blocks(xp, columns.shape[1] * dZ.shape[1], dZ.shape[2], n_places)
    # The columns first: their transpose as the second factor costs half as much again.
    dK = xp.matmul(_cut(columns, n_blocks), _cut(dZ, n_blocks).swapaxes(2, 3)).sum(axis=1)
    return dK.swapaxes(1, 2)


def unfold(X: Any, out: Any) -> Any:
    """All windows of X (P, C, H, W, N), into ``out`` (P, C, 6, 6, h, w, N) with h = H/2 − 2, w = W/2 − 2."""
    h, w = out.shape[4:6]
    for a in range(WINDOW):
        for b in range(WINDOW):
            out[:, :, a, b] = X[:, :, a : a + POOL * h : POOL, b : b + POOL * w : POOL]
    return out


def fold(columns: Any, out: Any) -> Any:
    """The transpose of :func:`unfold`: adds the windows (P, C, 6, 6, h, w, N) up into ``out`` (P, C, H, W, N)."""
    h, w = columns.shape[4:6]
    out[...] = 0
    for a in range(WINDOW):
        for b in range(WINDOW):
            out[:, :, a : a + POOL * h : POOL, b : b + POOL * w : POOL] += columns[:, :, a, b]
    return out


def window_kernels(xp: Any, W: Any, averaged: bool) -> Any:
    """Kernels (P, O, C, 5, 5) -> (P, 4, O, C·36), one for each corner of a window; (P, 1, O, C·36) if averaged."""
    n_points, n_out, n_in = W.shape[:3]
    K = xp.zeros((n_points, 1 if averaged else len(CORNERS), n_out, n_in, WINDOW, WINDOW), dtype=W.dtype)
    for k, (a, b) in enumerate(CORNERS):
        if averaged:
            K[:, 0, :, :, a : a + KERNEL, b : b + KERNEL] += 0.25 * W
        else:
            K[:, k, :, :, a : a + KERNEL, b : b + KERNEL] = W
    return K.reshape(*K.shape[:3], n_in * WINDOW * WINDOW)


def window_kernels_backward(dK: Any) -> Any:
    """dK (P, 4 or 1, O, C·36) -> dW (P, O, C, 5, 5)."""
    n_points, n_corners, n_out, n_windows = dK.shape
    dK = dK.reshape(n_points, n_corners, n_out, n_windows // WINDOW**2, WINDOW, WINDOW)
    parts = [
        dK[:, 0 if n_corners == 1 else k, :, :, a : a + KERNEL, b : b + KERNEL] for k, (a, b) in enumerate(CORNERS)
    ]
    dW = parts[0] + parts[1] + parts[2] + parts[3]
    return 0.25 * dW if n_corners == 1 else dW


def pool(work: Workspace, name: str, A: Any) -> Any:
    """The mean over the corners of the windows, (P, 4 or 1, …) -> (P, …); a view where there is one."""
    if A.shape[1] == 1:
        return A[:, 0]
    out = work.xp.add(A[:, 0], A[:, 1], out=work(name, A.shape[0], *A.shape[2:]))
    out += A[:, 2]
    out += A[:, 3]
    out *= 0.25
    return out


def pool_backward(work: Workspace, name: str, dF: Any, n_corners: int) -> Any:
    """dF (P, …) -> dA (P, 4 or 1, …); dF is overwritten."""
    if n_corners == 1:
        return dF[:, None]
    dF *= 0.25
    dA = work(name, dF.shape[0], n_corners, *dF.shape[1:])
    dA[...] = dF[:, None]
    return dA
