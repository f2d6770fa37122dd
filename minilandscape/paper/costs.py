"""Estimates of what a plan's tasks cost, from a few steps measured on this machine and from where runs end."""

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
from ..paths.batches import round_cost
from ..tasks import Store
from .plan import STILL, UPDATES, Plan, image_counts


@dataclass(frozen=True)
class Durations:
    """Steps until a network's runs and searches end.

    Attributes
    ----------
    updates
        Of SGD, until its target loss.
    iterations
        Of L-BFGS-GSS, until its target loss.
    rounds
        Of mini-batches until no barrier is left between L-BFGS-GSS's weights: training weights on the training
        landscape, test weights on it, test weights on the test landscape. None: a search takes all gradients it may.
    """

    updates: int
    iterations: int
    rounds: tuple[int, int, int] | None


#: Means of the campaigns of scale small. Rounds were measured between training weights, and other weights of LeNet and
#: the LSTM; those of fcp are assumed alike, the autoencoder's are those of the former first round.
SMALL_DURATIONS = {
    "fcp": Durations(15_000, 120, (4, 4, 4)),
    "lenet": Durations(12_300, 165, (4, 1, 1)),
    "autoencoder": Durations(66_000, 1000, (6, 6, 6)),
    "lstm": Durations(2_100, 110, (5, 1, 1)),
}
#: With all images SGD reaches Table 1's losses at its last update, and L-BFGS-GSS does too, except the autoencoder's.
FULL_ITERATIONS = {"fcp": 300, "lenet": 690, "autoencoder": 1000, "lstm": 660}
FULL_DURATIONS = {
    model: replace(of_small, updates=UPDATES, iterations=FULL_ITERATIONS[model], rounds=None)
    for model, of_small in SMALL_DURATIONS.items()
}
#: Rounds until no barrier is left between SGD's weights.
SGD_ROUNDS = 3
#: Cost of a value, in gradients.
VALUE = 0.4
#: Gradients of L per quasi-Newton step, a value counted as 0.4 of one: 1.2 in long searches, 2 to 3 in short ones.
GRADIENTS_A_STEP = 2
#: Gradients per curvature at a vector, and the cost of one in double precision relative to single.
CURVATURE_GRADIENTS, DOUBLE = 450, 2


@dataclass(frozen=True)
class Costs:
    """Seconds on one core: an update of SGD, a loss and a gradient of all training images, a gradient of L."""

    update: float
    value: float
    gradient: float
    path: float


class TaskCosts:
    """Estimated seconds of a network's tasks on one core; 0 if its costs were not measured."""

    def __init__(self, plan: Plan, model: str, costs: Costs | None) -> None:
        self._network, self._costs = plan.networks[model], costs
        self._counts = image_counts(plan.as_dict(), model)
        self._durations = (FULL_DURATIONS if plan.scale == "full" else SMALL_DURATIONS)[model]

    def run(self, optimizer: str) -> float:
        """Return the seconds of a training run."""
        n, costs = self._network, self._costs
        if costs is None:
            return 0.0
        measured = costs.value * (1 + self._counts["test_curves"] / n.train_size)  # both curves, every epoch
        if optimizer == "sgd":
            part = min(1.0, self._durations.updates / n.sgd_updates)
            return part * (n.sgd_updates * costs.update + n.sgd_epochs * measured)
        return min(n.iterations, self._durations.iterations) * (costs.gradient + 6 * costs.value + measured)

    def measure(self, function: str) -> float:
        """Return the seconds of a set's losses, or of the curvature at a vector, in double precision."""
        n, costs = self._network, self._costs
        if costs is None:
            return 0.0
        both = 1 + self._counts["test_curves"] / n.train_size
        if function == "set_losses":
            return (n.kept + n.pairs + 1) * costs.value * both
        return 2 * CURVATURE_GRADIENTS * DOUBLE * costs.gradient * both

    def path(self, landscape: str, optimizer: str, weights: str, solver: str, n_points: int) -> float:
        """Return the seconds of a path between two vectors of a set."""
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
        if self._durations.rounds is None:
            return gradient * (n.still_gradients or n.steps)
        rounds = SGD_ROUNDS
        if optimizer == "lbfgs-gss":
            sets = ("train", "train"), ("test", "train"), ("test", "test")
            rounds = self._durations.rounds[sets.index((weights, landscape))]
        images = self._counts["test_landscape" if landscape == "test" else "train"]
        return gradient * min(_cost_of_rounds(rounds, images, n_points), n.still_gradients or np.inf)


def _cost_of_rounds(rounds: int, n_images: int, n_points: int) -> float:
    """Estimate the cost of rounds on mini-batches in gradients of L, with the values along the path after each.

    Values are those of the straight line, after each round, and twice those of a path to measure the maximum.
    """
    return sum(round_cost(n_images, k) for k in range(rounds)) / n_points + VALUE * (rounds + 3)


def measure_costs(plan: Plan, model: str, data: Any) -> Costs:
    """Measure a few steps of a network on this machine, on one core or on the plan's GPU."""
    n = plan.networks[model]
    few = replace(data, train=data.train[: min(n.train_size, 500)])
    part = n.train_size / len(few.train)
    land = network_landscape(model, few.train, plan.variant, plan.device)
    a, b = (initial_vector(model, np.random.default_rng(seed)) for seed in (0, 1))

    # On a CPU processor time, which other programs change least.
    clock = time.process_time if plan.device == "cpu" else time.perf_counter

    def seconds(work: Any, times: int) -> float:
        for _ in range(1 if plan.device == "cpu" else 2):  # a GPU records the second
            work()
        started = clock()
        for _ in range(times):
            work()
        return (clock() - started) / times

    with threads(1):
        batch = np.arange(min(64, len(few.train)))
        update = seconds(lambda: to_host(land.batch_values_and_gradients(a[None], batch)[0]), 10)
        value = seconds(lambda: land.values(a[None]), 3) * part
        gradient = seconds(lambda: land.values_and_gradients(a[None]), 3) * part
        states = FourierPathFinder(land, n.n_terms, n.n_points).steps(a, b)
        path = seconds(lambda: next(states), 1) * part
    return Costs(update, value, gradient, path)


def save_costs(costs: Mapping[str, Costs], store: Store) -> None:
    """Write measured costs beside the plan, from which other commands estimate the time that is left."""
    with store.locked("plan"):
        kept = {**load_costs(store), **costs}
        write_json(store.folder / "costs.json", {model: vars(cost).copy() for model, cost in kept.items()})


def load_costs(store: Store) -> dict[str, Costs]:
    """Read the costs of a folder, by network; empty if none were measured."""
    try:
        return {model: Costs(**cost) for model, cost in read_json(store.folder / "costs.json").items()}
    except (FileNotFoundError, ValueError, TypeError, AttributeError):  # estimates are not needed
        return {}
