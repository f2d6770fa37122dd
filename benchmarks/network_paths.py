"""``python -m benchmarks network-paths``: what a search between trained networks costs until its barrier is down.

The cost is counted in gradients of one point over all images, a value as 0.4 of one. A path is down when its excess,
the maximum over a dense grid above the loss at the higher endpoint, is within 1 % of that of the straight line, and
stays there. One row is added to the table for each pair and search when it ends; rows that are there are not measured
again.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

import minilandscape as ml
from minilandscape.backend import threads
from minilandscape.data import Mnist, load_mnist
from minilandscape.landscape import Evaluations
from minilandscape.networks import MODELS, network_landscape
from minilandscape.paper.plan import OPTIMIZERS, Plan
from minilandscape.paper.plan_tasks import NetworkTasks
from minilandscape.paths.bases import sine_basis
from minilandscape.tasks import Store, run_tasks

from . import table

#: Options of ``find_path`` by name; all run until they converge.
SEARCHES: dict[str, dict[str, Any]] = {
    "adam": {"solver": "adam", "steps": "auto"},
    "lbfgs-gss": {"solver": "lbfgs-gss", "steps": "auto"},
    "auto": {"solver": "auto", "steps": "auto"},
}
#: Cost of a value, in gradients.
VALUE = 0.4
#: A path is down within this fraction of the straight line's excess.
DOWN = 0.01
#: Points of the dense grid for every sample point, points next to either endpoint, the least of their distances in t,
#: and the factor in cost between looks at a path that is down.
FINER, BESIDE_ENDS, NEAREST, LOOK_AGAIN = 4, 100, 1e-4, 1.1
#: Runs of each set.
N_RUNS = 6
#: What names a row of the table.
KEY = "network", "optimizer", "pair", "search"


@dataclass(frozen=True)
class Row:
    """One search between one pair.

    Attributes
    ----------
    network, optimizer, pair, search
        The pair by the seeds of its runs.
    line
        Excess of the straight line.
    cost
        Gradients until the path is down and stays there; None if it is not at the end of the measurement.
    first
        Gradients until it was down first.
    excess
        At the end of the measurement.
    spent
        Gradients until then.
    ended
        Why it ended: the search's own reason, ``"followed"`` or ``"cut off"``.
    seconds
        On one core.
    """

    network: str
    optimizer: str
    pair: str
    search: str
    line: float
    cost: float | None
    first: float | None
    excess: float
    spent: float
    ended: str
    seconds: float


class Over(Exception):
    """Raised in a search's ``progress`` to end the measurement."""


class Watch:
    """Follows a search: when its path came down, and whether it stayed."""

    def __init__(self, land: Any, start: Any, end: Any, cap: float, follow: float) -> None:
        self.land, self.start, self.end, self.cap, self.follow = land, start, end, cap, follow
        self.higher = float(land.values(np.stack([start, end])).max())
        self.line = 0.0
        self.spent, self.excess, self.looked = 0.0, float("nan"), 0.0
        self.first: float | None = None
        self.cost: float | None = None

    def __call__(self, state: Any) -> None:
        """Look at a state of the search."""
        self.spent = cost_of(state.evaluations)
        if not self.line:
            self.line = self.dense(state) - self.higher
        if self.cost is None or self.spent >= LOOK_AGAIN * self.looked:
            self.look(state)
        if self.spent >= self.cap:
            raise Over("cut off")
        if self.cost is not None and self.spent >= self.follow * self.cost:
            self.look(state)
            if self.cost is not None:
                raise Over("followed")

    def look(self, state: Any) -> None:
        """Measure the excess; on a dense grid only if the sample points leave it open."""
        self.looked, self.excess = self.spent, float(state.values.max()) - self.higher
        if self.excess <= DOWN * self.line:
            self.excess = self.dense(state) - self.higher
        if self.excess > DOWN * self.line:
            self.cost = None
        elif self.cost is None:
            self.cost = self.spent
            self.first = self.first or self.spent

    def dense(self, state: Any) -> float:
        """Return the maximum over a dense grid."""
        b = state.coefficients
        beside = np.geomspace(NEAREST, 1 / len(state.values), BESIDE_ENDS)
        t = np.unique(np.concatenate([np.linspace(0, 1, FINER * (len(state.values) - 1) + 1), beside, 1 - beside]))
        span = self.land.span(np.concatenate([self.start[None], self.end[None], b]))
        return float(span.values(sine_basis(t, len(b))).max())


