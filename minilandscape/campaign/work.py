"""What the tasks of the paper's campaign do: train, gather a set of solutions, join a pair."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from ..data import Mnist, load_mnist
from ..landscape import Evaluations
from ..networks import network_landscape
from ..paths import Path as FoundPath
from ..paths import find_path
from ..training import CURVES, train
from .task import Result

#: Points of a path at most, where its barrier hides between them.
MOST_POINTS = 200
#: The part of the runs whose training loss is the lowest that the paper keeps.
KEPT = (48, 75)


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
def _landscape(model: str, variant: str, where: str, key: str, split: str, size: int, device: str) -> Any:
    images = getattr(campaign_data({"data": where, "data_key": key}), split)
    return network_landscape(model, images[:size], variant, device)


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
    order = np.argsort(losses, kind="stable")[: ceil(len(inputs) * KEPT[0] / KEPT[1])]
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
    land = _landscape(options["model"], options["variant"], *data, *what)
    start, end = (arrays[options["weights"]][k] for k in (i, j))
    path, evaluations, n_steps = find_to_the_end(land, start, end, options["path"], options.get("most_steps"))
    kept = {"values": path.values, **{f"history_{name}": curve for name, curve in path.history.items()}}
    facts = {
        "height": path.height,
        "height_linear": path.height_linear,
        "height_ends": list(path.height_ends),
        "dense_height": path.maximum,
        "length": path.length,
        "distance": float(np.linalg.norm(end.astype(np.float64) - start)),
        "best_step": path.best_step,
        "converged": path.converged,
        "reason": path.reason,
        "n_points": len(path.t),
        "steps": n_steps,
        "evaluations": vars(evaluations).copy(),
    }
    return kept, facts


def find_to_the_end(
    land: Any, start: Any, end: Any, options: dict[str, Any], most: int | None = None
) -> tuple[FoundPath, Evaluations, int]:
    """A path, the points that it took, and the steps.

    A search to its end that is cut off goes on, for about ``most`` steps on one number of points, and then with twice
    the points where they do not see its barrier, λ weighing the steps between them as heavily as before.
    """
    path = find_path(land, start, end, **options)
    evaluations, n_steps, n_points = path.evaluations, len(path.history["height"]) - 1, options["n_points"]
    here = n_steps  # on this number of points
    while options["steps"] == "auto":
        if path.reason == "steps" and most is not None and here < most:
            pass
        elif path.under_resolved and 2 * n_points - 1 <= MOST_POINTS:
            n_points, here = 2 * n_points - 1, 0
        else:
            break
        lam = options["lam"] * n_points * (n_points - 1) / (options["n_points"] * (options["n_points"] - 1))
        path = find_path(land, start, end, **{**options, "n_points": n_points, "lam": lam}, initial=path)
        evaluations += path.evaluations
        n_steps += len(path.history["height"]) - 1
        here += len(path.history["height"]) - 1
    return path, evaluations, n_steps
