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


def _exponentials(work: Workspace, Z: Any) -> Any:
    """Overwrite Z by e^min(z, limit); return z − min(z, limit), which is added to the softplus, or None if all are 0.

    Above the limit softplus is z to the last digit, and products of four of these do not overflow.
    """
    limit = np.log(np.finfo(work.dtype).max) / 4 - 1
    excess = None
    if not Z.max() <= limit:  # NaN as well
        capped = np.minimum(Z, limit, out=work("softplus", *Z.shape))
        excess = np.subtract(Z, capped, out=Z).copy()
        Z[...] = capped
    np.exp(Z, out=Z)
    return excess


def _softplus(work: Workspace, name: str, Z: Any) -> Any:
    """Compute log(1 + e^z); on a CPU Z is left as e^z."""
    A = work(name, *Z.shape)
    if work.xp is not np:
        cuda.elementwise("softplus", Z, A)
        return A
    excess = _exponentials(work, Z)
    np.add(Z, 1, out=A)
    np.log(A, out=A)  # many times faster than log1p; its error is that of a sum of the result with 1
    if excess is not None:
        A += excess
    return A


def _softplus_backward(work: Workspace, dA: Any, A: Any, Z: Any) -> Any:
    """Multiply dA by the derivative, the logistic function e^z / (1 + e^z)."""
    if work.xp is not np:
        cuda.elementwise("softplus_backward", dA, Z, A, dA)
        return dA
    slope = np.add(Z, 1, out=work("softplus", *Z.shape))
    np.divide(Z, slope, out=slope)
    dA *= slope
    return dA


def average_softplus(work: Workspace, name: str, Z: Any) -> Any:
    """Average softplus over an axis of four, (P, h, 4, …) -> (P, h, …), on a CPU; Z is left as e^z.

    The sum of log(1 + e^z) is the logarithm of a product: one for four numbers.
    """
    excess = _exponentials(work, Z)
    X = np.add(Z[:, :, 0], 1, out=work(name, *Z.shape[:2], *Z.shape[3:]))
    factor = work("softplus", *X.shape)
    for k in range(1, 4):
        X *= np.add(Z[:, :, k], 1, out=factor)
    np.log(X, out=X)
    if excess is not None:
        X += excess.sum(axis=2)
    X *= 0.25
    return X


def average_softplus_backward(work: Workspace, dX: Any, Z: Any) -> Any:
    """Map dX (P, h, …) of :func:`average_softplus`, overwritten, to dZ (P, h, 4, …), which overwrites Z."""
    dX *= 0.25
    factor = work("softplus", *dX.shape)
    for k in range(4):
        E = Z[:, :, k]
        E /= np.add(E, 1, out=factor)
        E *= dX
    return Z


RELU = Activation(_relu, _relu_backward)
SOFTPLUS = Activation(_softplus, _softplus_backward)
