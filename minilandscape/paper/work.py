"""The functions of the campaign's tasks: train a network, select a set of runs, connect a pair."""

from __future__ import annotations

from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from ..pairs.networks import campaign_data, landscape_over
from ..pairs.search import find_low, path_record
from ..tasks import Result
from ..training import CURVES, train
from .printed import KEPT, RUNS


def train_run(options: dict[str, Any], inputs: list[Result], checkpoint: Path) -> Result:
    """Train a network: both weights, the curves, and why the run ended."""
    data = campaign_data(options)
    data = replace(data, test=data.test[: options["test_curve"]])
    run = train(options["model"], data, checkpoint=checkpoint, **options["train"])
    arrays = {"train": run.train_weights, "test": run.test_weights, **{name: run.curves[name] for name in CURVES}}
    metadata = {"train_minimum": run.train_minimum, "test_minimum": run.test_minimum, "reason": run.reason}
    return arrays, {**metadata, "evaluations": vars(run.evaluations).copy(), "data": run.data}


def solution_set(options: dict[str, Any], inputs: list[Result], checkpoint: Path) -> Result:
    """Select the runs with the lowest training losses, 48 of 75 rounded up, best first: weights and minima."""
    losses = np.array([metadata["train_minimum"]["loss"] for _, metadata in inputs])
    order = np.argsort(losses, kind="stable")[: ceil(len(inputs) * KEPT / RUNS)]
    minima = {
        f"{name}_{what}": np.array([inputs[k][1][f"{name}_minimum"][what] for k in order])
        for name in ("train", "test")
        for what in ("loss", "epoch")
    }
    vectors = {name: np.stack([inputs[k][0][name] for k in order]) for name in ("train", "test")}
    # With the last test loss it is known how far a curve rises after its minimum.
    last = np.array([inputs[k][0]["test_loss"][-1] for k in order])
    seeds = np.array([options["seeds"][k] for k in order])
    arrays = {**vectors, **minima, "test_last": last, "seeds": seeds, "all_train_loss": losses}
    return arrays, {"reasons": [inputs[k][1]["reason"] for k in order], "data": inputs[0][1]["data"]}


def pair_path(options: dict[str, Any], inputs: list[Result], checkpoint: Path) -> Result:
    """Connect two vectors of a set, on the training or on the test landscape.

    ``steps`` and ``evaluations`` are those of all searches, ``best_step`` and histories those of the last one.
    """
    (arrays, _), (i, j) = inputs[0], options["pair"]
    data = options["data"], options["data_key"]
    what = options["landscape"], options["images"], options.get("device", "cpu")
    land = landscape_over(options["model"], options["variant"], *data, *what)
    start, end = (arrays[options["weights"]][k] for k in (i, j))
    return path_record(*find_low(land, start, end, options["path"], options.get("most_steps"), checkpoint))
