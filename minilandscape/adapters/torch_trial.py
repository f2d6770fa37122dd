"""A module and a loss tried on a few samples: what must hold of them to be a landscape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.func import functional_call

#: The samples on which a loss is tried when a landscape is made.
TRIED = 32
#: A loss of so many samples is the mean of the losses of its parts within this part of it: rounding in float32. Where
#: the module's own rounding enters, which depends on the number of samples at a time, within more.
MEAN, MEAN_WITH_MODULE = 1e-5, 1e-4
#: Outputs of one sample differ by no more than this part of the largest, whatever is computed beside it.
ALONE = 1e-2


class Trial:
    """Module and loss on a few samples, with what must hold of them."""

    def __init__(
        self, module: torch.nn.Module, loss: Any, inputs: torch.Tensor, targets: torch.Tensor, batch: int
    ) -> None:
        self.module, self.loss, self.batch, self.n = module, loss, batch, len(inputs)
        # With one batch the loss may be one of all samples together.
        rows = _varied(targets, batch) if self.n > batch else slice(None)
        self.inputs, self.targets = inputs[rows], targets[rows]

    def run(self) -> None:
        """ValueError, with what to do, where module and loss are not the mean over samples of a function."""
        everything = torch.arange(len(self.inputs), device=self.inputs.device)
        with torch.enable_grad():
            outputs, value = self._forward(everything)
        if not value.requires_grad:
            raise ValueError(
                "the loss has no gradient by the parameters: module or loss leave PyTorch's record (detach, no_grad, "
                "item, numpy); expected operations of PyTorch alone"
            )
        with torch.no_grad():
            again, second = self._forward(everything)
            if (outputs is not None and _apart(again, outputs)) or not _close(value, second, MEAN_WITH_MODULE):
                raise ValueError(
                    f"two evaluations at the same parameters differ ({float(value):.6g} and {float(second):.6g}): "
                    "dropout, augmentation or another random layer acts in evaluation mode too; switch it off"
                )
            if self.n > self.batch:
                self._refuse_dependence(everything, outputs, value)

    def _forward(self, rows: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor]:
        """The outputs, where each belongs to a sample, and the loss of some samples."""
        inputs = self.inputs[rows]
        try:
            outputs = functional_call(self.module, {}, (inputs,))
        except Exception as error:
            raise ValueError(
                f"the module raised {type(error).__name__} on inputs {_described(inputs)}: {error}"
            ) from error
        loss = self._loss(outputs, rows)
        by_sample = isinstance(outputs, torch.Tensor) and outputs.ndim and len(outputs) == len(rows)
        return (outputs.detach() if by_sample else None), loss

    def _loss(self, outputs: Any, rows: torch.Tensor) -> torch.Tensor:
        targets = self.targets[rows]
        try:
            value = self.loss(outputs, targets)
        except Exception as error:
            raise ValueError(
                f"the loss raised {type(error).__name__} on outputs {_described(outputs)} and targets "
                f"{_described(targets)}: {error}"
            ) from error
        if not isinstance(value, torch.Tensor) or value.ndim or not value.is_floating_point():
            raise ValueError(
                f"the loss is {_described(value)}; expected a tensor of one real number, the mean over the samples"
            )
        return value

    def _refuse_dependence(self, rows: torch.Tensor, outputs: torch.Tensor | None, value: torch.Tensor) -> None:
        """The loss of all samples tried against those of parts of them."""
        n = len(rows)
        for first in (rows[: -(-n // 4)], rows[: n // 2], rows[::2]):
            parts = first, rows[~torch.isin(rows, first)]
            alone = [self._forward(part) for part in parts]
            if outputs is None:
                self._mean(value, parts, [loss for _, loss in alone], MEAN_WITH_MODULE)
                continue
            if any(_apart(found, outputs[part]) for part, (found, _) in zip(parts, alone, strict=True)):
                raise ValueError(
                    "the module's output of a sample depends on the samples beside it, as in a normalisation without "
                    f"running statistics, so that values would depend on batch={self.batch}; give batch={self.n}, all "
                    "samples at once, if that is meant"
                )
            # Outputs of other samples too: the loss of a trained module may be all but 0.
            for own in (outputs, outputs.roll(n // 2, 0)):
                whole = self._loss(own.clone(), rows)
                self._mean(whole, parts, [self._loss(own[part], part) for part in parts], MEAN)

    def _mean(
        self, whole: torch.Tensor, parts: Sequence[torch.Tensor], losses: Sequence[torch.Tensor], tolerance: float
    ) -> None:
        tolerance = max(tolerance, 10 * torch.finfo(whole.dtype).eps)
        numbers = [float(loss) for loss in losses]
        mean = sum(len(part) * number for part, number in zip(parts, numbers, strict=True)) / len(self.inputs)
        if not torch.isfinite(whole) or abs(float(whole) - mean) <= tolerance * max(map(abs, [float(whole), *numbers])):
            return
        raise ValueError(
            f"the loss of {len(self.inputs)} samples is {float(whole):.6g}, the mean over two parts of them {mean:.6g}:"
            f" values would depend on batch={self.batch}. Expected a mean over the samples (reduction='mean', without "
            f"weights of classes and ignored targets); for any other loss give batch={self.n}, all samples at once"
        )


def _varied(targets: torch.Tensor, batch: int) -> torch.Tensor:
    """The rows of a few samples whose targets are as different as may be, rare ones at either end included."""
    keys = []
    for part in targets.split(batch):
        flat = part.reshape(len(part), -1).to(torch.float64)
        keys.append(flat @ torch.arange(1, flat.shape[1] + 1, dtype=torch.float64, device=flat.device))
    order = torch.argsort(torch.cat(keys), stable=True)
    return order[torch.linspace(0, len(order) - 1, min(TRIED, len(order)), device=order.device).round().long()]


def _apart(a: Any, b: torch.Tensor) -> bool:
    """Whether outputs differ by more than rounding."""
    if not isinstance(a, torch.Tensor) or a.shape != b.shape:
        return True
    return bool((a - b).abs().max() > ALONE * b.abs().max()) if b.numel() and b.dtype.is_floating_point else False


def _close(a: torch.Tensor, b: torch.Tensor, part: float) -> bool:
    """Whether two losses are one but for rounding; a loss that is not finite is what it is."""
    part = max(part, 10 * torch.finfo(a.dtype).eps)
    return not bool((a - b).abs() > part * torch.maximum(a.abs(), b.abs()))


def _described(what: Any) -> str:
    """Shape and precision of a tensor, the type of anything else."""
    if not isinstance(what, torch.Tensor):
        return f"of type {type(what).__name__}"
    return f"of shape {tuple(what.shape)} in {str(what.dtype).rpartition('.')[2]}"
