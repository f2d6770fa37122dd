"""Mini-batches: the loss over a few samples at each point, as an estimate of that over all samples."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from ..landscape import CONVOLUTION, read_stack
from .torch_data import Batches
from .torch_evaluate import Evaluation
from .torch_trial import Trial

#: Seconds of a call with a mini-batch at each of six points on a CPU, besides the arithmetic: point by point, measured
#: 3 to 14 ms, and all points together, 1.4 to 3.
CALL, CALL_TOGETHER = 1e-2, 2.5e-3
#: Samples on which the work is counted, and vmap is tried.
COUNTED = 4


@dataclass
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
        rows = torch.from_numpy(np.broadcast_to(index, (len(points), index.shape[-1])).copy()).to(coordinates.device)
        small = rows.shape[1] <= self.most and rows.numel() <= self.evaluation.points * self.most
        if not (small and self.together):
            return self._one_by_one(points, rows)
        try:
            return self._together(points, rows)
        except Exception:  # whatever PyTorch raises: of what vmap does not know, or of the samples
            found = self._one_by_one(points, rows)
            self.together = False
            return found

    @cached_property
    def together(self) -> bool:
        """Whether all points of a call are evaluated together: if vmap takes the module so, tried on a few samples.

        It may take it with samples of its own at each point, but not with the same at all, and the other way round.
        What was evaluated before has no say, so that the same search gives the same bits.
        """
        if self.evaluation.points == 1:
            return False
        coordinates, module = self.evaluation.coordinates, self.evaluation.workers.forward.module
        points = np.stack([coordinates.flattened(module)] * 2)
        few = torch.arange(COUNTED, device=coordinates.device) % self.batches.samples.n
        try:
            self._together(points, torch.stack([few] * 2))
        except Exception:  # whatever PyTorch raises of what vmap does not know
            return False
        return True

    def _one_by_one(self, points: np.ndarray, rows: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        few = [self.batches.of_rows(row, self.most) for row in rows]
        values, gradients = np.zeros(len(points)), np.zeros_like(points)
        for p, (value, slope) in enumerate(self.evaluation.over_few(points, few)):
            assert slope is not None
            values[p], gradients[p] = value[0], slope[0]
        return values, gradients

    def _together(self, points: np.ndarray, rows: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        inputs, targets = self.batches.samples.rows(rows)
        values, gradients = self.evaluation.over_few_together(points, inputs, targets)
        assert gradients is not None
        share = self.batches.share_of(rows.shape[1], rows.shape[1])
        return share * values, gradients * gradients.dtype.type(share)


def work_of(evaluation: Evaluation, x: torch.Tensor) -> float:
    """Count the floating-point operations of a forward pass over one sample at a point (D,).

    Those of matrix products, and those of convolutions as many times as they take longer; without oneDNN, whose
    recurrent layers are not counted. At least 2 for each parameter, since products with vectors are not counted either,
    and some operations not watched.
    """
    samples, coordinates = evaluation.batches.samples, evaluation.coordinates
    n_few, counter = min(COUNTED, samples.n), FlopCounterMode(display=False)
    state = {**coordinates.leaves(x, False, evaluation.ordered), **evaluation.buffers_at(x)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's own, of a flag of oneDNN that it sets in passing
        try:
            with torch.backends.mkldnn.flags(enabled=False), torch.no_grad(), counter:
                evaluation.workers.forward.value(state, *samples.rows(slice(0, n_few)))
            found = counter.get_flop_counts().get("Global", {})
            counted = sum(n * (CONVOLUTION if "convolution" in str(of) else 1) for of, n in found.items()) / n_few
        except Exception:  # whatever the module's operations raise under a dispatch mode
            counted = 0.0
    return max(counted, 2.0 * coordinates.size)
