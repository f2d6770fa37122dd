"""Mini-batch training: stochastic gradient descent, and Adam on mini-batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backend import one_blas_thread, to_device
from ..landscape import Evaluations
from .adam import Adam


@dataclass(frozen=True)
class EpochState:
    """One pass over the images.

    Attributes
    ----------
    epoch
        Passes done.
    x
        The parameters (D,), a copy.
    evaluations
        Gradients over mini-batches, one each, since the start.
    rng
        The generator's state, from which the next order of the images is drawn.
    moments
        Adam's (step count, first, second moments); empty for SGD.
    """

    epoch: int
    x: Any
    evaluations: Evaluations
    rng: Any
    moments: tuple[Any, ...] = ()


def sgd(
    landscape: Any,
    x: Any,
    rng: np.random.Generator,
    *,
    lr: float = 0.1,
    batch_size: int = 64,
    state: EpochState | None = None,
) -> Iterator[EpochState]:
    """Plain stochastic gradient descent, ω ← ω − lr g over mini-batches; yields after every epoch.

    Parameters
    ----------
    landscape
        Has ``n_images`` and ``batch_values_and_gradients(points, indices)``.
    x
        The start (D,).
    rng
        Draws one order of the images an epoch, on the host.
    lr
        Learning rate.
    batch_size
        Images in a mini-batch; the last of an epoch may be smaller.
    state
        A state to go on from, in place of x and the generator's own state.

    Yields
    ------
    EpochState
        Epoch 0 before any step (or ``state`` again), then one after each pass; without end.
    """

    def update(x: Any, g: Any) -> None:
        g *= lr
        x -= g

    return _epochs(landscape, x, rng, batch_size, state, update, tuple)


def adam_batches(
    landscape: Any,
    x: Any,
    rng: np.random.Generator,
    *,
    lr: float = 1e-3,
    batch_size: int = 64,
    state: EpochState | None = None,
) -> Iterator[EpochState]:
    """Adam over mini-batches; parameters and states as in :func:`sgd`."""
    moments = Adam(lr=lr) if state is None or not state.moments else Adam(lr=lr, state=state.moments)
    return _epochs(landscape, x, rng, batch_size, state, moments.update, lambda: moments.state)


def _epochs(
    landscape: Any,
    x: Any,
    rng: np.random.Generator,
    batch_size: int,
    state: EpochState | None,
    update: Callable[[Any, Any], None],
    moments: Callable[[], tuple[Any, ...]],
) -> Iterator[EpochState]:
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; expected at least 1")
    if state is None:
        state = EpochState(
            0, to_device(x, landscape.device, landscape.dtype).copy(), Evaluations(), _state(rng), moments()
        )
    else:
        rng.bit_generator.state = state.rng
    yield state
    x, epoch, gradients = to_device(state.x, landscape.device, landscape.dtype).copy(), state.epoch, state.evaluations
    n = landscape.n_images
    while True:
        order = rng.permutation(n)
        with one_blas_thread():
            for start in range(0, n, batch_size):
                _, g = landscape.batch_values_and_gradients(x[None], order[start : start + batch_size])
                update(x, g[0])
        epoch += 1
        gradients = gradients + Evaluations(0, -(-n // batch_size))
        yield EpochState(epoch, x.copy(), gradients, _state(rng), moments())


def _state(rng: np.random.Generator) -> Any:
    return rng.bit_generator.state
