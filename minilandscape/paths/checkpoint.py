"""Checkpoints of a search, from which it resumes bit-identically."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..backend import to_device, to_host
from ..files import json_text, read_result, sha256, write_result
from ..landscape import Evaluations
from ..optimizers import LbfgsState
from .batches import RoundMemory
from .problem import PathProblem, PathState
from .record import Record
from .result import HISTORY
from .rules import Rule
from .solvers import AdamMemory, LineMemory

#: Smallest time between checkpoints, in seconds.
EVERY = 30.0
KIND = "search"
_NUMBERS = (
    "step",
    "objective",
    "cumulative_loss",
    "height",
    "penalty",
    "length",
    "stage",
    "slope",
    "decrement",
    "beta",
    "rounds",
)


@dataclass
class Checkpoint:
    """The file of the state of a search, and the options that it has to agree with.

    Attributes
    ----------
    file
        The file, which is written atomically.
    known
        Options and endpoints, as JSON.
    """

    file: Path
    known: str
    _written: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, file: str | os.PathLike[str], problem: PathProblem, metadata: dict[str, Any]) -> Checkpoint:
        """Make the checkpoint of a search between two points."""
        endpoints = [sha256(to_host(point)) for point in (problem.start, problem.end)]
        return cls(Path(file), json_text({**metadata, "endpoints": endpoints}))

    def save(self, record: Record, rule: Rule, state: PathState) -> None:
        """Save a state that a solver can resume from, if the last one is old enough."""
        if state.memory is None or time.monotonic() - self._written < EVERY:
            return
        assert record.best is not None
        assert record.line is not None
        arrays = {f"history_{name}": np.array(entries) for name, entries in record.history.items()}
        arrays |= {"line": record.line, "lowest": np.array(rule.lowest)}
        described: dict[str, Any] = {"known": self.known, "last_lower": rule.last_lower}
        kept_states = {"best": record.best, "last": state, "rounded": record.rounded}
        for name, kept in kept_states.items():
            if kept is None:
                continue
            arrays |= {f"{name}_b": to_host(kept.coefficients), f"{name}_values": kept.values}
            described[name] = {number: getattr(kept, number) for number in _NUMBERS}
            described[name] |= {"evaluations": vars(kept.evaluations).copy(), "maximum": kept.maximum}
        more_arrays, described["memory"] = _of_memory(state.memory)
        write_result(self.file, KIND, {**arrays, **more_arrays}, described)
        self._written = time.monotonic()

    def restore(self, problem: PathProblem, record: Record, rule: Rule) -> PathState | None:
        """Restore a search; returns its last state, or None where there is no file.

        Raises
        ------
        ValueError
            If the file belongs to another search, or is damaged.
        """
        if not self.file.exists():
            return None
        arrays, described = read_result(self.file, KIND)
        if json.loads(described["known"]) != json.loads(self.known):  # in any order of the options
            raise ValueError(f"{self.file} is the checkpoint of another search: remove it, or name another file")

        def device(array: np.ndarray) -> Any:
            return to_device(array, problem.landscape.device, problem.landscape.dtype).copy()

        states = {}
        for name in ("best", "last", "rounded"):
            if name not in described:
                continue
            numbers = {**described[name], "evaluations": Evaluations(**described[name]["evaluations"])}
            numbers["maximum"] = tuple(numbers["maximum"]) if numbers.get("maximum") else None
            states[name] = PathState(
                coefficients=device(arrays[f"{name}_b"]), values=arrays[f"{name}_values"], **numbers
            )
        last = replace(states["last"], memory=_to_memory(described["memory"], arrays, device))
        record.history = {name: arrays[f"history_{name}"].tolist() for name in HISTORY}
        record.line, record.best, record.rounded = arrays["line"], states["best"], states.get("rounded")
        record.resumed(last)
        rule.lowest, rule.last_lower, rule.best = arrays["lowest"].tolist(), described["last_lower"], states["best"]
        rule.reference = max(rule.reference, rule.lowest[0])
        problem.meter.evaluations, problem.meter.rounds = last.evaluations + Evaluations(), last.rounds
        return last


def _of_memory(memory: AdamMemory | LineMemory | RoundMemory) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    if isinstance(memory, AdamMemory):
        described = {"kind": "adam", "step": memory.step, "unit": memory.unit, "count": None}
        if not memory.moments:
            return {}, described
        count, m, v = memory.moments
        return {"m": to_host(m), "v": to_host(v)}, {**described, "count": count}
    if isinstance(memory, RoundMemory):
        return {}, {"kind": "round", **vars(memory)}
    iterate = memory.iterate
    arrays = {"x": to_host(iterate.x), "line_values": memory.values}
    arrays |= {f"s{k:03d}": to_host(vector) for k, vector in enumerate(iterate.s)}
    arrays |= {f"y{k:03d}": to_host(vector) for k, vector in enumerate(iterate.y)}
    if iterate.last is not None:
        arrays["last_x"], arrays["last_g"] = (to_host(a) for a in iterate.last)
    if iterate.gradient is not None:
        arrays["gradient"] = to_host(iterate.gradient)
    described = {f.name: getattr(memory, f.name) for f in fields(LineMemory) if f.name not in ("iterate", "values")}
    described |= {"kind": "line", "iteration": iterate.iteration, "value": iterate.value}
    return arrays, {**described, "evaluations": vars(iterate.evaluations).copy()}


def _to_memory(
    described: dict[str, Any], arrays: dict[str, np.ndarray], device: Any
) -> AdamMemory | LineMemory | RoundMemory:
    if described["kind"] == "adam":
        moments = () if described["count"] is None else (described["count"], device(arrays["m"]), device(arrays["v"]))
        return AdamMemory(described["step"], moments, described["unit"])
    if described["kind"] == "round":
        return RoundMemory(described["done"], described["before"])
    s, y = (tuple(device(arrays[k]) for k in sorted(arrays) if k[0] == c and k[1:].isdigit()) for c in "sy")
    iterate = LbfgsState(
        iteration=described["iteration"],
        x=device(arrays["x"]),
        value=described["value"],
        evaluations=Evaluations(**described["evaluations"]),
        s=s,
        y=y,
        last=(device(arrays["last_x"]), device(arrays["last_g"])) if "last_x" in arrays else None,
        gradient=device(arrays["gradient"]) if "gradient" in arrays else None,
    )
    return LineMemory(
        described["done"], iterate, described["unit"], arrays["line_values"], described["few"], described["straight"]
    )
