"""Hidden units of a module in the order that brings it near to another, by weight matching."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from .torch_axes import given_axes, traced_axes
from .torch_data import arguments, leaves, mapped
from .torch_groups import Axes
from .torch_states import copied

#: Rounds over all groups at most.
ROUNDS = 100
#: Outputs in double precision are those of the same function within this part of the largest.
SAME = 1e-8


def aligned(
    module: torch.nn.Module,
    a: Mapping[str, torch.Tensor],
    b: Mapping[str, torch.Tensor],
    inputs: Any,
    axes: Mapping[str, Any] | None,
    held: Collection[str] = (),
) -> dict[str, torch.Tensor]:
    """A state b with its hidden units in the order that brings it near to a.

    Weight matching (Ainsworth, Hayase and Srinivasa, 2023): one group of units after another is assigned to the other's
    so that the distance of the parameters is least, the orders of the other groups held, until nothing changes.

    Parameters
    ----------
    module
        In evaluation mode.
    a, b
        States of it.
    inputs
        A few samples, on which the outputs of b before and after are compared.
    axes
        A table of axes; None traces the module.
    held
        Names of tensors that stay as they are.

    Raises
    ------
    ValueError
        If the module cannot be traced, a table does not fit, or the outputs change.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    table = traced_axes(copied(module), inputs) if axes is None else given_axes(axes, shapes)
    # What no state holds cannot be permuted: weights that weight_norm, spectral_norm and prune compute, constants.
    table = _without(_with_tied(module, table), {name for name in table if name not in shapes} | set(held))
    parameters = {name for name, _ in module.named_parameters()}
    A = {name: a[name].detach().double().cpu().numpy() for name in table}
    B = {name: b[name].detach().double().cpu().numpy() for name in table}
    sizes = _sizes(table, A)
    orders = {group: np.arange(n) for group, n in sizes.items()}
    for _ in range(ROUNDS):
        moved = False
        for group, n in sizes.items():
            gain = _gain(group, n, A, B, table, orders, parameters)
            order = linear_sum_assignment(gain, maximize=True)[1]
            before = float(gain[np.arange(n), orders[group]].sum())
            if float(gain[np.arange(n), order].sum()) > before + 1e-12 * abs(before):
                orders[group], moved = order, True
        if not moved:
            break
    result = {name: tensor.detach().clone() for name, tensor in b.items()}
    for name, found in table.items():
        result[name] = torch.as_tensor(_permuted(B[name], found, orders)).to(b[name])
    _prove(module, b, result, inputs)
    return result


def _with_tied(module: torch.nn.Module, table: Mapping[str, Axes]) -> dict[str, Axes]:
    """Axes that a module has for one name of a tensor for its other names too; of those that disagree none."""
    names: dict[int, list[str]] = {}
    for name, tensor in module.state_dict(keep_vars=True).items():
        names.setdefault(id(tensor), []).append(name)
    found = dict(table)
    for group in names.values():
        known = [table[name] for name in group if name in table]
        if len(group) > 1 and known:
            if any(axes != known[0] for axes in known):
                found = _in_order(found, known)
            else:
                found |= {name: known[0] for name in group}
    return found


def _in_order(table: Mapping[str, Axes], of: Iterable[Axes]) -> dict[str, Axes]:
    """A table in which the units that some axes count stay in their order."""
    fixed = {axis.group for axes in of for axis in axes if axis is not None}
    return {n: [None if a is None or a.group in fixed else a for a in axes] for n, axes in table.items()}


def _without(table: Mapping[str, Axes], names: Collection[str]) -> dict[str, Axes]:
    """A table without some tensors, whose units stay in their order."""
    found = _in_order(table, [axes for name, axes in table.items() if name in names])
    return {name: axes for name, axes in found.items() if name not in names}


def _sizes(table: Mapping[str, Axes], tensors: Mapping[str, np.ndarray]) -> dict[str, int]:
    """How many units each group has."""
    sizes = {}
    for name, axes in table.items():
        for axis, length in zip(axes, tensors[name].shape, strict=True):
            if axis is not None:
                sizes[axis.group] = length // (axis.outer * axis.inner)
    return {group: n for group, n in sizes.items() if n > 1}


def _index(order: np.ndarray, outer: int, inner: int) -> np.ndarray:
    """(outer · n · inner,): the places of an axis when its units are in another order."""
    places = np.arange(outer * len(order) * inner).reshape(outer, len(order), inner)
    index: np.ndarray = places[:, order].ravel()
    return index


def _permuted(tensor: np.ndarray, axes: Axes, orders: Mapping[str, np.ndarray], but: int | None = None) -> np.ndarray:
    """A tensor with its units in other orders, along all axes but one."""
    for k, axis in enumerate(axes):
        if axis is not None and axis.group in orders and k != but:
            tensor = np.take(tensor, _index(orders[axis.group], axis.outer, axis.inner), axis=k)
    return tensor


def _gain(
    group: str,
    n: int,
    A: Mapping[str, np.ndarray],
    B: Mapping[str, np.ndarray],
    table: Mapping[str, Axes],
    orders: Mapping[str, np.ndarray],
    parameters: set[str],
) -> np.ndarray:
    """(n, n): the product of a's weights of unit i and b's of unit j, the orders of other groups held."""
    gain = np.zeros((n, n))
    for name, axes in table.items():
        if name not in parameters:  # buffers follow
            continue
        for k, axis in enumerate(axes):
            if axis is None or axis.group != group:
                continue
            other = _permuted(B[name], axes, orders, but=k)
            rows = []
            for tensor in (A[name], other):
                parts = np.moveaxis(tensor, k, 0)
                split = parts.reshape(axis.outer, n, axis.inner, -1)
                rows.append(np.moveaxis(split, 1, 0).reshape(n, -1))
            gain += rows[0] @ rows[1].T
    return gain


def _prove(
    module: torch.nn.Module, before: Mapping[str, torch.Tensor], after: Mapping[str, torch.Tensor], inputs: Any
) -> None:
    """ValueError unless both states give the same outputs, in double precision."""
    exact = copied(module).double().eval()
    args, kwargs = arguments(mapped(lambda t: t.double() if t.is_floating_point() else t, inputs))
    found = []
    with torch.no_grad():
        for state in (before, after):
            exact.load_state_dict(dict(state))
            outputs = exact(*args, **kwargs)
            found.append(leaves(outputs if isinstance(outputs, (torch.Tensor, tuple, list, dict)) else vars(outputs)))
    for one, other in zip(*found, strict=True):
        if one.is_floating_point():
            apart, size = float((one - other).abs().max()), float(one.abs().max())
            if not apart <= SAME * max(size, 1e-300):
                raise ValueError(
                    f"the module's outputs change by {apart:.3g} of {size:.3g} when its hidden units are permuted: the "
                    "axes are not those of one group. Name them yourself: axes={'0.weight': ('hidden', None), …}"
                )