def cost_of(evaluations: Evaluations) -> float:
    """Return evaluations in gradients of one point."""
    return evaluations.gradients + VALUE * evaluations.values


def measured(land: Any, start: Any, end: Any, options: dict[str, Any], cap: float, follow: float) -> tuple[Watch, str]:
    """Run one search; returns what was seen of it, and why that ended."""
    watch = Watch(land, start, end, cap, follow)
    try:
        return watch, str(ml.find_path(land, start, end, progress=watch, **options).reason)
    except Over as over:
        return watch, str(over)


def trained(network: str, optimizer: str, data: Mnist, where: str, folder: Path) -> tuple[dict[int, np.ndarray], int]:
    """Train the first runs of the small campaign, or read them; returns training weights by seed, and the images."""
    own = {"test_curve": 1}  # on which training weights do not depend
    plan = Plan.make("small", data=where, data_key=data.key, only=(network,), overrides=own)
    plan = plan.within(len(data.train), len(data.test))
    tasks, store = NetworkTasks(plan, network).runs(optimizer)[:N_RUNS], Store(folder)
    run_tasks(tasks, store, workers=1)
    weights = {}
    for task in tasks:
        result = store.read(task)
        assert result is not None
        weights[task.options["train"]["seed"]] = result[0]["train"]
    return weights, plan.networks[network].train_size


def ring(weights: dict[int, np.ndarray]) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Join the vectors in a ring: name and ends of every pair."""
    seeds = sorted(weights)
    for a, b in zip(seeds, [*seeds[1:], seeds[0]], strict=True):
        yield f"{a}-{b}", weights[a], weights[b]


def main(arguments: list[str]) -> int:
    """Measure all pairs and searches that the table does not hold, and add them to it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks network-paths", description=__doc__)
    parser.add_argument("--networks", nargs="+", choices=MODELS, default=["lstm", "lenet"])
    parser.add_argument("--optimizers", nargs="+", choices=OPTIMIZERS, default=list(OPTIMIZERS))
    parser.add_argument("--searches", nargs="+", choices=SEARCHES, default=list(SEARCHES))
    parser.add_argument("--pairs", type=int, default=N_RUNS, help="pairs of each set, the first of the ring")
    parser.add_argument("--cap", type=float, default=6000, help="gradients of one point until a search is cut off")
    parser.add_argument("--follow", type=float, default=1.5, help="times its cost that a path is followed, once down")
    parser.add_argument("--data", default="auto")
    parser.add_argument("--runs", type=Path, required=True, help="folder of the trained networks")
    parser.add_argument("--table", type=Path, required=True, help="CSV file to which rows are added")
    options = parser.parse_args(arguments)
    os.environ["OMP_NUM_THREADS"] = "1"
    data = load_mnist(options.data)
    with threads(1), threadpool_limits(1):
        for optimizer in options.optimizers:
            for network in options.networks:
                _measure(network, optimizer, data, options)
    return 0


def _measure(network: str, optimizer: str, data: Mnist, options: argparse.Namespace) -> None:
    """Measure the pairs of one set."""
    weights, n_images = trained(network, optimizer, data, options.data, options.runs)
    land = network_landscape(network, data.train[:n_images], "authors")
    for pair, start, end in list(ring(weights))[: options.pairs]:
        for search in options.searches:
            if (network, optimizer, pair, search) in table.measured(options.table, *KEY):
                continue
            began = time.process_time()
            watch, ended = measured(land, start, end, SEARCHES[search], options.cap, options.follow)
            numbers = (watch.line, watch.cost, watch.first, watch.excess, watch.spent)
            row = Row(network, optimizer, pair, search, *numbers, ended, time.process_time() - began)
            table.add(options.table, row)
            print(row, flush=True)
