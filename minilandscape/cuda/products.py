"""Products of stacks of matrices by cuBLAS that can be recorded; CuPy refuses its own products while it records."""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Sequence
from functools import cache, lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np

from ..backend import cupy_module

#: Bytes of cuBLAS's workspace; a graph must not allocate it.
CUBLAS_WORKSPACE = 32 << 20
NOT_TRANSPOSED, TRANSPOSED = 0, 1
#: Approximate number of multiprocessors of a device, rows and columns of a tile of a product, and least number of terms
#: in a part of a sum that is cut to use all multiprocessors.
MULTIPROCESSORS, TILE, LEAST_SUM = 128, 64, 500


class Matrices(NamedTuple):
    """The memory layout of a stack of matrices for cuBLAS, which is column-major.

    Attributes
    ----------
    transposed
        Whether cuBLAS has to transpose them.
    ld
        Leading dimension: numbers from the start of one row, or column if ``transposed``, to the next.
    strides
        Numbers from one matrix to the next along each leading axis.
    """

    transposed: int
    ld: int
    strides: tuple[int, ...]


def as_cublas(array: Any) -> Matrices | None:
    """Return how cuBLAS reads an array (…, R, C); None if it cannot without a copy."""
    rows, columns = array.shape[-2:]
    *leading, per_row, per_column = (stride // array.itemsize for stride in array.strides)
    if per_column == 1 or columns == 1:
        ld = per_row if rows > 1 else columns
        if ld >= columns:
            return Matrices(NOT_TRANSPOSED, ld, tuple(leading))
    if per_row == 1 or rows == 1:
        ld = per_column if columns > 1 else rows
        if ld >= rows:
            return Matrices(TRANSPOSED, ld, tuple(leading))
    return None


def merged(shape: Sequence[int], *strides: Sequence[int]) -> list[tuple[int, tuple[int, ...]]]:
    """Merge leading axes where possible; returns the length of each and each operand's stride along it."""
    axes: list[tuple[int, tuple[int, ...]]] = []
    for n, steps in zip(shape, zip(*strides, strict=True), strict=True):
        if n == 1:
            continue
        if axes and all(before == n * step for before, step in zip(axes[-1][1], steps, strict=True)):
            axes[-1] = (axes[-1][0] * n, steps)
        else:
            axes.append((n, steps))
    return axes


def parts_of_a_sum(n_inner: int, n_rows: int, n_columns: int, count: int) -> int:
    """Return the number of parts into which the sums of ``count`` products are cut to use the whole device.

    cuBLAS computes a tile of an output on one multiprocessor, however long its sum. It cuts a single product itself.
    """
    tiles = count * -(-n_rows // TILE) * -(-n_columns // TILE)
    if count == 1 or tiles >= MULTIPROCESSORS:
        return 1
    least = -(-MULTIPROCESSORS // tiles)
    return next((k for k in range(least, 4 * least) if n_inner % k == 0 and n_inner // k >= LEAST_SUM), 1)


def matmul(a: Any, b: Any, out: Any = None) -> Any:
    """Return ``a (…, M, K) @ b (…, K, N)`` of CuPy's arrays, in ``out`` if it is given.

    Like ``cupy.matmul``, but it can be recorded, and broadcast leading axes cost nothing.
    """
    cupy = cupy_module()
    shape = (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1])
    if a.shape[-1] != b.shape[-2] or (out is not None and out.shape != shape):  # cuBLAS would read beyond the arrays
        where = "" if out is None else f" into {out.shape}"
        raise ValueError(f"matrices of shapes {a.shape} and {b.shape} cannot be multiplied{where}")
    if out is None:
        out = cupy.empty(shape, dtype=a.dtype)
    cublas = thread_cublas()
    if cublas is None or not a.dtype == b.dtype == out.dtype or a.dtype.char not in "fd":
        return cupy.matmul(a, b, out=out)
    if 0 in (*out.shape, a.shape[-1]):
        out[...] = 0
        return out
    into = as_cublas(out)
    if into is None or into.transposed:
        out[...] = matmul(a, b)
        return out
    (n_rows, n_columns), n_inner, count = out.shape[-2:], a.shape[-1], prod(out.shape[:-2])
    if (n_parts := parts_of_a_sum(n_inner, n_rows, n_columns, count)) > 1:
        parts = matmul(_cut(a, -1, n_parts), _cut(b, -2, n_parts))
        return parts.sum(axis=-3, out=out)
    read = []
    for factor in (a, b):
        if (matrices := as_cublas(factor)) is None:
            factor = cupy.ascontiguousarray(factor)
            matrices = as_cublas(factor)
            assert matrices is not None
        missing = out.ndim - factor.ndim
        steps = [0] * missing + [s if n > 1 else 0 for n, s in zip(factor.shape, matrices.strides, strict=False)]
        read.append((factor, matrices, steps))
    (a, A, a_steps), (b, B, b_steps) = read
    axes = merged(out.shape[:-2], a_steps, b_steps, into.strides)
    # To cuBLAS the row-major out is outᵀ = bᵀ aᵀ; factors that are not transposed are read the same way.
    how = a.dtype.char, (B.transposed, A.transposed), (n_columns, n_rows, n_inner)
    operands = (b, B.ld, 1), (a, A.ld, 0), (out, into.ld, 2)
    if len(axes) < 2:
        n, distances = axes[0] if axes else (1, (0, 0, 0))
        cublas.gemm(*how, *((array.data.ptr, ld, distances[k]) for array, ld, k in operands), n)
    else:
        lengths, device = tuple(n for n, _ in axes), cupy.cuda.runtime.getDevice()
        begins = (
            _offsets(device, lengths, tuple(a.itemsize * distances[k] for _, distances in axes)) + array.data.ptr
            for array, _, k in operands
        )
        cublas.gemm_at(*how, *((at, ld) for at, (_, ld, _) in zip(begins, operands, strict=True)), count)
    return out


def _cut(array: Any, axis: int, n_parts: int) -> Any:
    """Cut one of the last two axes of (…, R, C) into parts, (…, n_parts, R, C), a view."""
    shape, strides = list(array.shape), list(array.strides)
    shape[axis] //= n_parts
    shape.insert(-2, n_parts)
    strides.insert(-2, strides[axis] * shape[axis])
    return cupy_module().lib.stride_tricks.as_strided(array, shape, strides)


@cache  # graphs read them, so they must stay
def _offsets(device: int, lengths: tuple[int, ...], strides: tuple[int, ...]) -> Any:
    """Return the offset of each matrix of a stack from the first, in bytes, on the device."""
    places = np.indices(lengths).reshape(len(lengths), -1)
    return cupy_module().asarray(np.array(strides, dtype=np.int64) @ places)


class Cublas:
    """cuBLAS for one thread on one device."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self._handle = ctypes.c_void_p()
        self._check("create", library.cublasCreate_v2(ctypes.byref(self._handle)))
        self.leave()
        self._one = {"f": (ctypes.c_float(1), ctypes.c_float(0)), "d": (ctypes.c_double(1), ctypes.c_double(0))}
        kinds = {"f": "S", "d": "D"}
        self._gemm = {char: getattr(library, f"cublas{kind}gemm_v2") for char, kind in kinds.items()}
        self._batched = {char: getattr(library, f"cublas{kind}gemmStridedBatched") for char, kind in kinds.items()}
        self._scattered = {char: getattr(library, f"cublas{kind}gemmBatched") for char, kind in kinds.items()}
        pointer, number, distance = ctypes.c_void_p, ctypes.c_int, ctypes.c_longlong
        front = [pointer, *[number] * 5, pointer]
        for function in self._gemm.values():
            function.argtypes = [*front, *[pointer, number] * 2, pointer, pointer, number]
        for function in self._scattered.values():
            function.argtypes = [*front, *[pointer, number] * 2, pointer, pointer, number, number]
        for function in self._batched.values():
            function.argtypes = [*front, *[pointer, number, distance] * 2, pointer, pointer, number, distance, number]

    def leave(self) -> None:
        """Release the workspace; the next product allocates one in the memory of its stream."""
        self._workspace: Any = None
        self._stream: int | None = None

    @staticmethod
    def _check(what: str, status: int) -> None:
        if status:
            raise RuntimeError(f"cuBLAS could not {what}: status {status}")

    def gemm(
        self,
        char: str,
        transposed: tuple[int, int],
        sizes: tuple[int, int, int],
        a: tuple[int, int, int],
        b: tuple[int, int, int],
        c: tuple[int, int, int],
        count: int,
    ) -> None:
        """Compute C = op(A) op(B) ``count`` times, all column-major.

        Parameters
        ----------
        char
            ``"f"`` or ``"d"``, the type of the numbers.
        transposed
            Whether A and B are transposed.
        sizes
            Rows and columns of C, and the terms of each sum.
        a, b, c
            Address of the first matrix; numbers from one of its columns to the next, and from one matrix to the next.
        """
        one, zero = self._ready(char)
        if count == 1:
            status = self._gemm[char](self._handle, *transposed, *sizes, one, *a[:2], *b[:2], zero, *c[:2])
        else:
            status = self._batched[char](self._handle, *transposed, *sizes, one, *a, *b, zero, *c, count)
        self._check("multiply", status)

    def gemm_at(
        self,
        char: str,
        transposed: tuple[int, int],
        sizes: tuple[int, int, int],
        a: tuple[Any, int],
        b: tuple[Any, int],
        c: tuple[Any, int],
        count: int,
    ) -> None:
        """Compute the same for matrices at any addresses, of which ``a``, ``b`` and ``c`` hold arrays."""
        one, zero = self._ready(char)
        (a_at, lda), (b_at, ldb), (c_at, ldc) = ((at.data.ptr, ld) for at, ld in (a, b, c))
        status = self._scattered[char](
            self._handle, *transposed, *sizes, one, a_at, lda, b_at, ldb, zero, c_at, ldc, count
        )
        self._check("multiply", status)

    def _ready(self, char: str) -> tuple[int, int]:
        """Set cuBLAS to the current stream; returns the addresses of 1 and 0."""
        stream = cupy_module().cuda.get_current_stream().ptr
        if stream != self._stream:
            self.leave()
            self._check("set its stream", self._library.cublasSetStream_v2(self._handle, ctypes.c_void_p(stream)))
            # One workspace for each stream, since the work of two streams may overlap.
            self._workspace = cupy_module().empty(CUBLAS_WORKSPACE, dtype=np.uint8)
            workspace = ctypes.c_void_p(self._workspace.data.ptr), ctypes.c_size_t(CUBLAS_WORKSPACE)
            self._check("set its workspace", self._library.cublasSetWorkspace_v2(self._handle, *workspace))
            self._stream = stream
        one, zero = self._one[char]
        return ctypes.addressof(one), ctypes.addressof(zero)


@lru_cache(maxsize=1)
def _library() -> Any:
    """Return the cuBLAS library of CuPy, which loads it at its first product; None if it has another name."""
    cupy = cupy_module()
    cupy.matmul(*2 * [cupy.ones((2, 2), dtype=np.float32)])
    major = cupy.cuda.runtime.runtimeGetVersion() // 1000
    name = f"cublas64_{major}.dll" if sys.platform == "win32" else f"libcublas.so.{major}"
    try:
        return ctypes.CDLL(name)
    except OSError:
        return None


_idle: dict[int, list[Cublas]] = {}
_local = threading.local()


class _OfThread(dict[int, Any]):
    """A thread's cuBLAS handles by device; other threads reuse them after its end, since each takes device memory."""

    def __del__(self, idle: dict[int, list[Cublas]] = _idle) -> None:
        for device, cublas in self.items():
            if cublas is not None:
                cublas.leave()
                idle.setdefault(device, []).append(cublas)


def thread_cublas() -> Any:
    """Return this thread's cuBLAS on the current device; None if the library was not found."""
    if not hasattr(_local, "cublas"):
        _local.cublas = _OfThread()
    known, device = _local.cublas, cupy_module().cuda.runtime.getDevice()
    if device not in known:
        try:
            known[device] = _idle[device].pop()
        except LookupError:
            library = _library()
            known[device] = None if library is None else Cublas(library)
    return known[device]
