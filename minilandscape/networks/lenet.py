"""LeNet: two 5×5 convolutions with average pooling, then 400-120-84-10, all with biases.

The paper pools before the activation, so the kernels may be averaged first. The authors' code pools after it.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ..backend import Workspace
from .activations import RELU, SOFTPLUS
from .convolution import (
    fold,
    kernel_product,
    kernel_product_backward,
    pool,
    pool_backward,
    unfold,
    window_kernels,
    window_kernels_backward,
)
from .network import Network
from .parameters import Layout

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
        (1, 1, 32, 32, N); P in place of the first 1 where each point has images of its own.
    labels
        (N,) or (P, N).
    columns
        (1 or P, 37, 14·14·N): the windows that the first layer sees, and a row of ones for the bias; a work array.
    """

    X: Any
    labels: Any
    columns: Any = None


def _pack_batch(xp: Any, images: Any, labels: Any) -> Planes:
    n_images = images.shape[-2]
    images = images.reshape(-1, n_images, 28, 28)
    X = xp.zeros((len(images), 1, 32, 32, n_images), dtype=images.dtype)
    X[:, 0, 2:30, 2:30] = xp.moveaxis(images, 1, 3)
    return Planes(X, labels)


def _pack(xp: Any, images: np.ndarray, labels: np.ndarray, dtype: Any) -> Planes:
    return _pack_batch(xp, xp.asarray(images, dtype=dtype), xp.asarray(labels))


def _open(work: Workspace, inputs: Planes) -> Planes:
    n_sets, n_images = inputs.X.shape[0], inputs.X.shape[-1]
    columns = work("columns1", n_sets, 37, 14, 14, n_images)
    unfold(inputs.X, columns[:, :36].reshape(n_sets, 1, 6, 6, 14, 14, n_images))
    columns[:, 36] = 1
    return inputs._replace(columns=columns.reshape(n_sets, 37, -1))


def _first(averaged: bool, work: Workspace, inputs: Planes, rows: Any) -> Any:
    """The first convolution of weights and biases (R, 156) -> (R, corners, 6, 14, 14, N)."""
    K = window_kernels(work.xp, rows[:, :150].reshape(len(rows), 6, 1, 5, 5), averaged)
    n_corners = K.shape[1]
    W = work("W_first", len(rows), n_corners, 6, 37)
    W[..., :36] = K
    W[..., 36] = rows[:, None, 150:]
    W = W.reshape(len(rows), n_corners * 6, 37)
    Z = work("first", *W.shape[:2], inputs.columns.shape[2])
    kernel_product(work.xp, W, inputs.columns, 14 * 14, out=Z)
    return Z.reshape(len(rows), n_corners, 6, 14, 14, -1)


def _first_backward(work: Workspace, inputs: Planes, dZ: Any, into: Any) -> None:
    n_rows, n_corners = dZ.shape[:2]
    dZ = dZ.reshape(n_rows, n_corners * 6, -1)
    dW = kernel_product_backward(work.xp, inputs.columns, dZ, 14 * 14).reshape(n_rows, n_corners, 6, 37)
    into[:, :150] += window_kernels_backward(dW[..., :36]).reshape(n_rows, 150)
    into[:, 150:] += dW[..., 36].sum(axis=1)


