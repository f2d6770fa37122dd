"""The summary of a set of tasks: what is done, running, failed and left, and the time that is left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .store import Store
from .task import Task


@dataclass(frozen=True)
class Summary:
    """The state of a set of tasks.

    Attributes
    ----------
    done, running, failed, blocked, left
        Names: finished; worked on by some process; failed; waiting for a failed one; to be run.
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
    """Return the state of tasks in a store."""
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
    """Return the kind of a task, its name without the last part; tasks of one kind take equally long."""
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
