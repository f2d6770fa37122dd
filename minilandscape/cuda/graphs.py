"""CUDA graphs: passes that are recorded once and launched at once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np

from ..backend import cupy_module
from . import products

#: Graphs that a recorder keeps; the one that was used the longest ago goes first.
MOST_GRAPHS = 16
#: CUDA's name for the default stream of the calling thread.
PER_THREAD_STREAM = 2


class GraphMemory:
    """Where graphs work that run one after another: it holds as much as the largest of them needs."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._of_stream: dict[Hashable, tuple[Any, Any, list[Any]]] = {}

    def of_stream(self, stream: Hashable) -> tuple[Any, Any, list[Any]]:
        """For the graphs that are launched on a stream: their memory pool, the stream that they are recorded on, and
        all that the pool has taken.

        Graphs work there for good, but a pool that finds no more memory gives back what no array holds. So it is held.
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
    """Calls functions of device arrays, records each at its second call, and replays the recording from then on.

    What is recorded must not read or write the host's memory, and must do the same whenever its key, and the shapes and
    types of its arguments, are the same. Where a recording fails the functions are called as they are.

    Parameters
    ----------
    memory
        Shared by recorders of which only one is called at a time.

    Attributes
    ----------
    refused
        Why a recording failed; None where none did.
    """

    def __init__(self, memory: GraphMemory) -> None:
        self.refused: Exception | None = None
        self._memory = memory
        self._graphs: OrderedDict[Hashable, _Graph | None] = OrderedDict()

    def __len__(self) -> int:
        return sum(graph is not None for graph in self._graphs.values())

    def __call__(self, key: Hashable, function: Callable[..., tuple[Any, ...]], *inputs: Any) -> tuple[Any, ...]:
        """``function(*inputs)``, arrays of the device, from arrays of the device or the host."""
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
        if not known:  # it has ended, so kernels are compiled and constants sent, which a recording cannot
            with self._memory.lock:
                self._graphs.setdefault(key)
                while len(self._graphs) > MOST_GRAPHS:
                    self._graphs.popitem(last=False)
        return results

    def _recorded(
        self, stream: Hashable, function: Callable[..., tuple[Any, ...]], inputs: tuple[Any, ...]
    ) -> _Graph | None:
        """The graph of a call, or None and why."""
        pool, recorded_on, held = self._memory.of_stream(stream)
        before = len(held)
        try:
            return _Graph(function, inputs, pool, recorded_on)
        except Exception as error:  # every way in which recording can fail means the same: do without
            self.refused = error
        reason: BaseException | None = self.refused
        while reason is not None:  # tracebacks hold the arrays that the recording has made
            reason.__traceback__ = None
            reason = reason.__cause__ or reason.__context__
        pool.free_all_blocks()
        del held[before:]  # which may be what was too large; what graphs work on stays
        return None


def _current_stream() -> Hashable:
    """What tells the current stream from all others: each thread's default stream goes by the same address."""
    cuda = cupy_module().cuda
    stream = cuda.get_current_stream().ptr
    return cuda.runtime.getDevice(), stream, threading.get_ident() if stream == PER_THREAD_STREAM else None


class _Graph:
    """A recorded call: arguments are copied to where the recording reads them, results from where it writes them.

    All that it works on is the pool's for good, and so is cuBLAS's workspace, which the thread's end would free. The
    pool gives to others what the call gave back, so results are copied before another graph runs.
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
        for own, given in zip(self._inputs, inputs, strict=True):
            if isinstance(given, np.ndarray):
                own.set(given)
            else:
                own[...] = given
        self._graph.launch()
        return tuple(output.copy() for output in self._outputs)
