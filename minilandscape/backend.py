"""NumPy on the CPU, CuPy on the GPU: array modules, transfers, worker threads and work arrays.

No other module names CuPy. All others take the array module from the data, so that one code path serves both; ``cuda``
adds what CuPy lacks.
"""

from __future__ import annotations

import importlib
import operator
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import lru_cache
from types import ModuleType
from typing import Any, TypeVar

import numpy as np
from threadpoolctl import ThreadpoolController

T = TypeVar("T")

DEVICES = ("cpu", "gpu")
DTYPES = ("float32", "float64")
#: OpenBLAS's names of the processors on which it multiplies small matrices without copying them first.
SMALL_PRODUCT_KERNELS = ("SkylakeX", "Cooperlake", "SapphireRapids")


class DeviceError(RuntimeError):
    """Raised if the requested device cannot be used; the message says what is missing and how to install it.

    Examples
    --------
    >>> import minilandscape as ml
    >>> issubclass(ml.DeviceError, RuntimeError)
    True
    """


def _import_cupy() -> ModuleType:
    try:
        return importlib.import_module("cupy")
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "cupy":
            raise DeviceError(
                "device 'gpu' needs CuPy, which is not installed: pip install 'minilandscape[gpu]' "
                "(CUDA 12; 'minilandscape[gpu-cuda13]' for CUDA 13), or use device 'cpu'"
            ) from None
        raise DeviceError(
            f"device 'gpu' needs CuPy, which is installed but does not import: {_reason(error)}; "
            "install the build for this machine's CUDA, or use device 'cpu'"
        ) from None


def _reason(error: BaseException) -> str:
    """Return an error in one line; from CuPy's page of advice it takes the original error."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip(" =-")]
    if "Original error:" in lines[:-1]:
        return lines[lines.index("Original error:") + 1]
    return " ".join(lines) or type(error).__name__


def device_module(device: str) -> ModuleType:
    """Return the array module of a device: NumPy for ``"cpu"``, CuPy for ``"gpu"``.

    Raises
    ------
    ValueError
        If the device has another name.
    DeviceError
        If CuPy or a CUDA device is missing for ``"gpu"``; the message says which.
    """
    if device == "cpu":
        return np
    if device != "gpu":
        raise ValueError(f"device is {device!r}; expected one of {', '.join(DEVICES)}")
    cupy = _import_cupy()
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:  # the caller handles every failure of a driver alike
        raise DeviceError(
            f"device 'gpu': CuPy {cupy.__version__} is installed but finds no usable CUDA device "
            f"({_reason(error)}); install or update the NVIDIA driver, or use device 'cpu'"
        ) from None
    if count == 0:
        raise DeviceError(
            f"device 'gpu': CuPy {cupy.__version__} is installed but this machine has no CUDA device; use device 'cpu'"
        )
    return cupy


def cupy_module() -> ModuleType:
    """Return CuPy, which is imported by the time there is a device array."""
    return sys.modules["cupy"]


def array_module(array: Any) -> Any:
    """Return the module of an array: CuPy for an array on a GPU, else NumPy."""
    if type(array).__module__.partition(".")[0] == "cupy":
        return cupy_module()
    return np


def to_host(array: Any) -> np.ndarray:
    """Return an array as NumPy's; waits for the GPU. Host arrays are not copied."""
    if array_module(array) is np:
        return np.asarray(array)
    return array.get()


def to_device(array: Any, device: str, dtype: Any = None) -> Any:
    """Return an array on a device in a dtype, without a copy if it has both already."""
    xp = device_module(device)
    if xp is np:
        array = to_host(array)
    return xp.asarray(array, dtype=dtype)


def constant(xp: Any, make: Callable[[], np.ndarray]) -> Any:
    """Return ``make()`` on the device of ``xp``; it is made and sent there once."""
    return _constant(xp, 0 if xp is np else xp.cuda.runtime.getDevice(), make)


@lru_cache(maxsize=32)
def _constant(xp: Any, device: int, make: Callable[[], np.ndarray]) -> Any:
    return xp.asarray(make())


def norm(x: np.ndarray, axis: int | None = None) -> Any:
    """Compute |x| of a host array, of all its numbers or over an axis, without under- or overflow of squares."""
    largest = float(np.abs(x).max(initial=0))
    unit = largest if 0 < largest < np.inf else 1.0
    return unit * np.linalg.norm(x / unit, axis=axis)


def concatenated(parts: Sequence[Any]) -> Any:
    """Concatenate arrays along their first axis; a single array is returned as it is.

    CuPy's ``concatenate`` sends addresses from the host, which is not allowed while a CUDA graph is recorded.
    """
    if len(parts) == 1:
        return parts[0]
    first, start = parts[0], 0
    whole = array_module(first).empty((sum(len(part) for part in parts), *first.shape[1:]), dtype=first.dtype)
    for part in parts:
        whole[start : start + len(part)] = part
        start += len(part)
    return whole


def free_memory(device: str) -> int | None:
    """Return the free bytes of a GPU (unused blocks of the pool included); None for the CPU."""
    if device == "cpu":
        return None
    cupy = device_module(device)
    free, _ = cupy.cuda.runtime.memGetInfo()
    return int(free + cupy.get_default_memory_pool().free_bytes())


def device_description(device: str) -> str:
    """Describe a device in one line."""
    if device == "cpu":
        return f"cpu, {thread_count()} thread{'s' if thread_count() != 1 else ''}"
    cupy = device_module(device)
    properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.runtime.getDevice())
    return f"gpu, {properties['name'].decode()}, CuPy {cupy.__version__}"


# Worker threads ------------------------------------------------------------------------------------------------

