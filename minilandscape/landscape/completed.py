"""Make a landscape of any object, adding defaults for missing methods and attributes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..backend import array_module, to_host
from .function import FunctionLandscape, real_numbers
from .protocol import (
    PATH_DEFAULTS,
    Evaluations,
    LandscapeDefaults,
    LandscapeError,
    Weights,
    describe_point,
)

#: Attributes and methods that are passed on unchanged where the object has them.
_TAKEN = (
    "size",
    "dtype",
    "device",
    "path_defaults",
    "narrow_minima",
    "quantity",
    "value_unit",
    "length_unit",
    "zero_modes",
    "residual",
    "forget",
)


class _Completed(LandscapeDefaults):
    """An object with the required methods of a landscape, with defaults for the optional ones.

    Every exception of its methods becomes a ``LandscapeError`` that names the point, so that a search keeps its best
    path.
    """

    names_points = True

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        for name in _TAKEN:
            if hasattr(inner, name):
                setattr(self, name, getattr(inner, name))
        if isinstance(self.size, bool) or not isinstance(self.size, (int, np.integer)) or self.size < 1:
            raise TypeError(f"size of {type(inner).__name__} is {self.size!r}; expected the number of coordinates")
        self.dtype = np.dtype(self.dtype)
        if self.dtype not in (np.float32, np.float64):
            raise TypeError(f"dtype of {type(inner).__name__} is {self.dtype}; expected float32 or float64")
        _check_path_defaults(inner, self.path_defaults)
        self.path_defaults = {**PATH_DEFAULTS, **self.path_defaults}
        for name in ("blocks", "network"):
            if hasattr(inner, name):
                setattr(self, name, getattr(inner, name))
        if getattr(inner, "hessian_products", None) is not None:
            self.hessian_products = self._hessian_products
        if getattr(inner, "batch_values_and_gradients", None) is not None and hasattr(inner, "n_samples"):
            self.n_samples = int(inner.n_samples)
            self.batch_values_and_gradients = self._batch_values_and_gradients
            if hasattr(inner, "batch_times"):
                self.batch_times = inner.batch_times

    def _hessian_products(self, point: Any, vectors: Any) -> Any:
        with _naming("hessian_products", point[None]):
            products = self._inner.hessian_products(point.copy(), vectors.copy())
        if array_module(products) is np:
            products = _numbers("Hessian-vector products", products, point[None]).astype(self.dtype, copy=False)
        if products.shape != vectors.shape:
            raise LandscapeError(
                f"hessian_products returned shape {products.shape}; expected {tuple(vectors.shape)}", point
            )
        return products

    def _batch_values_and_gradients(self, points: Any, indices: Any) -> tuple[np.ndarray, Any]:
        with _naming("batch_values_and_gradients", points):
            values, gradients = self._inner.batch_values_and_gradients(points.copy(), indices.copy())
        return _values("batch_values_and_gradients", values, points), self._gradients(gradients, points)

    def values(self, points: Any) -> np.ndarray:
        if not hasattr(self._inner, "values"):
            return self.values_and_gradients(points)[0]
        # A copy: the object may write into its argument.
        with _naming("values", points):
            values = self._inner.values(points.copy())
        return _values("values", values, points)

    def values_and_gradients(self, points: Any) -> tuple[np.ndarray, Any]:
        with _naming("values_and_gradients", points):
            values, gradients = self._inner.values_and_gradients(points.copy())
        return _values("values_and_gradients", values, points), self._gradients(gradients, points)

    def _gradients(self, gradients: Any, points: Any) -> Any:
        """Check and copy gradients; they stay on the device of the points."""
        if array_module(gradients) is np:
            gradients = _numbers("gradients", gradients, points).astype(self.dtype, copy=False)
        elif gradients.dtype.kind not in "fiu":
            raise LandscapeError(f"gradients are {gradients.dtype}; expected real numbers", points[0])
        else:
            gradients = gradients.copy()
        if gradients.shape != points.shape:
            raise LandscapeError(
                f"values_and_gradients returned gradients of shape {gradients.shape}; expected {tuple(points.shape)}",
                points[0],
            )
        return gradients

    def displacement(self, a: Any, b: Any) -> Any:
        if not hasattr(self._inner, "displacement"):
            return super().displacement(a, b)
        with _naming("displacement", a[None]):
            away = self._inner.displacement(a, b)
        if np.shape(away) != a.shape:
            raise LandscapeError(f"displacement returned shape {np.shape(away)}; expected {a.shape}", a)
        return away

    def span(self, basis: Any) -> Any:
        if not hasattr(self._inner, "span"):
            return super().span(basis)
        return _CompletedSpan(self._inner.span(basis))


class _CompletedSpan:
    """The span that an object provides; its errors name a point."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.replace, self.combine = inner.replace, inner.combine
        for name in ("refresh", "pulled_again"):
            if hasattr(inner, name):
                setattr(self, name, getattr(inner, name))

    @property
    def basis(self) -> Any:
        return self._inner.basis

    @property
    def evaluations(self) -> Evaluations:
        return self._inner.evaluations

    @evaluations.setter
    def evaluations(self, counts: Evaluations) -> None:
        self._inner.evaluations = counts

    def _first(self, coefficients: np.ndarray) -> Any:
        return to_host(np.asarray(coefficients[:1]) @ to_host(self._inner.basis))

    def values(self, coefficients: np.ndarray) -> np.ndarray:
        with _naming("span.values", coefficients, self._first):
            values = self._inner.values(coefficients)
        return _values("span.values", values, coefficients)

    def values_and_pullback(
        self, coefficients: np.ndarray, weights: Weights = None, rows: Sequence[int] | None = None
    ) -> tuple[np.ndarray, Any]:
        with _naming("span.values_and_pullback", coefficients, self._first):
            values, pullback = self._inner.values_and_pullback(coefficients, weights, rows)
        count, size = self._inner.basis.shape
        expected = (count if rows is None else len(rows), size)
        if np.shape(pullback) != expected:
            raise LandscapeError(
                f"span.values_and_pullback returned a pullback of shape {np.shape(pullback)}; expected {expected}"
            )
        return _values("span.values_and_pullback", values, coefficients), pullback


