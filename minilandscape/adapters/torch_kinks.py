"""Whether a module has kinks: operations such as ReLU, whose derivative jumps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

#: Operations of PyTorch with kinks, by the beginning of their names.
WITH_KINKS = (
    *("relu", "leaky_relu", "prelu", "rrelu", "threshold", "hardtanh", "hardswish", "hardsigmoid", "hardshrink"),
    *("softshrink", "clamp", "abs", "max_pool", "adaptive_max_pool", "fractional_max_pool", "maximum", "minimum"),
    *("amax", "amin", "l1_loss"),
)


class _Seen(TorchDispatchMode):
    """The names of the operations of what runs within."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(func.overloadpacket.__name__.rstrip("_"))
        return func(*args, **(kwargs or {}))


def kinks_of(evaluate: Callable[[], Any]) -> tuple[str, ...]:
    """The names of the operations with kinks in an evaluation, sorted."""
    with torch.no_grad(), _Seen() as seen:
        evaluate()
    return tuple(sorted(name for name in seen.names if any(_is(name, known) for known in WITH_KINKS)))


def _is(name: str, known: str) -> bool:
    """Whether an operation is of a kind: clamp_min is clamp, max_pool2d is max_pool."""
    rest = name.removeprefix(known)
    return name.startswith(known) and (not rest or rest[0] == "_" or rest[0].isdigit())
