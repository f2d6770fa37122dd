"""The autoencoder: 784-32-32 and 32-32-784, no biases, softplus, sigmoid output."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from .. import cuda
from ..backend import Workspace
from .activations import SOFTPLUS
from .dense import MANY_ROWS, as_they_are, first_dense, first_dense_backward, ink_only
from .network import Network
from .parameters import Layout
from .products import rows_times, sum_over_rows, transposed

UNITS = 32
LAYOUT = Layout.of(
    ("encoder1.weight", (UNITS, 784), 784),
    ("encoder2.weight", (UNITS, UNITS), UNITS),
    ("decoder1.weight", (UNITS, UNITS), UNITS),
    ("decoder2.weight", (784, UNITS), UNITS),
)
FIRST = LAYOUT.blocks[0].stop


class Pictures(NamedTuple):
    """N images as the input and the target of the autoencoder.

    Attributes
    ----------
    ink, columns, labels
        As in :class:`~minilandscape.networks.dense.Pixels`.
    centred
        (N, 784) or (P, N, 784): 2x − 1 of all pixels x, the target of tanh.
    """

    ink: Any
    columns: Any
    labels: Any
    centred: Any


def _pack(xp: Any, images: np.ndarray, labels: np.ndarray, dtype: Any) -> Pictures:
    centred = xp.asarray(images, dtype=dtype) * 2
    centred -= 1
    return Pictures(*ink_only(xp, images, labels, dtype), centred)


def _pack_batch(xp: Any, images: Any, labels: Any) -> Pictures:
    return Pictures(images, None, labels, 2 * images - 1)


def _forward(work: Workspace, inputs: Pictures, Z1: Any, rest: Any) -> tuple[Any, Any]:
    """Map Z1 (P, N, 32) and the other layers' parameters to T (P, N, 784), and return the backward pass.

    The reconstructions are σ(z) = ½ + ½ T with T = tanh(z/2).
    """
    xp, (n_points, n_images, _) = work.xp, Z1.shape
    W = LAYOUT.unpack(rest, FIRST)
    W2, W3, W4 = W["encoder2.weight"], W["decoder1.weight"], W["decoder2.weight"]
    W4 = 0.5 * W4
    W2_T, W3_T, W4_T = (transposed(work, name, W) for name, W in (("W2_T", W2), ("W3_T", W3), ("W4_T", W4)))
    A1 = SOFTPLUS.forward(work, "A1", Z1)  # 1
    Z2 = rows_times(xp, A1, W2_T, work("Z2", *A1.shape))  # 2
    A2 = SOFTPLUS.forward(work, "A2", Z2)  # 3
    Z3 = rows_times(xp, A2, W3_T, work("Z3", *A2.shape))  # 4
    A3 = SOFTPLUS.forward(work, "A3", Z3)  # 5
    T = rows_times(xp, A3, W4_T, work("T", n_points, n_images, 784))  # 6
    xp.tanh(T, out=T)  # 7

    def backward(E: Any) -> tuple[Any, Any]:
        """Map E (P, N, 784) = T − (2x − 1), overwritten like T, to dZ1 (P, N, 32) and d rest.

        The loss is E²/(4·784), so its derivative by z/2 is E (1 − T²)/(2·784); the factor multiplies the smallest
        arrays.
        """
        factor = 1 / (2 * 784)
        if xp is np:
            xp.multiply(T, T, out=T)  # 7
            xp.subtract(1, T, out=T)
            xp.multiply(E, T, out=E)
        else:
            cuda.elementwise("tanh_backward", E, T, E)
        dZ4 = E
        d_rest = work("d_rest", *rest.shape)
        dW = LAYOUT.unpack(d_rest, FIRST)
        dW4 = sum_over_rows(xp, dZ4, A3, dW["decoder2.weight"])  # 6
        dW4 *= 0.5 * factor  # ½ since W4 stands for half the weights
        dA3 = rows_times(xp, dZ4, W4, work("dA3", *A3.shape))
        dA3 *= factor
        dZ3 = SOFTPLUS.backward(work, dA3, A3, Z3)  # 5
        sum_over_rows(xp, dZ3, A2, dW["decoder1.weight"])  # 4
        dA2 = rows_times(xp, dZ3, W3, work("dA2", *A2.shape))
        dZ2 = SOFTPLUS.backward(work, dA2, A2, Z2)  # 3
        sum_over_rows(xp, dZ2, A1, dW["encoder2.weight"])  # 2
        dA1 = rows_times(xp, dZ2, W2, work("dA1", *A1.shape))
        return SOFTPLUS.backward(work, dA1, A1, Z1), d_rest  # 1

    return T, backward


def network(variant: str) -> Network:
    """Return the autoencoder; both variants are the same."""
    return Network(
        name="autoencoder",
        variant=variant,
        layout=LAYOUT,
        n_first=FIRST,
        chunk=1000,
        floats_per_image=3 * 784 + 9 * UNITS,
        first_floats=UNITS,
        mixed_rows=MANY_ROWS,
        sorts=True,
        together=4,
        pack=_pack,
        pack_batch=_pack_batch,
        open=as_they_are,
        first=partial(first_dense, units=UNITS),
        first_backward=first_dense_backward,
        forward=_forward,
        classifies=False,
    )
