"""Flat parameter vectors: the place and the initial distribution of each tensor."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod, sqrt
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Block:
    """A tensor in a flat parameter vector.

    Attributes
    ----------
    name
        Its PyTorch name.
    shape
        Shape of the tensor, which is row-major in the vector.
    fan_in
        Its initial values are uniform on ±1/√fan_in, PyTorch's default.
    start, stop
        Its place in the vector.
    filter_axis
        The axis that counts units or output channels.
    """

    name: str
    shape: tuple[int, ...]
    fan_in: int
    start: int
    stop: int
    filter_axis: int = 0


@dataclass(frozen=True)
class Layout:
    """The tensors of a model in PyTorch's order: layer by layer, weight (out, in), then bias."""

    blocks: tuple[Block, ...]

    @classmethod
    def of(cls, *tensors: tuple[str, tuple[int, ...], int]) -> Layout:
        """Make a layout of tensors (name, shape, fan_in) in their order."""
        blocks, start = [], 0
        for name, shape, fan_in in tensors:
            blocks.append(Block(name, shape, fan_in, start, start + prod(shape)))
            start += prod(shape)
        return cls(tuple(blocks))

    @property
    def size(self) -> int:
        """Return D, the number of parameters."""
        return self.blocks[-1].stop

    def unpack(self, points: Any, start: int = 0) -> dict[str, Any]:
        """Return views (P, *shape) by name into points whose first parameter is number ``start``."""
        return {
            b.name: points[:, b.start - start : b.stop - start].reshape(len(points), *b.shape)
            for b in self.blocks
            if b.start >= start
        }

    def draw(self, rng: np.random.Generator, dtype: Any = np.float32) -> np.ndarray:
        """Draw a parameter vector (D,), each tensor uniform on ±1/√fan_in."""
        parts = [rng.uniform(-1 / sqrt(b.fan_in), 1 / sqrt(b.fan_in), b.stop - b.start) for b in self.blocks]
        return np.concatenate(parts).astype(dtype)
