"""Runs tasks on local processes, on any executor of ``concurrent.futures``, or on Dask."""

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

#: Seconds between looks at tasks that other processes work on.
LOOK_EVERY = 1.0


def run_tasks(
    tasks: Sequence[Task],
    store: Store,
    *,
    executor: Executor | None = None,
    scheduler: Any = None,
    workers: int | None = None,
    retry_failed: bool = False,
    progress: Callable[[Task, str], None] | None = None,
) -> Summary:
    """Runs tasks whose results are not in the store yet, each once what it needs is there.

    Parameters
    ----------
    tasks
        In an order in which each comes after those that it needs.
    executor
        Where they run; it must see the store's folder. None takes worker processes of this machine, one thread each.
    scheduler
        Dask instead: the address of a scheduler, or a ``distributed.Client``.
    workers
        How many local processes; None takes one a core.
    retry_failed
        Runs tasks again that failed before.
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
        On Ctrl-C, at once; what is finished is kept.
    """
    given = {"executor": executor, "scheduler": scheduler, "workers": workers}
    if len(names := [name for name, where in given.items() if where is not None]) > 1:
        raise ValueError(f"{' and '.join(names)} are given; expected one of them, since the first says where tasks run")
    seen: set[str] = set()
    for task in tasks:
        for need in task.needs:
            if need.id not in seen:
                raise ValueError(f"{task.name} needs {need.name}, which does not come before it")
        seen.add(task.id)
        if retry_failed:
            store.forgive(task)
    local = executor is None and scheduler is None
    with _Ward() as ward:
        run = _Run(Board(tasks, store), ward if local else None, progress)
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


class _Ward:
    """One process, apart from the others, for a task that may kill it: there no other is to blame or suffers."""

    def __init__(self) -> None:
        self.waiting: deque[Task] = deque()
        self.future: Future[str] | None = None
        self._context: AbstractContextManager[Executor] | None = None
        self._pool: Executor | None = None

    def __enter__(self) -> _Ward:
        return self

    def __exit__(self, *error: Any) -> None:
        if self._context is not None:
            self._context.__exit__(*error)
        self._context = self._pool = None

    def pool(self) -> Executor:
        """The process, begun when it is asked for."""
        if self._pool is None:
            self._context = worker_processes(1)
            self._pool = self._context.__enter__()
        return self._pool

    def leave(self, died: bool) -> None:
        """Notes that its task has ended."""
        self.future = None
        if died:
            self.__exit__(None, None, None)


class _Run:
    """One run: hands out tasks as they become ready, and hears of their ends."""

    def __init__(self, board: Board, ward: _Ward | None, progress: Callable[[Task, str], None] | None) -> None:
        self.board, self.store, self.ward, self.progress = board, board.store, ward, progress
        self.ready = deque(board.ready())
        self._folder = str(self.store.folder.resolve())
        self._elsewhere: dict[str, Task] = {}
        self._futures: dict[Future[str], Task] = {}
        self._ended: SimpleQueue[Future[str]] = SimpleQueue()
        self._looked = time.monotonic()

    def drain(self, pool: Executor) -> None:
        """Goes on until no task is left that could run."""
        try:
            while self.ready or self._futures or self._elsewhere or (self.ward is not None and self.ward.waiting):
                self._submit(pool)
                for future in self._heard():
                    self._end(future)
                self._look_elsewhere()
        except BrokenExecutor:
            raise
        except BaseException:
            if self.ward is None:  # processes of our own are killed, and loky trips over what is cancelled meanwhile
                for future in self._futures:
                    future.cancel()
            raise

    def restart(self) -> None:
        """Begins again with all that could run now."""
        self.ready = deque(self.board.ready())
        self._elsewhere.clear()

    def recover(self) -> bool:
        """Takes back the tasks of a pool that died; whether one of its processes was at work on some."""
        mine = None if self.ward is None else self.ward.future
        lost = {future: task for future, task in self._futures.items() if future is not mine}
        # Which of the tasks killed its process is not known: all that dead processes of this one had are suspects.
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
                if self.ward is not None and self.board.suspected(task):
                    self.ward.waiting.append(task)
                else:
                    self._hand(pool, task)
                self.board.submitted[task.id] = task
            self.ready.popleft()
        if self.ward is not None and self.ward.waiting and self.ward.future is None:
            self.ward.future = self._hand(self.ward.pool(), self.ward.waiting.popleft())

    def _hand(self, pool: Executor, task: Task) -> Future[str]:
        future = pool.submit(perform, self._folder, task.alone())
        self._futures[future] = task
        future.add_done_callback(self._ended.put)
        return future

    def _heard(self) -> Iterator[Future[str]]:
        """Futures that have ended, when one has or after a while; those of pools that died are left out."""
        with suppress(Empty):
            future = self._ended.get(timeout=LOOK_EVERY)
            while True:
                if future in self._futures:
                    yield future
                future = self._ended.get_nowait()

    def _end(self, future: Future[str]) -> None:
        task, in_ward = self._futures[future], self.ward is not None and future is self.ward.future
        words = ""
        try:
            how = future.result()
        except (BrokenExecutor, ConnectionError, CancelledError) as error:
            if not (in_ward and isinstance(error, BrokenExecutor)):
                raise
            how, words = "died", str(error).partition("\n")[0]
        except Exception as error:  # the executor's own words for a task that it could not run
            how = "failed"
            self.store.fail(task, f"{type(error).__name__}: {error}")
        del self._futures[future], self.board.submitted[task.id]
        if in_ward and self.ward is not None:
            self.ward.leave(how == "died")
        if how == "elsewhere":
            self._elsewhere[task.id] = task
        elif how in ("again", "died"):
            if self.board.count(task, how) < ATTEMPTS:
                self.ready += self.board.reopen(task)
                return
            reason = f"its process died {ATTEMPTS} times: {words}"
            if how == "again":
                reason = f"what it reads was damaged or gone {ATTEMPTS} times"
            self.store.fail(task, reason)
            self._settle(task, False)
        else:
            self._settle(task, how == "done")

    def _look_elsewhere(self) -> None:
        """Looks, now and then, at tasks that other commands work on."""
        if not self._elsewhere or time.monotonic() - self._looked < LOOK_EVERY:
            return
        self._looked = time.monotonic()
        for task in [task for task in self._elsewhere.values() if not self.store.running(task)]:
            del self._elsewhere[task.id]
            if (done := self.store.has(task)) or self.store.failure(task) is not None:
                self._settle(task, done)
            else:
                self.ready.append(task)

    def _settle(self, task: Task, done: bool) -> None:
        """Notes that a task has ended, one way or the other."""
        if done:
            self.ready += self.board.finish(task)
        else:
            self.board.fail(task)
        if self.progress is not None:
            self.progress(task, "done" if done else "failed")
