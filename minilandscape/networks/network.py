"""The interface between a network and its landscape: a first layer that is linear in its weights, and the rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .parameters import Layout


@dataclass(frozen=True)
class Network:
    """The arithmetic of one model in one variant.

    The parameters of the first layer are the first ``n_first`` of the vector. Its product Z is linear in them, and all
    points see the same images. Points that are combinations of a few rows therefore have combinations of the rows'
    products: the landscape multiplies once for each row, mixes, and runs the rest once for each point.

    Attributes
    ----------
    chunk
        Images that one thread works on at a time.
    floats_per_image, first_floats
        Numbers that the rest of the network, and the first layer's product, hold for one image and point.
    mixed_rows
        The largest number of rows for which mixing is cheaper than one product for each point.
    sorts
        Whether chunks of similar images are cheaper: blank pixels are then skipped.
    together
        Number of runs that one CPU core trains on mini-batches faster side by side than in sequence.
    pack, pack_batch
        ``pack(xp, images, labels, dtype) -> inputs`` stores a chunk of host images (N, 784) as the first layer reads
        it. ``pack_batch(xp, images, labels)`` does so for a mini-batch on the device, (N, 784), or (P, N, 784) if each
        point has its own images.
    open
        ``open(work, inputs) -> inputs`` prepares a chunk's images for all points of a pass.
    first
        ``first(work, inputs, rows (R, n_first)) -> Z (R, …)``.
    first_backward
        ``first_backward(work, inputs, dZ (R, …), into (R, n_first))`` adds the gradient to ``into``.
    forward
        ``forward(work, inputs, Z (P, …), rest (P, D − n_first)) -> (Y, backward)`` with Y the logits (P, 10, N), or
        T (P, N, 784) of the reconstructions ½ + ½ T, and ``backward(dY) -> (dZ, d_rest)``.
    classifies
        Whether Y are logits and the loss is the cross-entropy; else reconstructions and the squared error.
    """

    name: str
    variant: str
    layout: Layout
    n_first: int
    chunk: int
    floats_per_image: int
    first_floats: int
    mixed_rows: int
    sorts: bool
    together: int
    pack: Callable[..., Any]
    pack_batch: Callable[..., Any]
    open: Callable[..., Any]
    first: Callable[..., Any]
    first_backward: Callable[..., None]
    forward: Callable[..., tuple[Any, Callable[[Any], tuple[Any, Any]]]]
    classifies: bool = True
