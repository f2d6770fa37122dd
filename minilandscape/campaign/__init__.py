"""Campaigns: many tasks that survive anything, on one machine or many."""

from .run import Summary, run_tasks
from .store import Store
from .task import Task

__all__ = ["Store", "Summary", "Task", "run_tasks"]
