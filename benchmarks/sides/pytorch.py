"""PyTorch's side, as its users would write it well: chunked, no gradients where none are needed, points batched."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any

import numpy as np
import torch

from minilandscape.backend import thread_count
from minilandscape.data import lstm_permutation

from ..task import BATCH_SIZE, LEARNING_RATE, TRIALS, Task
from . import Forms, Results

#: Points of a plane that are evaluated together in its batched form.
PLANE_POINTS = 51


class LastState(torch.nn.Module):
    """PyTorch's fused LSTM over the permuted pixels, the last hidden state to a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.order: torch.Tensor
        self.register_buffer("order", torch.from_numpy(lstm_permutation().copy()))
        self.lstm = torch.nn.LSTM(28, 48, batch_first=True)
        self.fc = torch.nn.Linear(48, 10, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.lstm(x[:, self.order].reshape(-1, 28, 28))[1][0]
        return self.fc(hidden[0])


def module(model: str, variant: str) -> torch.nn.Module:
    """The model in PyTorch's own layers."""
    nn = torch.nn
    act = nn.ReLU if variant == "paper" else nn.Softplus

    def stack(sizes: list[int], activation: Any, bias: bool) -> list[torch.nn.Module]:
        layers: list[torch.nn.Module] = []
        for a, b in itertools.pairwise(sizes):
            layers += [nn.Linear(a, b, bias=bias), activation()]
        return layers[:-1]

    if model == "fcp":
        return nn.Sequential(*stack([784, 50, 50, 10], act, False))
    if model == "autoencoder":
        return nn.Sequential(*stack([784, 32, 32, 32, 784], nn.Softplus, False), nn.Sigmoid())
    if model == "lstm":
        return LastState()

    def stage(convolution: torch.nn.Module) -> list[torch.nn.Module]:
        return [convolution, *([nn.AvgPool2d(2), act()] if variant == "paper" else [act(), nn.AvgPool2d(2)])]

    convolutions = [*stage(nn.Conv2d(1, 6, 5, padding=2)), *stage(nn.Conv2d(6, 16, 5))]
    return nn.Sequential(
        nn.Unflatten(1, (1, 28, 28)), *convolutions, nn.Flatten(), *stack([400, 120, 84, 10], act, True)
    )


class Graph:
    """A function of tensors that stay where they are, recorded at its first call and replayed from then on."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function
        self._graph: Any = None
        self._result: Any = None

    def record(self) -> None:
        """Runs the function three times, which sets up its work space, and records it."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self._function()
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._result = self._function()

    def __call__(self) -> Any:
        if self._graph is None:
            self.record()
        self._graph.replay()
        return self._result


class Side:
    """A module, the images, and mean losses and gradients over them in chunks."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.device = "cuda" if task.device == "gpu" else "cpu"
        self.net = module(task.model, task.variant).to(self.device)
        self.params = list(self.net.parameters())
        self.names = [name for name, _ in self.net.named_parameters()]
        self.sizes = [p.numel() for p in self.params]
        self.x, self.y = self.tensor(task.images.images), self.tensor(task.images.labels)
        self.n = len(self.x)
        # torch.func has no batching rule for the fused LSTM.
        self.batches_points = task.model != "lstm"

    def tensor(self, array: np.ndarray) -> torch.Tensor:
        """A copy on the device, since parameters are changed in place."""
        return torch.tensor(array, device=self.device)

    def load(self, vector: torch.Tensor) -> None:
        """Writes a flat vector into the module's parameters."""
        with torch.no_grad():
            for p, part in zip(self.params, vector.split(self.sizes), strict=True):
                p.copy_(part.view_as(p))

    def flat(self, tensors: Any) -> torch.Tensor:
        """Tensors of the parameters' shapes as one vector."""
        return torch.cat([t.detach().flatten() for t in tensors])

    def batch_sum(self, outputs: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """The loss summed over images."""
        if self.task.model == "autoencoder":
            return torch.nn.functional.mse_loss(outputs, x, reduction="sum") / 784
        return torch.nn.functional.cross_entropy(outputs, y, reduction="sum")

    def point_sum(self, point: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """The same as a function of the flat vector, for torch.func."""
        tensors = zip(self.names, self.params, point.split(self.sizes), strict=True)
        parameters = {name: part.view(p.shape) for name, p, part in tensors}
        return self.batch_sum(torch.func.functional_call(self.net, parameters, x), x, y)

    def chunks(self, chunk: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        return zip(self.x.split(chunk), self.y.split(chunk), strict=True)

    def value(self, chunk: int) -> torch.Tensor:
        """Mean loss at the module's parameters."""
        with torch.no_grad():
            sums = [self.batch_sum(self.net(x), x, y) for x, y in self.chunks(chunk)]
            return torch.stack(sums).sum(dim=0) / self.n

    def value_and_gradient(self, chunk: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean loss and its gradient (D,) at the module's parameters."""
        value, gradient = self.x.new_zeros(()), self.x.new_zeros(sum(self.sizes))
        for x, y in self.chunks(chunk):
            loss = self.batch_sum(self.net(x), x, y) / self.n
            gradient += self.flat(torch.autograd.grad(loss, self.params))
            value += loss.detach()
        return value, gradient

    def values_of(self, points: torch.Tensor, chunk: int) -> torch.Tensor:
        """Mean losses (P,) of a stack of points, batched over them."""
        batched = torch.func.vmap(self.point_sum, in_dims=(0, None, None))
        with torch.no_grad():
            sums = [batched(points, x, y) for x, y in self.chunks(chunk)]
            return torch.stack(sums).sum(dim=0) / self.n

    def values_and_gradients_of(self, points: torch.Tensor, chunk: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean losses (P,) and gradients (P, D), batched over the points."""
        batched = torch.func.vmap(torch.func.grad_and_value(self.point_sum), in_dims=(0, None, None))
        values, gradients = points.new_zeros(len(points)), torch.zeros_like(points)
        for x, y in self.chunks(chunk):
            more_gradients, more_values = batched(points, x, y)
            values += more_values
            gradients += more_gradients
        return values / self.n, gradients / self.n

    def forms(self, function: Callable[..., Results], *parts: Callable[[int], Any], prefix: str = "") -> Forms:
        """``function(*parts)`` for every chunk size, and on a GPU also with the parts as recorded graphs."""
        found: Forms = {}
        for chunk in self.task.chunks:
            bound = [partial(part, chunk) for part in parts]
            found[f"{prefix}chunk {chunk:,}"] = partial(function, *bound)
            if self.device == "cuda":
                found[f"{prefix}graph, chunk {chunk:,}"] = partial(function, *map(Graph, bound))
        return found

    # Pieces of work --------------------------------------------------------------------------------------------------

    def loss(self) -> Forms:
        start = self.tensor(self.task.start)

        def call(value: Callable[[], torch.Tensor]) -> Results:
            self.load(start)
            return {"loss": host(value())}

        return self.forms(call, self.value)

    def gradient(self) -> Forms:
        start = self.tensor(self.task.start)

        def call(value_and_gradient: Callable[[], Any]) -> Results:
            self.load(start)
            value, gradient = value_and_gradient()
            return {"loss": host(value), "gradient": host(gradient)}

        return self.forms(call, self.value_and_gradient)

    def sgd(self) -> Forms:
        start, batches = self.tensor(self.task.start), self.tensor(self.task.batches)

        def call(steps: Callable[[Any], None]) -> Results:
            self.load(start)
            steps(batches)
            return {"way": host(self.flat(self.params) - start)}

        forms: Forms = {"torch.optim.SGD": partial(call, self.sgd_steps)}
        if self.device == "cuda":
            step = self.recorded(self.functional_step, BATCH_SIZE)
            forms["graph"] = partial(call, partial(each, step))
        return forms

    def sgd_steps(self, batches: Any) -> None:
        """Steps over mini-batches (S, B) of image numbers, or a list of them."""
        optimizer = torch.optim.SGD(self.params, lr=LEARNING_RATE)
        for batch in batches:
            x, y = self.x[batch], self.y[batch]
            optimizer.zero_grad()
            (self.batch_sum(self.net(x), x, y) / len(batch)).backward()
            optimizer.step()

    def functional_step(self, batch: torch.Tensor) -> None:
        """One step, written so that it can be recorded."""
        x, y = self.x[batch], self.y[batch]
        gradients = torch.autograd.grad(self.batch_sum(self.net(x), x, y) / len(batch), self.params)
        with torch.no_grad():
            for p, g in zip(self.params, gradients, strict=True):
                p.add_(g, alpha=-LEARNING_RATE)

    def recorded(self, step: Callable[[torch.Tensor], None], *shape: int) -> Callable[[torch.Tensor], None]:
        """A step over mini-batches of one shape as a graph, the image numbers copied in; others as they come."""
        index = torch.zeros(shape, dtype=torch.int64, device=self.device)
        graph = Graph(partial(step, index))
        graph.record()  # now, since it takes steps

        def replay(batch: torch.Tensor) -> None:
            if batch.shape == index.shape:
                index.copy_(batch)
                graph()
            else:
                step(batch)

        return replay

    def lbfgs(self) -> Forms:
        return self.forms(self.line_search, self.value_and_gradient, self.value)

    def line_search(self, value_and_gradient: Callable[[], Any], value: Callable[[], torch.Tensor]) -> Results:
        """One gradient, and a loss at each trial step."""
        start, p = self.tensor(self.task.start), self.tensor(self.task.direction)
        self.load(start)
        first, gradient = value_and_gradient()
        losses = [first.item()]
        for u in TRIALS:
            self.load(start - u * p)
            losses.append(value().item())  # a line search decides on it
        return {"loss": np.array(losses), "gradient": host(gradient)}

    def path(self) -> Forms:
        forms = self.forms(self.path_by_point, self.value_and_gradient, prefix="point by point, ")
        if self.batches_points:
            points = self.path_points()

            def call(values_and_gradients: Callable[[], Any]) -> Results:
                points.copy_(self.path_points())
                return self.pulled_back(*values_and_gradients())

            forms |= self.forms(call, partial(self.values_and_gradients_of, points), prefix="vmap, ")
        return forms

    def path_points(self) -> torch.Tensor:
        task = self.task
        return self.tensor(task.path_coefficients.astype(np.float32)) @ self.tensor(task.path_rows)

    def path_by_point(self, value_and_gradient: Callable[[], Any]) -> Results:
        """A path's losses and pullback, one point after another."""
        values, gradients = [], []
        for point in self.path_points():
            self.load(point)
            value, gradient = value_and_gradient()
            values.append(value.clone())
            gradients.append(gradient.clone())  # a recorded graph writes the next one over it
        return self.pulled_back(torch.stack(values), torch.stack(gradients))

    def pulled_back(self, values: torch.Tensor, gradients: torch.Tensor) -> Results:
        """The losses, and the gradient with respect to the path's coefficients."""
        sines = self.tensor(self.task.path_coefficients[:, 2:].astype(np.float32))
        return {"loss": host(values), "gradient": host(sines.T @ gradients)}

    def plane(self) -> Forms:
        task = self.task
        coefficients, rows = self.tensor(task.plane_coefficients.astype(np.float32)), self.tensor(task.plane_rows)
        few = torch.zeros(min(PLANE_POINTS, len(coefficients)), rows.shape[1], device=self.device)

        def by_point(value: Callable[[], torch.Tensor]) -> Results:
            losses = []
            for point in coefficients @ rows:
                self.load(point)
                losses.append(value().clone())
            return {"loss": host(torch.stack(losses))}

        def batched(values: Callable[[], torch.Tensor]) -> Results:
            losses = []
            for part in coefficients.split(len(few)):
                few[: len(part)] = part @ rows
                losses.append(values()[: len(part)].clone())
            return {"loss": host(torch.cat(losses))}

        forms = self.forms(by_point, self.value, prefix="point by point, ")
        if self.batches_points:
            forms |= self.forms(batched, partial(self.values_of, few), prefix="vmap, ")
        return forms

    def population(self) -> Forms:
        task = self.task
        runs = [task.run(seed) for seed in range(task.n_runs)]
        starts = self.tensor(np.stack([x for x, _ in runs]))
        orders = self.tensor(np.stack([order for _, order in runs]))
        points = starts.clone()
        gradients = torch.func.vmap(torch.func.grad(self.point_sum))

        def one_by_one(value: Callable[[], torch.Tensor]) -> Results:
            return joined([self.train_run(*run, value) for run in zip(starts, orders, strict=True)])

        def step(batch: torch.Tensor) -> None:
            points.sub_(gradients(points, self.x[batch], self.y[batch]), alpha=LEARNING_RATE / batch.shape[1])

        def stacked(step: Callable[[torch.Tensor], None], values: Callable[[], torch.Tensor]) -> Results:
            points.copy_(starts)
            before = values().clone()
            for batch in orders.split(BATCH_SIZE, dim=1):
                step(batch)
            return {"loss": host(torch.stack([before, values()], dim=1)), "way": host(points - starts)}

        forms = self.forms(one_by_one, self.value, prefix="one by one, ")
        if self.batches_points:
            values = partial(self.values_of, points)
            forms |= self.forms(partial(stacked, step), values, prefix="vmap, ")
            if self.device == "cuda":
                recorded = self.recorded(step, task.n_runs, BATCH_SIZE)
                forms |= self.forms(partial(stacked, recorded), values, prefix="vmap, recorded steps, ")
        if self.device == "cpu":
            workers = ProcessPoolExecutor(thread_count(), get_context("spawn"), _start_worker, (task,))
            forms["processes"] = lambda: joined(list(workers.map(_run_in_worker, range(task.n_runs))))
        return forms

    def train_run(self, start: torch.Tensor, order: torch.Tensor, value: Callable[[], torch.Tensor]) -> Results:
        """One epoch of one run: losses before and after, and the way that it went."""
        self.load(start)
        before = value().clone()
        self.sgd_steps(order.split(BATCH_SIZE))
        return {"loss": host(torch.stack([before, value()])), "way": host(self.flat(self.params) - start)}


def host(tensor: torch.Tensor) -> np.ndarray:
    """A tensor as an array; waits for the device."""
    return tensor.detach().cpu().numpy()


def each(step: Callable[[torch.Tensor], None], batches: torch.Tensor) -> None:
    """Takes a step for every mini-batch."""
    for batch in batches:
        step(batch)


def joined(runs: list[Results]) -> Results:
    """The runs' results stacked."""
    return {name: np.stack([run[name] for run in runs]) for name in runs[0]}


# Runs in processes of one thread each: all cores are used, for steps that are too small to share.

_worker: Side


def _start_worker(task: Task) -> None:
    global _worker
    torch.set_num_threads(1)
    _worker = Side(task)


def _run_in_worker(seed: int) -> Results:
    start, order = map(_worker.tensor, _worker.task.run(seed))
    return _worker.train_run(start, order, partial(_worker.value, _worker.task.chunks[-1]))
