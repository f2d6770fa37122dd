"""Resumable sets of tasks: the task, the store of results, and runs on processes, executors or Dask.

They know nothing of what a task does: campaigns of the paper, barriers within sets and other searches use them.
May import `backend`, `display`, `files`, `workers`.
"""

from .run import run_tasks
from .store import Store
from .summary import Summary, summarize
from .task import Result, Task

__all__ = ["Result", "Store", "Summary", "Task", "run_tasks", "summarize"]
