"""minilandscape's side: what the optimisers, path finders and the plane call."""

from __future__ import annotations

import weakref
from contextlib import ExitStack
from typing import Any

import numpy as np

from minilandscape.backend import one_blas_thread, thread_count, to_device, to_host
from minilandscape.data import Mnist
from minilandscape.networks import get_network, network_landscape
from minilandscape.optimizers import LandscapeLine
from minilandscape.training import Run, train_together
from minilandscape.workers import worker_processes

from ..task import BATCH_SIZE, LEARNING_RATE, TRIALS, Task
from . import Forms, Results


class Side:
    """A network landscape and its spans."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.land = network_landscape(task.model, task.images, task.variant, task.device)

    def loss(self) -> Forms:
        point = self.task.start[None]
        return {"": lambda: {"loss": self.land.values(point)}}

    def gradient(self) -> Forms:
        point = self.task.start[None]

        def call() -> Results:
            values, gradients = self.land.values_and_gradients(point)
            return {"loss": values, "gradient": to_host(gradients)[0]}

        return {"": call}

    def sgd(self) -> Forms:
        task = self.task

        def call() -> Results:
            x = to_device(task.start, task.device).copy()
            with one_blas_thread():
                for batch in task.batches:
                    _, gradients = self.land.batch_values_and_gradients(x[None], batch)
                    gradients *= LEARNING_RATE
                    x -= gradients[0]
            return {"way": to_host(x) - task.start}

        return {"": call}

    def lbfgs(self) -> Forms:
        line = LandscapeLine(self.land, self.task.start)
        p = to_device(self.task.direction, self.task.device)

        def call() -> Results:
            value, gradient = line.value_and_gradient()
            line.direction(p)
            losses = np.array([value, *(line.value(u) for u in TRIALS)])
            line.move(0.0)  # costs what a step costs, and the next call finds the same point
            return {"loss": losses, "gradient": to_host(gradient)}

        return {"": call}

    def path(self) -> Forms:
        task = self.task
        span, bends = self.land.span(task.path_rows), range(2, 2 + task.n_terms)
        b = to_device(task.path_rows[2:], task.device)

        def call() -> Results:
            span.replace(bends, b)
            values, pullback = span.values_and_pullback(task.path_coefficients, rows=bends)
            return {"loss": values, "gradient": to_host(pullback)}

        return {"": call}

    def plane(self) -> Forms:
        task = self.task
        return {"": lambda: {"loss": self.land.span(task.plane_rows).values(task.plane_coefficients)}}

    def population(self) -> Forms:
        task = self.task
        few = task.images[:BATCH_SIZE]  # a test set that costs nothing, which the others do without
        data = Mnist(task.images, few, "benchmark", "benchmark")
        options: dict[str, Any] = {"optimizer": "sgd", "epochs": 1, "lr": LEARNING_RATE, "batch_size": BATCH_SIZE}
        options |= {"variant": task.variant, "device": task.device, "train_size": len(task.images)}
        starts = [task.run(seed)[0] for seed in range(task.n_runs)]
        seeds = list(range(task.n_runs))
        if task.device == "cpu":  # as train_to_folder does it: groups in worker processes, which stay for all calls
            workers = ExitStack()
            executor = workers.enter_context(worker_processes(thread_count(), 1, _keep, (data, options)))
            together = min(get_network(task.model, task.variant).together, -(-task.n_runs // thread_count()))
            groups = [seeds[k : k + together] for k in range(0, task.n_runs, together)]

        def call() -> Results:
            if task.device == "cpu":
                runs = [run for part in executor.map(_train, [(task.model, g) for g in groups]) for run in part]
            else:
                runs = train_together(task.model, data, seeds, **options)
            return {
                "loss": np.array([run.curves["train_loss"] for run in runs]),
                "way": np.array([run.train_weights - x for run, x in zip(runs, starts, strict=True)]),
            }

        if task.device == "cpu":
            weakref.finalize(call, workers.close)
        return {"": call}


#: What a worker process trains on.
_kept: tuple[Mnist, dict[str, Any]]


def _keep(data: Mnist, options: dict[str, Any]) -> None:
    global _kept
    _kept = data, options


def _train(work: tuple[str, list[int]]) -> list[Run]:
    model, seeds = work
    return train_together(model, _kept[0], seeds, **_kept[1])
