"""Run tasks on local processes, on any executor of ``concurrent.futures``, or on Dask."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from contextlib import AbstractContextManager, contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import Any

from ..backend import thread_count
from ..workers import worker_processes
from .board import ATTEMPTS, Board
from .store import Store, perform
from .summary import Summary, summarize
from .task import Task

#: Seconds between checks of tasks that other processes work on.
LOOK_EVERY = 1.0
#: Called with a task and "done" or "failed".
Progress = Callable[[Task, str], None]


def run_tasks(
    tasks: Sequence[Task],
    store: Store,
    *,
    executor: Executor | None = None,
    scheduler: Any = None,
    workers: int | None = None,
    retry_failed: bool = False,
    progress: Progress | None = None,
) -> Summary:
    """Run tasks whose results are not in the store yet, each after those that it needs.

    Parameters
    ----------
    tasks
        In an order in which each comes after those that it needs.
    executor
        Where tasks run; it must see the store's folder. None starts worker processes on this machine, one thread each.
    scheduler
        Dask instead: the address of a scheduler, or a ``distributed.Client``.
    workers
        Number of local processes; None takes one per core.
    retry_failed
        Whether tasks that failed before are run again.
    progress
        Called with a task and ``"done"`` or ``"failed"``.

    Returns
    -------
    Summary

    Raises
    ------
    ValueError
        If a task comes before one that it needs, or more than one of executor, scheduler and workers is given.
    KeyboardInterrupt
        On Ctrl-C, at once; finished tasks are kept.
    """
    _check_places(executor, scheduler, workers)
    _check_order(tasks)
    store.remove_leftovers(tasks)
    if retry_failed:
        for task in tasks:
            store.clear_failure(task)
    local = executor is None and scheduler is None
    with _Quarantine() as quarantine:
        run = _Run(Board(tasks, store), quarantine if local else None, progress)
        idle = 0  # pools in a row that died before they did anything
        while True:
            before = len(run.board.done)
            with _executor(executor, scheduler, workers) as pool:
                try:
                    run.drain(pool)
                    if not run.board.revive():
                        break
                except BrokenExecutor:
                    if executor is not None:
                        raise
                    idle = 0 if run.recover() or len(run.board.done) > before else idle + 1
                    if idle >= ATTEMPTS:
                        raise
            run.restart()
    return summarize(tasks, store)


def _check_places(executor: Executor | None, scheduler: Any, workers: int | None) -> None:
    """Raise ValueError if more than one place to run tasks is given."""
    given = {"executor": executor, "scheduler": scheduler, "workers": workers}
    if len(names := [name for name, where in given.items() if where is not None]) > 1:
        raise ValueError(f"{' and '.join(names)} are given; expected one of them, since the first says where tasks run")


def _check_order(tasks: Sequence[Task]) -> None:
    """Raise ValueError if a task comes before one that it needs."""
    before: set[str] = set()
    for task in tasks:
        for need in task.needs:
            if need.id not in before:
                raise ValueError(f"{task.name} needs {need.name}, which does not come before it")
        before.add(task.id)


@contextmanager
def _executor(executor: Executor | None, scheduler: Any, workers: int | None) -> Iterator[Executor]:
    if executor is not None:
        yield executor
    elif scheduler is not None:
        from .dask import dask_executor

        with dask_executor(scheduler) as dask:
            yield dask
    else:
        with worker_processes(workers or thread_count()) as local:
            yield local


class _Quarantine:
    """A separate process for a task that may kill it, so that no other task is suspected or stopped."""

    def __init__(self) -> None:
        self.waiting: deque[Task] = deque()
        self.future: Future[str] | None = None
        self._context: AbstractContextManager[Executor] | None = None
        self._pool: Executor | None = None

    def __enter__(self) -> _Quarantine:
        return self

    def __exit__(self, *error: Any) -> None:
        if self._context is not None:
            self._context.__exit__(*error)
        self._context = self._pool = None

    def pool(self) -> Executor:
        """Return the process, started at the first call."""
        if self._pool is None:
            self._context = worker_processes(1)
            self._pool = self._context.__enter__()
        return self._pool

    def leave(self, died: bool) -> None:
        """Note that the task in the process has ended."""
        self.future = None
        if died:
            self.__exit__(None, None, None)


class _Run:
    """One run: submits tasks as they become ready, and handles their ends."""

    def __init__(
        self, board: Board, quarantine: _Quarantine | None, progress: Callable[[Task, str], None] | None
    ) -> None:
        self.board, self.store, self.quarantine, self.progress = board, board.store, quarantine, progress
        self.ready = deque(board.ready())
        self._folder = str(self.store.folder.resolve())
        self._elsewhere: dict[str, Task] = {}
        self._futures: dict[Future[str], Task] = {}
        self._ended: SimpleQueue[Future[str]] = SimpleQueue()
        self._checked = time.monotonic()

    def drain(self, pool: Executor) -> None:
        """Run until no task is left that could run."""
        try:
            while (
                self.ready
                or self._futures
                or self._elsewhere
                or (self.quarantine is not None and self.quarantine.waiting)
            ):
                self._submit(pool)
                for future in self._ended_futures():
                    self._end(future)
                self._check_elsewhere()
        except BrokenExecutor:
            raise
        except BaseException:
            if (
                self.quarantine is None
            ):  # local processes are killed, and loky fails on futures that are cancelled meanwhile
                for future in self._futures:
                    future.cancel()
            raise

    def _in_quarantine(self) -> bool:
        """Return whether tasks wait for the separate process."""
        return self.quarantine is not None and bool(self.quarantine.waiting)

    def restart(self) -> None:
        """Start again with all tasks that could run now."""
        self.ready = deque(self.board.ready())
        self._elsewhere.clear()

    def recover(self) -> bool:
        """Take back the tasks of a pool that died; return whether one of its processes worked on some."""
        mine = None if self.quarantine is None else self.quarantine.future
        lost = {future: task for future, task in self._futures.items() if future is not mine}
        # Which task killed its process is not known: every task of a dead process is a suspect.
        suspects = [task for task in lost.values() if self.store.abandoned(task)]
        for task in suspects:
            self.board.count(task, "died")
        for future, task in lost.items():
            del self._futures[future], self.board.submitted[task.id]
        return bool(suspects)

    def _submit(self, pool: Executor) -> None:
        while self.ready:
            task = self.ready[0]
            if self.board.open(task):
                if self.quarantine is not None and self.board.suspected(task):
                    self.quarantine.waiting.append(task)
                else:
                    self._submit_to(pool, task)
                self.board.submitted[task.id] = task
            self.ready.popleft()
        if self.quarantine is not None and self.quarantine.waiting and self.quarantine.future is None:
            self.quarantine.future = self._submit_to(self.quarantine.pool(), self.quarantine.waiting.popleft())

    def _submit_to(self, pool: Executor, task: Task) -> Future[str]:
        future = pool.submit(perform, self._folder, task.alone())
        self._futures[future] = task
        future.add_done_callback(self._ended.put)
        return future

    def _ended_futures(self) -> Iterator[Future[str]]:
        """Yield futures that have ended, after at most a second; those of pools that died are left out."""
        with suppress(Empty):
            future = self._ended.get(timeout=LOOK_EVERY)
            while True:
                if future in self._futures:
                    yield future
                future = self._ended.get_nowait()

    def _end(self, future: Future[str]) -> None:
        task, in_quarantine = self._futures[future], self.quarantine is not None and future is self.quarantine.future
        message = ""
        try:
            how = future.result()
        except (BrokenExecutor, ConnectionError, CancelledError) as error:
            if not (in_quarantine and isinstance(error, BrokenExecutor)):
                raise
            how, message = "died", str(error).partition("\n")[0]
        except Exception as error:  # of the executor, for a task that it could not run
            how = "failed"
            self.store.fail(task, f"{type(error).__name__}: {error}")
        del self._futures[future], self.board.submitted[task.id]
        if in_quarantine and self.quarantine is not None:
            self.quarantine.leave(how == "died")
        if how == "elsewhere":
            self._elsewhere[task.id] = task
        elif how in ("again", "died"):
            if self.board.count(task, how) < ATTEMPTS:
                self.ready += self.board.reopen(task)
                return
            reason = f"its process died {ATTEMPTS} times: {message}"
            if how == "again":
                reason = f"its inputs were damaged or missing {ATTEMPTS} times"
            self.store.fail(task, reason)
            self._finish_task(task, False)
        else:
            self._finish_task(task, how == "done")

    def _check_elsewhere(self) -> None:
        """Check, once a second, the tasks that other commands work on."""
        if not self._elsewhere or time.monotonic() - self._checked < LOOK_EVERY:
            return
        self._checked = time.monotonic()
        for task in [task for task in self._elsewhere.values() if not self.store.running(task)]:
            del self._elsewhere[task.id]
            if (done := self.store.has(task)) or self.store.failure(task) is not None:
                self._finish_task(task, done)
            else:
                self.ready.append(task)

    def _finish_task(self, task: Task, done: bool) -> None:
        """Note that a task is done or failed."""
        if done:
            self.ready += self.board.finish(task)
        else:
            self.board.fail(task)
        if self.progress is not None:
            self.progress(task, "done" if done else "failed")
