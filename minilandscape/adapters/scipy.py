"""SciPy: objectives of ``scipy.optimize.minimize`` as landscapes, and landscapes as objectives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..backend import to_device, to_host
from ..landscape import FunctionLandscape, as_landscape


def from_objective(fun: Callable[..., Any], size: int, args: Any = ()) -> FunctionLandscape:
    """Makes a landscape of ``fun(x, *args) -> (f, g)``, as given to ``minimize(fun, x0, args, jac=True)``.

    As in SciPy, ``args`` that are no tuple are the one argument: ``args=2.0`` is ``args=(2.0,)``.
    """
    arguments = args if isinstance(args, tuple) else (args,)
    return FunctionLandscape(lambda x: fun(x, *arguments), size=size)


def objective(landscape: Any) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
    """Makes ``fun(x) -> (f, g)`` of a landscape, for ``minimize(fun, x0, jac=True)``, in float64."""

    def fun(x: np.ndarray) -> tuple[float, np.ndarray]:
        x = np.asarray(x, dtype=np.float64)
        land = as_landscape(landscape, x.size)
        values, gradients = land.values_and_gradients(to_device(x[None], land.device, land.dtype))
        return float(values[0]), to_host(gradients)[0].astype(np.float64)

    return fun
