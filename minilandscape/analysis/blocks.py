"""Named parameter blocks of a landscape, and landscapes restricted to some of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from ..backend import array_module, to_device
from ..landscape import LandscapeDefaults


def blocks_of(landscape: Any) -> Sequence[Any]:
    """List the named parameter blocks, each with ``name``, ``shape``, ``start`` and ``stop``; empty without names."""
    network = getattr(landscape, "network", None)
    found: Sequence[Any] = getattr(landscape, "blocks", None) or (() if network is None else network.layout.blocks)
    return found


def coordinates_of(landscape: Any, names: str | Sequence[str]) -> np.ndarray:
    """List the coordinates (d,) of blocks with some names, or that match some patterns, such as ``"conv1.*"``.

    Raises
    ------
    ValueError
        If there is no such block.
    """
    blocks = blocks_of(landscape)
    patterns = [names] if isinstance(names, str) else list(names)
    for pattern in patterns:
        if not any(fnmatchcase(block.name, pattern) for block in blocks):
            there = ", ".join(block.name for block in blocks) or "no named blocks"
            raise ValueError(f"block is {pattern!r}; the landscape has {there}")
    chosen = [block for block in blocks if any(fnmatchcase(block.name, pattern) for pattern in patterns)]
    return np.concatenate([np.arange(block.start, block.stop) for block in chosen])


class Restricted(LandscapeDefaults):
    """A landscape as a function of some of its coordinates, the others fixed at those of a point.

    Parameters
    ----------
    landscape
        As :func:`~minilandscape.landscape.as_landscape` returns it.
    point
        (D,).
    coordinates
        (d,): indices of the coordinates that vary.
    """

    names_points = True

    def __init__(self, landscape: Any, point: np.ndarray, coordinates: np.ndarray) -> None:
        self.size, self._landscape, self._coordinates = len(coordinates), landscape, coordinates
        self.dtype, self.device = landscape.dtype, landscape.device
        self.kinks = getattr(landscape, "kinks", ())
        self._point = to_device(point, self.device, self.dtype)

    def _whole(self, rows: Any, rest: Any) -> Any:
        """(P, d) -> (P, D)."""
        whole = array_module(rows).zeros((len(rows), self._point.size), dtype=rows.dtype) + rest
        whole[:, self._coordinates] = rows
        return whole

    def values(self, points: Any) -> np.ndarray:
        """(P, d) -> (P,)."""
        found: np.ndarray = self._landscape.values(self._whole(points, self._point))
        return found

    def values_and_gradients(self, points: Any) -> tuple[np.ndarray, Any]:
        """(P, d) -> (P,), (P, d)."""
        values, gradients = self._landscape.values_and_gradients(self._whole(points, self._point))
        return values, gradients[:, self._coordinates]

    @property
    def hessian_products(self) -> Callable[[Any, Any], Any] | None:
        """Exact products with the diagonal block of the Hessian; None where the landscape has no exact products."""
        inner = getattr(self._landscape, "hessian_products", None)
        if inner is None:
            return None
        return lambda point, vectors: inner(self._whole(point[None], self._point)[0], self._whole(vectors, 0))[
            :, self._coordinates
        ]
