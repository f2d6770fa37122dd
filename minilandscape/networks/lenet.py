"""LeNet: two 5×5 convolutions with average pooling, then 400-120-84-10, all with biases.

The paper pools before the activation, so each pooling folds into its convolution (stride 2 over box means). The
authors' code pools after it, where nothing folds.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ..backend import Workspace
from .activations import RELU, SOFTPLUS
from .convolution import (
    average_pool,
    average_pool_backward,
    box_mean,
    box_mean_backward,
    fold,
    unfold,
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
    """N images: X (1, 1, H, W, N), padded by 2, as box means where the pooling is folded; labels (N,)."""

    X: Any
    labels: Any


def _pack_batch(folded: bool, xp: Any, images: Any, labels: Any) -> Planes:
    n_images = len(images)
    X = xp.zeros((1, 1, 32, 32, n_images), dtype=images.dtype)
    X[0, 0, 2:30, 2:30] = xp.moveaxis(images.reshape(n_images, 28, 28), 0, 2)
    return Planes(box_mean(Workspace(xp, X.dtype), "X", X) if folded else X, labels)


def _pack(folded: bool, xp: Any, images: np.ndarray, labels: np.ndarray, dtype: Any) -> Planes:
    return _pack_batch(folded, xp, xp.asarray(images, dtype=dtype), xp.asarray(labels))


def _first_columns(folded: bool, work: Workspace, inputs: Planes) -> tuple[Any, int]:
    """Patches (26, side²·N) of the images, the last row ones for the bias, and the side of the output."""
    columns = unfold(work, "columns1", inputs.X, stride=2 if folded else 1)
    side, n_images = columns.shape[4], columns.shape[6]
    with_ones = work("columns1_and_ones", 26, side * side * n_images)
    with_ones[:25] = columns.reshape(25, -1)
    with_ones[25] = 1
    return with_ones, side


def _first(folded: bool, work: Workspace, inputs: Planes, rows: Any) -> Any:
    """The first convolution of weights and biases (R, 156) -> (R, 6, side, side, N), pooled if folded."""
    columns, side = _first_columns(folded, work, inputs)
    W = work("W_first", len(rows), 6, 26)
    W[:, :, :25] = rows[:, :150].reshape(len(rows), 6, 25)
    W[:, :, 25] = rows[:, 150:]
    Z = work.xp.matmul(W, columns, out=work("first", len(rows), 6, columns.shape[1]))
    return Z.reshape(len(rows), 6, side, side, -1)


def _first_backward(folded: bool, work: Workspace, inputs: Planes, dZ: Any, into: Any) -> None:
    columns, _ = _first_columns(folded, work, inputs)
    dW = work.xp.matmul(dZ.reshape(len(dZ), 6, -1), columns.T)
    into[:, :150] += dW[:, :, :25].reshape(len(dW), 150)
    into[:, 150:] += dW[:, :, 25]


def _forward(folded: bool, work: Workspace, inputs: Planes, Z1: Any, rest: Any) -> tuple[Any, Any]:
    """Z1 (P, 6, side, side, N) and the other parameters -> logits (P, 10, N), and the backward pass."""
    xp, n_points, n_images = work.xp, Z1.shape[0], Z1.shape[-1]
    activation = RELU if folded else SOFTPLUS
    stride = 2 if folded else 1
    W = LAYOUT.unpack(rest, FIRST)
    W_conv = W["conv2.weight"].reshape(n_points, 16, 150)

    A1 = activation.forward(work, "A1", Z1)  # 1
    X2 = box_mean(work, "X2", A1) if folded else average_pool(work, "X2", A1)  # 2
    columns = unfold(work, "columns2", X2, stride)  # 3
    side = columns.shape[4]
    columns = columns.reshape(n_points, 150, -1)
    Z2 = xp.matmul(W_conv, columns, out=work("Z2", n_points, 16, columns.shape[2]))  # 4
    Z2 += W["conv2.bias"][:, :, None]
    A2 = activation.forward(work, "A2", Z2)  # 5
    if folded:
        F = A2.reshape(n_points, 400, n_images)
    else:
        F = average_pool(work, "F", A2.reshape(n_points, 16, side, side, n_images)).reshape(
            n_points, 400, n_images
        )  # 6

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
        if folded:
            dA2 = dF.reshape(A2.shape)
        else:
            dA2 = average_pool_backward(work, "dA2", dF.reshape(n_points, 16, 5, 5, n_images)).reshape(A2.shape)  # 6
        dZ2 = activation.backward(work, dA2, A2, Z2)  # 5
        dW["conv2.weight"][...] = xp.matmul(dZ2, columns.swapaxes(1, 2)).reshape(dW["conv2.weight"].shape)  # 4
        dW["conv2.bias"][...] = dZ2.sum(axis=2)
        d_columns = xp.matmul(W_conv.swapaxes(1, 2), dZ2, out=work("d_columns2", *columns.shape))  # 4
        d_columns = d_columns.reshape(n_points, 6, 5, 5, side, side, n_images)
        dX2 = fold(work, "dX2", d_columns, X2.shape[2], X2.shape[3], stride)  # 3
        dA1 = (box_mean_backward if folded else average_pool_backward)(work, "dA1", dX2)  # 2
        return activation.backward(work, dA1, A1, Z1), d_rest  # 1

    return Y, backward


def network(variant: str) -> Network:
    """LeNet with pooling, then ReLU (``paper``), or softplus, then pooling (``authors``)."""
    folded = variant == "paper"
    return Network(
        name="lenet",
        variant=variant,
        layout=LAYOUT,
        n_first=FIRST,
        chunk=250,
        floats_per_image=15_000 if folded else 50_000,
        sorts=False,
        pack=partial(_pack, folded),
        pack_batch=partial(_pack_batch, folded),
        first=partial(_first, folded),
        first_backward=partial(_first_backward, folded),
        forward=partial(_forward, folded),
    )
