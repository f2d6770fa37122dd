"""What a network is to its landscape: a first layer that is linear in its weights, and the rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .parameters import Layout


@dataclass(frozen=True)
class Network:
    """The arithmetic of one model in one variant.

    The parameters of the first layer are the first ``n_first`` of the vector. Its product Z is linear in them and all
    points see the same images, so points that are combinations of a few rows have combinations of the rows' products:
    the landscape multiplies once a row, mixes, and runs the rest once a point.

    Attributes
    ----------
    chunk
        Images worked on at a time by one thread.
    floats_per_image, first_floats
        Numbers that the rest, and the first layer's product, hold for one image and point.
    mixed_rows
        Up to how many rows mixing the products of the first layer is cheaper than a product for each point.
    sorts
        Whether chunks of similar images are cheaper.
    together
        Runs that one CPU core trains side by side on mini-batches faster than one after another.
    pack, pack_batch
        ``pack(xp, images, labels, dtype) -> inputs`` stores a chunk of host images (N, 784) the way the first layer
        reads it; ``pack_batch(xp, images, labels)`` does so for a mini-batch that is on the device already,
        (N, 784), or (P, N, 784) where each point has images of its own.
    open
        ``open(work, inputs) -> inputs`` with what is worked out from a chunk's images for all points of a pass.
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
