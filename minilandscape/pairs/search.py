"""The search of a path until it ends, on more sample points if it is under-resolved, and its stored record."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..files import DamagedFileError
from ..landscape import Evaluations
from ..paths import Ending, find_path, load_path
from ..paths import Path as FoundPath
from ..tasks import Result

#: Maximum number of sample points of an under-resolved path.
MOST_POINTS = 200


def path_record(path: FoundPath, evaluations: Evaluations, n_steps: int) -> Result:
    """Return the record of a path: its values and histories, and the numbers that describe it.

    Parameters
    ----------
    evaluations, n_steps
        Of all its searches.
    """
    kept = {"values": path.values, **{f"history_{name}": curve for name, curve in path.history.items()}}
    metadata = {
        "height": path.height,
        "height_linear": path.height_linear,
        "height_ends": list(path.height_ends),
        "dense_height": path.maximum,
        "length": path.length,
        "distance": float(np.linalg.norm(path.end.astype(np.float64) - path.start)),
        "best_step": path.best_step,
        "converged": path.converged,
        "reason": path.reason,
        "n_points": len(path.t),
        "steps": n_steps,
        "evaluations": vars(evaluations).copy(),
    }
    return kept, metadata


@dataclass(frozen=True)
class Searches:
    """The searches of one pair so far.

    Attributes
    ----------
    path
        Of the last search.
    evaluations, steps
        Of all searches.
    here
        Steps at this number of sample points.
    """

    path: FoundPath
    evaluations: Evaluations
    steps: int
    here: int

    @classmethod
    def first(cls, path: FoundPath) -> Searches:
        """Return the state after one search."""
        steps = len(path.history["height"]) - 1
        return cls(path, path.evaluations, steps, steps)

    def then(self, path: FoundPath) -> Searches:
        """Return the state after another search, which started from the path."""
        steps = len(path.history["height"]) - 1
        here = steps + (self.here if len(path.t) == len(self.path.t) else 0)
        return Searches(path, self.evaluations + path.evaluations, self.steps + steps, here)

    def save(self, file: Path) -> None:
        """Write the state to a file."""
        so_far = {"evaluations": vars(self.evaluations).copy(), "steps": self.steps, "here": self.here}
        replace(self.path, metadata={**self.path.metadata, "searches": so_far}).save(file)

    @classmethod
    def load(cls, file: Path) -> Searches | None:
        """Read a saved state; None if there is none, or it is damaged: the searches then start again."""
        try:
            path = load_path(file)
        except (FileNotFoundError, DamagedFileError):
            return None
        so_far = path.metadata.pop("searches")
        return cls(path, Evaluations(**so_far["evaluations"]), so_far["steps"], so_far["here"])


def find_low(
    land: Any, start: Any, end: Any, options: dict[str, Any], most: int | None = None, checkpoint: Path | None = None
) -> tuple[FoundPath, Evaluations, int]:
    """Search a path until it converges or reaches its target barrier; with it, evaluations and steps of all searches.

    A search that reaches its maximum of steps is resumed while the budget lasts, without one until about ``most`` steps
    at one number of sample points. If the path is under-resolved in the end, the search is resumed with twice the
    sample points, λ scaled so that the penalty on the length weighs as much as before.

    Parameters
    ----------
    options
        Of :func:`~minilandscape.paths.find_path`; a budget is that of all searches together.
    checkpoint
        File for the state of the current search; another beside it holds the searches before.
    """
    before = None if checkpoint is None else checkpoint.with_name(f"{checkpoint.name}.before.npz")
    done = None if before is None else Searches.load(before)
    while True:
        more = dict(options)
        if done is not None:
            next_points, left = _next_points(done, options, most), _left(done, options)
            if next_points is None or (left is not None and left < next_points):
                return done.path, done.evaluations, done.steps
            weight = next_points * (next_points - 1) / (options["n_points"] * (options["n_points"] - 1))
            more |= {"n_points": next_points, "lam": options["lam"] * weight, "initial": done.path, "budget": left}
        # One for each search, so that none resumes from the file of another.
        number = "" if done is None else f".{done.steps}.npz"
        own = None if checkpoint is None else checkpoint.with_name(checkpoint.name + number)
        path = _search(land, start, end, own, more)
        done = Searches.first(path) if done is None else done.then(path)
        if own is not None and before is not None:
            done.save(before)
            own.unlink(missing_ok=True)


def _search(land: Any, start: Any, end: Any, checkpoint: Path | None, options: dict[str, Any]) -> FoundPath:
    """Search a path, from the start if the checkpoint is damaged."""
    try:
        return find_path(land, start, end, checkpoint=checkpoint, **options)
    except DamagedFileError:
        assert checkpoint is not None
        checkpoint.unlink()
        return find_path(land, start, end, checkpoint=checkpoint, **options)


def _next_points(done: Searches, options: dict[str, Any], most: int | None) -> int | None:
    """Return the number of sample points with which the search is resumed; None if it has ended."""
    n_points, path = len(done.path.t), done.path
    if options["steps"] != "auto" or path.reason in (Ending.TARGET, Ending.BUDGET):
        return None
    if path.reason is Ending.STEPS and ("budget" in options or (most is not None and done.here < most)):
        return n_points
    return 2 * n_points - 1 if path.under_resolved and 2 * n_points - 1 <= MOST_POINTS else None


def _left(done: Searches, options: dict[str, Any]) -> int | None:
    """Return what is left of the budget; None if there is none."""
    spent = done.evaluations.gradients + done.evaluations.values
    return options["budget"] - spent if "budget" in options else None
