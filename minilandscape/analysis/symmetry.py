"""Permutations of the hidden units of a network, which do not change its loss."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from ..landscape import vector
from ..networks import get_network
from .arrays import check_finite

#: Model to block to the shape in which each axis belongs to one group of units, and which group.
UNITS: dict[str, dict[str, tuple[tuple[int, ...], dict[int, str]]]] = {
    "fcp": {
        "fc1.weight": ((50, 784), {0: "first"}),
        "fc2.weight": ((50, 50), {0: "second", 1: "first"}),
        "fc3.weight": ((10, 50), {1: "second"}),
    },
    "autoencoder": {
        "encoder1.weight": ((32, 784), {0: "first"}),
        "encoder2.weight": ((32, 32), {0: "second", 1: "first"}),
        "decoder1.weight": ((32, 32), {0: "third", 1: "second"}),
        "decoder2.weight": ((784, 32), {1: "third"}),
    },
    "lenet": {
        "conv1.weight": ((6, 25), {0: "first"}),
        "conv1.bias": ((6,), {0: "first"}),
        "conv2.weight": ((16, 6, 25), {0: "second", 1: "first"}),
        "conv2.bias": ((16,), {0: "second"}),
        # A channel of the second convolution is 25 inputs of the first dense layer.
        "fc1.weight": ((120, 16, 25), {0: "third", 1: "second"}),
        "fc1.bias": ((120,), {0: "third"}),
        "fc2.weight": ((84, 120), {0: "fourth", 1: "third"}),
        "fc2.bias": ((84,), {0: "fourth"}),
        "fc3.weight": ((10, 84), {1: "fourth"}),
    },
    "lstm": {  # a unit has a row in each of the four gates
        "lstm.weight_ih": ((4, 48, 28), {1: "hidden"}),
        "lstm.weight_hh": ((4, 48, 48), {1: "hidden", 2: "hidden"}),
        "lstm.bias_ih": ((4, 48), {1: "hidden"}),
        "lstm.bias_hh": ((4, 48), {1: "hidden"}),
        "fc.weight": ((10, 48), {1: "hidden"}),
    },
}
#: Iterations over all groups, at most.
ROUNDS = 100


def permute(model: str, vector: Any, orders: dict[str, Any]) -> np.ndarray:
    """Permute the hidden units of a parameter vector (D,), which does not change the network's function.

    Parameters
    ----------
    orders
        Group of units to (n,): unit k of the result is unit ``order[k]`` of the vector. Groups: fcp "first", "second";
        autoencoder up to "third"; lenet up to "fourth"; lstm "hidden".

    Raises
    ------
    ValueError
        If the vector does not have the model's size, the model has no such group, or an order is not a permutation of
        the units of its group.
    """
    vector = np.asarray(vector)
    layout = get_network(model, "paper").layout
    if vector.shape != (layout.size,):
        raise ValueError(f"the vector has shape {vector.shape}; {model} has ({layout.size},)")
    groups = _groups(model)
    checked = {group: _order(model, group, order, groups) for group, order in orders.items()}
    result = vector.copy()
    for block in layout.blocks:
        if block.name in UNITS[model]:
            shape, axes = UNITS[model][block.name]
            part = vector[block.start : block.stop].reshape(shape)
            for axis, group in axes.items():
                if group in checked:
                    part = np.take(part, checked[group], axis=axis)
            result[block.start : block.stop] = part.ravel()
    return result


def _groups(model: str) -> dict[str, int]:
    """The number of units of each group of a model."""
    return {group: shape[axis] for shape, axes in UNITS[model].values() for axis, group in axes.items()}


def _order(model: str, group: str, order: Any, groups: dict[str, int]) -> np.ndarray:
    if group not in groups:
        raise ValueError(f"orders names the group {group!r}; expected one of {', '.join(groups)}, as {model} has them")
    n, order = groups[group], np.asarray(order)
    expected = f"expected a permutation of the {n} units of {model}, each of 0 to {n - 1} once"
    if order.shape != (n,):
        raise ValueError(f"the order of {group!r} has shape {order.shape}; {expected}")
    if order.dtype.kind not in "iu" or not np.array_equal(np.sort(order), np.arange(n)):
        raise ValueError(f"the order of {group!r} is no permutation; {expected}")
    return order


def align(model: Any, a: Any, b: Any) -> Any:
    r"""Permute the hidden units of a network b so that its weights are close to those of a network a.

    Weight matching [1]_: one group of hidden units after another is assigned so that the distance

    .. math:: |a - P b|

    is smallest with the permutations P of the other groups fixed, until no group changes. The function of the network
    does not change. The distance never increases; the result need not be the closest of all permutations.

    Parameters
    ----------
    model
        ``"fcp"``, ``"lenet"``, ``"autoencoder"`` or ``"lstm"``; or a landscape with a method ``align(a, b)``, such as
        that of a PyTorch module, which is then called.
    a, b
        (D,), or whatever that method accepts.

    Returns
    -------
    numpy.ndarray
        (D,): P b.

    Raises
    ------
    ValueError
        If the model is unknown, or a vector does not have its size or is not finite.
    TypeError
        If a vector holds no real numbers.

    References
    ----------
    .. [1] S. K. Ainsworth, J. Hayase and S. Srinivasa, "Git Re-Basin: merging models modulo permutation symmetries",
       ICLR (2023).

    Examples
    --------
    >>> import numpy as np
    >>> import minilandscape as ml
    >>> from minilandscape.analysis.symmetry import permute
    >>> a = ml.initial_vector("fcp", 0)
    >>> b = permute("fcp", a, {"first": np.arange(50)[::-1]})
    >>> bool(np.array_equal(a, b)), bool(np.array_equal(ml.align("fcp", a, b), a))
    (False, True)
    """
    if not isinstance(model, str) and hasattr(model, "align"):
        return model.align(a, b)
    if model not in UNITS:
        raise ValueError(f"model is {model!r}; expected one of {', '.join(UNITS)}")
    a, b = vector("a", a, None), vector("b", b, None)
    layout = get_network(model, "paper").layout
    for name, weights in (("a", a), ("b", b)):
        if weights.shape != (layout.size,):
            raise ValueError(f"{name} has shape {weights.shape}; {model} has ({layout.size},)")
        check_finite(name, weights)
    groups = _groups(model)
    nearest = b.copy()
    for _ in range(ROUNDS):
        changed = False
        for group in groups:
            gain = _similarity(model, a, nearest, group, groups[group])
            order = linear_sum_assignment(gain, maximize=True)[1]
            candidate = permute(model, nearest, {group: order})
            if np.linalg.norm(candidate - a) < np.linalg.norm(nearest - a) * (1 - 1e-7):
                nearest, changed = candidate, True
        if not changed:
            break
    return nearest


def _similarity(model: str, a: np.ndarray, b: np.ndarray, group: str, n: int) -> np.ndarray:
    """(n, n): the inner products of the weights of each unit of a group in a with those of each unit in b."""
    gain = np.zeros((n, n))
    for block in get_network(model, "paper").layout.blocks:
        shape, axes = UNITS[model].get(block.name, ((), {}))
        ours, theirs = (v[block.start : block.stop].reshape(shape or -1) for v in (a, b))
        for axis in (x for x, g in axes.items() if g == group):
            rows = (np.moveaxis(part, axis, 0).reshape(n, -1).astype(np.float64) for part in (ours, theirs))
            first, second = rows
            gain += first @ second.T
    return gain
