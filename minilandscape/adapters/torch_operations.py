"""Which hidden units the axes of a function's or method's result count, one rule a name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import fx

from .torch_groups import Axes, Axis, Groups

#: By the names of functions and methods.
UNARY = {
    *("relu", "relu_", "relu6", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "tanh", "sigmoid", "softplus"),
    *("hardtanh", "hardswish", "dropout", "dropout1d", "dropout2d", "exp", "log", "sqrt", "abs", "neg", "clamp"),
    *("contiguous", "clone", "detach", "float", "double", "square", "pow"),
}
POOLED = {
    *("max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d"),
    *("adaptive_avg_pool2d", "adaptive_max_pool1d", "adaptive_max_pool2d", "interpolate"),
}
BINARY = {"add", "sub", "mul", "truediv", "div", "iadd", "imul", "add_", "mul_", "sub_", "maximum", "minimum"}
REDUCED = {"mean", "sum", "amax", "amin"}


@dataclass(frozen=True)
class Operation:
    """A call of a function or method in a graph.

    Attributes
    ----------
    inputs
        The axes of its tensors.
    shapes
        Their shapes.
    shape
        The shape of the result.
    """

    groups: Groups
    node: fx.Node
    inputs: Sequence[Axes]
    shapes: Sequence[tuple[int, ...]]
    shape: tuple[int, ...]


def axes_of_operation(of: Operation) -> Axes | None:
    """The axes of a result; None where no rule is known."""
    target = of.node.target
    rule = RULES.get(target if isinstance(target, str) else getattr(target, "__name__", ""))
    return None if rule is None else rule(of)


def _same(of: Operation) -> Axes:
    return list(of.inputs[0])


def _elementwise(of: Operation) -> Axes | None:
    return list(of.inputs[0]) if len(of.inputs) == 1 else None


def _pooled(of: Operation) -> Axes:
    return [*of.inputs[0][:2], *([None] * (len(of.inputs[0]) - 2))]


def _together(of: Operation) -> Axes:
    """Elementwise of two, whose axes are aligned from the right; one of length 1 is repeated."""
    if len(of.inputs) == 1:
        return list(of.inputs[0])
    found: Axes = []
    for k in range(1, len(of.shape) + 1):
        pairs = zip(of.inputs, of.shapes, strict=True)
        both = [axes[-k] for axes, shape in pairs if len(shape) >= k and shape[-k] > 1]
        # Where there is one, the other repeats one number along this axis.
        found.append(of.groups.unite(*both) if len(both) == 2 else (both[0] if both else None))
    return found[::-1]


def _reshaped(of: Operation) -> Axes | None:
    return reshaped(of.groups, of.inputs[0], of.shapes[0], of.shape)


def reshaped(groups: Groups, x: Axes, before: tuple[int, ...], after: tuple[int, ...]) -> Axes | None:
    """Where axes are joined or stay; the units of one that is split stay in their order."""
    found: Axes = []
    i = j = 0
    while i < len(before) or j < len(after):
        if i < len(before) and j < len(after) and before[i] == after[j]:
            found.append(x[i])
            i, j = i + 1, j + 1
            continue
        if i < len(before) and before[i] == 1:
            i += 1
            continue
        if j < len(after) and after[j] == 1:
            found.append(None)
            j += 1
            continue
        start, product = i, 1
        while j < len(after) and i < len(before) and product < after[j]:
            product *= before[i]
            i += 1
        if j >= len(after) or product != after[j]:
            return None
        found.append(_joined(groups, x[start:i], before[start:i]))
        j += 1
    return found


def _joined(groups: Groups, axes: Sequence[Axis | None], lengths: Sequence[int]) -> Axis | None:
    units = [k for k, axis in enumerate(axes) if axis is not None]
    if len(units) != 1:
        groups.fix(*axes)
        return None
    k, axis = units[0], axes[units[0]]
    assert axis is not None
    outer, inner = axis.outer, axis.inner
    for length in lengths[:k]:
        outer *= length
    for length in lengths[k + 1 :]:
        inner *= length
    return Axis(axis.group, outer, inner)


def _reduced(of: Operation) -> Axes | None:
    node, x = of.node, of.inputs[0]
    axes = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)
    if axes is None:
        return []
    which = {a % len(x) for a in (axes if isinstance(axes, (tuple, list)) else (axes,)) if isinstance(a, int)}
    keep = node.kwargs.get("keepdim", node.args[2] if len(node.args) > 2 else False)
    return [None if k in which else axis for k, axis in enumerate(x) if keep or k not in which]


def _order(node: fx.Node) -> list[int] | None:
    """The whole numbers that a method is called with, one by one or as a tuple; None where they are something else."""
    order: list[Any] = list(node.args[1:])
    if len(order) == 1 and isinstance(order[0], (tuple, list)):
        order = list(order[0])
    return order if order and all(isinstance(k, int) for k in order) else None


def _permuted(of: Operation) -> Axes | None:
    order = _order(of.node)
    return None if order is None else [of.inputs[0][k] for k in order]


def _transposed(of: Operation) -> Axes | None:
    order, x = _order(of.node), list(of.inputs[0])
    if order is None:
        return None
    a, b = order
    x[a], x[b] = x[b], x[a]
    return x


def _indexed(of: Operation) -> Axes | None:
    given: Any = of.node.args[1]
    x, index = of.inputs[0], given if isinstance(given, tuple) else (given,)
    if len(index) > len(x):
        return None
    found: Axes = []
    for k, part in enumerate(index):
        if isinstance(part, int):
            of.groups.fix(x[k])
        elif part == slice(None):
            found.append(x[k])
        elif isinstance(part, slice) and not any(isinstance(p, fx.Node) for p in (part.start, part.stop, part.step)):
            of.groups.fix(x[k])
            found.append(None)
        else:
            return None
    return [*found, *x[len(index) :]]


#: Rules by the names of functions and methods.
RULES: dict[str, Callable[[Operation], Axes | None]] = {
    **dict.fromkeys(UNARY, _elementwise),
    **dict.fromkeys(POOLED, _pooled),
    **dict.fromkeys(BINARY, _together),
    **dict.fromkeys(("softmax", "log_softmax"), _same),
    **dict.fromkeys(("flatten", "view", "reshape", "squeeze", "unsqueeze"), _reshaped),
    **dict.fromkeys(REDUCED, _reduced),
    "transpose": _transposed,
    "permute": _permuted,
    "getitem": _indexed,
}
