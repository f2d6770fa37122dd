"""Tasks on Dask: an executor over a scheduler's workers, which write to the store or send their results back."""

from __future__ import annotations

import tempfile
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import CancelledError, Executor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import minilandscape

from ..backend import set_threads
from ..files import write_atomic
from .store import ResultMissing, Store, needed, perform
from .task import Result, Task

#: Tasks that the scheduler has at a time; each waits in its own thread.
MOST_AT_ONCE = 1000
#: Seconds within which a scheduler has to answer.
CONNECT_WITHIN = 10


@contextmanager
def dask_executor(scheduler: Any) -> Iterator[Executor]:
    """Yield an executor over a scheduler's address, or over a ``distributed.Client``, which is left open.

    Raises
    ------
    ImportError
        If Dask is not installed; it says how to install it.
    ConnectionError
        If there is no scheduler at the address; from a task, if a worker has no minilandscape, or another version.
    """
    try:
        from distributed import Client
    except ImportError:
        raise ImportError("a scheduler needs Dask: pip install 'minilandscape[cluster]'") from None
    if not isinstance(scheduler, str):
        with _running(_DaskExecutor(scheduler)) as executor:
            yield executor
        return
    try:
        client = Client(scheduler, timeout=CONNECT_WITHIN)
    except (OSError, ValueError) as error:
        raise ConnectionError(f"no Dask scheduler answers at {scheduler}: {error}") from None
    with client, _running(_DaskExecutor(client)) as executor:
        yield executor


@contextmanager
def _running(executor: _DaskExecutor) -> Iterator[Executor]:
    """Cancel, on an error or Ctrl-C, what no worker has started, and wait for nothing."""
    try:
        yield executor
    except BaseException:
        executor.cancel()
        raise
    executor.shutdown()


class _DaskExecutor(Executor):
    """Submit :func:`perform`; send inputs and results where a worker does not see the store's folder."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._threads = ThreadPoolExecutor(MOST_AT_ONCE, "minilandscape-dask")
        self._futures: set[Any] = set()
        self._lock = threading.Lock()
        self._cancelled = False

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        assert fn is perform
        return self._threads.submit(self._carry, *args)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._threads.shutdown(wait=wait, cancel_futures=cancel_futures)

    def cancel(self) -> None:
        """Cancel what no worker has started; the threads that wait for it end."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            self._cancelled = True
            futures = list(self._futures)
        self._client.cancel(futures)

    def _carry(self, folder: str, task: Task) -> str:
        mark = _mark(folder)
        try:
            how: str = self._result(_perform_where_seen, folder, str(mark), task)
        finally:
            mark.unlink(missing_ok=True)
        if how != "unseen":
            return how
        store = Store(folder)
        with store.claimed(task) as mine:
            if not mine:
                return "elsewhere"
            if (ended := store.ended(task)) is not None:
                return ended
            try:
                inputs = [needed(store, need) for need in task.needs]
            except ResultMissing:
                return "again"
            outcome = self._result(_perform_apart, task, inputs)
            if isinstance(outcome, str):
                store.fail(task, outcome)
                return "failed"
            result, seconds = outcome
            store.write(task, result, seconds)
            return "done"

    def _result(self, function: Any, *args: Any) -> Any:
        import cloudpickle

        call = _caller(minilandscape.__version__, function.__name__)
        with self._lock:
            if self._cancelled:
                raise ConnectionError("cancelled")
            future = self._client.submit(call, cloudpickle.dumps(args), pure=False)
            self._futures.add(future)
        try:
            outcome, lacks = future.result()
        except CancelledError as error:
            raise ConnectionError(f"the Dask scheduler is gone: {error}") from None
        finally:
            with self._lock:
                self._futures.discard(future)
        if lacks is not None:
            raise ConnectionError(
                f"the Dask worker {lacks}; install on all workers what is installed here, "
                f"pip install 'minilandscape[cluster]=={minilandscape.__version__}', and restart them"
            )
        return outcome


def _caller(version: str, name: str) -> Any:
    """Make the function that Dask sends to a worker: it calls a function of this module by its name.

    Defined here it is pickled by value, and its arguments as bytes. So it begins on a worker without this package as
    well, and says what that lacks.
    """

    def call(arguments: bytes) -> tuple[Any, str | None]:
        import importlib
        import pickle
        import sys

        from distributed import get_worker

        try:
            there = importlib.import_module("minilandscape").__version__
        except ImportError as error:
            return None, f"{get_worker().address} has no minilandscape ({error}, {sys.executable})"
        if there != version:
            return None, f"{get_worker().address} has minilandscape {there}, not {version} ({sys.executable})"
        return getattr(importlib.import_module("minilandscape.tasks.dask"), name)(*pickle.loads(arguments)), None

    return call


def _mark(folder: str) -> Path:
    """Write a new file in the store's folder, by which a worker knows that it sees the same folder."""
    return write_atomic(Path(folder) / f".seen-{uuid.uuid4().hex}", b"")


def _perform_where_seen(folder: str, mark: str, task: Task) -> str:
    """On a worker: run the task on the store, if its folder is the same one here."""
    set_threads(1)  # its cores are shared out by Dask
    return perform(folder, task) if Path(mark).exists() else "unseen"


def _perform_apart(task: Task, inputs: list[Result]) -> tuple[Result, float] | str:
    """On a worker: run the task without a store; return the result and its seconds, or why it failed."""
    import time

    set_threads(1)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        try:
            result = task.resolve()({**task.options, **task.hints}, inputs, Path(folder) / "checkpoint.npz")
        except Exception as error:
            return f"{type(error).__name__}: {error}"
    return result, time.monotonic() - started
