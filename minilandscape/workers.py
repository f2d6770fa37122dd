"""Worker processes: each with a share of the cores, and none that outlives the process that started it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

#: Seconds between looks for the parent.
WATCH_EVERY = 0.5


@contextmanager
def worker_processes(
    n: int, threads: int = 1, initializer: Callable[..., None] | None = None, initargs: tuple[Any, ...] = ()
) -> Iterator[Any]:
    """An executor of n processes; on an error, Ctrl-C included, they are killed, not waited for.

    Parameters
    ----------
    n
        Processes.
    threads
        Threads of each, which are its BLAS library's too.
    initializer, initargs
        Called in each process when it starts.

    Yields
    ------
    concurrent.futures.Executor
        Of the package loky: its processes do not run the caller's main module again, which a script that is not
        written for worker processes would not survive.
    """
    from loky import ProcessPoolExecutor

    variables = ("MINILANDSCAPE_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    executor = ProcessPoolExecutor(
        n,
        initializer=start_worker,
        initargs=(os.getpid(), initializer, initargs),
        # The data and landscapes that a worker keeps are no leak, for which loky would restart it with a warning.
        env={**{name: str(threads) for name in variables}, "LOKY_MAX_MEMORY_LEAK_SIZE": "1e15"},
    )
    try:
        with _sigint_waits():  # a Ctrl-C for the whole terminal must not meet them before they ignore it
            executor.submit(os.getpid)
        yield executor
    except BaseException:
        with _sigint_waits():  # those that a second one left alive would be waited for at the end, for ever
            executor.shutdown(wait=False, kill_workers=True)
        raise
    executor.shutdown()


@contextmanager
def _sigint_waits() -> Iterator[None]:
    """Ctrl-C waits for the end of the block; processes started meanwhile never see one.

    Nothing, where there are no signal masks, and in other threads than the main one, which no Ctrl-C reaches.
    """
    handler = signal.getsignal(signal.SIGINT)
    main = threading.current_thread() is threading.main_thread()
    if not hasattr(signal, "pthread_sigmask") or handler is None or not main:
        yield
        return
    _start_trackers()
    came: list[int] = []
    # The mask is for the processes, which inherit it. Here other threads receive the signal, and this one acts on it.
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
    """Starts the processes that keep track of semaphores; as it starts, Python's unblocks Ctrl-C, blocked or not."""
    from multiprocessing import resource_tracker

    from loky.backend import resource_tracker as of_loky

    resource_tracker.ensure_running()
    of_loky.ensure_running()


def start_worker(parent: int, initializer: Callable[..., None] | None = None, initargs: tuple[Any, ...] = ()) -> None:
    """Readies a worker process: Ctrl-C is its parent's to act on, and it ends within a second of its parent's end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    if initializer is not None:
        initializer(*initargs)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(WATCH_EVERY)
    os._exit(1)
