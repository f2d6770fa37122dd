"""Worker processes: they share the cores, and none outlives the process that started it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

#: Seconds between checks whether the parent still runs.
WATCH_EVERY = 0.5


@contextmanager
def worker_processes(
    n: int, threads: int = 1, initializer: Callable[..., None] | None = None, initargs: tuple[Any, ...] = ()
) -> Iterator[Any]:
    """Yield an executor of n processes; on an error, Ctrl-C included, they are killed and not waited for.

    Parameters
    ----------
    n
        Number of processes.
    threads
        Number of threads of each process, those of its BLAS library included.
    initializer, initargs
        A function, and its arguments, called in each process when it starts.

    Yields
    ------
    concurrent.futures.Executor
        An executor of the package loky: its processes do not run the caller's main module again, which would fail for
        scripts that are not written for worker processes.
    """
    from loky import ProcessPoolExecutor

    variables = ("MINILANDSCAPE_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    executor = ProcessPoolExecutor(
        n,
        initializer=start_worker,
        initargs=(os.getpid(), initializer, initargs),
        # loky would take the data and landscapes that a worker keeps for a leak, and restart it with a warning.
        env={**{name: str(threads) for name in variables}, "LOKY_MAX_MEMORY_LEAK_SIZE": "1e15"},
    )
    try:
        with _sigint_waits():  # a Ctrl-C for the whole terminal must not reach them before they ignore it
            executor.submit(os.getpid)
        yield executor
    except BaseException:
        with _sigint_waits():  # processes that survived a second Ctrl-C would be waited for at exit, for ever
            executor.shutdown(wait=False, kill_workers=True)
        raise
    executor.shutdown()


@contextmanager
def _sigint_waits() -> Iterator[None]:
    """Delay Ctrl-C until the end of the block; processes started in the block never receive it.

    Has no effect on systems without signal masks, and in threads other than the main one, which Ctrl-C does not reach.
    """
    handler = signal.getsignal(signal.SIGINT)
    main = threading.current_thread() is threading.main_thread()
    if not hasattr(signal, "pthread_sigmask") or handler is None or not main:
        yield
        return
    _start_trackers()
    came: list[int] = []
    # Child processes inherit the mask. In this process another thread receives the signal and this one handles it.
    signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        signal.signal(signal.SIGINT, handler)
        if came:
            signal.raise_signal(signal.SIGINT)


def _start_trackers() -> None:
    """Start the processes that keep track of semaphores: when it starts, Python's unblocks Ctrl-C in any case."""
    from multiprocessing import resource_tracker

    from loky.backend import resource_tracker as of_loky

    resource_tracker.ensure_running()
    of_loky.ensure_running()


def start_worker(parent: int, initializer: Callable[..., None] | None = None, initargs: tuple[Any, ...] = ()) -> None:
    """Prepare a worker process: it leaves Ctrl-C to its parent, and ends within a second after its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    if initializer is not None:
        initializer(*initargs)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(WATCH_EVERY)
    os._exit(1)
