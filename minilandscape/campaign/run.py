"""Runs tasks on local processes, on any executor of ``concurrent.futures``, or on Dask."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
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
    for task in tasks:
        if store.has(task):
            names["done"].append(task.name)
            if (seconds := store.seconds(task)) is not None:
                for alike in (_kind(task), task.function):
                    measured.setdefault(alike, []).append((seconds, task.cost))
            continue
        unfinished.append(task)
        if (reason := store.failure(task)) is not None:
            names["failed"].append(task.name)
            reasons[task.name] = reason
            stuck.add(task.id)
        elif any(need.id in stuck for need in task.needs):
            names["blocked"].append(task.name)
            stuck.add(task.id)
        else:
            names["running" if store.running(task) else "left"].append(task.name)
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
    left = [task for task in tasks if store.read(task) is None and store.failure(task) is None]
    attempts: dict[str, int] = {}
    while left:
        with _executor(executor, scheduler, workers) as pool:
            try:
                _drain(left, store, pool, progress)
            except BrokenExecutor as error:
                if executor is not None:
                    raise
                # Which of the tasks killed its process is not known: all that have left a claim are suspects.
                for task in left:
                    if (store.folder / "claims" / f"{task.id}.json").exists():
                        attempts[task.id] = attempts.get(task.id, 0) + 1
                        if attempts[task.id] >= ATTEMPTS:
                            store.fail(task, f"its process died {ATTEMPTS} times: {error}")
                            if progress is not None:
                                progress(task, "failed")
        left = [task for task in left if not store.has(task) and store.failure(task) is None]
        left = [task for task in left if not _blocked(task, store)]
    return summarize(tasks, store)


def _blocked(task: Task, store: Store) -> bool:
    return any(
        not store.has(need) and (store.failure(need) is not None or _blocked(need, store)) for need in task.needs
    )


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


def _drain(left: list[Task], store: Store, pool: Executor, progress: Callable[[Task, str], None] | None) -> None:
    """Submits tasks as they become ready until none is left that could run."""
    waiting = list(left)
    elsewhere: dict[str, Task] = {}
    futures: dict[Future[str], Task] = {}
    folder = str(store.folder.resolve())
    while waiting or futures or elsewhere:
        for task in list(waiting):
            if _blocked(task, store):
                waiting.remove(task)
            elif all(store.has(need) for need in task.needs):
                waiting.remove(task)
                futures[pool.submit(perform, folder, task)] = task
        for task in list(elsewhere.values()):
            if store.has(task) or store.failure(task) is not None:
                del elsewhere[task.id]
                _report(progress, task, store)
            elif not store.running(task):
                del elsewhere[task.id]
                futures[pool.submit(perform, folder, task)] = task
        if not futures:
            if not elsewhere:
                return
            time.sleep(LOOK_EVERY)
            continue
        finished, _ = wait(futures, timeout=LOOK_EVERY if elsewhere else None, return_when=FIRST_COMPLETED)
        for future in finished:
            task = futures.pop(future)
            try:
                how = future.result()
            except (BrokenExecutor, ConnectionError):
                raise
            except Exception as error:  # the executor's own words for a task that it could not run
                store.fail(task, f"{type(error).__name__}: {error}")
                how = "failed"
            if how == "elsewhere":
                elsewhere[task.id] = task
            else:
                _report(progress, task, store)


def _report(progress: Callable[[Task, str], None] | None, task: Task, store: Store) -> None:
    if progress is not None:
        progress(task, "done" if store.has(task) else "failed")
