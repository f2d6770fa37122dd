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
        blocks, start = [], 0
        for name, leaf in zip(self._names, self._leaves, strict=True):
            if is_floating(leaf):
                last = name.rstrip("']").endswith("kernel")  # flax has (…, in, out), others (out, in, …)
                blocks.append(Part(name, leaf.shape, start, start + leaf.size, -1 if last else 0))
                start += leaf.size
        if not start:
            raise ValueError(f"{type(tree).__name__} holds no floating array; expected a tree of parameters")
        self.size, self.blocks = start, tuple(blocks)

    def vector(self, tree: Any) -> np.ndarray:
        """(D,)."""
        leaves = self._leaves if tree is None else self._checked(tree)
        return np.concatenate([np.asarray(leaf, dtype=np.float64).ravel() for leaf in leaves if is_floating(leaf)])

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
            elif not (own is leaf or np.array_equal(own, leaf)):
                raise ValueError(f"{name} is no coordinate, and not the landscape's; the value would be another")
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


def is_floating(leaf: Any) -> bool:
    """Whether a leaf of a tree is an array of floating numbers."""
    return hasattr(leaf, "dtype") and hasattr(leaf, "shape") and jax.numpy.issubdtype(leaf.dtype, jax.numpy.floating)