@contextmanager
def _naming(method: str, points: Any, first: Callable[[Any], Any] = lambda points: points[:1]) -> Iterator[None]:
    """Turn every exception of an object's method into a LandscapeError that names the first of its points."""
    try:
        yield
    except LandscapeError as error:
        if error.point is None and len(points) == 1:
            error.point = np.array(to_host(first(points))[0])
        raise
    except Exception as error:
        point = to_host(first(points))[0] if len(points) else None
        count = "" if len(points) == 1 else f" the first of {len(points)} points,"
        where = "" if point is None else f" at{count} {describe_point(point)}"
        raise LandscapeError(f"{method} raised {type(error).__name__}{where}: {error}", point) from error


def _numbers(name: str, result: Any, points: Any) -> np.ndarray:
    try:
        return real_numbers(result)
    except TypeError as error:
        raise LandscapeError(f"{name} are {error}; expected real numbers", points[0]) from None


def _values(method: str, values: Any, points: Any) -> np.ndarray:
    """Check and copy values (P,)."""
    values = _numbers(f"the values that {method} returned", values, points)
    if values.shape != (len(points),):
        raise LandscapeError(f"{method} returned values of shape {values.shape}; expected {(len(points),)}", points[0])
    return values


def _check_path_defaults(obj: Any, given: dict[str, Any]) -> None:
    """Raise ValueError where a default belongs to no option."""
    unknown = [name for name in given if name not in PATH_DEFAULTS]
    if unknown:
        known = ", ".join(PATH_DEFAULTS)
        raise ValueError(f"path_defaults of {type(obj).__name__} has {unknown[0]!r}; expected names of {known}")


def as_landscape(obj: Any, size: int | None = None) -> Any:
    """Make a landscape of an object, adding defaults for missing methods and attributes.

    Every public function calls this first, so that all of them accept plain functions.

    Parameters
    ----------
    obj
        A landscape, any object with ``size`` and ``values_and_gradients``, or a function ``f(x) -> (value, gradient)``.
    size
        Number of coordinates D; required for a function unless its first points tell, checked otherwise.

    Returns
    -------
    Landscape
        ``obj`` itself if it is a complete landscape, else a wrapper.

    Raises
    ------
    TypeError
        If the object is none of these.
    ValueError
        If the landscape has another number of coordinates than ``size``.

    Examples
    --------
    >>> import numpy as np
    >>> import minilandscape as ml
    >>> land = ml.as_landscape(lambda x: (np.sum(x**2), 2 * x), size=3)
    >>> land.values(np.ones((2, 3)))
    array([3., 3.])
    """
    if isinstance(obj, type):
        raise TypeError(f"{obj.__name__} is a class; expected an object of it, as {obj.__name__}() may make")
    if isinstance(obj, LandscapeDefaults) and (obj.names_points or type(obj) is LandscapeDefaults):
        landscape: Any = obj
        _check_path_defaults(obj, obj.path_defaults)
    elif hasattr(obj, "values_and_gradients") and hasattr(obj, "size"):
        landscape = _Completed(obj)
    elif callable(obj):
        landscape = FunctionLandscape(obj, size)
    else:
        raise TypeError(
            f"{type(obj).__name__} is no landscape: expected size and values_and_gradients(points), "
            "or a function of a point that returns (value, gradient)"
        )
    if size is not None and landscape.size not in (0, size):
        raise ValueError(f"the landscape has {landscape.size} coordinates, the point {size}")
    if size is not None and landscape.size == 0:  # a function whose first points would tell
        landscape.size = size
    return landscape
