"""The rows of the table: tasks on networks, the check that the sides agree, and their times."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .sides import Forms, Results
from .task import Task
from .timing import Timing, alternate, duration

#: Largest differences between the sides, relative to the largest entry.
TOLERANCES = {"loss": 1e-5, "gradient": 1e-3, "way": 1e-2}
#: The variants of the autoencoder and the LSTM are the same arithmetic.
VARIANTS = {"fcp": ("paper", "authors"), "lenet": ("paper", "authors"), "autoencoder": ("paper",), "lstm": ("paper",)}
WORKS = {
    "path": "path step",
    "gradient": "loss + gradient",
    "loss": "loss",
    "sgd": "SGD step of 64",
    "lbfgs": "L-BFGS-GSS iteration",
    "plane": "plane of losses",
    "population": "SGD runs, one epoch",
}
#: "Must be faster by" of a work and network; "authors" after a network means that variant.
GOALS = {
    ("path", "fcp"): "5; 4 if batched",
    ("gradient", "fcp"): "1.2",
    ("gradient", "fcp authors"): "1.2",
    ("gradient", "lenet"): "5",
    ("gradient", "lenet authors"): "1.5",
    ("gradient", "autoencoder"): "1.4",
    ("gradient", "lstm"): "1.3",
    ("loss", "lenet"): "7",
    ("sgd", "fcp"): "1",
    ("sgd", "lenet"): "4",
    ("sgd", "autoencoder"): "1.3",
    ("sgd", "lstm"): "1.5",
    ("lbfgs", "fcp"): "3",
    ("lbfgs", "lenet"): "6",
    ("lbfgs", "autoencoder"): "2",
    ("lbfgs", "lstm"): "1.3",
    ("plane", "fcp"): "10",
    ("population", "fcp"): "1.5",
}
#: Works that take long enough for one network.
FCP_ONLY = ("path", "plane", "population")


class Disagreement(ArithmeticError):
    """Raised if the results of two sides differ."""


@dataclass(frozen=True)
class Row:
    """One kind of work on one network.

    Attributes
    ----------
    goal
        The factor that minilandscape must be faster by, in words; empty where there is none.
    """

    work: str
    task: Task
    goal: str

    @property
    def name(self) -> str:
        """Return the name that is printed and that ``--only`` matches."""
        return f"{self.task.model} ({self.task.variant}), {WORKS[self.work]}"

    @property
    def units(self) -> int:
        """Return the number of units in one call: SGD steps, else 1."""
        return self.task.n_steps if self.work == "sgd" else 1

    @property
    def trial(self) -> Task:
        """Return a smaller task, for the check and the choice of form, if the whole takes many seconds."""
        task = self.task
        return replace(task, plane_side=min(task.plane_side, 8), n_runs=min(task.n_runs, 12))


@dataclass(frozen=True)
class Outcome:
    """The result of a row.

    Attributes
    ----------
    times
        Seconds of each side, per unit.
    forms
        Which form of the work was fastest for a side, "" where there is only one.
    differences
        The largest relative difference of any side's and form's results from minilandscape's.
    ratio
        The faster of PyTorch and JAX over minilandscape; None without either.
    flops
        Operations that one unit needs.
    """

    times: dict[str, Timing]
    forms: dict[str, str]
    differences: dict[str, float]
    ratio: float | None
    flops: float
    memory: int | None = field(default=None)


def all_rows(images: Any, device: str, quick: bool) -> Iterator[Row]:
    """Yield every row of the table, the long ones last."""
    sizes: dict[str, int] = {"n_steps": 5, "n_points": 12, "plane_side": 5, "n_runs": 3} if quick else {}
    for work in WORKS:
        for model, variants in VARIANTS.items():
            for variant in variants:
                if work in FCP_ONLY and (model, variant) != ("fcp", "paper"):
                    continue
                key = model if variant == "paper" else f"{model} {variant}"
                yield Row(work, Task(model, variant, images, device, **sizes), GOALS.get((work, key), ""))


def measure(row: Row, sides: dict[str, Callable[[Task], Any]], blocks: int, seconds: float, pause: float) -> Outcome:
    """Check that all forms of all sides agree, keep each side's fastest, and time the sides alternately.

    Raises
    ------
    Disagreement
        If results differ by more than :data:`TOLERANCES`.
    """
    trial = row.trial
    reference: Results | None = None
    differences: dict[str, float] = {}
    chosen: dict[str, str] = {}
    for name, side in sides.items():
        forms: Forms = getattr(side(trial), row.work, dict)()
        seconds_of = {}
        for form, call in forms.items():
            results = call()
            reference = results if reference is None else reference
            for what, size in compare(f"{row.name}: {name} {form}", results, reference).items():
                differences[what] = max(size, differences.get(what, 0.0))
            seconds_of[form] = duration(call) if len(forms) > 1 else 0.0
        if forms:
            chosen[name] = min(seconds_of, key=lambda form: seconds_of[form])
    calls = {name: getattr(sides[name](row.task), row.work)()[form] for name, form in chosen.items()}
    times = {name: t / row.units for name, t in alternate(calls, blocks, seconds, pause).items()}
    others = [times[name].median for name in ("PyTorch", "JAX") if name in times]
    ratio = min(others) / times["minilandscape"].median if others else None
    return Outcome(times, chosen, differences, ratio, row.task.flops[row.work] / row.units)


def compare(
    who: str, results: Results, reference: Results, tolerances: dict[str, float] = TOLERANCES
) -> dict[str, float]:
    """Return the largest differences relative to the largest entry; raises Disagreement above a tolerance."""
    differences = {}
    for what, expected in reference.items():
        size = float(np.abs(results[what] - expected).max() / np.abs(expected).max())
        if not size <= tolerances[what]:
            raise Disagreement(f"{who} differs from minilandscape in {what} by {size:.1e} (at most {tolerances[what]})")
        differences[what] = size
    return differences
