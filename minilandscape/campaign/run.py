"""Runs tasks on local processes, on any executor of ``concurrent.futures``, or on Dask."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

from ..backend import thread_count
from ..workers import worker_processes
from .store import Store, perform
from .task import Task

#: How often a task is started whose process dies under it.
ATTEMPTS = 3
#: Seconds between looks at tasks that other processes work on.
LOOK_EVERY = 1.0


@dataclass(frozen=True)
class Summary:
    """How tasks stand.

    Attributes
    ----------
    done, running, failed, blocked, left
        Names: finished; worked on by some process; failed; in need of a failed one; to be run.
    reasons
        Why the failed ones failed.
    seconds_left
        Of work, for one process, estimated from the finished tasks.
    """

    done: list[str]
    running: list[str]
    failed: list[str]
    blocked: list[str]
    left: list[str]
    reasons: dict[str, str]
    seconds_left: float


def summarize(tasks: Sequence[Task], store: Store) -> Summary:
    """How tasks stand in a store."""
    names: dict[str, list[str]] = {key: [] for key in ("done", "running", "failed", "blocked", "left")}
    reasons: dict[str, str] = {}
    stuck: set[str] = set()
    measured: dict[str, list[tuple[float, float]]] = {}  # of tasks of a kind, and of all that do the same work
    unfinished = []
    finished, failed, claimed = (store.ids(what) for what in ("results", "failed", "claims"))
    for task in tasks:
        if task.id in finished:
            names["done"].append(task.name)
            if (seconds := store.seconds(task)) is not None:
                for alike in (_kind(task), task.function):
                    measured.setdefault(alike, []).append((seconds, task.cost))
            continue
        unfinished.append(task)
        if task.id in failed and (reason := store.failure(task)) is not None:
            names["failed"].append(task.name)
            reasons[task.name] = reason
            stuck.add(task.id)
        elif any(need.id in stuck for need in task.needs):
            names["blocked"].append(task.name)
            stuck.add(task.id)
        else:
            names["running" if task.id in claimed and store.running(task) else "left"].append(task.name)
    left = sum(_estimate(task, measured) for task in unfinished if task.id not in stuck)
    return Summary(**names, reasons=reasons, seconds_left=left)


def _kind(task: Task) -> str:
    """Tasks of one kind take about as long as each other: the name without its last part."""
    return task.name.rpartition("-")[0] or task.name


def _estimate(task: Task, measured: dict[str, list[tuple[float, float]]]) -> float:
    if alike := measured.get(_kind(task)):
        return sum(seconds for seconds, _ in alike) / len(alike)
    # Of its kind none is finished: its own estimate, as wrong as those of the same work were; or their mean.
    same = measured.get(task.function, [])
    seconds, expected = sum(pair[0] for pair in same), sum(pair[1] for pair in same)
    if task.cost > 0:
        return task.cost * (seconds / expected if expected else 1.0)
    return seconds / len(same) if same else 0.0


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
        If a task comes before one that it needs.
    KeyboardInterrupt
        On Ctrl-C, at once; what is finished is kept.
    """
    seen: set[str] = set()
    for task in tasks:
        for need in task.needs:
            if need.id not in seen:
                raise ValueError(f"{task.name} needs {need.name}, which does not come before it")
        seen.add(task.id)
        if retry_failed:
            store.forgive(task)
    board = _Board(tasks, store)
    idle = 0  # pools in a row that died before they did anything
    while True:
        before = len(board.done)
        with _executor(executor, scheduler, workers) as pool:
            try:
                _drain(board, pool, progress)
                break
            except BrokenExecutor as error:
                if executor is not None:
                    raise
                # Which of the tasks killed its process is not known: all that a dead process had are suspects.
                suspects = [task for task in board.submitted.values() if store.abandoned(task)]
                idle = 0 if suspects or len(board.done) > before else idle + 1
                if idle >= ATTEMPTS:
                    raise
                words = str(error).partition("\n")[0]
                for task in suspects:
                    if board.count(task) >= ATTEMPTS:
                        store.fail(task, f"its process died {ATTEMPTS} times: {words}")
                        _settle(board, task, False, progress)
    return summarize(tasks, store)


