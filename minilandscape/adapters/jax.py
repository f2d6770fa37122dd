"""JAX: a function of a vector as a landscape, differentiated, vectorised over points and compiled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from ..landscape import LandscapeDefaults, LandscapeError, describe_point, read_stack


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
        self._leaves = [np.array(leaf) if _floating(leaf) else leaf for _, leaf in with_paths]
        blocks, start = [], 0
        for name, leaf in zip(self._names, self._leaves, strict=True):
            if _floating(leaf):
                last = name.rstrip("']").endswith("kernel")  # flax has (…, in, out), others (out, in, …)
                blocks.append(Part(name, leaf.shape, start, start + leaf.size, -1 if last else 0))
                start += leaf.size
        if not start:
            raise ValueError(f"{type(tree).__name__} holds no floating array; expected a tree of parameters")
        self.size, self.blocks = start, tuple(blocks)

    def vector(self, tree: Any) -> np.ndarray:
        """(D,)."""
        leaves = self._leaves if tree is None else self._checked(tree)
        return np.concatenate([np.asarray(leaf, dtype=np.float64).ravel() for leaf in leaves if _floating(leaf)])

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
            if _floating(own):
                if not _floating(leaf) or np.shape(leaf) != own.shape:
                    raise ValueError(f"{name} has shape {np.shape(leaf)}; expected {own.shape}, of floating numbers")
            elif not (own is leaf or np.array_equal(own, leaf)):
                raise ValueError(f"{name} is no coordinate, and not the landscape's; the value would be another")
        return [leaf for _, leaf in with_paths]

    def filled(self, x: Any, exact: bool = True) -> Any:
        """The tree of a vector (D,), in the vector's precision, or in that which each array had."""
        leaves, blocks = list(self._leaves), iter(self.blocks)
        for k, leaf in enumerate(self._leaves):
            if _floating(leaf):
                block = next(blocks)
                part = x[block.start : block.stop].reshape(block.shape)
                leaves[k] = part if exact else jax.numpy.asarray(part, dtype=leaf.dtype)
        return jax.tree_util.tree_unflatten(self._structure, leaves)


