"""JAX: a function of a vector as a landscape, differentiated, vectorised over points and compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from ..landscape import LandscapeDefaults


class JaxLandscape(LandscapeDefaults):
    """``f(x) -> value`` written with ``jax.numpy``, over stacks of points.

    Parameters
    ----------
    f
        A function of one point (D,), which JAX can differentiate and compile.
    size
        D.

    Notes
    -----
    JAX computes in single precision unless ``jax.config.update("jax_enable_x64", True)`` was called; points arrive in
    the precision that JAX then has. Every number of points is compiled once, so they are padded to powers of two.
    """

    def __init__(self, f: Callable[[Any], Any], size: int) -> None:
        self.size = size
        self.dtype = np.dtype(jax.numpy.zeros(1).dtype)
        self._values = jax.jit(jax.vmap(f))
        self._both = jax.jit(jax.vmap(jax.value_and_grad(f)))

    def values(self, points: Any) -> np.ndarray:
        """(P, D) -> (P,)."""
        points, n = self._padded(points)
        return np.asarray(self._values(points), dtype=np.float64)[:n]

    def values_and_gradients(self, points: Any) -> tuple[np.ndarray, np.ndarray]:
        """(P, D) -> (P,), (P, D)."""
        points, n = self._padded(points)
        values, gradients = self._both(points)
        return np.asarray(values, dtype=np.float64)[:n], np.asarray(gradients)[:n]

    def _padded(self, points: Any) -> tuple[np.ndarray, int]:
        points = np.asarray(points, dtype=self.dtype)
        if points.ndim != 2 or points.shape[1] != self.size:
            raise ValueError(f"points have shape {points.shape}; expected a stack (P, {self.size})")
        n = len(points)
        return np.concatenate([points, np.repeat(points[:1], (1 << (n - 1).bit_length()) - n, axis=0)]), n
