"""SciPy: objectives of ``scipy.optimize.minimize`` as landscapes, and landscapes as objectives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..backend import to_device, to_host
from ..landscape import FunctionLandscape, as_landscape


def from_objective(fun: Callable[..., Any], size: int, args: Any = (), jac: Any = True) -> FunctionLandscape:
    """Make a landscape of an objective, as given to ``minimize(fun, x0, args, jac=jac)``.

    Parameters
    ----------
    fun
        ``fun(x, *args) -> (f, g)`` where ``jac`` is True, ``fun(x, *args) -> f`` otherwise.
    size
        D, the number of coordinates.
    args
        As in SciPy, what is no tuple is the one argument: ``args=2.0`` is ``args=(2.0,)``.
    jac
        True, or ``jac(x, *args) -> g``.

    Raises
    ------
    ValueError
        If ``jac`` is neither: a landscape has gradients.
    """
    arguments = args if isinstance(args, tuple) else (args,)
    if callable(jac):
        return FunctionLandscape(lambda x: fun(x, *arguments), size=size, gradient=lambda x: jac(x, *arguments))
    if not (isinstance(jac, bool | np.bool_) and jac):
        raise ValueError(f"jac is {jac!r}; expected True, where fun returns (f, g), or a function that returns g")
    return FunctionLandscape(lambda x: fun(x, *arguments), size=size)


def objective(landscape: Any) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
    """Make ``fun(x) -> (f, g)`` of a landscape, for ``minimize(fun, x0, jac=True)``, in float64."""

    def fun(x: np.ndarray) -> tuple[float, np.ndarray]:
        x = np.asarray(x, dtype=np.float64)
        land = as_landscape(landscape, x.size)
        values, gradients = land.values_and_gradients(to_device(x[None], land.device, land.dtype))
        return float(values[0]), to_host(gradients)[0].astype(np.float64)

    return fun
