"""FCP, the multilayer perceptron 784-50-50-10 without biases."""

from __future__ import annotations

from functools import partial
from typing import Any

from ..backend import Workspace
from .activations import RELU, SOFTPLUS, Activation
from .dense import MANY_ROWS, Pixels, as_they_are, first_dense, first_dense_backward, ink_only, whole_pixels
from .network import Network
from .parameters import Layout
from .products import matmul, rows_times, sum_over_rows, transposed

UNITS = 50
LAYOUT = Layout.of(
    ("fc1.weight", (UNITS, 784), 784), ("fc2.weight", (UNITS, UNITS), UNITS), ("fc3.weight", (10, UNITS), UNITS)
)
FIRST = LAYOUT.blocks[0].stop


def _forward(activation: Activation, work: Workspace, inputs: Pixels, Z1: Any, rest: Any) -> tuple[Any, Any]:
    """Map Z1 (P, N, 50) and the other layers' parameters (P, 3000) to logits (P, 10, N); also the backward pass."""
    xp, (n_points, n_images, _) = work.xp, Z1.shape
    W = LAYOUT.unpack(rest, FIRST)
    W2, W3 = W["fc2.weight"], W["fc3.weight"]
    A1 = activation.forward(work, "A1", Z1)  # 1
    Z2 = rows_times(xp, A1, transposed(work, "W2_T", W2), work("Z2", *A1.shape))  # 2
    A2 = activation.forward(work, "A2", Z2)  # 3
    # W3 is stored transposed and transposed back as a view: for few rows this product is twice as fast.
    W3_T = transposed(work, "W3_T", W3)
    Y = matmul(W3_T.swapaxes(1, 2), A2.swapaxes(1, 2), out=work("Y", n_points, 10, n_images))  # 4

    def backward(dY: Any) -> tuple[Any, Any]:
        """Map dY (P, 10, N) to dZ1 (P, N, 50) and d rest (P, 3000)."""
        d_rest = work("d_rest", *rest.shape)
        dW = LAYOUT.unpack(d_rest, FIRST)
        matmul(dY, A2, out=dW["fc3.weight"])  # 4
        dA2 = matmul(dY.swapaxes(1, 2), W3, out=work("dA2", *A2.shape))  # 4
        dZ2 = activation.backward(work, dA2, A2, Z2)  # 3
        sum_over_rows(xp, dZ2, A1, dW["fc2.weight"])  # 2
        dA1 = rows_times(xp, dZ2, W2, work("dA1", *A1.shape))  # 2
        return activation.backward(work, dA1, A1, Z1), d_rest  # 1

    return Y, backward


def network(variant: str) -> Network:
    """Return FCP with ReLU (``paper``) or softplus (``authors``)."""
    return Network(
        name="fcp",
        variant=variant,
        layout=LAYOUT,
        n_first=FIRST,
        chunk=2000,
        floats_per_image=6 * UNITS + 20,
        first_floats=UNITS,
        mixed_rows=MANY_ROWS,
        sorts=True,
        together=4,
        pack=ink_only,
        pack_batch=whole_pixels,
        open=as_they_are,
        first=partial(first_dense, units=UNITS),
        first_backward=first_dense_backward,
        forward=partial(_forward, RELU if variant == "paper" else SOFTPLUS),
    )
