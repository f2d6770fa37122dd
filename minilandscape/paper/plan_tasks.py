"""The tasks of a plan: runs, the sets that are kept of them, measurements of these, and paths."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..pairs.draw import draw_pairs
from ..tasks import Task
from .costs import Costs, TaskCosts
from .plan import OPTIMIZERS, STILL, Plan

#: Values of λ, on which heights should not depend.
SCAN = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
#: Values of N_F and M, on which heights should not depend.
TERMS, POINTS = (2, 5, 10, 20, 40), (12, 25, 50, 100, 200)
#: Target losses of L-BFGS-GSS beside the plan's, on which lengths and barriers may depend.
OTHER_TARGETS = (1e-6, 1e-12)


#: Options that are varied on one pair, with their values.
RESOLUTIONS = [*(("n_terms", n) for n in TERMS), *(("n_points", n) for n in POINTS)]


def plan_tasks(plan: Plan, costs: Mapping[str, Costs] | None = None) -> list[Task]:
    """Return all tasks, each after those that it needs, in the order of the networks."""
    tasks: list[Task] = []
    for model in plan.networks:
        tasks += NetworkTasks(plan, model, (costs or {}).get(model)).everything()
    return list({task.id: task for task in tasks}.values())  # the plan's own numbers are among those of the scans


def _task(name: str, function: str, options: dict[str, Any], needs: tuple[Task, ...] = (), **more: Any) -> Task:
    """Return a task of "module:function" here, known by this folder's former name so that old results apply."""
    here = f"{__package__}.{function}"
    return Task(name, here, options, needs, known_as=f"minilandscape.campaign.{function}", **more)


