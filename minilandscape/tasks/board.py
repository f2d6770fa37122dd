"""The board: the state of each task in a run, kept in memory so that no file is read twice."""

from __future__ import annotations

from collections.abc import Sequence

from .store import Store
from .task import Task

#: Attempts at a task whose process dies, or whose inputs are damaged.
ATTEMPTS = 3


class Board:
    """The state of each task in one run, from which follows what is ready.

    Attributes
    ----------
    done
        Tasks whose results are in the store.
    stuck
        Tasks that failed, and all that need one of them.
    submitted
        Tasks that were submitted and have not ended.
    """

    def __init__(self, tasks: Sequence[Task], store: Store) -> None:
        self.store, self.tasks = store, tasks
        self.done = {task.id for task in tasks if store.read(task) is not None}
        self.stuck: set[str] = set()
        self.submitted: dict[str, Task] = {}
        self._failed: dict[str, Task] = {}
        self._attempts: dict[tuple[str, str], int] = {}
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
        """Return the tasks that can be run, in their order."""
        return [task for task in self.tasks if self.open(task) and not self._missing[task.id]]

    def open(self, task: Task) -> bool:
        """Return whether a task is still to be submitted once its needs are done."""
        return task.id not in self.done and task.id not in self.stuck and task.id not in self.submitted

    def finish(self, task: Task) -> list[Task]:
        """Mark a task as done; return those that become ready."""
        self.done.add(task.id)
        users = self._users.get(task.id, [])
        for user in users:
            self._missing[user.id].discard(task.id)
        return [user for user in users if not self._missing[user.id] and self.open(user)]

    def fail(self, task: Task) -> None:
        """Mark a task as failed, which stops all that need it."""
        self._failed[task.id] = task
        stopped = [task]
        while stopped:
            task = stopped.pop()
            if task.id not in self.stuck:
                self.stuck.add(task.id)
                stopped += self._users.get(task.id, [])

    def revive(self) -> bool:
        """Return whether another command has cleared failures meanwhile; what they stopped can be run then."""
        before, self._failed = self._failed, {}
        self.stuck.clear()
        for task in before.values():
            if self.store.has(task):
                self.finish(task)
            elif self.store.failure(task) is not None:
                self.fail(task)
        return len(self._failed) < len(before)

    def reopen(self, task: Task) -> list[Task]:
        """Note that a task has to start again, and which of its needs have lost their results; return those to run."""
        gone = [need for need in task.needs if need.id not in self.stuck and not self.store.has(need)]
        fresh = [need for need in gone if need.id in self.done]
        self.done -= {need.id for need in gone}
        for need in gone:
            for user in self._users[need.id]:
                self._missing[user.id].add(need.id)
        return fresh if gone else [task]

    def count(self, task: Task, why: str) -> int:
        """Count that a task has to be run again, since its process ``"died"`` or ``"again"``; return how often."""
        self._attempts[why, task.id] = self._attempts.get((why, task.id), 0) + 1
        return self._attempts[why, task.id]

    def suspected(self, task: Task) -> bool:
        """Return whether the process of a task has died so often that the task may be what kills it."""
        return self._attempts.get(("died", task.id), 0) >= ATTEMPTS - 1