class _Board:
    """How tasks stand, as this process has read and heard: what is ready follows from what is done, without looking.

    Attributes
    ----------
    done
        Tasks whose results are in the store.
    stuck
        Tasks that failed, and all that need one of them.
    submitted
        Tasks that an executor has, or had when it died.
    """

    def __init__(self, tasks: Sequence[Task], store: Store) -> None:
        self.store, self.tasks = store, tasks
        self.done = {task.id for task in tasks if store.read(task) is not None}
        self.stuck: set[str] = set()
        self.submitted: dict[str, Task] = {}
        self._attempts: dict[str, int] = {}
        self._users: dict[str, list[Task]] = {}
        self._missing: dict[str, set[str]] = {}
        for task in tasks:
            self._missing[task.id] = {need.id for need in task.needs} - self.done
            for need in task.needs:
                self._users.setdefault(need.id, []).append(task)
        for task in tasks:
            if task.id not in self.done and store.failure(task) is not None:
                self.fail(task)

    def ready(self) -> list[Task]:
        """Tasks that can be run, the suspects first."""
        left = [task for task in self.tasks if self.open(task) and not self._missing[task.id]]
        return sorted(left, key=lambda task: not self.suspected(task))

    def open(self, task: Task) -> bool:
        """Whether a task is still to be handed to an executor, once what it needs is there."""
        return task.id not in self.done and task.id not in self.stuck and task.id not in self.submitted

    def finish(self, task: Task) -> list[Task]:
        """Notes that a task is done; returns those that become ready."""
        self.done.add(task.id)
        users = self._users.get(task.id, [])
        for user in users:
            self._missing[user.id].discard(task.id)
        return [user for user in users if not self._missing[user.id] and self.open(user)]

    def fail(self, task: Task) -> None:
        """Notes that a task failed, which stops all that need it."""
        stopped = [task]
        while stopped:
            task = stopped.pop()
            if task.id not in self.stuck:
                self.stuck.add(task.id)
                stopped += self._users.get(task.id, [])

    def reopen(self, task: Task) -> list[Task]:
        """Notes that a result which a task needs is gone, or the task has to begin anew; returns those to run first."""
        gone = [need for need in task.needs if need.id not in self.stuck and not self.store.has(need)]
        fresh = [need for need in gone if need.id in self.done]
        self.done -= {need.id for need in gone}
        for need in gone:
            for user in self._users[need.id]:
                self._missing[user.id].add(need.id)
        return fresh if gone else [task]

    def count(self, task: Task) -> int:
        """Notes that a task has to be run again; returns how often that was so."""
        self._attempts[task.id] = self._attempts.get(task.id, 0) + 1
        return self._attempts[task.id]

    def suspected(self, task: Task) -> bool:
        """Whether the next time tells if the task kills its process: then it runs alone, lest others be blamed."""
        return self._attempts.get(task.id, 0) >= ATTEMPTS - 1

    def may_start(self, task: Task) -> bool:
        """Whether an executor may have a task now, beside those that it has."""
        if not self._attempts or not self.submitted:
            return True
        return not any(map(self.suspected, [task, *self.submitted.values()]))


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


def _drain(board: _Board, pool: Executor, progress: Callable[[Task, str], None] | None) -> None:
    """Submits tasks as they become ready until none is left that could run."""
    store = board.store
    folder = str(store.folder.resolve())
    board.submitted = {}
    ready = deque(board.ready())
    elsewhere: dict[str, Task] = {}
    futures: dict[Future[str], Task] = {}
    ended: SimpleQueue[Future[str]] = SimpleQueue()
    looked = time.monotonic()
    while ready or futures or elsewhere:
        while ready and board.may_start(ready[0]):
            task = ready.popleft()
            if board.open(task):
                board.submitted[task.id] = task
                future = pool.submit(perform, folder, task)
                futures[future] = task
                future.add_done_callback(ended.put)
        with suppress(Empty):
            future = ended.get(timeout=LOOK_EVERY)
            how = _outcome(future, futures[future], store)
            task = board.submitted.pop(futures.pop(future).id)
            if how == "elsewhere":
                elsewhere[task.id] = task
            elif how == "again" and board.count(task) < ATTEMPTS:
                ready += board.reopen(task)
            else:
                if how == "again":
                    store.fail(task, f"what it reads was damaged or gone {ATTEMPTS} times")
                ready += _settle(board, task, how == "done", progress)
        if not elsewhere or time.monotonic() - looked < LOOK_EVERY:
            continue
        looked = time.monotonic()
        for task in [task for task in elsewhere.values() if not store.running(task)]:
            del elsewhere[task.id]
            if (done := store.has(task)) or store.failure(task) is not None:
                ready += _settle(board, task, done, progress)
            else:
                ready.append(task)


def _outcome(future: Future[str], task: Task, store: Store) -> str:
    try:
        return future.result()
    except (BrokenExecutor, ConnectionError):
        raise
    except Exception as error:  # the executor's own words for a task that it could not run
        store.fail(task, f"{type(error).__name__}: {error}")
        return "failed"


def _settle(board: _Board, task: Task, done: bool, progress: Callable[[Task, str], None] | None) -> list[Task]:
    """Notes that a task has ended, one way or the other; returns those that become ready."""
    ready: list[Task] = []
    if done:
        ready = board.finish(task)
    else:
        board.fail(task)
    if progress is not None:
        progress(task, "done" if done else "failed")
    return ready