class NetworkTasks:
    """The tasks of one network, by kind."""

    def __init__(self, plan: Plan, model: str, costs: Costs | None = None) -> None:
        self.plan, self.model, self.network = plan, model, plan.networks[model]
        self._costs = TaskCosts(plan, model, costs)
        self._data = {"data_key": plan.data_key}
        # Not named on a CPU, so that results from before there were devices apply.
        self._device = {} if plan.device == "cpu" else {"device": plan.device}
        self._hints = {"data": plan.data}
        self._sets: dict[tuple[str, float | None], Task] = {}

    def everything(self) -> list[Task]:
        """Return all tasks, in order."""
        tasks: list[Task] = []
        for optimizer in OPTIMIZERS:
            tasks += [*self.runs(optimizer), self.set_of(optimizer)]
        for solver in self.solvers:
            for landscape, optimizer, weights in self.sets:
                tasks += self.paths(landscape, optimizer, weights, solver)
        if self.network.averages:
            tasks += [self.losses(*of) for of in self.solutions]
        for place in range(min(self.network.curvatures, self.network.kept)):
            tasks += [self.curvature(*of, place) for of in self.solutions]
        if self.network.resolutions:
            tasks += [
                self.resolution(o, name, n, s) for s in self.solvers for o in OPTIMIZERS for name, n in RESOLUTIONS
            ]
        if self.network.scans:
            for lam in SCAN:
                tasks += [self.scan(optimizer, lam, solver) for solver in self.solvers for optimizer in OPTIMIZERS]
            for target in OTHER_TARGETS:
                tasks += [*self.runs("lbfgs-gss", target), self.set_of("lbfgs-gss", target)]
                tasks += [t for s in self.solvers for t in self.paths("train", "lbfgs-gss", "train", s, target)]
        return tasks

    @property
    def solvers(self) -> tuple[str, ...]:
        """``"adam"`` with the published budget, ``"still"`` until no barrier is left, or to convergence."""
        return ("adam", "still") if self.network.still_steps else ("adam",)

    @property
    def sets(self) -> list[tuple[str, str, str]]:
        """(landscape, optimiser, weights) of the heights of Fig. 4, then of Fig. S2."""
        both = ("train", "test")
        return [("train", o, w) for o in OPTIMIZERS for w in both] + [("test", o, "test") for o in OPTIMIZERS]

    @property
    def solutions(self) -> list[tuple[str, str]]:
        """(optimiser, weights) of all sets of vectors."""
        return [(optimizer, weights) for optimizer in OPTIMIZERS for weights in ("train", "test")]

    def losses(self, optimizer: str, weights: str) -> Task:
        """Return the task of the losses of a set's vectors and of their averages."""
        pairs = [list(pair) for pair in self.pairs(optimizer)]
        return self._measure("set_losses", optimizer, weights, "losses", {"pairs": pairs})

    def curvature(self, optimizer: str, weights: str, place: int) -> Task:
        """Return the task of the Hessian at a vector of a set."""
        return self._measure("vector_curvature", optimizer, weights, f"curvature-{place:03d}", {"place": place})

    def _measure(self, function: str, optimizer: str, weights: str, name: str, own: dict[str, Any]) -> Task:
        n, plan = self.network, self.plan
        options: dict[str, Any] = {"model": self.model, "variant": plan.variant, "weights": weights}
        options |= {"images": n.train_size, "test_images": n.test_curve, **own, **self._data, **self._device}
        return _task(
            f"{self.model}-{optimizer}-{weights}-{name}",
            f"measures:{function}",
            options,
            (self.set_of(optimizer),),
            hints=self._hints,
            cost=self._costs.measure(function),
        )

    def runs(self, optimizer: str, target: float | None = None) -> list[Task]:
        """Return the training runs of an optimiser."""
        return list(self.set_of(optimizer, target).needs)

    def _runs(self, optimizer: str, target: float | None) -> list[Task]:
        n, plan = self.network, self.plan
        options: dict[str, Any] = {"optimizer": optimizer, "variant": plan.variant, "train_size": n.train_size}
        options |= self._device
        if optimizer == "sgd":
            options |= {"epochs": n.sgd_epochs, "lr": n.lr, "loss_floor": n.sgd_floor}
        else:
            options |= {"epochs": n.iterations, "loss_floor": n.loss_floor if target is None else target}
        return [
            _task(
                f"{self.model}-{self._label(optimizer, target)}-seed{seed:03d}",
                "work:train_run",
                {"model": self.model, "test_curve": n.test_curve, "train": {**options, "seed": seed}, **self._data},
                hints=self._hints,
                cost=self._costs.run(optimizer),
            )
            for seed in n.seeds(optimizer)
        ]

    def set_of(self, optimizer: str, target: float | None = None) -> Task:
        """Return the task of the weights that are kept of an optimiser's runs."""
        if (optimizer, target) not in self._sets:  # shared by all paths of the set
            seeds = self.network.seeds(optimizer)
            name = f"{self.model}-{self._label(optimizer, target)}-set"
            runs = tuple(self._runs(optimizer, target))
            self._sets[optimizer, target] = _task(name, "work:solution_set", {"seeds": seeds}, runs)
        return self._sets[optimizer, target]

    def pairs(self, optimizer: str) -> list[tuple[int, int]]:
        """Return random distinct pairs of places in a set, the same for training and test weights.

        Drawn from all pairs, or in rounds in which every vector has one partner. Then all vectors are used equally
        often, and the pairs of the first round, which share no vector, are independent.
        """
        n, k = self.network, self.network.kept
        rng = np.random.default_rng([self.plan.seed, zlib.crc32(f"{self.model} {optimizer}".encode())])
        return draw_pairs(k, n.pairs, n.pairing, rng)

    def paths(
        self, landscape: str, optimizer: str, weights: str, solver: str, target: float | None = None
    ) -> list[Task]:
        """Return the paths of a set on a landscape."""
        return [
            self._path(landscape, optimizer, weights, solver, pair, k, self.network.lam, target)
            for k, pair in enumerate(self.pairs(optimizer))
        ]

    def scan(self, optimizer: str, lam: float, solver: str) -> Task:
        """Return the path of the first pair of a set of training weights with another λ."""
        return self._path("train", optimizer, "train", solver, self.pairs(optimizer)[0], 0, lam)

    def resolution(self, optimizer: str, name: str, number: int, solver: str) -> Task:
        """Return the path of the first pair of training weights with another N_F ("n_terms") or M ("n_points")."""
        own = {name: number}
        return self._path("train", optimizer, "train", solver, self.pairs(optimizer)[0], 0, self.network.lam, own=own)

    def _path(
        self,
        landscape: str,
        optimizer: str,
        weights: str,
        solver: str,
        pair: tuple[int, int],
        k: int,
        lam: float,
        target: float | None = None,
        own: dict[str, int] | None = None,
    ) -> Task:
        n = self.network
        usual = {"n_terms": n.n_terms, "n_points": n.n_points}
        path: dict[str, Any] = {**usual, **(own or {}), "lam": lam}
        rule: dict[str, Any] = {}
        if solver == "adam":
            path |= {"solver": "adam", "steps": n.steps}
        else:
            path |= {"solver": "auto", "steps": "auto" if n.still_steps >= STILL else n.still_steps}
            path |= {"target_barrier": n.target_barrier} if n.target_barrier else {}
            path |= {"budget": n.still_gradients * path["n_points"]} if n.still_gradients else {}
            rule = {
                "rule": "stationary, and little left to gain above the chord"
            }  # results by an older rule do not count
            if n.still_steps > STILL:
                rule["most_steps"] = n.still_steps
        scan = "" if lam == n.lam else f"-lam{lam:.0e}"
        scan += "".join(f"-{name}{number}" for name, number in (own or {}).items() if number != usual[name])
        options: dict[str, Any] = {"model": self.model, "variant": self.plan.variant}
        options |= {"landscape": landscape, "weights": weights}
        options |= {"images": n.train_size, "pair": list(pair), "path": path, **self._data, **rule, **self._device}
        return _task(
            f"{self.model}-{self._label(optimizer, target)}-{weights}-on-{landscape}-{solver}{scan}-pair{k:03d}",
            "work:pair_path",
            options,
            (self.set_of(optimizer, target),),
            hints=self._hints,
            cost=self._costs.path(landscape, optimizer, weights, solver, path["n_points"]),
        )

    @staticmethod
    def _label(optimizer: str, target: float | None) -> str:
        return optimizer if target is None else f"{optimizer}-floor{target:.0e}"
