"""JAX: a function of a vector as a landscape, differentiated, vectorised over points and compiled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ..landscape import LandscapeDefaults, batch_times, read_stack
from .along import LOSS, TEST, AlongPath, check_metrics, load_along, measured_along
from .jax_compiled import OverSamples
from .jax_samples import Samples
from .jax_states import read_tree
from .jax_tree import Tree

__all__ = ["AlongPath", "JaxLandscape", "load_along"]

#: Seconds of a call with a mini-batch at each of six points on a CPU, besides the arithmetic.
CALL = 2.5e-3


class JaxLandscape(LandscapeDefaults):
    """``f(x)`` written with ``jax.numpy`` over stacks of points, or a loss over data, ``f(parameters, *data)``.

    Parameters
    ----------
    f
        A function of one point (D,), or of a tree of parameters, which JAX can differentiate and compile; with data, of
        these too. It returns one real number. Over data that is the mean over samples, such as a mean loss, or their
        sum. Other losses need ``batch=n``, the number of samples.
    size
        D; or a tree of parameters, such as flax's ``variables["params"]`` or an equinox module, whose floating arrays
        are the coordinates in the order of ``jax.tree_util.tree_leaves``. What else is in it stays as it is.
    data
        The samples that the loss is of: arrays whose first axis counts them. A tuple or list ``(inputs, targets)``
        gives f as many more arguments, an array or a dictionary of arrays one. They are copied. Searches then take
        little memory, and over many samples they start with mini-batches.
    batch
        Samples at a time at most, over all points together; bounds the memory.
    test
        Data in the same form, on which :meth:`measure` and :meth:`along` evaluate as well.
    metrics
        Name -> ``metric(parameters, *data)``, a mean over samples, such as the accuracy, for the same.

    Attributes
    ----------
    blocks
        The arrays of the tree: ``name``, ``shape``, ``start`` and ``stop`` of each; none of a function of a vector.
    n_samples
        Number of samples; 0 without data.

    Raises
    ------
    ValueError
        If the size is no whole number from 1 on, the tree holds no floating array, or the data differ in length; if,
        on a few samples, f or a metric cannot be evaluated, or f is no mean or sum and there is more than one batch.
    TypeError
        If f is no function, or data are no arrays.
    LandscapeError
        On evaluation, if f raises or returns other than one real number; it names the point.

    Notes
    -----
    JAX computes in single precision unless ``jax.config.update("jax_enable_x64", True)`` was called; points arrive, and
    ``dtype`` is, in the precision that JAX has at the time of the call. Every number of points is compiled once, so
    they are padded to powers of two. JAX compiles in whatever numbers f finds outside of its arguments; after a change
    of those call :meth:`forget`. Without data, points are evaluated together as long as intermediate results take no
    more than 1 GiB.

    Examples
    --------
    >>> import jax.numpy as jnp, numpy as np
    >>> from minilandscape.adapters.jax import JaxLandscape
    >>> land = JaxLandscape(lambda x: jnp.sum(x**2), size=3)
    >>> land.values(np.ones((2, 3)))
    array([3., 3.])

    A loss over data, of a tree of parameters:

    >>> def loss(parameters, inputs, targets):
    ...     return jnp.mean((inputs @ parameters["w"] + parameters["b"] - targets) ** 2)
    >>> tree = {"w": jnp.ones((2, 3)), "b": jnp.zeros(3)}
    >>> land = JaxLandscape(loss, tree, data=(jnp.ones((5, 2)), jnp.zeros((5, 3))))
    >>> land.vector(tree)
    array([0., 0., 0., 1., 1., 1., 1., 1., 1.], dtype=float32)
    >>> land.values(land.vector(tree)[None])
    array([4.])
    >>> land.tree(np.ones(9))["w"].shape
    (2, 3)
    """

    names_points = True

    def __init__(
        self,
        f: Callable[..., Any],
        size: Any,
        *,
        data: Any = None,
        batch: int = 1000,
        test: Any = None,
        metrics: Mapping[str, Callable[..., Any]] | None = None,
    ) -> None:
        if not callable(f):
            raise TypeError(f"f is {type(f).__name__}; expected a function of a point")
        if isinstance(batch, bool) or not isinstance(batch, (int, np.integer)) or batch < 1:
            raise ValueError(f"batch is {batch!r}; expected a whole number, at least 1")
        if data is None and (test is not None or metrics):
            raise ValueError("test data or metrics without data=; give the data that the loss is of")
        check_metrics(metrics)
        self._tree = None if isinstance(size, (int, float, np.number)) else Tree(size)
        if self._tree is not None:
            self.size, self.blocks = self._tree.size, self._tree.blocks
        elif isinstance(size, (int, np.integer)) and size >= 1:
            self.size, self.blocks = int(size), ()
        else:
            raise ValueError(
                f"size is {size!r}; expected the number of coordinates, a whole number from 1 on, or a tree"
            )
        if self._tree is not None or data is not None:  # a network's loss
            self.narrow_minima, self.quantity = True, LOSS
        self._functions = {LOSS: f, **(metrics or {})}
        self._clear_own_caches()
        tried = [] if data is None else self._points_to_try()
        samples = None if data is None else Samples(data)
        tests = None if test is None else Samples(test, "test")
        self.n_samples, self._n_test = (0 if each is None else each.n for each in (samples, tests))
        self._loss = self._over(samples, LOSS, tried, int(batch))
        self._measured = {} if samples is None else {LOSS: self._loss}
        for prefix, each in (("", samples), (TEST, tests)):
            names = [] if each is None else [name for name in self._functions if prefix + name != LOSS]
            self._measured |= {prefix + name: self._over(each, name, tried, int(batch)) for name in names}

    def _over(self, samples: Samples | None, name: str, tried: list[np.ndarray], batch: int) -> OverSamples:
        """Return the loss or a metric over samples, as a function of a point (D,)."""
        function, tree = self._functions[name], self._tree
        of_vector = function if tree is None else lambda x, *data: function(tree.filled(x), *data)
        own = "the function" if samples is None else "the loss"
        label = own if name == LOSS else f"the metric {name!r}"
        return OverSamples(of_vector, label, samples, tried, batch)

    def _points_to_try(self) -> list[np.ndarray]:
        """Points at which is found out how losses of parts of the samples add up: the tree's own, and others."""
        rng = np.random.default_rng(0)
        own = [] if self._tree is None else [self._tree.vector(None)]
        size = max(float(np.abs(own[0]).mean()) if own else 0.0, 0.1)
        return [x.astype(self.dtype) for x in (*own, *(size * rng.standard_normal((2, self.size))))]

    def __repr__(self) -> str:
        """One line: coordinates, precision and samples."""
        samples = f", {self.n_samples:,} samples" if self.n_samples else ""
        what = "coordinates" if self._tree is None else "parameters"
        return f"<JaxLandscape: {self.size:,} {what} in {self.dtype}{samples}>"

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

    def read(self, file: str | Path) -> np.ndarray:
        """Read a vector (D,) from a file of a checkpoint.

        Parameters
        ----------
        file
            ``.msgpack`` of ``flax.serialization``, a folder of Orbax, ``.eqx`` of equinox, ``.safetensors``, or
            ``.npz`` with an array for each name. The landscape's tree may be a part of what it holds, such as
            ``params``; the state of an optimiser is left out.

        Returns
        -------
        ndarray
            (D,), as :meth:`vector` makes it.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If the file cannot be read, its names or shapes are not those of the landscape's tree, several parts of it
            have them, it holds other arrays, such as running statistics, on which its loss may depend, or numbers that
            are not finite.
        TypeError
            If the landscape is of a function of a vector.

        Examples
        --------
        >>> import os, tempfile
        >>> import jax.numpy as jnp, numpy as np
        >>> from minilandscape.adapters.jax import JaxLandscape
        >>> land = JaxLandscape(lambda p: jnp.sum(p["dense"]["w"] ** 2), {"dense": {"w": jnp.ones((2, 2))}})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = os.path.join(folder, "a.npz")
        ...     np.savez(file, **{"params/dense/w": np.arange(4.0).reshape(2, 2)})
        ...     land.read(file)
        array([0., 1., 2., 3.], dtype=float32)
        """
        own = self._own_tree()
        like = own.filled(jax.numpy.asarray(own.vector(None).astype(self.dtype)))
        vector = self.vector(read_tree(file, like))
        if not np.isfinite(vector).all():
            raise ValueError(f"{file} holds numbers that are not finite")
        return vector

    def _own_tree(self) -> Tree:
        if self._tree is None:
            raise TypeError(
                "the landscape is of a function of a vector; give a tree of parameters in place of the size"
            )
        return self._tree

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
        self._clear_own_caches()
        for each in (self._loss, *self._measured.values()):
            each.forget()

    def _clear_own_caches(self) -> None:
        """Drop what the user's functions that :func:`jax.jit` returned have compiled."""
        for function in self._functions.values():
            if hasattr(function, "clear_cache"):
                function.clear_cache()

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
        return self._loss.values(read_stack(points, self.size, self.dtype))

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
        return self._loss.values_and_gradients(read_stack(points, self.size, self.dtype))

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
        x = read_stack(np.asarray(point)[None], self.size, self.dtype)[0]
        return self._loss.products(x, read_stack(vectors, self.size, self.dtype))

    @property
    def batch_values_and_gradients(self) -> Callable[[Any, Any], tuple[np.ndarray, np.ndarray]] | None:
        """Losses and gradients over mini-batches: a function of (P, D) and indices that returns (P,) and (P, D).

        Indices of samples are (B,), or (P, B) where every point has its own. Means and sums over samples are estimated
        without bias. None without data, and for a loss of all samples together.

        Examples
        --------
        >>> import jax.numpy as jnp, numpy as np
        >>> from minilandscape.adapters.jax import JaxLandscape
        >>> x = jnp.array([-1.0, 0.0, 1.0, 2.0])
        >>> land = JaxLandscape(lambda p, x, y: jnp.mean((p[0] * x + p[1] - y) ** 2), 2, data=(x, 2 * x))
        >>> values, gradients = land.batch_values_and_gradients([[2.0, 1.0], [1.0, 0.0]], [[0, 1], [2, 3]])
        >>> values.tolist(), gradients.tolist()
        ([1.0, 2.5], [[-1.0, 2.0], [-5.0, -3.0]])
        """
        return None if self._loss.samples is None or self._loss.addition.whole else self._few

    def _few(self, points: Any, indices: Any) -> tuple[np.ndarray, np.ndarray]:
        points, index = read_stack(points, self.size, self.dtype), np.asarray(indices, dtype=np.int64)
        return self._loss.values_and_gradients_of_few(points, np.broadcast_to(index, (len(points), index.shape[-1])))

    @property
    def batch_times(self) -> tuple[float, float]:
        """Seconds of the gradient of one sample at one point, and of a call with a mini-batch besides, estimated.

        From the floating-point operations of products and convolutions in f. Searches begin on mini-batches where these
        save time.

        Examples
        --------
        >>> import jax.numpy as jnp
        >>> from minilandscape.adapters.jax import JaxLandscape
        >>> W, x = jnp.ones((200, 200)), jnp.ones((500, 200))
        >>> JaxLandscape(lambda W, x: jnp.mean((x @ W) ** 2), W, data=x).batch_times
        (6e-06, 0.0025)
        """
        return batch_times(self._loss.operations, CALL, jax.default_backend() != "cpu")

    def measure(self, points: Any) -> dict[str, np.ndarray]:
        """Measure the loss and the metrics at some points, over the landscape's data and over its test data.

        Parameters
        ----------
        points
            (P, D).

        Returns
        -------
        dict
            Name -> (P,): ``"loss"`` and the metrics' own names, with ``"test "`` before over the test data.

        Raises
        ------
        TypeError
            If the landscape has no data.
        LandscapeError
            If f or a metric raise; it names the point.

        Examples
        --------
        >>> import jax.numpy as jnp, numpy as np
        >>> from minilandscape.adapters.jax import JaxLandscape
        >>> x = jnp.array([-1.0, 0.0, 1.0, 2.0])
        >>> land = JaxLandscape(
        ...     lambda p, x, y: jnp.mean((p[0] * x + p[1] - y) ** 2), 2, data=(x, 2 * x), test=(x[:1], x[:1])
        ... )
        >>> {name: values.tolist() for name, values in land.measure([[2.0, 0.0]]).items()}
        {'loss': [0.0], 'test loss': [1.0]}
        """
        if not self._measured:
            raise TypeError("the landscape has no data; give JaxLandscape(f, parameters, data=...)")
        points = read_stack(points, self.size, self.dtype)
        return {name: each.values(points) for name, each in self._measured.items()}

    def along(self, path: Any) -> AlongPath:
        """Measure the loss and the metrics along a path and the straight line, and at the average of its endpoints.

        They are measured at the path's sample points and at its maximum, over training and test data.

        Parameters
        ----------
        path : Path
            Of this landscape.

        Returns
        -------
        AlongPath

        Raises
        ------
        TypeError, LandscapeError
            As for :meth:`measure`.

        Examples
        --------
        >>> import jax.numpy as jnp, numpy as np
        >>> import minilandscape as ml
        >>> from minilandscape.adapters.jax import JaxLandscape
        >>> x = jnp.array([-1.0, 0.0, 1.0, 2.0])
        >>> land = JaxLandscape(
        ...     lambda p, x, y: jnp.mean((p[0] * x + p[1] - y) ** 2), 2, data=(x, 2 * x), test=(x[:1], x[:1])
        ... )
        >>> path = ml.find_path(land, [2.0, 0.0], [0.0, 0.0], "linear", n_points=5)
        >>> land.along(path).values["test loss"].round(4).tolist()
        [1.0, 0.25, 0.0, 0.25, 1.0]
        """
        n = {"n_samples": self.n_samples} | ({} if not self._n_test else {"n_test": self._n_test})
        return measured_along(self.measure, path, n)
