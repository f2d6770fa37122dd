"""Losses and metrics of a module over its data and over test data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import torch

from .along import LOSS, TEST
from .torch_data import Batches, joined, leaves
from .torch_evaluate import Evaluation
from .torch_trial import loss_of

#: Functions of outputs and targets, by name.
Metrics: TypeAlias = Mapping[str, Callable[[Any, Any], Any]]


def measured(
    evaluation: Evaluation, test: Batches | None, metrics: Metrics | None, x: torch.Tensor
) -> dict[str, float]:
    """The loss and the metrics over the data, and over test data, at one point (D,); ``metrics`` None: the usual."""
    forward = evaluation.workers.forward
    state = {**evaluation.coordinates.parts(x), **evaluation.buffers_at(x)}
    row = {}
    for prefix, batches in (("", evaluation.batches), (TEST, test)):
        if batches is None:
            continue
        loss, parts, sizes, by_sample = 0.0, [], [], True
        for share, part, inputs, targets in batches(1, every=True):
            outputs = forward.outputs(state, inputs)
            loss += share * float(loss_of(forward.loss, outputs, targets)) if share else 0.0
            parts.append((outputs, targets))
            sizes.append(part)
            by_sample = by_sample and _by_sample(outputs, round(part * batches.samples.n))
        row[prefix + LOSS] = loss
        if by_sample:
            parts, sizes = [joined(parts)], [1.0]
        chosen = usual_metrics(*parts[0]) if metrics is None else metrics
        for name, metric in chosen.items():
            row[prefix + name] = sum(n * float(metric(*part)) for n, part in zip(sizes, parts, strict=True))
    return row


def _by_sample(outputs: Any, n: int) -> bool:
    """Whether outputs are tensors whose first axis counts n samples, so that those of batches can be put together."""
    plain = isinstance(outputs, torch.Tensor) or type(outputs) in (tuple, list, dict)
    return plain and all(tensor.ndim > 0 and len(tensor) == n for tensor in leaves(outputs))


def accuracy(outputs: Any, targets: Any) -> float:
    """The part of samples whose target has the largest output, 1/k where k classes share it: (N, C, …), (N, …)."""
    largest = outputs == outputs.amax(1, keepdim=True)
    right = largest.gather(1, targets.unsqueeze(1)).squeeze(1)
    return float((right.double() / largest.sum(1)).mean())


def usual_metrics(outputs: Any, targets: Any) -> dict[str, Any]:
    """The accuracy where outputs are (N, C, …) and targets are classes (N, …); nothing elsewhere."""
    if not (isinstance(outputs, torch.Tensor) and isinstance(targets, torch.Tensor)):
        return {}
    classes = outputs.ndim >= 2 and outputs.is_floating_point() and targets.dtype == torch.int64
    if not classes or targets.shape != outputs.shape[:1] + outputs.shape[2:]:
        return {}
    inside = bool(((targets >= 0) & (targets < outputs.shape[1])).all())  # an ignored index counts as no class
    return {"accuracy": accuracy} if inside else {}
