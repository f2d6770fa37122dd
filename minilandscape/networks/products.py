"""Products of stacks of matrices, cut into blocks of the size at which the installed BLAS is fastest.

OpenBLAS on AVX-512 reads the factors in place if a product has up to a million multiplications. It copies the factors
of larger products into another order first, which takes as long as the product if a factor is small. On other
processors it always copies, and on a GPU one large product is fastest: nothing is cut there.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from .. import backend, cuda
from ..backend import Workspace

#: OpenBLAS reads the factors in place in products of up to this many multiplications …
UNPACKED = 1_000_000
#: … and, if the second factor is a transposed view, of up to this many outputs.
UNPACKED_OUTPUTS = 1024
#: Least rows of a block, and most blocks of a sum over images: beyond, calls and sums cost more than they save.
LEAST_ROWS, MOST_SUMS = 16, 10


def matmul(a: Any, b: Any, out: Any = None) -> Any:
    """Return ``a @ b`` of stacks of matrices of NumPy or CuPy, in ``out`` if it is given."""
    if backend.array_module(a) is np:
        return np.matmul(a, b, out=out)
    return cuda.matmul(a, b, out)


@lru_cache(maxsize=4096)
def _divisor(n: int, per_row: int, most: int) -> int:
    """Return the least divisor of n, up to ``most``, whose blocks have at most UNPACKED multiplications; or 1."""
    if not backend.blas_multiplies_small_factors_in_place():
        return 1
    least = -(-n * per_row // UNPACKED)
    return next((b for b in range(max(least, 1), most + 1) if n % b == 0), 1)


def blocks(xp: Any, n: int, per_row: int, most: int) -> int:
    """Return the number of blocks, at most ``most``, for n rows (or columns) of ``per_row`` multiplications each."""
    return _divisor(n, per_row, most) if xp is np else 1


def _cut(array: Any, n_blocks: int) -> Any:
    """Return (P, N, K) as (P, n_blocks, N / n_blocks, K), a view."""
    return array.reshape(len(array), n_blocks, -1, array.shape[2])


def rows_times(xp: Any, X: Any, W: Any, out: Any) -> Any:
    """Compute X (P, N, K) @ W (P, K, M) into ``out`` (P, N, M); either P may be 1."""
    n_blocks = blocks(xp, X.shape[1], W.shape[1] * W.shape[2], X.shape[1] // LEAST_ROWS)
    matmul(_cut(X, n_blocks), W[:, None], out=_cut(out, n_blocks))
    return out


def rows_times_transposed(xp: Any, X: Any, W: Any, out: Any) -> Any:
    """Compute X (P, N, K) @ Wᵀ of W (P, M, K), for a large K, into ``out`` (P, N, M); either P may be 1."""
    per_row = max(W.shape[1] * W.shape[2], W.shape[1] * UNPACKED // UNPACKED_OUTPUTS)
    n_blocks = blocks(xp, X.shape[1], per_row, X.shape[1] // LEAST_ROWS)
    matmul(_cut(X, n_blocks), W.swapaxes(1, 2)[:, None], out=_cut(out, n_blocks))
    return out


def transposed(work: Workspace, name: str, W: Any) -> Any:
    """Return Wᵀ (…, K, M) of W (…, M, K); on a CPU a copy in the work array ``name``, which saves time."""
    W_T = W.swapaxes(-1, -2)
    if work.xp is not np:
        return W_T
    out = work(name, *W_T.shape)
    out[...] = W_T
    return out


def sum_over_rows(xp: Any, D: Any, X: Any, out: Any) -> Any:
    """Compute Dᵀ X of D (P, N, M) and X (P, N, K) into ``out`` (P, M, K)."""
    n_blocks = blocks(xp, X.shape[1], D.shape[2] * X.shape[2], MOST_SUMS)
    if n_blocks == 1:
        return matmul(D.swapaxes(1, 2), X, out=out)
    parts = matmul(_cut(D, n_blocks).swapaxes(2, 3), _cut(X, n_blocks))
    return parts.sum(axis=1, out=out)
