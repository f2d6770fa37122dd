"""A tree of parameters of JAX as a vector of its floating arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np


@dataclass(frozen=True)
class Part:
    """One array of a tree: its place in a vector, and the axis that counts its filters."""

    name: str
    shape: tuple[int, ...]
    start: int
    stop: int
    filter_axis: int


class Tree:
    """A tree of parameters as a vector of its floating arrays.

    Attributes
    ----------
    size, blocks
        D, and the arrays in their order.
    """

    def __init__(self, tree: Any) -> None:
        with_paths, self._structure = jax.tree_util.tree_flatten_with_path(tree)
        self._names = [jax.tree_util.keystr(path) for path, _ in with_paths]
        self._leaves = [np.array(leaf) if is_floating(leaf) else leaf for _, leaf in with_paths]
        axes = _filter_axes([path[:-1] for path, _ in with_paths], self._names, self._leaves)
        blocks, start = [], 0
        for name, leaf, axis in zip(self._names, self._leaves, axes, strict=True):
            if is_floating(leaf):
                blocks.append(Part(name, leaf.shape, start, start + leaf.size, axis))
                start += leaf.size
        if not start:
            raise ValueError(f"{type(tree).__name__} holds no floating array; expected a tree of parameters")
        self.size, self.blocks = start, tuple(blocks)

    def vector(self, tree: Any) -> np.ndarray:
        """(D,)."""
        leaves = self._leaves if tree is None else self._checked(tree)
        coordinates = [leaf for own, leaf in zip(self._leaves, leaves, strict=True) if is_floating(own)]
        return np.concatenate([np.asarray(leaf, dtype=np.float64).ravel() for leaf in coordinates])

    def _checked(self, tree: Any) -> list[Any]:
        structure: Any
        with_paths, structure = jax.tree_util.tree_flatten_with_path(tree)
        names = [jax.tree_util.keystr(path) for path, _ in with_paths]
        if names != self._names or structure != self._structure:
            missing = [name for name in self._names if name not in names]
            more = [name for name in names if name not in self._names]
            what = f"missing {missing[:4]}, unexpected {more[:4]}" if missing or more else "another structure"
            raise ValueError(f"the tree is not the landscape's: {what}")
        for name, own, (_, leaf) in zip(names, self._leaves, with_paths, strict=True):
            if is_floating(own):
                if not is_floating(leaf) or np.shape(leaf) != own.shape:
                    raise ValueError(f"{name} has shape {np.shape(leaf)}; expected {own.shape}, of floating numbers")
            elif not (own is leaf or _same(own, leaf)):
                raise ValueError(
                    f"{name} is no coordinate, and not the landscape's: the loss may be another. "
                    "Leave it out of the tree where the loss does without, or make the landscape with the other's"
                )
        return [leaf for _, leaf in with_paths]

    def filled(self, x: Any, exact: bool = True) -> Any:
        """The tree of a vector (D,), in the vector's precision, or in that which each array had."""
        leaves, blocks = list(self._leaves), iter(self.blocks)
        for k, leaf in enumerate(self._leaves):
            if is_floating(leaf):
                block = next(blocks)
                part = x[block.start : block.stop].reshape(block.shape)
                leaves[k] = part if exact else jax.numpy.asarray(part, dtype=leaf.dtype)
        return jax.tree_util.tree_unflatten(self._structure, leaves)


def _filter_axes(parents: list[Any], names: list[str], leaves: list[Any]) -> list[int]:
    """Find the axis of each array that counts its units: 0 for (out, in, …), −1 for (…, in, out).

    A bias beside an array has as many numbers as there are units. Where none tells, the axis is that of the other
    arrays if these agree, and 0 if not. A ``kernel``, as flax has it, is (…, in, out).
    """
    beside: dict[Any, set[int]] = {}
    for parent, leaf in zip(parents, leaves, strict=True):
        if _ndim(leaf) == 1:
            beside.setdefault(parent, set()).add(leaf.size)
    told = [
        _told(name, leaf, beside.get(parent, set())) for parent, name, leaf in zip(parents, names, leaves, strict=True)
    ]
    known = {axis for axis in told if axis is not None}
    common = known.pop() if len(known) == 1 else 0
    return [common if axis is None else axis for axis in told]


def _told(name: str, leaf: Any, biases: set[int]) -> int | None:
    """The axis that counts units: by the name, or the only one of the first and last as long as a bias; else None."""
    if _ndim(leaf) < 2:
        return None
    if name.rstrip("']").endswith("kernel"):
        return -1
    fits = [axis for axis in (0, -1) if leaf.shape[axis] in biases]
    return fits[0] if len(fits) == 1 else None


def _ndim(leaf: Any) -> int:
    return len(leaf.shape) if is_floating(leaf) else 0


def _same(a: Any, b: Any) -> bool:
    """Whether two leaves that are no coordinates are alike."""
    if is_key(a) and is_key(b):
        return bool(a.dtype == b.dtype and np.array_equal(jax.random.key_data(a), jax.random.key_data(b)))
    return not (is_key(a) or is_key(b)) and np.array_equal(a, b)


def is_key(leaf: Any) -> bool:
    """Whether a leaf of a tree is an array of random keys, which NumPy cannot read."""
    return hasattr(leaf, "dtype") and jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def is_floating(leaf: Any) -> bool:
    """Whether a leaf of a tree is an array of floating numbers."""
    return hasattr(leaf, "dtype") and hasattr(leaf, "shape") and jax.numpy.issubdtype(leaf.dtype, jax.numpy.floating)
