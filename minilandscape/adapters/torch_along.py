"""Losses and metrics along a path, on the training and test data, and the barrier of each by three definitions."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from ..files import read_result, write_result

#: The loss among the quantities of a data set, and what is put before the names of the test set's.
LOSS, TEST = "loss", "test "


@dataclass(frozen=True)
class Barriers:
    """The barrier of a quantity along a path by three definitions, at the sample points.

    Attributes
    ----------
    barrier
        The maximum above the higher endpoint.
    forward, reverse
        The maximum above the start, and above the end.
    loss_barrier
        max_t [L(t) − (1 − t) L(0) − t L(1)] (Frankle et al., 2020).
    """

    barrier: float
    forward: float
    reverse: float
    loss_barrier: float

    @classmethod
    def of(cls, t: np.ndarray, values: np.ndarray) -> Barriers:
        """Of values (M,) at t (M,)."""
        start, end, top = float(values[0]), float(values[-1]), float(values.max())
        line = float((values - (1 - t) * start - t * end).max())
        return cls(top - max(start, end), top - start, top - end, line)


@dataclass(frozen=True)
class AlongPath:
    """Quantities along a path.

    Attributes
    ----------
    t
        (M,), the path's sample points.
    values
        (M,) each, by name: ``"loss"`` and the metrics over the training data, ``"test loss"`` and so on over the test
        data.
    average
        The same at the average of the endpoints, (a + b) / 2, halfway along the straight line.
    metadata
        How many samples there are.
    """

    t: np.ndarray
    values: dict[str, np.ndarray]
    average: dict[str, float]
    metadata: dict[str, Any] = field(default_factory=dict)

    def barriers(self, name: str = LOSS) -> Barriers:
        """The barrier of a quantity; ValueError where there is none of that name."""
        if name not in self.values:
            raise ValueError(f"there is no {name!r}; expected one of {', '.join(self.values)}")
        return Barriers.of(self.t, self.values[name])

    def __str__(self) -> str:
        """A table: each quantity at the endpoints, its extremes along the path, and at the average."""
        width = max(len(name) for name in self.values)
        lines = [f"{'':<{width}} {'start':>11} {'end':>11} {'least':>11} {'largest':>11} {'average of both':>15}"]
        for name, values in self.values.items():
            numbers = "".join(f" {v:>11.5g}" for v in (values[0], values[-1], values.min(), values.max()))
            lines.append(f"{name:<{width}}{numbers} {self.average[name]:>15.5g}")
        return "\n".join(lines)

    def plot(self, axes: Any = None) -> Any:
        """Draws losses on the left and metrics on the right axis, on new axes if None; returns the left ones."""
        if axes is None:
            from matplotlib.figure import Figure

            axes = Figure(figsize=(6.6, 4), layout="constrained").subplots()
        losses = [name for name in self.values if name.removeprefix(TEST) == LOSS]
        others = [name for name in self.values if name not in losses]
        right = axes.twinx() if others else axes
        lines = []
        for side, names, colour, mark in ((axes, losses, "tab:blue", "."), (right, others, "tab:orange", "^")):
            for k, name in enumerate(names):
                style = "--" if name.startswith(TEST) else "-"
                shade = 1.0 if len(names) < 3 else 1 - 0.6 * (k // 2) / ((len(names) + 1) // 2)
                lines += side.plot(self.t, self.values[name], style, color=colour, alpha=shade, label=name)
                side.plot(0.5, self.average[name], mark, color=colour, ms=8, mfc="none")
        axes.set(xlabel="t", ylabel="loss")
        if others:
            right.set_ylabel(", ".join(dict.fromkeys(name.removeprefix(TEST) for name in others)))
        hollow = axes.plot([], [], "o", color="0.4", mfc="none", label="average of the endpoints")
        above: dict[str, Any] = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "ncols": 3}
        axes.legend(handles=[*lines, *hollow], frameon=False, fontsize="small", **above)
        return axes

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes an ``.npz`` that :func:`load_along` reads."""
        arrays = {"t": self.t} | {f"values {name}": values for name, values in self.values.items()}
        write_result(path, "along", arrays, {"average": self.average, "metadata": self.metadata})


def load_along(path: str | os.PathLike[str]) -> AlongPath:
    """Reads what :meth:`AlongPath.save` wrote; ValueError names the file where it is damaged."""
    arrays, document = read_result(path, "along")
    average: dict[str, float] = document["average"]
    values = {name: arrays[f"values {name}"] for name in average}
    return AlongPath(arrays["t"], values, average, document["metadata"])


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


def check_metrics(metrics: Any) -> None:
    """TypeError or ValueError where metrics are no functions by name."""
    if metrics is None:
        return
    if not isinstance(metrics, Mapping) or not all(callable(metric) for metric in metrics.values()):
        raise TypeError("metrics are expected as a dictionary of names and functions of outputs and targets")
    if LOSS in metrics or any(str(name).startswith(TEST) for name in metrics):
        raise ValueError(
            f"metrics are {', '.join(map(str, metrics))}; {LOSS!r} and names with {TEST!r} before are taken"
        )
