"""What the tasks of the paper's campaign do: train, gather a set of solutions, join a pair."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from ..data import Mnist, load_mnist
from ..files import DamagedFileError
from ..landscape import Evaluations
from ..networks import network_landscape
from ..paths import Ending, find_path, load_path
from ..paths import Path as FoundPath
from ..training import CURVES, train
from .printed import KEPT, RUNS
from .task import Result

#: Points of a path at most, where its barrier hides between them.
MOST_POINTS = 200


@lru_cache(maxsize=2)
def _read(where: str) -> Mnist:
    return load_mnist(where)


def campaign_data(options: dict[str, Any]) -> Mnist:
    """The data that a task's options name, checked to be those of the plan; read once a process."""
    data = _read(options["data"])
    if data.key != options["data_key"]:
        raise ValueError(
            f"{options['data']} holds the data {data.key!r}, the campaign is on {options['data_key']!r}; "
            "give --data as it was"
        )
    return data


@lru_cache(maxsize=2)
def landscape_over(
    model: str, variant: str, where: str, key: str, split: str, size: int, device: str, dtype: str = "float32"
) -> Any:
    """A network's landscape over the first images of a split, made once a process."""
    images = getattr(campaign_data({"data": where, "data_key": key}), split)
    return network_landscape(model, images[:size], variant, device, dtype)


def train_run(options: dict[str, Any], inputs: list[Result], checkpoint: Path) -> Result:
    """One training run: both vectors, the curves, and why it ended."""
    data = campaign_data(options)
    data = replace(data, test=data.test[: options["test_curve"]])
    run = train(options["model"], data, checkpoint=checkpoint, **options["train"])
    arrays = {"train": run.train_weights, "test": run.test_weights, **{name: run.curves[name] for name in CURVES}}
    facts = {"train_minimum": run.train_minimum, "test_minimum": run.test_minimum, "reason": run.reason}
    return arrays, {**facts, "evaluations": vars(run.evaluations).copy(), "data": run.data}


def solution_set(options: dict[str, Any], inputs: list[Result], checkpoint: Path) -> Result:
    """The runs with the lowest training losses, 48 of 75 of them rounded up, best first: vectors and minima."""
    losses = np.array([facts["train_minimum"]["loss"] for _, facts in inputs])
    order = np.argsort(losses, kind="stable")[: ceil(len(inputs) * KEPT / RUNS)]
    minima = {
        f"{name}_{what}": np.array([inputs[k][1][f"{name}_minimum"][what] for k in order])
        for name in ("train", "test")
        for what in ("loss", "epoch")
    }
    vectors = {name: np.stack([inputs[k][0][name] for k in order]) for name in ("train", "test")}
    # The last test loss tells how far a curve rises after its minimum.
    last = np.array([inputs[k][0]["test_loss"][-1] for k in order])
    seeds = np.array([options["seeds"][k] for k in order])
    arrays = {**vectors, **minima, "test_last": last, "seeds": seeds, "all_train_loss": losses}
    return arrays, {"reasons": [inputs[k][1]["reason"] for k in order], "data": inputs[0][1]["data"]}


def pair_path(options: dict[str, Any], inputs: list[Result], checkpoint: Path) -> Result:
    """A path between two vectors of a set, on the training or on the test landscape.

    ``steps`` and ``evaluations`` are those of all searches that it took, ``best_step`` and histories the last one's.
    """
    (arrays, _), (i, j) = inputs[0], options["pair"]
    data = options["data"], options["data_key"]
    what = options["landscape"], options["images"], options.get("device", "cpu")
    land = landscape_over(options["model"], options["variant"], *data, *what)
    start, end = (arrays[options["weights"]][k] for k in (i, j))
    most = options.get("most_steps")
    path, evaluations, n_steps = find_to_the_end(land, start, end, options["path"], most, checkpoint)
    return path_record(path, evaluations, n_steps)


