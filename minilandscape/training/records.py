"""Records: what is measured of runs on the way."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import to_host

CURVES = ("train_loss", "test_loss", "train_accuracy", "test_accuracy")


class Records:
    """The curves of K runs, and their vectors at the curves' minima.

    Attributes
    ----------
    floor
        The training loss that ends a run; 0 ends none.
    curves
        A list of (K,) arrays by name.
    best
        (K, D) for ``"train"`` and for ``"test"``.
    """

    def __init__(self, floor: float) -> None:
        self.floor = floor
        self.curves: dict[str, list[np.ndarray]] = {name: [] for name in CURVES}
        self.best: dict[str, np.ndarray] = {}

    def _ending(self) -> np.ndarray:
        """(epochs, K): where a training loss ends its run, at the floor or not finite."""
        losses = np.array(self.curves["train_loss"])
        return (losses <= (self.floor or -1.0)) | ~np.isfinite(losses)

    def over(self) -> np.ndarray:
        """(K,): which runs are over."""
        return np.asarray(self._ending().any(axis=0))

    def ends(self) -> np.ndarray:
        """(K,): the epochs at which the runs were over, the last one so far where they are not."""
        ending = self._ending()
        return np.where(self.over(), ending.argmax(axis=0), len(ending) - 1)

    def reasons(self) -> list[str | None]:
        """Why each run is over; None where it is not."""
        losses = np.array(self.curves["train_loss"])[self.ends(), range(len(self.ends()))]
        return [
            None if not over else "loss floor" if np.isfinite(loss) else "not finite"
            for over, loss in zip(self.over(), losses, strict=True)
        ]

    def add(self, lands: list[Any], points: Any) -> None:
        """Measures points (K, D), and keeps those that are the lowest so far, of the runs that are not over."""
        going = ~self.over() if self.best else True
        for name, landscape in zip(("train", "test"), lands, strict=True):
            losses, accuracies = landscape.measure(points)
            curve = self.curves[f"{name}_loss"]
            if curve:
                lower = (losses < np.fmin.reduce(curve, axis=0, initial=np.inf)) & going
                if lower.any():
                    self.best[name][lower] = to_host(points)[lower]
            else:
                self.best[name] = to_host(points).copy()
            curve.append(losses)
            if accuracies is not None:
                self.curves[f"{name}_accuracy"].append(accuracies)