def _floating(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and hasattr(leaf, "shape") and jax.numpy.issubdtype(leaf.dtype, jax.numpy.floating)


class JaxLandscape(LandscapeDefaults):
    """``f(x) -> value`` written with ``jax.numpy``, over stacks of points.

    Parameters
    ----------
    f
        A function of one point (D,), or of a tree of parameters, which JAX can differentiate and compile. It returns
        one real number.
    size
        D; or a tree of parameters, such as flax's ``variables["params"]`` or an equinox module, whose floating arrays
        are the coordinates in the order of ``jax.tree_util.tree_leaves``. What else is in it stays as it is.

    Attributes
    ----------
    blocks
        The arrays of the tree: ``name``, ``shape``, ``start`` and ``stop`` of each; none of a function of a vector.

    Raises
    ------
    ValueError
        If the size is no whole number from 1 on, or the tree holds no floating array.
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

    Of a tree of parameters:

    >>> tree = {"w": jnp.ones((2, 3)), "b": jnp.zeros(3)}
    >>> land = JaxLandscape(lambda p: jnp.sum(p["w"] ** 2) + jnp.sum(p["b"]), tree)
    >>> land.vector(tree)
    array([0., 0., 0., 1., 1., 1., 1., 1., 1.], dtype=float32)
    >>> land.tree(np.ones(9))["w"].shape
    (2, 3)
    """

    names_points = True

    def __init__(self, f: Callable[[Any], Any], size: Any) -> None:
        if not callable(f):
            raise TypeError(f"f is {type(f).__name__}; expected a function of a point")
        self._tree = None if isinstance(size, (int, float, np.number)) else Tree(size)
        if self._tree is not None:
            self.size, self.blocks = self._tree.size, self._tree.blocks
        elif isinstance(size, (int, np.integer)) and size >= 1:
            self.size, self.blocks = int(size), ()
        else:
            raise ValueError(
                f"size is {size!r}; expected the number of coordinates, a whole number from 1 on, or a tree"
            )
        self._f = f
        self.forget()

    def vector(self, tree: Any = None) -> np.ndarray:
        """Read a vector (D,) from a tree of parameters.

        Parameters
        ----------
        tree
            None takes the one that the landscape was made with.

        Returns
        -------
        ndarray
            (D,), the floating arrays in the order of ``jax.tree_util.tree_leaves``.

        Raises
        ------
        ValueError
            If its names or shapes are not those of the landscape's tree, or what is no coordinate in it differs.
        TypeError
            If the landscape is of a function of a vector.

        Examples
        --------
        >>> import jax.numpy as jnp, numpy as np
        >>> from minilandscape.adapters.jax import JaxLandscape
        >>> land = JaxLandscape(lambda p: jnp.sum(p["w"] ** 2), {"w": jnp.ones((2, 2))})
        >>> land.vector({"w": jnp.arange(4.0).reshape(2, 2)})
        array([0., 1., 2., 3.], dtype=float32)
        """
        return self._own_tree().vector(tree).astype(self.dtype)

    def tree(self, vector: Any) -> Any:
        """Make the tree of parameters of a vector, each array in the precision that it had.

        Parameters
        ----------
        vector
            (D,).

        Returns
        -------
        tree
            With the structure of the landscape's own.

        Raises
        ------
        ValueError
            If the vector has another shape.
        TypeError
            If the landscape is of a function of a vector.

        Examples
        --------
        >>> import jax.numpy as jnp, numpy as np
        >>> from minilandscape.adapters.jax import JaxLandscape
        >>> land = JaxLandscape(lambda p: jnp.sum(p["w"] ** 2), {"w": jnp.ones((2, 2))})
        >>> land.tree([0, 1, 2, 3])["w"].tolist()
        [[0.0, 1.0], [2.0, 3.0]]
        """
        return self._own_tree().filled(read_stack(np.asarray(vector)[None], self.size, self.dtype)[0], exact=False)

    def _own_tree(self) -> Tree:
        if self._tree is None:
            raise TypeError(
                "the landscape is of a function of a vector; give a tree of parameters in place of the size"
            )
        return self._tree

    def _value(self, x: Any) -> Any:
        return self._f(x if self._tree is None else self._tree.filled(x))

    @property
    def dtype(self) -> np.dtype:  # type: ignore[override]
        """float32, or float64 where JAX is told to compute so."""
        return np.dtype(jax.numpy.zeros(0).dtype)

    def forget(self) -> None:
        """Drop what was compiled, and with it the numbers that f found outside of its argument.

        Examples
        --------
        >>> import jax.numpy as jnp
        >>> from minilandscape.adapters.jax import JaxLandscape
        >>> scale = 1.0
        >>> land = JaxLandscape(lambda x: scale * jnp.sum(x), size=2)
        >>> float(land.values([[1.0, 1.0]])[0])
        2.0
        >>> scale = 10.0
        >>> land.forget()
        >>> float(land.values([[1.0, 1.0]])[0])
        20.0
        """
        if hasattr(self._f, "clear_cache"):  # compiled by jax.jit already
            self._f.clear_cache()
        # Functions of their own: JAX keeps what it compiled by function.
        self._values = jax.jit(jax.vmap(lambda x: self._value(x)))
        self._both = jax.jit(jax.vmap(jax.value_and_grad(lambda x: self._value(x))))

        def product(x: Any, v: Any) -> Any:
            return jax.jvp(jax.grad(lambda x: self._value(x)), (x,), (v,))[1]

        self._products = jax.jit(jax.vmap(product, in_axes=(None, 0)))

    def values(self, points: Any) -> np.ndarray:
        """Compute the value at some points.

        Parameters
        ----------
        points
            (P, D).

        Returns
        -------
        ndarray
            (P,), in float64.

        Raises
        ------
        LandscapeError
            If f raises or returns other than one real number; it names the point.

        Examples
        --------
        >>> import jax.numpy as jnp, numpy as np
        >>> from minilandscape.adapters.jax import JaxLandscape
        >>> land = JaxLandscape(lambda x: jnp.sum(x**2), size=3)
        >>> land.values(np.ones((2, 3)))
        array([3., 3.])
        """
        padded, n = self._padded(points)
        return self._numbers(self._called(self._values, padded), padded, n)

    def values_and_gradients(self, points: Any) -> tuple[np.ndarray, np.ndarray]:
        """Compute the value and the gradient at some points.

        Parameters
        ----------
        points
            (P, D).

        Returns
        -------
        values, gradients : ndarray
            (P,) in float64, and (P, D) in the landscape's precision.

        Raises
        ------
        LandscapeError
            If f raises or returns other than one real number; it names the point.

        Examples
        --------
        >>> import jax.numpy as jnp, numpy as np
        >>> from minilandscape.adapters.jax import JaxLandscape
        >>> land = JaxLandscape(lambda x: jnp.sum(x**2), size=3)
        >>> values, gradients = land.values_and_gradients(np.ones((1, 3)))
        >>> values.tolist(), gradients.tolist()
        ([3.0], [[2.0, 2.0, 2.0]])
        """
        padded, n = self._padded(points)
        values, gradients = self._called(self._both, padded)
        return self._numbers(values, padded, n), np.array(gradients)[:n]

    def hessian_products(self, point: Any, vectors: Any) -> np.ndarray:
        """Compute exact products of the Hessian at a point with some vectors, forward over reverse.

        Parameters
        ----------
        point
            (D,).
        vectors
            (V, D).

        Returns
        -------
        ndarray
            (V, D): H v of each row v.

        Raises
        ------
        LandscapeError
            If f raises; it names the point.

        Examples
        --------
        >>> import jax.numpy as jnp, numpy as np
        >>> from minilandscape.adapters.jax import JaxLandscape
        >>> land = JaxLandscape(lambda x: jnp.sum(x**2), size=3)
        >>> land.hessian_products(np.ones(3), np.eye(3)[:1]).tolist()
        [[2.0, 0.0, 0.0]]
        """
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
