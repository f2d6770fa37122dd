"""The autoencoder: 784-32-32 and 32-32-784, no biases, softplus, sigmoid output."""

from __future__ import annotations

from functools import partial
from typing import Any

from ..backend import Workspace
from .activations import SOFTPLUS, sigmoid
from .dense import Pixels, first_dense, first_dense_backward, ink_only, whole_pixels
from .network import Network
from .parameters import Layout

UNITS = 32
LAYOUT = Layout.of(
    ("encoder1.weight", (UNITS, 784), 784),
    ("encoder2.weight", (UNITS, UNITS), UNITS),
    ("decoder1.weight", (UNITS, UNITS), UNITS),
    ("decoder2.weight", (784, UNITS), UNITS),
)
FIRST = LAYOUT.blocks[0].stop


def _forward(work: Workspace, inputs: Pixels, Z1: Any, rest: Any) -> tuple[Any, Any]:
    """Z1 (P, N, 32) and the other layers' parameters -> reconstructions (P, N, 784), and the backward pass.

    The pixels of the reconstructions come in the order of ``inputs.order``, those that hold ink first.
    """
    xp, (n_points, n_images, _) = work.xp, Z1.shape
    W = LAYOUT.unpack(rest, FIRST)
    W2, W3, W4 = W["encoder2.weight"], W["decoder1.weight"], W["decoder2.weight"]
    if inputs.order is not None:
        W4 = W4[:, inputs.order]
    A1 = SOFTPLUS.forward(work, "A1", Z1)  # 1
    Z2 = xp.matmul(A1, W2.swapaxes(1, 2), out=work("Z2", *A1.shape))  # 2
    A2 = SOFTPLUS.forward(work, "A2", Z2)  # 3
    Z3 = xp.matmul(A2, W3.swapaxes(1, 2), out=work("Z3", *A2.shape))  # 4
    A3 = SOFTPLUS.forward(work, "A3", Z3)  # 5
    Y = xp.matmul(A3, W4.swapaxes(1, 2), out=work("Y", n_points, n_images, 784))  # 6
    sigmoid(xp, Y)  # 7

    def backward(dY: Any) -> tuple[Any, Any]:
        """dY (P, N, 784) = Y − target, overwritten like Y -> dZ1 (P, N, 32), d rest."""
        dY *= Y  # 7: y (1 − y)
        xp.subtract(1, Y, out=Y)
        dY *= Y
        d_rest = work("d_rest", *rest.shape)
        dW = LAYOUT.unpack(d_rest, FIRST)
        dW4 = xp.matmul(dY.swapaxes(1, 2), A3, out=work("dW4", *W4.shape))  # 6
        dW4 *= 2 / 784  # the derivative of the mean of squares, left out of dY
        if inputs.order is None:
            dW["decoder2.weight"][...] = dW4
        else:
            dW["decoder2.weight"][:, inputs.order] = dW4
        dA3 = xp.matmul(dY, W4, out=work("dA3", *A3.shape))
        dA3 *= 2 / 784
        dZ3 = SOFTPLUS.backward(work, dA3, A3, Z3)  # 5
        xp.matmul(dZ3.swapaxes(1, 2), A2, out=dW["decoder1.weight"])  # 4
        dA2 = xp.matmul(dZ3, W3, out=work("dA2", *A2.shape))
        dZ2 = SOFTPLUS.backward(work, dA2, A2, Z2)  # 3
        xp.matmul(dZ2.swapaxes(1, 2), A1, out=dW["encoder2.weight"])  # 2
        dA1 = xp.matmul(dZ2, W2, out=work("dA1", *A1.shape))
        return SOFTPLUS.backward(work, dA1, A1, Z1), d_rest  # 1

    return Y, backward


def network(variant: str) -> Network:
    """The autoencoder; both variants are the same."""
    return Network(
        name="autoencoder",
        variant=variant,
        layout=LAYOUT,
        n_first=FIRST,
        chunk=500,
        floats_per_image=3 * 784 + 9 * UNITS,
        sorts=True,
        pack=ink_only,
        pack_batch=whole_pixels,
        first=partial(first_dense, units=UNITS),
        first_backward=first_dense_backward,
        forward=_forward,
        classifies=False,
    )
