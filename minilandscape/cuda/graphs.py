"""CUDA graphs: passes that are recorded once and launched as one."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np

from ..backend import cupy_module
from . import products

#: Graphs that a recorder keeps; the least recently used one is dropped first.
MOST_GRAPHS = 16
#: CUDA's name for the default stream of the calling thread.
PER_THREAD_STREAM = 2


class GraphMemory:
    """Memory shared by graphs that run one after another: as much as the largest of them needs."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._of_stream: dict[Hashable, tuple[Any, Any, list[Any]]] = {}

    def of_stream(self, stream: Hashable) -> tuple[Any, Any, list[Any]]:
        """Return memory pool, recording stream and list of allocations for the graphs that are launched on a stream.

        Graphs use their memory as long as they exist, but a pool that runs out of memory frees blocks that no array
        holds. The list keeps them.
        """
        if stream not in self._of_stream:
            cuda = cupy_module().cuda
            held: list[Any] = []

            def take(size: int) -> Any:
                memory = cuda.Memory(size)
                held.append(memory)
                return cuda.MemoryPointer(memory, 0)

            self._of_stream[stream] = cuda.MemoryPool(take), cuda.Stream(non_blocking=True), held
        return self._of_stream[stream]


class Recorder:
    """Calls functions of device arrays; records each at its second call and replays the recording from then on.

    A recorded function must not read or write host memory, and must do the same whenever its key and the shapes and
    types of its arguments are the same. If a recording fails, functions are called without one.

    Parameters
    ----------
    memory
        Shared by recorders of which only one is called at a time.

    Attributes
    ----------
    refused
        Why a recording failed; None if none did.
    """

    def __init__(self, memory: GraphMemory) -> None:
        self.refused: Exception | None = None
        self._memory = memory
        self._graphs: OrderedDict[Hashable, _Graph | None] = OrderedDict()

    def __len__(self) -> int:
        return sum(graph is not None for graph in self._graphs.values())

    def __call__(self, key: Hashable, function: Callable[..., tuple[Any, ...]], *inputs: Any) -> tuple[Any, ...]:
        """Return ``function(*inputs)``, arrays of the device, from arrays of the device or the host."""
        stream = _current_stream()
        key = (key, stream, *((x.shape, x.dtype.char) for x in inputs))
        with self._memory.lock:
            known = key in self._graphs
            if known:
                if self._graphs[key] is None and self.refused is None and products.thread_cublas() is not None:
                    self._graphs[key] = self._recorded(stream, function, inputs)
                self._graphs.move_to_end(key)
                if (graph := self._graphs[key]) is not None:
                    return graph(inputs)
        results = function(*(cupy_module().asarray(x) for x in inputs))
        if not known:  # the first call compiles kernels and sends constants, which a recording cannot do
            with self._memory.lock:
                self._graphs.setdefault(key)
                while len(self._graphs) > MOST_GRAPHS:
                    self._graphs.popitem(last=False)
        return results

    def _recorded(
        self, stream: Hashable, function: Callable[..., tuple[Any, ...]], inputs: tuple[Any, ...]
    ) -> _Graph | None:
        """Record the graph of a call; returns None, and sets ``refused``, if that fails."""
        pool, recorded_on, held = self._memory.of_stream(stream)
        before = len(held)
        try:
            return _Graph(function, inputs, pool, recorded_on)
        except Exception as error:  # every failure is handled alike: work without a recording
            self.refused = error
        reason: BaseException | None = self.refused
        while reason is not None:  # tracebacks hold arrays of the recording
            reason.__traceback__ = None
            reason = reason.__cause__ or reason.__context__
        pool.free_all_blocks()
        del held[before:]  # of this recording only; memory of other graphs stays
        return None


def _current_stream() -> Hashable:
    """Return what identifies the current stream: the default streams of all threads have the same address."""
    cuda = cupy_module().cuda
    stream = cuda.get_current_stream().ptr
    return cuda.runtime.getDevice(), stream, threading.get_ident() if stream == PER_THREAD_STREAM else None


class _Graph:
    """A recorded call: arguments are copied to where the recording reads them, results from where it writes them.

    Its memory, and cuBLAS's workspace, belong to the pool, so the end of the thread does not free them. Other graphs
    use the same memory, so results are copied before another graph runs.
    """

    def __init__(
        self, function: Callable[..., tuple[Any, ...]], inputs: tuple[Any, ...], pool: Any, stream: Any
    ) -> None:
        cupy, cublas = cupy_module(), products.thread_cublas()
        self._inputs = [cupy.array(x) for x in inputs]
        cublas.leave()
        with cupy.cuda.using_allocator(pool.malloc), stream:
            stream.begin_capture()
            try:
                self._outputs = function(*self._inputs)
            finally:
                cublas.leave()
                self._graph = stream.end_capture()

    def __call__(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        for buffer, given in zip(self._inputs, inputs, strict=True):
            if isinstance(given, np.ndarray):
                buffer.set(given)
            else:
                buffer[...] = given
        self._graph.launch()
        return tuple(output.copy() for output in self._outputs)
