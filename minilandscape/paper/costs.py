"""What a plan's tasks may cost: where runs and searches end, and what a few of their steps take on this machine."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..backend import threads, to_host
from ..files import read_json, write_json
from ..networks import initial_vector, network_landscape
from ..paths import FourierPathFinder
from ..tasks import Store
from .plan import STILL, UPDATES, Plan, image_counts


@dataclass(frozen=True)
class Ends:
    """Where a network's runs and searches end, to plan with.

    Attributes
    ----------
    updates
        Of SGD, until it is at its floor.
    iterations
        Of L-BFGS-GSS, until it is at its own.
    still
        Gradients of L until a search between vectors of L-BFGS-GSS converges, a value of L counted as 0.4 of one:
        training weights on the training landscape, test weights on it, test weights on the test landscape.
    """

    updates: int
    iterations: int
    still: tuple[int, int, int]


#: Means of the campaigns of scale small.
SMALL_ENDS = {
    "fcp": Ends(15_000, 120, (145, 35, 35)),
    "lenet": Ends(12_300, 165, (440, 35, 35)),
    "autoencoder": Ends(66_000, 1000, (280, 280, 115)),
    "lstm": Ends(2_100, 180, (2_100, 35, 35)),
}
#: With all images SGD is at Table 1's losses when its updates end, and L-BFGS-GSS, except the autoencoder's.
FULL_ITERATIONS = {"fcp": 300, "lenet": 690, "autoencoder": 1000, "lstm": 660}
FULL_ENDS = {
    model: replace(ends, updates=UPDATES, iterations=FULL_ITERATIONS[model]) for model, ends in SMALL_ENDS.items()
}
#: Gradients of L until a search between vectors of SGD converges: it mostly finds no barrier after its least steps.
SGD_STILL = 40
#: Of L, a step of the quasi-Newton solver, a value counted as 0.4 of one: 1.2 in long searches, 2 to 3 in short ones.
GRADIENTS_A_STEP = 2
#: Gradients of one point that the curvature at a vector takes, and what one in double precision costs.
CURVATURE_GRADIENTS, DOUBLE = 450, 2


@dataclass(frozen=True)
class Costs:
    """Seconds on one core, measured for a few steps: an update of SGD, a loss of and a gradient over the training
    images, and a gradient of a path's L over them."""

    update: float
    value: float
    gradient: float
    path: float


class TaskCosts:
    """Seconds that a network's tasks may take on one core; 0 where its costs were not measured."""

    def __init__(self, plan: Plan, model: str, costs: Costs | None) -> None:
        self._network, self._costs = plan.networks[model], costs
        self._counts = image_counts(plan.facts(), model)
        self._ends = (FULL_ENDS if plan.scale == "full" else SMALL_ENDS)[model]

    def run(self, optimizer: str) -> float:
        """Of a training run."""
        n, costs = self._network, self._costs
        if costs is None:
            return 0.0
        measured = costs.value * (1 + self._counts["test_curves"] / n.train_size)  # both curves, every epoch
        if optimizer == "sgd":
            part = min(1.0, self._ends.updates / n.sgd_updates)
            return part * (n.sgd_updates * costs.update + n.sgd_epochs * measured)
        return min(n.iterations, self._ends.iterations) * (costs.gradient + 6 * costs.value + measured)

    def measure(self, function: str) -> float:
        """Of the losses of a set, or of the curvature at a vector, in double precision."""
        n, costs = self._network, self._costs
        if costs is None:
            return 0.0
        both = 1 + self._counts["test_curves"] / n.train_size
        if function == "set_losses":
            return (n.kept + n.pairs + 1) * costs.value * both
        return 2 * CURVATURE_GRADIENTS * DOUBLE * costs.gradient * both

    def path(self, landscape: str, optimizer: str, weights: str, solver: str, n_points: int) -> float:
        """Of a path between two vectors of a set."""
        n, costs = self._network, self._costs
        if costs is None:
            return 0.0
        gradient = costs.path * n_points / n.n_points
        if landscape == "test":
            gradient *= self._counts["test_landscape"] / n.train_size
        if solver == "adam":
            return gradient * n.steps
        if n.still_steps < STILL:  # it takes them all
            return gradient * GRADIENTS_A_STEP * n.still_steps
        still = SGD_STILL
        if optimizer == "lbfgs-gss":
            still = self._ends.still[
                (("train", "train"), ("test", "train"), ("test", "test")).index((weights, landscape))
            ]
        return gradient * still


def measure_costs(plan: Plan, model: str, data: Any) -> Costs:
    """Measures a few steps of a network on this machine, on one core or on the plan's GPU."""
    n = plan.networks[model]
    few = replace(data, train=data.train[: min(n.train_size, 500)])
    part = n.train_size / len(few.train)
    land = network_landscape(model, few.train, plan.variant, plan.device)
    a, b = (initial_vector(model, np.random.default_rng(seed)) for seed in (0, 1))

    def seconds(work: Any, times: int) -> float:
        for _ in range(1 if plan.device == "cpu" else 2):  # a GPU records the second
            work()
        started = time.perf_counter()
        for _ in range(times):
            work()
        return (time.perf_counter() - started) / times

    with threads(1):
        batch = np.arange(min(64, len(few.train)))
        update = seconds(lambda: to_host(land.batch_values_and_gradients(a[None], batch)[0]), 10)
        value = seconds(lambda: land.values(a[None]), 3) * part
        gradient = seconds(lambda: land.values_and_gradients(a[None]), 3) * part
        states = FourierPathFinder(land, n.n_terms, n.n_points).steps(a, b)
        path = seconds(lambda: next(states), 1) * part
    return Costs(update, value, gradient, path)


def save_costs(costs: Mapping[str, Costs], store: Store) -> None:
    """Keeps measured costs beside the plan, so that others can tell how long it still takes."""
    with store.locked("plan"):
        kept = {**load_costs(store), **costs}
        write_json(store.folder / "costs.json", {model: vars(cost).copy() for model, cost in kept.items()})


def load_costs(store: Store) -> dict[str, Costs]:
    """The costs of a folder, by network; none where none were measured."""
    try:
        return {model: Costs(**cost) for model, cost in read_json(store.folder / "costs.json").items()}
    except (FileNotFoundError, ValueError, TypeError, AttributeError):  # they are estimates, and do without
        return {}
