"""The task: a piece of work that is determined by its options and by the tasks whose results it reads."""

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
#: Raised when the same options come to mean other results.
REVISION = 1


@dataclass(frozen=True)
class Task:
    """A piece of work.

    Attributes
    ----------
    name
        What it is, readable, fit for a file's name: ``"fcp-sgd-seed003"``.
    function
        ``"module:function"``, called as ``function(options, inputs, checkpoint)`` with the results of ``needs`` in
        their order and a path that it may keep its state in; returns ``(arrays, facts)``.
    options
        Everything that determines it, except ``needs``; must be JSON, NumPy's numbers being numbers like any other.
    needs
        The tasks whose results it reads.
    hints
        Passed along with the options, but of no effect on the result: where the data lie.
    cost
        Seconds that it may take, to plan with; 0 where nothing is known.
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
        """The name, and a hash of everything that determines the result."""
        known = [REVISION, self.known_as or self.function, self.options, [task.id for task in self.needs]]
        digest = hashlib.sha256(json.dumps(known, sort_keys=True, default=_of_numpy).encode()).hexdigest()
        return f"{self.name}-{digest[:12]}"

    def alone(self) -> Task:
        """The same with needs that only know their names and ids: it may be sent far, and they may need hundreds."""
        needs = []
        for need in self.needs:
            bare = replace(need, options={}, needs=(), hints={})
            bare.__dict__["id"] = need.id
            needs.append(bare)
        copy = replace(self, needs=tuple(needs))
        copy.__dict__["id"] = self.id
        return copy

    def resolve(self) -> Callable[..., Result]:
        """The function itself."""
        module, _, name = self.function.partition(":")
        function: Callable[..., Result] = getattr(importlib.import_module(module), name)
        return function


def _of_numpy(value: Any) -> Any:
    """NumPy's number or array as JSON has it."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    raise TypeError(f"options hold {value!r}, a {type(value).__name__}; expected what JSON can hold")
