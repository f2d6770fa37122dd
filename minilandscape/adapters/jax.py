"""JAX: a function of a vector as a landscape, differentiated, vectorised over points and compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from ..landscape import LandscapeDefaults, LandscapeError, describe_point, read_stack


class JaxLandscape(LandscapeDefaults):
    """``f(x) -> value`` written with ``jax.numpy``, over stacks of points.

    Parameters
    ----------
    f
        A function of one point (D,), which JAX can differentiate and compile. It returns one real number.
    size
        D.

    Raises
    ------
    ValueError
        If the size is no whole number from 1 on.
    TypeError
        If f is no function.
    LandscapeError
        On evaluation, if f raises or returns other than one real number; it names the point.

    Notes
    -----
    JAX computes in single precision unless ``jax.config.update("jax_enable_x64", True)`` was called; points arrive, and
    ``dtype`` is, in the precision that JAX has at the time of the call. Every number of points is compiled once, so
    they are padded to powers of two. JAX compiles in whatever numbers f finds outside of x; after a change of those
    call :meth:`forget`.

    Examples
    --------
    >>> import jax.numpy as jnp, numpy as np
    >>> from minilandscape.adapters.jax import JaxLandscape
    >>> land = JaxLandscape(lambda x: jnp.sum(x**2), size=3)
    >>> land.values(np.ones((2, 3)))
    array([3., 3.])
    """

    names_points = True

    def __init__(self, f: Callable[[Any], Any], size: int) -> None:
        if not callable(f):
            raise TypeError(f"f is {type(f).__name__}; expected a function of a point")
        if not isinstance(size, (int, np.integer)) or size < 1:
            raise ValueError(f"size is {size!r}; expected the number of coordinates, a whole number from 1 on")
        self.size, self._f = int(size), f
        self.forget()

    @property
    def dtype(self) -> np.dtype:  # type: ignore[override]
        """float32, or float64 where JAX is told to compute so."""
        return np.dtype(jax.numpy.zeros(0).dtype)

    def forget(self) -> None:
        """Drops what was compiled, and with it the numbers that f found outside of its argument."""
        if hasattr(self._f, "clear_cache"):  # compiled by jax.jit already
            self._f.clear_cache()
        # Functions of their own: JAX keeps what it compiled by function.
        self._values = jax.jit(jax.vmap(lambda x: self._f(x)))
        self._both = jax.jit(jax.vmap(jax.value_and_grad(lambda x: self._f(x))))

        def product(x: Any, v: Any) -> Any:
            return jax.jvp(jax.grad(lambda x: self._f(x)), (x,), (v,))[1]

        self._products = jax.jit(jax.vmap(product, in_axes=(None, 0)))

    def values(self, points: Any) -> np.ndarray:
        """(P, D) -> (P,)."""
        padded, n = self._padded(points)
        return self._numbers(self._called(self._values, padded), padded, n)

    def values_and_gradients(self, points: Any) -> tuple[np.ndarray, np.ndarray]:
        """(P, D) -> (P,), (P, D)."""
        padded, n = self._padded(points)
        values, gradients = self._called(self._both, padded)
        return self._numbers(values, padded, n), np.array(gradients)[:n]

    def hessian_products(self, point: Any, vectors: Any) -> np.ndarray:
        """Exact products with the Hessian at a point, forward over reverse: (D,), (V, D) -> (V, D)."""
        x = read_stack(np.asarray(point)[None], self.size, self.dtype)
        padded, n = self._padded(vectors)
        return np.array(self._called(lambda v: self._products(x[0], v), padded, x))[:n]

    def _padded(self, points: Any) -> tuple[np.ndarray, int]:
        points = read_stack(points, self.size, self.dtype)
        n = len(points)
        filled = points if n else np.zeros((1, self.size), dtype=self.dtype)
        return np.concatenate(
            [filled, np.repeat(filled[:1], (1 << max(n - 1, 0).bit_length()) - len(filled), axis=0)]
        ), n

    def _called(self, function: Callable[[Any], Any], points: np.ndarray, at: np.ndarray | None = None) -> Any:
        """The result of a function of a stack, at the first of its points or at another."""
        at = points if at is None else at
        try:
            return jax.block_until_ready(function(points))
        except Exception as error:
            head = str(error).strip().partition("\n")[0].rstrip(".")
            advice = ""
            if isinstance(error, jax.errors.ConcretizationTypeError | jax.errors.TracerArrayConversionError):
                advice = (
                    ". JAX compiles the function: write it with jax.numpy, and jax.numpy.where or jax.lax for what "
                    "depends on the point"
                )
            raise LandscapeError(
                f"the function raised {type(error).__name__} at {describe_point(at[0])}: {head}{advice}", at[0]
            ) from error

    def _numbers(self, values: Any, points: np.ndarray, n: int) -> np.ndarray:
        if not hasattr(values, "shape") or values.shape != (len(points),) or np.dtype(values.dtype).kind not in "fiu":
            what = f"shape {values.shape[1:]}, {values.dtype}" if hasattr(values, "shape") else type(values).__name__
            raise LandscapeError(
                f"the value at {describe_point(points[0])} is {what}; expected one real number", points[0]
            )
        return np.asarray(values, dtype=np.float64)[:n]
