"""The floating-point operations of a traced JAX function: those of products and convolutions."""

from __future__ import annotations

from math import prod
from typing import Any

from ..landscape import CONVOLUTION


def operations_of(jaxpr: Any) -> float:
    """Count the operations of a jaxpr, those of convolutions as many times as they take longer.

    Loops of unknown length count once, of several branches the longest.
    """
    return sum(_of_equation(equation) for equation in jaxpr.eqns)


def _of_equation(equation: Any) -> float:
    name, out = equation.primitive.name, equation.outvars[0].aval
    if name == "dot_general":
        (contracted, _), _ = equation.params["dimension_numbers"]
        return 2.0 * prod(out.shape) * prod(equation.invars[0].aval.shape[axis] for axis in contracted)
    if name == "conv_general_dilated":
        kernel, numbers = equation.invars[1].aval.shape, equation.params["dimension_numbers"]
        return CONVOLUTION * 2.0 * prod(out.shape) * prod(kernel) / kernel[numbers.rhs_spec[0]]
    inner = [operations_of(each) for each in _inside(equation.params)]
    if name == "cond":
        return max(inner, default=0.0)
    return sum(inner) * (equation.params["length"] if name == "scan" else 1)


def _inside(parameters: Any) -> list[Any]:
    """The jaxprs among the parameters of an equation: those of loops, branches and calls."""
    values = [v for value in parameters.values() for v in (value if isinstance(value, (tuple, list)) else (value,))]
    closed = [getattr(value, "jaxpr", value) for value in values]
    return [each for each in closed if hasattr(each, "eqns")]
