"""Mini-batches: the loss over a few samples at each point, as an estimate of that over all samples."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from ..landscape import read_stack
from .torch_data import Batches
from .torch_evaluate import Evaluation
from .torch_trial import Trial

#: Least work of a forward pass over all samples, in floating-point operations, for mini-batches to save time: calls
#: take as long as some 10 ms of work on one core do in a search without them, and on a GPU as 10 ms there.
LEAST_WORK, LEAST_WORK_ON_GPU = 3e7, 3e10
#: Samples on which the work is counted.
COUNTED = 4


@dataclass(frozen=True)
class MiniBatches:
    """The loss and its gradient at points that have a few samples each.

    Attributes
    ----------
    evaluation
        Module, loss and coordinates.
    batches
        All samples, and whether their losses are added or averaged.
    most
        Samples at a time.
    """

    evaluation: Evaluation
    batches: Batches
    most: int

    @classmethod
    def of(cls, evaluation: Evaluation, most: int) -> MiniBatches | None:
        """Make the mini-batches of a landscape; None where a few samples do not estimate the loss.

        That is so of statistics that are recomputed from each batch, and of a loss of all samples together. What few
        samples that fit into one batch add up to has not been tried before.
        """
        batches, forward = evaluation.batches, evaluation.workers.forward
        if evaluation.recomputed is not None or batches.whole or batches.samples.n < 2:
            return None
        if len(batches.bounds) == 2:
            half = -(-batches.samples.n // 2)
            try:
                batches = Trial(forward.module, forward.loss, batches.samples, half, 1, half).run()
            except ValueError:
                return None
        return cls(evaluation, batches, most)

    def values_and_gradients(self, points: Any, indices: Any) -> tuple[np.ndarray, np.ndarray]:
        """Estimate values (P,) and gradients (P, D) at points (P, D) from samples (B,), or (P, B) for each its own."""
        coordinates = self.evaluation.coordinates
        points = read_stack(points, coordinates.size, coordinates.numpy_dtype)
        index = np.asarray(indices, dtype=np.int64)
        rows = torch.from_numpy(np.broadcast_to(index, (len(points), index.shape[-1])).copy())
        few = [self.batches.of_rows(row, self.most) for row in rows.to(coordinates.device)]
        values, gradients = np.zeros(len(points)), np.zeros_like(points)
        for p, (value, slope) in enumerate(self.evaluation.over_few(points, few)):
            assert slope is not None
            values[p], gradients[p] = value[0], slope[0]
        return values, gradients


def work_of(evaluation: Evaluation, x: torch.Tensor) -> float:
    """Count the floating-point operations of a forward pass over all samples at a point (D,).

    Those of matrix products and convolutions, without oneDNN, whose recurrent layers are not counted; at least 2 for
    each parameter and sample, since products with vectors are not counted either, and some operations not watched.
    """
    samples, coordinates = evaluation.batches.samples, evaluation.coordinates
    n, counter = min(COUNTED, samples.n), FlopCounterMode(display=False)
    state = {**coordinates.leaves(x, False, evaluation.ordered), **evaluation.buffers_at(x)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's own, of a flag of oneDNN that it sets in passing
        try:
            with torch.backends.mkldnn.flags(enabled=False), torch.no_grad(), counter:
                evaluation.workers.forward.value(state, *samples.rows(slice(0, n)))
            counted = counter.get_total_flops() / n
        except Exception:  # whatever the module's operations raise under a dispatch mode
            counted = 0.0
    return samples.n * max(counted, 2.0 * coordinates.size)


def save_time(work: float, device: torch.device) -> bool:
    """Decide whether a forward pass over all samples is so much work that mini-batches save time."""
    return work >= (LEAST_WORK if device.type == "cpu" else LEAST_WORK_ON_GPU)
