"""The task: a function with its options, and the tasks whose results it reads."""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

Result = tuple[dict[str, np.ndarray], dict[str, Any]]
#: Increased when the same options come to mean other results.
REVISION = 1


@dataclass(frozen=True)
class Task:
    """A function with its options, and the tasks that it needs.

    Attributes
    ----------
    name
        A readable name, fit for a file: ``"fcp-sgd-seed003"``.
    function
        ``"module:function"``, called as ``function(options, inputs, checkpoint)`` with the results of ``needs`` in
        their order and a path that it may keep its state in; returns ``(arrays, metadata)``.
    options
        Everything that determines it, except ``needs``; must be JSON, NumPy's numbers being numbers like any other.
    needs
        The tasks whose results it reads.
    hints
        Passed with the options, without effect on the result: where the data lie.
    cost
        Estimate of its seconds; 0 if there is none.
    known_as
        The function's name in the id, where that is another: results of a function that has moved still count.
    """

    name: str
    function: str
    options: dict[str, Any] = field(default_factory=dict)
    needs: tuple[Task, ...] = ()
    hints: dict[str, Any] = field(default_factory=dict)
    cost: float = 0.0
    known_as: str = ""

    @cached_property
    def id(self) -> str:
        """Name, and a hash of everything that determines the result."""
        known = [REVISION, self.known_as or self.function, self.options, [task.id for task in self.needs]]
        digest = hashlib.sha256(json.dumps(known, sort_keys=True, default=_of_numpy).encode()).hexdigest()
        return f"{self.name}-{digest[:12]}"

    def alone(self) -> Task:
        """Return the task with needs that hold only names and ids, since it is sent to workers and needs hundreds."""
        needs = []
        for need in self.needs:
            bare = replace(need, options={}, needs=(), hints={})
            bare.__dict__["id"] = need.id
            needs.append(bare)
        copy = replace(self, needs=tuple(needs))
        copy.__dict__["id"] = self.id
        return copy

    def resolve(self) -> Callable[..., Result]:
        """Import and return the function."""
        module, _, name = self.function.partition(":")
        function: Callable[..., Result] = getattr(importlib.import_module(module), name)
        return function


def _of_numpy(value: Any) -> Any:
    """Return NumPy's number or array as JSON."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    raise TypeError(f"options hold {value!r}, a {type(value).__name__}; expected what JSON can hold")
