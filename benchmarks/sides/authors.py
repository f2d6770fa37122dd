"""The authors' procedure in PyTorch, from its description: all images at once, point by point, always a gradient."""

from __future__ import annotations

from functools import partial

from ..task import Task
from . import Forms, pytorch


class Side:
    """A path and a line search; both compute a gradient wherever they need a loss."""

    def __init__(self, task: Task) -> None:
        self._torch = pytorch.Side(task)
        self._value_and_gradient = partial(self._torch.value_and_gradient, len(task.images))

    def lbfgs(self) -> Forms:
        return {"": lambda: self._torch.line_search(self._value_and_gradient, lambda: self._value_and_gradient()[0])}

    def path(self) -> Forms:
        return {"": lambda: self._torch.path_by_point(self._value_and_gradient)}
