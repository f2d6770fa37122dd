"""Any object as a landscape, with the defaults for what it lacks."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import to_host
from .function import FunctionLandscape
from .protocol import PATH_DEFAULTS, LandscapeDefaults, LandscapeError


class _Completed(LandscapeDefaults):
    """An object that has the required methods of a landscape, with the defaults for what it lacks."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        for name in ("size", "dtype", "device", "path_defaults", "span", "displacement", "zero_modes"):
            if hasattr(inner, name):
                setattr(self, name, getattr(inner, name))
        self.dtype = np.dtype(self.dtype)
        self.path_defaults = {**PATH_DEFAULTS, **self.path_defaults}

    def values(self, points: Any) -> np.ndarray:
        if not hasattr(self._inner, "values"):
            return self.values_and_gradients(points)[0]
        values = np.asarray(to_host(self._inner.values(points)), dtype=np.float64)
        if values.shape != (len(points),):
            raise LandscapeError(f"values returned shape {values.shape}; expected {(len(points),)}", points[0])
        return values

    def values_and_gradients(self, points: Any) -> tuple[np.ndarray, Any]:
        values, gradients = self._inner.values_and_gradients(points)
        values = np.asarray(to_host(values), dtype=np.float64)
        if not hasattr(gradients, "shape"):
            gradients = np.asarray(gradients)
        if values.shape != (len(points),) or gradients.shape != points.shape:
            raise LandscapeError(
                f"values_and_gradients returned shapes {values.shape} and {gradients.shape}; "
                f"expected {(len(points),)} and {tuple(points.shape)}",
                points[0],
            )
        return values, gradients


def as_landscape(obj: Any, size: int | None = None) -> Any:
    """The object as a landscape, with every default that it lacks.

    Parameters
    ----------
    obj
        A landscape, any object with ``size`` and ``values_and_gradients``, or a function ``f(x) -> (value, gradient)``.
    size
        D, for a function; checked otherwise.

    Raises
    ------
    TypeError
        If it is none of these.
    ValueError
        If its size is another.
    """
    if isinstance(obj, type):
        raise TypeError(f"{obj.__name__} is a class; expected an object of it, as {obj.__name__}() may make")
    if isinstance(obj, LandscapeDefaults):
        landscape: Any = obj
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
    if size is not None and landscape.size == 0:  # a function that was left to learn it from its points
        landscape.size = size
    return landscape