def _forward(averaged: bool, work: Workspace, inputs: Planes, Z1: Any, rest: Any) -> tuple[Any, Any]:
    """Z1 (P, corners, 6, 14, 14, N) and the other parameters -> logits (P, 10, N), and the backward pass."""
    xp, n_points, n_corners, n_images = work.xp, Z1.shape[0], Z1.shape[1], Z1.shape[-1]
    activation = RELU if averaged else SOFTPLUS
    W = LAYOUT.unpack(rest, FIRST)
    K2 = window_kernels(xp, W["conv2.weight"], averaged).reshape(n_points, n_corners * 16, 216)

    A1 = activation.forward(work, "A1", Z1)  # 1
    X2 = pool(work, "X2", A1)  # 2
    columns = unfold(X2, work("columns2", n_points, 6, 6, 6, 5, 5, n_images))  # 3
    columns = columns.reshape(n_points, 216, -1)
    Z2 = work("Z2", n_points, n_corners * 16, columns.shape[2])
    kernel_product(xp, K2, columns, 5 * 5, out=Z2)  # 4
    Z2 = Z2.reshape(n_points, n_corners, 16, -1)
    Z2 += W["conv2.bias"][:, None, :, None]
    A2 = activation.forward(work, "A2", Z2)  # 5
    F = pool(work, "F", A2).reshape(n_points, 400, n_images)  # 6

    def dense(name: str, X: Any) -> Any:
        Z = xp.matmul(W[f"{name}.weight"], X, out=work(f"Z_{name}", n_points, W[f"{name}.bias"].shape[1], n_images))
        Z += W[f"{name}.bias"][:, :, None]
        return Z

    Z3 = dense("fc1", F)  # 7
    A3 = activation.forward(work, "A3", Z3)  # 8
    Z4 = dense("fc2", A3)  # 9
    A4 = activation.forward(work, "A4", Z4)  # 10
    Y = dense("fc3", A4)  # 11

    def backward(dY: Any) -> tuple[Any, Any]:
        """dY (P, 10, N) -> dZ1 like Z1, d rest."""
        d_rest = work("d_rest", *rest.shape)
        dW = LAYOUT.unpack(d_rest, FIRST)

        def dense_backward(name: str, X: Any, dZ: Any) -> Any:
            xp.matmul(dZ, X.swapaxes(1, 2), out=dW[f"{name}.weight"])
            dW[f"{name}.bias"][...] = dZ.sum(axis=2)
            return xp.matmul(W[f"{name}.weight"].swapaxes(1, 2), dZ, out=work(f"dX_{name}", *X.shape))

        dA4 = dense_backward("fc3", A4, dY)  # 11
        dZ4 = activation.backward(work, dA4, A4, Z4)  # 10
        dA3 = dense_backward("fc2", A3, dZ4)  # 9
        dZ3 = activation.backward(work, dA3, A3, Z3)  # 8
        dF = dense_backward("fc1", F, dZ3)  # 7
        dA2 = pool_backward(work, "dA2", dF.reshape(n_points, 16, -1), n_corners)  # 6
        dZ2 = activation.backward(work, dA2, A2, Z2)  # 5
        dW["conv2.bias"][...] = dZ2.sum(axis=3).sum(axis=1)  # 4
        dZ2 = dZ2.reshape(n_points, n_corners * 16, -1)
        # Not cut into blocks: 25 sums of 216 × 16 numbers would cost what the products gain.
        dK2 = xp.matmul(columns, dZ2.swapaxes(1, 2)).swapaxes(1, 2).reshape(n_points, n_corners, 16, 216)  # 4
        dW["conv2.weight"][...] = window_kernels_backward(dK2)
        d_columns = work("d_columns2", *columns.shape)
        kernel_product(xp, K2.swapaxes(1, 2), dZ2, 5 * 5, out=d_columns)  # 4
        d_columns = d_columns.reshape(n_points, 6, 6, 6, 5, 5, n_images)
        dX2 = fold(d_columns, work("dX2", n_points, 6, 14, 14, n_images))  # 3
        dA1 = pool_backward(work, "dA1", dX2, n_corners)  # 2
        return activation.backward(work, dA1, A1, Z1), d_rest  # 1

    return Y, backward


def network(variant: str) -> Network:
    """LeNet with pooling, then ReLU (``paper``), or softplus, then pooling (``authors``)."""
    averaged = variant == "paper"
    return Network(
        name="lenet",
        variant=variant,
        layout=LAYOUT,
        n_first=FIRST,
        chunk=250,
        floats_per_image=20_000 if averaged else 40_000,
        first_floats=6 * 196 * (1 if averaged else 4),
        mixed_rows=3,
        sorts=False,
        together=1,
        pack=_pack,
        pack_batch=_pack_batch,
        open=_open,
        first=partial(_first, averaged),
        first_backward=_first_backward,
        forward=partial(_forward, averaged),
    )
