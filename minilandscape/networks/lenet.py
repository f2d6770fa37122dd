"""LeNet: two 5×5 convolutions with average pooling, then 400-120-84-10, all with biases.

The paper pools before the activation, so that the kernels can be averaged first; the authors' code pools after it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ..backend import Workspace
from .activations import RELU, SOFTPLUS, average_softplus, average_softplus_backward
from .convolution import (
    CORNERS,
    convolve,
    convolve_backward_kernels,
    convolve_backward_strips,
    fold,
    pool,
    pool_backward,
    strips_shape,
    unfold,
    window_kernels,
    window_kernels_backward,
)
from .network import Network
from .parameters import Layout
from .products import matmul

LAYOUT = Layout.of(
    ("conv1.weight", (6, 1, 5, 5), 25),
    ("conv1.bias", (6,), 25),
    ("conv2.weight", (16, 6, 5, 5), 150),
    ("conv2.bias", (16,), 150),
    ("fc1.weight", (120, 400), 400),
    ("fc1.bias", (120,), 400),
    ("fc2.weight", (84, 120), 120),
    ("fc2.bias", (84,), 120),
    ("fc3.weight", (10, 84), 84),
    ("fc3.bias", (10,), 84),
)
FIRST = LAYOUT.blocks[1].stop


class Planes(NamedTuple):
    """N images, padded by 2.

    Attributes
    ----------
    X
        (1, 32, 1, 32, N); (P, 32, 1, 32, N) if each point has its own images.
    labels
        (N,) or (P, N).
    strips
        (1 or P, 32, 1, 6, 14, N), the windows of each row for the first layer; a work array.
    """

    X: Any
    labels: Any
    strips: Any = None


def _pack_batch(xp: Any, images: Any, labels: Any) -> Planes:
    n_images = images.shape[-2]
    images = images.reshape(-1, n_images, 28, 28)
    X = xp.zeros((len(images), 32, 1, 32, n_images), dtype=images.dtype)
    X[:, 2:30, 0, 2:30] = xp.moveaxis(images, 1, 3)
    return Planes(X, labels)


def _pack(xp: Any, images: np.ndarray, labels: np.ndarray, dtype: Any) -> Planes:
    return _pack_batch(xp, xp.asarray(images, dtype=dtype), xp.asarray(labels))


def _open(work: Workspace, inputs: Planes) -> Planes:
    return inputs._replace(strips=unfold(inputs.X, work("strips1", *strips_shape(inputs.X))))


def _first(averaged: bool, work: Workspace, inputs: Planes, rows: Any) -> Any:
    """Compute the first convolution, (R, 14, corners·6, 14, N), of weights and biases (R, 156)."""
    K = window_kernels(work.xp, rows[:, :150].reshape(len(rows), 6, 1, 5, 5), averaged)
    n_channels = K.shape[1]
    Z = work("first", len(rows), 14, n_channels, 14, inputs.strips.shape[-1])
    convolve(work.xp, K, inputs.strips, Z)
    return _add_bias(Z, rows[:, 150:])


def _first_backward(averaged: bool, work: Workspace, inputs: Planes, dZ: Any, into: Any) -> None:
    dK = convolve_backward_kernels(work, inputs.strips, dZ)
    into[:, :150] += window_kernels_backward(dK, _n_corners(averaged)).reshape(len(dZ), 150)
    into[:, 150:] += _bias_backward(dZ, 6)


def _n_corners(averaged: bool) -> int:
    """Return the number of convolution outputs kept for each pooling window."""
    return 1 if averaged else len(CORNERS)


def _add_bias(Z: Any, bias: Any) -> Any:
    """Add bias (P, O) to every corner of Z (P, h, corners·O, w, N)."""
    n_points, height, _, width, n_images = Z.shape
    by_corner = Z.reshape(n_points, height, -1, bias.shape[1], width * n_images)
    by_corner += bias[:, None, None, :, None]
    return Z


def _bias_backward(dZ: Any, n_out: int) -> Any:
    """Map dZ (P, h, corners·O, w, N) to d bias (P, O)."""
    n_points, height, n_channels, _, _ = dZ.shape
    return dZ.reshape(n_points, height * n_channels // n_out, n_out, -1).sum(axis=3).sum(axis=1)


def _relu(work: Workspace, name: str, Z: Any) -> tuple[Any, Callable[[Any], Any]]:
    """Return ReLU of Z, which is pooled already, and the backward pass."""
    A = RELU.forward(work, name, Z)
    return A, lambda dA: RELU.backward(work, dA, A, Z)


def _softplus_and_pool(work: Workspace, name: str, Z: Any) -> tuple[Any, Callable[[Any], Any]]:
    """Average softplus over the corners of Z (P, h, 4·C, w, N) to (P, h, C, w, N); also the backward pass."""
    n_points, height, _, *rest = Z.shape
    if work.xp is np:
        by_corner = Z.reshape(n_points, height, len(CORNERS), -1, *rest)
        X = average_softplus(work, name, by_corner)
        return X, lambda dX: average_softplus_backward(work, dX, by_corner).reshape(Z.shape)
    A = SOFTPLUS.forward(work, f"A_{name}", Z)
    return pool(work, name, A), lambda dX: SOFTPLUS.backward(work, pool_backward(work, f"dA_{name}", dX), A, Z)


def _forward(averaged: bool, work: Workspace, inputs: Planes, Z1: Any, rest: Any) -> tuple[Any, Any]:
    """Map Z1 (P, 14, corners·6, 14, N) and the other parameters to logits (P, 10, N); also the backward pass."""
    xp, n_points, n_images, n_corners = work.xp, Z1.shape[0], Z1.shape[-1], _n_corners(averaged)
    activation, activate = (RELU, _relu) if averaged else (SOFTPLUS, _softplus_and_pool)
    W = LAYOUT.unpack(rest, FIRST)
    K2 = window_kernels(xp, W["conv2.weight"], averaged)

    X2, activate1_backward = activate(work, "X2", Z1)  # 1, 2
    strips = unfold(X2, work("strips2", *strips_shape(X2)))  # 3
    Z2 = convolve(xp, K2, strips, work("Z2", n_points, 5, n_corners * 16, 5, n_images))  # 4
    _add_bias(Z2, W["conv2.bias"])
    X3, activate2_backward = activate(work, "X3", Z2)  # 5, 6
    F = work("F", n_points, 16, 5, 5, n_images)
    F[...] = X3.swapaxes(1, 2)  # 7: channels first, the order in which PyTorch flattens
    F = F.reshape(n_points, 400, n_images)

    def dense(name: str, X: Any) -> Any:
        Z = matmul(W[f"{name}.weight"], X, out=work(f"Z_{name}", n_points, W[f"{name}.bias"].shape[1], n_images))
        Z += W[f"{name}.bias"][:, :, None]
        return Z

    Z3 = dense("fc1", F)  # 8
    A3 = activation.forward(work, "A3", Z3)  # 9
    Z4 = dense("fc2", A3)  # 10
    A4 = activation.forward(work, "A4", Z4)  # 11
    Y = dense("fc3", A4)  # 12

    def backward(dY: Any) -> tuple[Any, Any]:
        """Map dY (P, 10, N) to dZ1, shaped as Z1, and d rest."""
        d_rest = work("d_rest", *rest.shape)
        dW = LAYOUT.unpack(d_rest, FIRST)

        def dense_backward(name: str, X: Any, dZ: Any) -> Any:
            matmul(dZ, X.swapaxes(1, 2), out=dW[f"{name}.weight"])
            dW[f"{name}.bias"][...] = dZ.sum(axis=2)
            return matmul(W[f"{name}.weight"].swapaxes(1, 2), dZ, out=work(f"dX_{name}", *X.shape))

        dA4 = dense_backward("fc3", A4, dY)  # 12
        dZ4 = activation.backward(work, dA4, A4, Z4)  # 11
        dA3 = dense_backward("fc2", A3, dZ4)  # 10
        dZ3 = activation.backward(work, dA3, A3, Z3)  # 9
        dF = dense_backward("fc1", F, dZ3)  # 8
        dX3 = work("dX3", *X3.shape)
        dX3[...] = dF.reshape(n_points, 16, 5, 5, n_images).swapaxes(1, 2)  # 7
        dZ2 = activate2_backward(dX3)  # 6, 5
        dW["conv2.bias"][...] = _bias_backward(dZ2, 16)  # 4
        dK2 = convolve_backward_kernels(work, strips, dZ2)
        dW["conv2.weight"][...] = window_kernels_backward(dK2, n_corners)
        d_strips = convolve_backward_strips(xp, K2, dZ2, work("d_strips2", *strips.shape))
        dX2 = fold(d_strips, work("dX2", *X2.shape))  # 3
        return activate1_backward(dX2), d_rest  # 2, 1

    return Y, backward


def network(variant: str) -> Network:
    """Return LeNet with pooling, then ReLU (``paper``), or with softplus, then pooling (``authors``)."""
    averaged = variant == "paper"
    return Network(
        name="lenet",
        variant=variant,
        layout=LAYOUT,
        n_first=FIRST,
        chunk=250,
        floats_per_image=20_000 if averaged else 40_000,
        first_floats=6 * 196 * _n_corners(averaged),
        mixed_rows=3,
        sorts=False,
        together=1,
        pack=_pack,
        pack_batch=_pack_batch,
        open=_open,
        first=partial(_first, averaged),
        first_backward=partial(_first_backward, averaged),
        forward=partial(_forward, averaged),
    )
