"""Threads that evaluate batches side by side, each with a module of its own."""

from __future__ import annotations

import itertools
import queue
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

from .torch_forward import Forward

T = TypeVar("T")
#: A job takes long enough for threads of its own where its intermediate results have so many bytes.
LONG = 1 << 20


def can_share_cores() -> bool:
    """Whether a thread may set how many threads its own operations take."""
    return "OpenMP" in torch.__config__.parallel_info()


class Workers:
    """Threads that take jobs in turn. Results come in the order of the jobs, so that sums do not depend on the threads.

    Parameters
    ----------
    forward
        The module and the loss; every thread gets a replica.
    n
        How many threads; 1 works in the caller's.
    """

    def __init__(self, forward: Forward, n: int) -> None:
        self.forward = forward
        self.n = n if can_share_cores() else 1
        self._free: queue.SimpleQueue[Forward] = queue.SimpleQueue()
        for k in range(self.n):
            self._free.put(forward.replica() if k else forward)

    def run(self, jobs: Iterable[Callable[[Forward], T]]) -> Iterator[T]:
        """The results of jobs, functions of a module and loss, one after the other."""
        jobs = iter(jobs)
        first = list(itertools.islice(jobs, 2))
        if self.n == 1 or len(first) < 2:
            yield from (job(self.forward) for job in itertools.chain(first, jobs))
            return
        yield from self._side_by_side(itertools.chain(first, jobs))

    def _side_by_side(self, jobs: Iterator[Callable[[Forward], T]]) -> Iterator[T]:
        threads = torch.get_num_threads()
        waiting: deque[Future[T]] = deque()
        with ThreadPoolExecutor(self.n, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            try:
                for job in jobs:
                    waiting.append(pool.submit(self._do, job))
                    if len(waiting) > self.n:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()
                # PyTorch takes the number of the last thread that set one for all threads that start later.
                torch.set_num_threads(threads)

    def _do(self, job: Callable[[Forward], T]) -> T:
        forward = self._free.get()
        try:
            return job(forward)
        finally:
            self._free.put(forward)
