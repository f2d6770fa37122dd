"""The curves of training runs and the weights at their minima, gathered epoch by epoch."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import to_host
from ..optimizers import Stop

CURVES = ("train_loss", "test_loss", "train_accuracy", "test_accuracy")
#: Reasons as version 0.1 stored them -> as they are called today.
RENAMED = {"loss floor": Stop.TARGET_LOSS}


def renamed(reason: str) -> str:
    """Return a stored reason for the end of a run under its present name."""
    return str(RENAMED.get(reason, reason))


def reached_target(reason: str) -> bool:
    """Return whether a stored reason says that the training loss reached the target loss."""
    return renamed(reason) == Stop.TARGET_LOSS


class Records:
    """The curves of K runs, and their weights at the minima of the curves.

    Attributes
    ----------
    target
        The training loss at which a run ends; 0 ends none.
    curves
        By name, a list with one array (K,) for each epoch.
    best
        For ``"train"`` and ``"test"``: the weights (K, D) at the lowest loss so far.
    """

    def __init__(self, target: float) -> None:
        self.target = target
        self.curves: dict[str, list[np.ndarray]] = {name: [] for name in CURVES}
        self.best: dict[str, np.ndarray] = {}

    def _ending(self) -> np.ndarray:
        """Return (epochs, K): where a training loss ends its run, since it reached the target or is not finite."""
        losses = np.array(self.curves["train_loss"])
        return (losses <= (self.target or -1.0)) | ~np.isfinite(losses)

    def over(self) -> np.ndarray:
        """Return which runs have ended, (K,)."""
        return np.asarray(self._ending().any(axis=0))

    def ends(self) -> np.ndarray:
        """Return the epochs (K,) at which the runs ended; the last epoch so far for those that have not."""
        ending = self._ending()
        return np.where(self.over(), ending.argmax(axis=0), len(ending) - 1)

    def reasons(self) -> list[str | None]:
        """Return why each run has ended; None for those that have not."""
        losses = np.array(self.curves["train_loss"])[self.ends(), range(len(self.ends()))]
        return [
            None if not over else str(Stop.TARGET_LOSS if np.isfinite(loss) else Stop.NOT_FINITE)
            for over, loss in zip(self.over(), losses, strict=True)
        ]

    def add(self, lands: list[Any], points: Any) -> None:
        """Measure weights (K, D), and keep those with the lowest loss so far of the runs that have not ended."""
        running = ~self.over() if self.best else True
        for name, landscape in zip(("train", "test"), lands, strict=True):
            losses, accuracies = landscape.measure(points)
            curve = self.curves[f"{name}_loss"]
            if curve:
                lower = (losses < np.fmin.reduce(curve, axis=0, initial=np.inf)) & running
                if lower.any():
                    self.best[name][lower] = to_host(points)[lower]
            else:
                self.best[name] = to_host(points).copy()
            curve.append(losses)
            if accuracies is not None:
                self.curves[f"{name}_accuracy"].append(accuracies)
