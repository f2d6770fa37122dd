"""SciPy: objectives of ``scipy.optimize.minimize`` as landscapes, and landscapes as objectives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..backend import to_device, to_host
from ..landscape import FunctionLandscape, as_landscape


def from_objective(fun: Callable[..., Any], size: int, args: tuple[Any, ...] = ()) -> FunctionLandscape:
    """``fun(x, *args) -> (f, g)``, as given to ``minimize(fun, x0, args, jac=True)``, as a landscape."""
    return FunctionLandscape(lambda x: fun(x, *args), size=size)


def objective(landscape: Any) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
    """A landscape as ``fun(x) -> (f, g)`` for ``minimize(fun, x0, jac=True)``, in float64."""

    def fun(x: np.ndarray) -> tuple[float, np.ndarray]:
        land = as_landscape(landscape, x.size)
        values, gradients = land.values_and_gradients(to_device(x[None], land.device, land.dtype))
        return float(values[0]), to_host(gradients)[0].astype(np.float64)

    return fun
