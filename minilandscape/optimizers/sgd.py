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
    """The state after one pass over the images.

    Attributes
    ----------
    epoch
        Number of passes done.
    x
        The parameters, a copy: (D,), or (K, D) for K runs.
    evaluations
        Gradients over mini-batches of one run since the start, each counted as one.
    rng
        The generators' states, from which the next orders of the images are drawn, one for each run.
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
    """Minimise by stochastic gradient descent, ω ← ω − lr g over mini-batches; yields after every epoch.

    Parameters
    ----------
    landscape
        Has ``n_samples`` and ``batch_values_and_gradients(points, indices)``.
    x
        The start (D,), or (K, D) for K runs side by side, each bit-identical to the run alone.
    rng
        Draws one order of the images for each epoch, on the host; K generators for K runs.
    lr
        Learning rate.
    batch_size
        Images in a mini-batch; the last of an epoch may be smaller.
    state
        A state to resume from; it replaces x and the generators' states.

    Yields
    ------
    EpochState
        Epoch 0 before any update (or ``state`` again), then one after each pass, without end.

    Raises
    ------
    ValueError
        If lr is not finite and above 0, batch_size is below 1, or the number of generators is not that of the runs.
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
    """Minimise by Adam over mini-batches; parameters and states are those of :func:`sgd`."""
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
            f"({len(rngs)}, {landscape.size}), one row for each generator"
        )
    yield state
    x, epoch, gradients = to_device(state.x, landscape.device, landscape.dtype).copy(), state.epoch, state.evaluations
    stack = x.reshape(len(rngs), -1)
    n = landscape.n_samples
    while True:
        orders = np.stack([generator.permutation(n) for generator in rngs])
        # Too large a learning rate shows in the losses; NumPy's warnings would name lines of this file.
        with one_blas_thread(), np.errstate(over="ignore", invalid="ignore"):
            for start in range(0, n, batch_size):
                _, g = landscape.batch_values_and_gradients(stack, orders[:, start : start + batch_size])
                update(stack, g)
        epoch += 1
        gradients = gradients + Evaluations(0, -(-n // batch_size))
        yield EpochState(epoch, x.copy(), gradients, _states(rngs), moments())


def _states(rngs: list[np.random.Generator]) -> list[Any]:
    return [generator.bit_generator.state for generator in rngs]
