"""The LSTM: 28 time steps of 28 permuted pixels, 48 hidden units, 10 classes from the last hidden state."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .. import cuda
from ..backend import Workspace, constant
from ..data import lstm_permutation
from .dense import as_they_are
from .network import Network
from .parameters import Layout
from .products import matmul

STEPS, FEATURES, UNITS = 28, 28, 48
GATES = 4 * UNITS  # input, forget, cell, output, as PyTorch orders them
LAYOUT = Layout.of(
    ("lstm.weight_ih", (GATES, FEATURES), UNITS),
    ("lstm.weight_hh", (GATES, UNITS), UNITS),
    ("lstm.bias_ih", (GATES,), UNITS),
    ("lstm.bias_hh", (GATES,), UNITS),
    ("fc.weight", (10, UNITS), UNITS),
)
FIRST = LAYOUT.blocks[0].stop
IN, FORGET, CELL, OUT = (slice(k * UNITS, (k + 1) * UNITS) for k in range(4))


class Sequences(NamedTuple):
    """N images as sequences: X (T, 28, N), labels (N,); with a leading axis P if each point has its own images."""

    X: Any
    labels: Any


def _pack_batch(xp: Any, images: Any, labels: Any) -> Sequences:
    # Images innermost first, so that whole rows are permuted.
    rows = xp.ascontiguousarray(images.swapaxes(-1, -2)).take(constant(xp, lstm_permutation), axis=-2)
    return Sequences(rows.reshape(*images.shape[:-2], STEPS, FEATURES, images.shape[-2]), labels)


def _pack(xp: Any, images: np.ndarray, labels: np.ndarray, dtype: Any) -> Sequences:
    return _pack_batch(xp, xp.asarray(images, dtype=dtype), xp.asarray(labels))


def _halves(xp: Any, dtype: Any) -> Any:
    """Return factors (192, 1): ½ for the logistic gates, σ(z) = ½ + ½ tanh(z/2), and 1 for the cell's tanh.

    With the weights multiplied by them, one tanh computes all four gates.
    """
    halves = xp.full((GATES, 1), 0.5, dtype)
    halves[CELL] = 1
    return halves


def _by_gate(gates: Any) -> list[Any]:
    """Return the four gates (P, 48, N) of (P, 192, N), views."""
    return [gates[:, gate] for gate in (IN, FORGET, CELL, OUT)]


def _first(work: Workspace, inputs: Sequences, rows: Any) -> Any:
    """Compute Z = ½ W_ih x, (R, T, 192, N), of weights (R, 192·28); the ½ is for the logistic gates only."""
    W = rows.reshape(len(rows), 1, GATES, FEATURES) * _halves(work.xp, work.dtype)
    return matmul(W, inputs.X, out=work("first", len(rows), STEPS, GATES, inputs.X.shape[-1]))


def _first_backward(work: Workspace, inputs: Sequences, dZ: Any, into: Any) -> None:
    dW = matmul(dZ, inputs.X.swapaxes(-1, -2)).sum(axis=1)
    into += dW.reshape(len(dW), -1)


def _forward(work: Workspace, inputs: Sequences, Z: Any, rest: Any) -> tuple[Any, Any]:
    """Map Z (P, T, 192, N), overwritten, and the other parameters to logits (P, 10, N); also the backward pass.

    The hidden state has a row of ones, so that the biases are a column of the recurrent weights.
    """
    xp, (n_points, _, _, n_images) = work.xp, Z.shape
    W = LAYOUT.unpack(rest, FIRST)
    W_fc = W["fc.weight"]
    halves = _halves(xp, work.dtype)
    W_h = work("W_h", n_points, GATES, UNITS + 1)
    xp.multiply(W["lstm.weight_hh"], halves, out=W_h[:, :, :UNITS])
    W_h[:, :, UNITS] = (W["lstm.bias_ih"] + W["lstm.bias_hh"]) * halves[:, 0]
    H = work("H", n_points, STEPS + 1, UNITS + 1, n_images)
    C = work("C", n_points, STEPS + 1, UNITS, n_images)
    tanh_C = work("tanh_C", n_points, STEPS, UNITS, n_images)
    recurrent = work("recurrent", n_points, GATES, n_images)
    product = work("product", n_points, UNITS, n_images)
    H[:, 0, :UNITS] = 0
    H[:, :, UNITS] = 1
    C[:, 0] = 0
    for t in range(STEPS):
        gates = Z[:, t]
        matmul(W_h, H[:, t], out=recurrent)  # 1
        if xp is not np:  # 2 to 5
            by_gate = _by_gate(gates)
            made = *by_gate, C[:, t + 1], tanh_C[:, t], H[:, t + 1, :UNITS]
            cuda.elementwise("lstm", *by_gate, *_by_gate(recurrent), C[:, t], *made)
            continue
        gates += recurrent
        xp.tanh(gates, out=gates)  # 2
        for logistic in (slice(IN.start, FORGET.stop), OUT):
            gates[:, logistic] *= 0.5
            gates[:, logistic] += 0.5
        xp.multiply(gates[:, FORGET], C[:, t], out=C[:, t + 1])  # 3
        C[:, t + 1] += xp.multiply(gates[:, IN], gates[:, CELL], out=product)
        xp.tanh(C[:, t + 1], out=tanh_C[:, t])  # 4
        xp.multiply(gates[:, OUT], tanh_C[:, t], out=H[:, t + 1, :UNITS])  # 5
    last = H[:, STEPS, :UNITS]
    Y = matmul(W_fc, last, out=work("Y", n_points, 10, n_images))  # 6

    def backward(dY: Any) -> tuple[Any, Any]:
        """Map dY (P, 10, N) to dZ (P, T, 192, N), which overwrites Z, and d rest.

        Here dZ is the gradient by the full sum z before a gate, with the weights as they are: the factor ½ of the
        forward pass cancels with the slope 2 σ (1 − σ) of σ = ½ + ½ tanh(z/2) along z/2.
        """
        d_rest = work("d_rest", *rest.shape)
        dW = LAYOUT.unpack(d_rest, FIRST)
        matmul(dY, last.swapaxes(1, 2), out=dW["fc.weight"])  # 6
        dH = matmul(W_fc.swapaxes(1, 2), dY, out=work("dH", n_points, UNITS, n_images))
        dC = work("dC", n_points, UNITS, n_images)
        dC[...] = 0
        slope = work("slope", n_points, GATES, n_images)
        by_gate = slope.reshape(n_points, 4, UNITS, n_images)
        through = work("through", n_points, UNITS, n_images)
        W_back = W["lstm.weight_hh"].swapaxes(1, 2)
        for t in reversed(range(STEPS)):
            gates = Z[:, t]
            if xp is not np:  # 5 to 2
                made = *_by_gate(gates), dC
                cuda.elementwise("lstm_backward", *_by_gate(gates), C[:, t], tanh_C[:, t], dH, dC, *made)
                if t:
                    matmul(W_back, gates, out=dH)  # 1
                continue
            # Derivatives of the cell by the gates' sums; for the output gate, of the output.
            xp.subtract(1, gates, out=slope)  # 2
            slope *= gates
            xp.multiply(gates[:, CELL], gates[:, CELL], out=slope[:, CELL])
            xp.subtract(1, slope[:, CELL], out=slope[:, CELL])
            slope[:, IN] *= gates[:, CELL]  # 3
            slope[:, CELL] *= gates[:, IN]
            slope[:, FORGET] *= C[:, t]
            slope[:, OUT] *= tanh_C[:, t]  # 5
            xp.multiply(tanh_C[:, t], tanh_C[:, t], out=through)  # 4
            xp.subtract(1, through, out=through)
            through *= gates[:, OUT]
            through *= dH
            dC += through
            dZ = gates.reshape(n_points, 4, UNITS, n_images)
            xp.multiply(dC, gates[:, FORGET], out=through)  # 3
            xp.multiply(by_gate[:, :3], dC[:, None], out=dZ[:, :3])
            xp.multiply(slope[:, OUT], dH, out=gates[:, OUT])
            dC, through = through, dC
            if t:
                matmul(W_back, gates, out=dH)  # 1
        dW_h = matmul(Z, H[:, :STEPS].swapaxes(2, 3)).sum(axis=1)  # 1
        dW["lstm.weight_hh"][...] = dW_h[:, :, :UNITS]
        dW["lstm.bias_ih"][...] = dW_h[:, :, UNITS]
        dW["lstm.bias_hh"][...] = dW_h[:, :, UNITS]
        return Z, d_rest

    return Y, backward


def network(variant: str) -> Network:
    """Return the LSTM; both variants are the same."""
    return Network(
        name="lstm",
        variant=variant,
        layout=LAYOUT,
        n_first=FIRST,
        chunk=1000,
        floats_per_image=STEPS * (GATES + 3 * UNITS) + 10 * GATES,
        first_floats=STEPS * GATES,
        mixed_rows=0,
        sorts=False,
        together=1,
        pack=_pack,
        pack_batch=_pack_batch,
        open=as_they_are,
        first=_first,
        first_backward=_first_backward,
        forward=_forward,
    )
