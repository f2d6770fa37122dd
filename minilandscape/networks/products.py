"""Products of stacks of matrices, cut into blocks of the size that the BLAS at hand is fastest at.

OpenBLAS on AVX-512 works on factors as they lie where a product has up to a million multiplications; larger ones it
copies into another order first, which takes as long as multiplying where a factor is small. On other processors it
always copies, and on a GPU one large product is best: nothing is cut there.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from .. import backend, cuda
from ..backend import Workspace

#: Multiplications of a product up to which OpenBLAS works on the factors as they lie.
UNPACKED = 1_000_000
#: Outputs up to which it does so where the second factor is a transposed view.
UNPACKED_OUTPUTS = 1024
#: A block has at least so many rows, and a sum over images at most so many blocks: below, calls and sums cost more.
LEAST_ROWS, MOST_SUMS = 16, 10


def matmul(a: Any, b: Any, out: Any = None) -> Any:
    """``a @ b`` of stacks of matrices, into ``out`` where it is given, in NumPy's arrays or CuPy's."""
    if backend.array_module(a) is np:
        return np.matmul(a, b, out=out)
    return cuda.matmul(a, b, out)


@lru_cache(maxsize=4096)
def _divisor(n: int, per_row: int, most: int) -> int:
    """The least divisor of n, up to ``most``, whose blocks have no more than UNPACKED multiplications; or 1."""
    if not backend.blas_multiplies_small_factors_in_place():
        return 1
    least = -(-n * per_row // UNPACKED)
    return next((b for b in range(max(least, 1), most + 1) if n % b == 0), 1)


def blocks(xp: Any, n: int, per_row: int, most: int) -> int:
    """Into how many blocks n rows (or columns) of ``per_row`` multiplications each are cut: at most ``most``."""
    return _divisor(n, per_row, most) if xp is np else 1


def _cut(array: Any, n_blocks: int) -> Any:
    """(P, N, K) -> (P, n_blocks, N / n_blocks, K); a view."""
    return array.reshape(len(array), n_blocks, -1, array.shape[2])


def rows_times(xp: Any, X: Any, W: Any, out: Any) -> Any:
    """X (P, N, K) @ W (P, K, M) into ``out`` (P, N, M); either P may be 1."""
    n_blocks = blocks(xp, X.shape[1], W.shape[1] * W.shape[2], X.shape[1] // LEAST_ROWS)
    matmul(_cut(X, n_blocks), W[:, None], out=_cut(out, n_blocks))
    return out


def rows_times_transposed(xp: Any, X: Any, W: Any, out: Any) -> Any:
    """X (P, N, K) @ Wᵀ of W (P, M, K), for a long K, into ``out`` (P, N, M); either P may be 1."""
    per_row = max(W.shape[1] * W.shape[2], W.shape[1] * UNPACKED // UNPACKED_OUTPUTS)
    n_blocks = blocks(xp, X.shape[1], per_row, X.shape[1] // LEAST_ROWS)
    matmul(_cut(X, n_blocks), W.swapaxes(1, 2)[:, None], out=_cut(out, n_blocks))
    return out


def transposed(work: Workspace, name: str, W: Any) -> Any:
    """Wᵀ of W (…, M, K), (…, K, M), on a CPU as a copy in the work array ``name``, which costs less than it gains."""
    W_T = W.swapaxes(-1, -2)
    if work.xp is not np:
        return W_T
    out = work(name, *W_T.shape)
    out[...] = W_T
    return out


def sum_over_rows(xp: Any, D: Any, X: Any, out: Any) -> Any:
    """Dᵀ X of D (P, N, M) and X (P, N, K), into ``out`` (P, M, K)."""
    n_blocks = blocks(xp, X.shape[1], D.shape[2] * X.shape[2], MOST_SUMS)
    if n_blocks == 1:
        return matmul(D.swapaxes(1, 2), X, out=out)
    parts = matmul(_cut(D, n_blocks).swapaxes(2, 3), _cut(X, n_blocks))
    return parts.sum(axis=1, out=out)