_lock = threading.Lock()
_working = threading.local()
_pool: ThreadPoolExecutor | None = None
_threads: int | None = None
_limit_depth = 0
_limiter: Any = None


def thread_count() -> int:
    """Return the number of worker threads: by ``set_threads``, else $MINILANDSCAPE_THREADS, else all cores."""
    if _threads is not None:
        return _threads
    given = os.environ.get("MINILANDSCAPE_THREADS", "")
    if given:
        if not given.isdecimal() or int(given) < 1:
            raise ValueError(f"MINILANDSCAPE_THREADS is {given!r}; expected a whole number of at least 1")
        return int(given)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def set_threads(n: int | None) -> None:
    """Set the number of worker threads; results are bit-identical for any number.

    The threads share the chunks of images of a network, and the points of a :class:`FunctionLandscape` with workers.

    Parameters
    ----------
    n : int or None
        At least 1. None restores the default: $MINILANDSCAPE_THREADS, else the number of cores.

    Raises
    ------
    ValueError
        If n is below 1.
    TypeError
        If n is not a whole number.

    Examples
    --------
    >>> import minilandscape as ml
    >>> ml.set_threads(1)
    >>> ml.set_threads(None)
    """
    global _threads, _pool
    if n is not None:
        n = operator.index(n)
        if n < 1:
            raise ValueError(f"set_threads got {n}; expected at least 1")
    with _lock:
        _threads, _pool = n, None


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Use n threads within the block, then the number that was set before."""
    before = _threads
    set_threads(n)
    try:
        yield
    finally:
        set_threads(before)


def _forget_pool() -> None:
    """Make a new executor in a forked child, which does not have the threads of the old one."""
    global _pool, _lock
    _pool, _lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)


@lru_cache(maxsize=1)
def _blas_controller() -> ThreadpoolController:
    """Return the controller of the libraries loaded at the first call; searching for them takes too long to repeat."""
    return ThreadpoolController()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Limit NumPy's BLAS to one thread within the block; blocks may be nested.

    This module's threads then share the chunks of images, which is faster than a threaded BLAS for products of this
    size and makes results bit-identical for any number of threads.
    """
    global _limit_depth, _limiter
    with _lock:
        if _limit_depth == 0:
            _limiter = _blas_controller().limit(limits=1, user_api="blas")
        _limit_depth += 1
    try:
        yield
    finally:
        with _lock:
            _limit_depth -= 1
            if _limit_depth == 0:
                _limiter.restore_original_limits()


@lru_cache(maxsize=1)
def blas_multiplies_small_factors_in_place() -> bool:
    """Return whether NumPy's BLAS is OpenBLAS with kernels for small products, which it has for AVX-512."""
    return any(library.get("architecture") in SMALL_PRODUCT_KERNELS for library in _blas_controller().info())


def parallel_map(function: Callable[[int], T], n: int, device: str = "cpu") -> list[T]:
    """Return ``[function(0), …, function(n - 1)]``, computed by the worker threads on a CPU, in sequence on a GPU.

    The calling thread works too, and each thread takes the next number when it has finished one. Inside a worker thread
    the numbers are processed in sequence, since workers that wait for each other could wait for ever.
    """
    global _pool
    if device != "cpu":
        return [function(k) for k in range(n)]
    workers = min(thread_count(), n)
    with one_blas_thread():
        if workers <= 1 or getattr(_working, "now", False):
            return [function(k) for k in range(n)]
        with _lock:
            if _pool is None:
                _pool = ThreadPoolExecutor(thread_count(), "minilandscape")
            pool = _pool
        left = deque(range(n))
        results: dict[int, T] = {}
        others = [pool.submit(_take, left, function, results) for _ in range(workers - 1)]
        try:
            _take(left, function, results)
        finally:  # after an error, or Ctrl-C, the others finish their current number
            left.clear()
            wait(others)
        for other in others:
            other.result()  # raises what it raised
        return [results[k] for k in range(n)]


def _take(left: deque[int], function: Callable[[int], T], results: dict[int, T]) -> None:
    """Process the numbers that are left; after an error no thread takes another one."""
    _working.now = True
    try:
        while True:
            try:
                k = left.popleft()
            except IndexError:
                return
            results[k] = function(k)
    except BaseException:
        left.clear()
        raise
    finally:
        _working.now = False


class Workspace(threading.local):
    """Work arrays by name, allocated once for each thread and reused by later calls.

    New memory pages cost as much as the arithmetic on small chunks. An array is valid until the same thread requests
    the same name again. On a GPU the arrays are new ones, since CuPy's memory pool reuses memory already.
    """

    def __init__(self, xp: Any, dtype: Any) -> None:
        self.xp = xp
        self.dtype = np.dtype(dtype)
        self._buffers: dict[str, np.ndarray] = {}

    def __call__(self, name: str, *shape: int) -> Any:
        """Return an array of this shape with arbitrary content."""
        return self._reused(name, shape, np.empty) if self.xp is np else self.xp.empty(shape, self.dtype)

    def zeros(self, *shape: int) -> Any:
        """Return 0 as an operand beside an array of this shape; it must not be written to.

        On a CPU this is an array of zeros, since NumPy's ``maximum`` is three times faster between two arrays.
        """
        return self._reused("zeros", shape, np.zeros) if self.xp is np else 0

    def _reused(self, name: str, shape: tuple[int, ...], make: Callable[[int, Any], np.ndarray]) -> np.ndarray:
        size = 1
        for length in shape:
            size *= length
        buffer = self._buffers.get(name)
        if buffer is None or buffer.size < size:
            buffer = self._buffers[name] = make(size, self.dtype)
        return buffer[:size].reshape(shape)
