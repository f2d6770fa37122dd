"""NumPy on the CPU, CuPy on the GPU: which module an array belongs to, transfers, worker threads, work arrays.

This module is the only one that names CuPy. Everything else asks an array for its module, so one code path serves both;
``cuda`` does what CuPy leaves to be done.
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
#: OpenBLAS's names of the processors for which it multiplies small matrices without copying them first.
SMALL_PRODUCT_KERNELS = ("SkylakeX", "Cooperlake", "SapphireRapids")


class DeviceError(RuntimeError):
    """The device that was asked for cannot be used; the message says what is missing."""


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
    """An error in one line. CuPy frames the error that it met in a page of advice; the line that counts ends it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip(" =-")]
    if "Original error:" in lines[:-1]:
        return lines[lines.index("Original error:") + 1]
    return " ".join(lines) or type(error).__name__


def device_module(device: str) -> ModuleType:
    """The array module of a device: NumPy for ``"cpu"``, CuPy for ``"gpu"``.

    Raises
    ------
    ValueError
        If the device is neither.
    DeviceError
        If it is ``"gpu"`` and CuPy, or a CUDA device, is missing; the message says which of the two.
    """
    if device == "cpu":
        return np
    if device != "gpu":
        raise ValueError(f"device is {device!r}; expected one of {', '.join(DEVICES)}")
    cupy = _import_cupy()
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:  # every way in which a driver can fail means the same to the caller
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
    """CuPy, which whoever holds a device array has imported."""
    return sys.modules["cupy"]


def array_module(array: Any) -> Any:
    """The module whose functions take this array: NumPy, or CuPy where the array lives on a GPU."""
    if type(array).__module__.partition(".")[0] == "cupy":
        return cupy_module()
    return np


def to_host(array: Any) -> np.ndarray:
    """The array as NumPy's; the one place that waits for a GPU. Host arrays pass through without a copy."""
    if array_module(array) is np:
        return np.asarray(array)
    return array.get()


def to_device(array: Any, device: str, dtype: Any = None) -> Any:
    """The array on a device, in a dtype; passes through without a copy where it already is both."""
    xp = device_module(device)
    if xp is np:
        array = to_host(array)
    return xp.asarray(array, dtype=dtype)


def constant(xp: Any, make: Callable[[], np.ndarray]) -> Any:
    """``make()`` on the device of ``xp``, made and sent there once."""
    return _constant(xp, 0 if xp is np else xp.cuda.runtime.getDevice(), make)


@lru_cache(maxsize=32)
def _constant(xp: Any, device: int, make: Callable[[], np.ndarray]) -> Any:
    return xp.asarray(make())


def concatenated(parts: Sequence[Any]) -> Any:
    """Arrays one after another along their first axis; the array itself where there is one.

    CuPy's ``concatenate`` sends their addresses from the host, which nothing that is recorded may do.
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
    """Bytes that are free on a GPU (its pool's unused blocks included); None on the CPU."""
    if device == "cpu":
        return None
    cupy = device_module(device)
    free, _ = cupy.cuda.runtime.memGetInfo()
    return int(free + cupy.get_default_memory_pool().free_bytes())


def device_description(device: str) -> str:
    """A line that names the device, for people."""
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
    """How many threads share the chunks of a data set: ``set_threads``, else $MINILANDSCAPE_THREADS, else all cores."""
    if _threads is not None:
        return _threads
    wanted = os.environ.get("MINILANDSCAPE_THREADS", "")
    if wanted:
        if not wanted.isdecimal() or int(wanted) < 1:
            raise ValueError(f"MINILANDSCAPE_THREADS is {wanted!r}; expected a whole number of at least 1")
        return int(wanted)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def set_threads(n: int | None) -> None:
    """Sets the number of worker threads; None goes back to the default. Results do not depend on it, bit for bit."""
    global _threads, _pool
    if n is not None:
        n = operator.index(n)
        if n < 1:
            raise ValueError(f"set_threads got {n}; expected at least 1")
    with _lock:
        _threads, _pool = n, None


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Works with n threads; the number that was set before comes back."""
    before = _threads
    set_threads(n)
    try:
        yield
    finally:
        set_threads(before)


def _forget_pool() -> None:
    """A forked child has the executor but none of its threads."""
    global _pool, _lock
    _pool, _lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)


@lru_cache(maxsize=1)
def _blas_controller() -> ThreadpoolController:
    """Of the libraries that are loaded at the first call; looking for them takes too long for every one."""
    return ThreadpoolController()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Holds NumPy's BLAS to one thread; nests at the cost of a counter.

    Products are then spread over chunks of images by this module's own threads, which beats a threaded BLAS on
    products of this size and makes the bits independent of the number of threads.
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
    """Whether NumPy's BLAS is OpenBLAS with its kernels for small products, which it has for AVX-512."""
    return any(library.get("architecture") in SMALL_PRODUCT_KERNELS for library in _blas_controller().info())


def parallel_map(function: Callable[[int], T], n: int, device: str = "cpu") -> list[T]:
    """``[function(0), …, function(n - 1)]``, spread over the worker threads on the CPU, in turn on a GPU.

    The caller works too, and every thread takes the next number when it is done with one: what is waited for is one
    thread less, and one task each. Inside a worker thread it works in turn: a worker that waited for the others could
    wait for ever.
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
        finally:  # after an error, or Ctrl-C, the others end what they are at
            left.clear()
            wait(others)
        for other in others:
            other.result()  # raises what it raised
        return [results[k] for k in range(n)]


def _take(left: deque[int], function: Callable[[int], T], results: dict[int, T]) -> None:
    """Works off the numbers that are left; after an error nobody takes another one."""
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
    """Work arrays by name, allocated once per thread and used again by every later call.

    Fresh pages cost as much as the arithmetic on small chunks. An array is valid until the same thread asks for the
    same name again. On a GPU the arrays are new ones, since CuPy's memory pool already does this.
    """

    def __init__(self, xp: Any, dtype: Any) -> None:
        self.xp = xp
        self.dtype = np.dtype(dtype)
        self._buffers: dict[str, np.ndarray] = {}

    def __call__(self, name: str, *shape: int) -> Any:
        """An array of this shape that holds anything."""
        return self._reused(name, shape, np.empty) if self.xp is np else self.xp.empty(shape, self.dtype)

    def zeros(self, *shape: int) -> Any:
        """What stands for 0 beside an array of this shape, never to be written to.

        On a CPU an array of zeros, since NumPy's ``maximum`` is three times faster between two arrays.
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