def path_record(path: FoundPath, evaluations: Evaluations, n_steps: int) -> Result:
    """What is kept of a path: its values and histories, and the numbers that describe it.

    Parameters
    ----------
    evaluations, n_steps
        Of all searches that it took.
    """
    kept = {"values": path.values, **{f"history_{name}": curve for name, curve in path.history.items()}}
    facts = {
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
    return kept, facts


@dataclass(frozen=True)
class Searches:
    """What the searches of one pair have come to.

    Attributes
    ----------
    path
        Of the last of them.
    evaluations, steps
        Of all of them.
    here
        Steps on this number of points.
    """

    path: FoundPath
    evaluations: Evaluations
    steps: int
    here: int

    @classmethod
    def first(cls, path: FoundPath) -> Searches:
        """After one search."""
        steps = len(path.history["height"]) - 1
        return cls(path, path.evaluations, steps, steps)

    def then(self, path: FoundPath) -> Searches:
        """After another one, which went on from the path."""
        steps = len(path.history["height"]) - 1
        here = steps + (self.here if len(path.t) == len(self.path.t) else 0)
        return Searches(path, self.evaluations + path.evaluations, self.steps + steps, here)

    def save(self, file: Path) -> None:
        """Keeps them in a file."""
        so_far = {"evaluations": vars(self.evaluations).copy(), "steps": self.steps, "here": self.here}
        replace(self.path, metadata={**self.path.metadata, "searches": so_far}).save(file)

    @classmethod
    def load(cls, file: Path) -> Searches | None:
        """What :meth:`save` wrote; None where there is nothing, or it is damaged: the searches then begin anew."""
        try:
            path = load_path(file)
        except (FileNotFoundError, DamagedFileError):
            return None
        so_far = path.metadata.pop("searches")
        return cls(path, Evaluations(**so_far["evaluations"]), so_far["steps"], so_far["here"])


def find_to_the_end(
    land: Any, start: Any, end: Any, options: dict[str, Any], most: int | None = None, checkpoint: Path | None = None
) -> tuple[FoundPath, Evaluations, int]:
    """A path, the points that it took, and the steps.

    A search to its end that is cut off goes on, for about ``most`` steps on one number of points, and then with twice
    the points where they do not see its barrier, λ weighing the steps between them as heavily as before.

    Parameters
    ----------
    checkpoint
        A file that the search on its way keeps its state in; another beside it keeps the searches before.
    """
    before = None if checkpoint is None else checkpoint.with_name(f"{checkpoint.name}.before.npz")
    done = None if before is None else Searches.load(before)
    while True:
        more = dict(options)
        if done is not None:
            next_points = _next_points(done, most) if options["steps"] == "auto" else None
            if next_points is None:
                return done.path, done.evaluations, done.steps
            weight = next_points * (next_points - 1) / (options["n_points"] * (options["n_points"] - 1))
            more |= {"n_points": next_points, "lam": options["lam"] * weight, "initial": done.path}
        # Of each search its own, so that none goes on from what one before it has left.
        number = "" if done is None else f".{done.steps}.npz"
        own = None if checkpoint is None else checkpoint.with_name(checkpoint.name + number)
        path = _search(land, start, end, own, more)
        done = Searches.first(path) if done is None else done.then(path)
        if own is not None and before is not None:
            done.save(before)
            own.unlink(missing_ok=True)


def _search(land: Any, start: Any, end: Any, checkpoint: Path | None, options: dict[str, Any]) -> FoundPath:
    """A search, which begins anew where its checkpoint is damaged."""
    try:
        return find_path(land, start, end, checkpoint=checkpoint, **options)
    except DamagedFileError:
        assert checkpoint is not None
        checkpoint.unlink()
        return find_path(land, start, end, checkpoint=checkpoint, **options)


def _next_points(done: Searches, most: int | None) -> int | None:
    """The number of points on which a search goes on; None where it has come to its end."""
    n_points = len(done.path.t)
    if done.path.reason is Ending.STEPS and most is not None and done.here < most:
        return n_points
    return 2 * n_points - 1 if done.path.under_resolved and 2 * n_points - 1 <= MOST_POINTS else None
