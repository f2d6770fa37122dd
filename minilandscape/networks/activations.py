"""Activation functions, each with its backward pass; they overwrite their first argument where possible."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .. import cuda
from ..backend import Workspace


class Activation(NamedTuple):
    """An activation function and its backward pass.

    Attributes
    ----------
    forward
        ``forward(work, name, Z) -> A``: overwrites Z, or writes to the work array ``name`` if ``backward`` needs Z.
    backward
        ``backward(work, dA, A, Z) -> dZ``: overwrites dA; A and Z are as ``forward`` left them.
    """

    forward: Callable[[Workspace, str, Any], Any]
    backward: Callable[[Workspace, Any, Any, Any], Any]


def _relu(work: Workspace, name: str, Z: Any) -> Any:
    return work.xp.maximum(Z, work.zeros(*Z.shape), out=Z)


def _relu_backward(work: Workspace, dA: Any, A: Any, Z: Any) -> Any:
    if work.xp is np:
        dA *= A > 0
    else:
        cuda.elementwise("relu_backward", dA, A, dA)
    return dA


def _softplus(work: Workspace, name: str, Z: Any) -> Any:
    """Compute log(1 + e^z) as max(z, 0) + log(1 + e^−|z|)."""
    xp = work.xp
    if xp is not np:
        A = work(name, *Z.shape)
        cuda.elementwise("softplus", Z, A)
        return A
    A = xp.abs(Z, out=work(name, *Z.shape))
    xp.negative(A, out=A)
    xp.exp(A, out=A)
    if work.dtype == np.float64:
        xp.log1p(A, out=A)
    else:  # many times faster than log1p, and exact enough for a float32 sum with max(z, 0)
        A += 1
        xp.log(A, out=A)
    A += xp.maximum(Z, work.zeros(*Z.shape), out=work("softplus", *Z.shape))
    return A


def _softplus_backward(work: Workspace, dA: Any, A: Any, Z: Any) -> Any:
    """Multiply dA by the derivative, the logistic function e^z / (1 + e^z) = e^(z − softplus(z))."""
    xp = work.xp
    if xp is not np:
        cuda.elementwise("softplus_backward", dA, Z, A, dA)
        return dA
    slope = xp.subtract(Z, A, out=work("softplus", *Z.shape))
    xp.exp(slope, out=slope)
    dA *= slope
    return dA


RELU = Activation(_relu, _relu_backward)
SOFTPLUS = Activation(_softplus, _softplus_backward)
