"""Checkpoints: files from which training runs resume, bit-identical."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from ..backend import to_device, to_host
from ..files import read_result, unfinished_files, write_result
from ..landscape import Evaluations
from ..optimizers import EpochState, LbfgsState
from .options import as_used
from .records import CURVES, Records
from .run import data_difference


def remove_checkpoint(path: str | os.PathLike[str]) -> None:
    """Remove a checkpoint, and temporary files that a killed process left of it."""
    for file in (Path(path), *unfinished_files(path)):
        file.unlink(missing_ok=True)


def write_checkpoint(path: Any, settings: list[dict[str, Any]], metadata: Any, state: Any, records: Records) -> None:
    """Write what runs resume from: their options, data, the optimiser's state and the curves."""
    arrays = {f"curve_{name}": np.array(curve) for name, curve in records.curves.items()}
    arrays |= {"best_train": records.best["train"], "best_test": records.best["test"], "x": to_host(state.x)}
    known: dict[str, Any] = {"options": settings, "data": metadata, "evaluations": vars(state.evaluations).copy()}
    if isinstance(state, LbfgsState):
        known |= {"iteration": state.iteration, "value": state.value}
        for name in ("s", "y"):
            for k, pair in enumerate(getattr(state, name)):
                arrays[f"{name}{k:03d}"] = to_host(pair)
        if state.last is not None:
            arrays["last_x"], arrays["last_g"] = (to_host(a) for a in state.last)
    else:
        known |= {"epoch": state.epoch, "rng": state.rng, "count": state.moments[0] if state.moments else 0}
        if state.moments:
            arrays["m"], arrays["v"] = (to_host(a) for a in state.moments[1:])
    write_result(path, "checkpoint", arrays, known)


def checkpoint_seeds(path: Any) -> list[int]:
    """Return the seeds of the runs in a checkpoint."""
    return [options["seed"] for options in read_result(path, "checkpoint")[1]["options"]]


def read_checkpoint(path: Any, settings: list[dict[str, Any]], metadata: dict[str, Any]) -> tuple[Any, Records]:
    """Read the optimiser's state and the records.

    Raises
    ------
    ValueError
        If the checkpoint belongs to other runs, or to runs beyond the epochs asked for.
    """
    arrays, known = read_result(path, "checkpoint")
    found = known["options"]
    if len(found) != len(settings):
        raise ValueError(f"{path} is the checkpoint of {len(found)} runs, not {len(settings)}: remove it")
    advice = "use its options, another folder, or remove it"
    if (difference := data_difference(known["data"], metadata)) is not None:
        raise ValueError(f"{path} is the checkpoint of a run on {difference}: {advice}")
    for has, expected in zip(found, settings, strict=True):
        has = as_used(has, known["data"])
        for name in sorted((set(expected) | set(has)) - {"epochs"}):
            if expected.get(name) != has.get(name):
                raise ValueError(
                    f"{path} is the checkpoint of a run with {name} {has.get(name)}, not {expected.get(name)}: {advice}"
                )

    # The first epochs do not depend on their number: another number is accepted if the run has not gone beyond it.
    reached = known["iteration"] if "iteration" in known else known["epoch"]
    if reached > settings[0]["epochs"]:
        raise ValueError(
            f"{path} is the checkpoint of a run that has reached epoch {reached}, beyond {settings[0]['epochs']}: "
            f"ask for {reached} epochs or more, use another folder, or remove it"
        )

    def device(array: np.ndarray) -> Any:
        return to_device(array, settings[0]["device"])

    evaluations, x = Evaluations(**known["evaluations"]), device(arrays["x"])
    state: Any
    if "iteration" in known:
        s, y = (tuple(device(arrays[k]) for k in sorted(arrays) if k[0] == c and k[1:].isdigit()) for c in "sy")
        last = (device(arrays["last_x"]), device(arrays["last_g"])) if "last_x" in arrays else None
        state = LbfgsState(known["iteration"], x, known["value"], evaluations, s, y, last)
    else:
        moments = (known["count"], device(arrays["m"]), device(arrays["v"])) if "m" in arrays else ()
        state = EpochState(known["epoch"], x, evaluations, known["rng"], moments)
    records = Records(settings[0]["loss_floor"])
    records.curves = {name: list(arrays[f"curve_{name}"]) for name in CURVES}
    records.best = {"train": arrays["best_train"], "test": arrays["best_test"]}
    return state, records
