"""Mini-batch training: stochastic gradient descent, and Adam on mini-batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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
        The parameters, a copy: (D,), or (K, D) of K runs.
    evaluations
        Gradients over mini-batches, one each, since the start; of one run.
    rng
        The generators' states, from which the next orders of the images are drawn; one a run.
    moments
        Adam's (step count, first, second moments); empty for SGD.
    """

    epoch: int
    x: Any
    evaluations: Evaluations
    rng: list[Any]
    moments: tuple[Any, ...] = ()


def sgd(
    landscape: Any,
    x: Any,
    rng: np.random.Generator | Sequence[np.random.Generator],
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
        The start (D,); or (K, D), K runs that go side by side, each with the bits that it has alone.
    rng
        Draws one order of the images an epoch, on the host; K generators for K runs.
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

    Raises
    ------
    ValueError
        If lr is not finite and above 0, batch_size is below 1, or the start and the generators do not fit.
    """

    def update(x: Any, g: Any) -> None:
        g *= lr
        x -= g

    return _epochs(landscape, x, rng, lr, batch_size, state, update, tuple)


def adam_batches(
    landscape: Any,
    x: Any,
    rng: np.random.Generator | Sequence[np.random.Generator],
    *,
    lr: float = 1e-3,
    batch_size: int = 64,
    state: EpochState | None = None,
) -> Iterator[EpochState]:
    """Adam over mini-batches; parameters and states as in :func:`sgd`."""
    moments = Adam(lr=lr) if state is None or not state.moments else Adam(lr=lr, state=state.moments)
    return _epochs(landscape, x, rng, lr, batch_size, state, moments.update, lambda: moments.state)


def _epochs(
    landscape: Any,
    x: Any,
    rng: np.random.Generator | Sequence[np.random.Generator],
    lr: float,
    batch_size: int,
    state: EpochState | None,
    update: Callable[[Any, Any], None],
    moments: Callable[[], tuple[Any, ...]],
) -> Iterator[EpochState]:
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; expected at least 1")
    if not 0 < lr < np.inf:
        raise ValueError(f"lr is {lr}; expected a finite number above 0")
    rngs = [rng] if isinstance(rng, np.random.Generator) else list(rng)
    if state is None:
        x = to_device(x, landscape.device, landscape.dtype).copy()
        state = EpochState(0, x, Evaluations(), _states(rngs), moments())
    else:
        for generator, drawn in zip(rngs, state.rng, strict=True):
            generator.bit_generator.state = drawn
    if state.x.ndim > 2 or state.x.size != len(rngs) * landscape.size:
        raise ValueError(
            f"the start has shape {tuple(state.x.shape)}; expected ({landscape.size},), or "
            f"({len(rngs)}, {landscape.size}), one row a generator"
        )
    yield state
    x, epoch, gradients = to_device(state.x, landscape.device, landscape.dtype).copy(), state.epoch, state.evaluations
    stack = x.reshape(len(rngs), -1)
    n = landscape.n_images
    while True:
        orders = np.stack([generator.permutation(n) for generator in rngs])
        # A rate that is too large is seen in the losses; NumPy's warnings would name lines in here.
        with one_blas_thread(), np.errstate(over="ignore", invalid="ignore"):
            for start in range(0, n, batch_size):
                _, g = landscape.batch_values_and_gradients(stack, orders[:, start : start + batch_size])
                update(stack, g)
        epoch += 1
        gradients = gradients + Evaluations(0, -(-n // batch_size))
        yield EpochState(epoch, x.copy(), gradients, _states(rngs), moments())


def _states(rngs: list[np.random.Generator]) -> list[Any]:
    return [generator.bit_generator.state for generator in rngs]
