"""``python -m benchmarks mini-batches``: searches between modules of PyTorch and JAX with and without mini-batches.

Two networks are trained from different seeds, and connected by the default search twice: with rounds on mini-batches
first, and without them. Both run on one thread. Beside the times of whole searches, the table holds how many iterations
on mini-batches take as long as a gradient over all samples, measured and as estimated by ``batch_times``, which decides
whether a search begins with them. One row is added to the table for each search when it ends; rows that are there are
not measured again.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import nn

import minilandscape as ml
from minilandscape.adapters.torch import TorchLandscape
from minilandscape.data import load_mnist
from minilandscape.paths.batches import POINTS, iterations_per_gradient

from . import table

LOSS = nn.functional.cross_entropy
#: Learning rate and samples of a mini-batch in training.
LR, TRAINED_ON = 1e-3, 64
#: `batch_times` that make a search begin on mini-batches, or not.
TIMES = {"with": (1.0, 0.0), "without": (0.0, 1.0)}
Arrays = tuple[torch.Tensor, torch.Tensor]


def perceptron(*sizes: int) -> nn.Module:
    """Make a multilayer perceptron of layers of these sizes, with tanh between."""
    layers: list[nn.Module] = []
    for n_in, n_out in itertools.pairwise(sizes):
        layers += [nn.Linear(n_in, n_out), nn.Tanh()]
    return nn.Sequential(*layers[:-1])


def convolutions() -> nn.Module:
    """Make a network of two convolutions and two linear layers over images of 784 pixels."""
    return nn.Sequential(
        nn.Unflatten(1, (1, 28, 28)), nn.Conv2d(1, 8, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(256, 40), nn.ReLU(), nn.Linear(40, 10),
    )  # fmt: skip


def two_moons(n: int) -> Arrays:
    """Draw n points of two half circles that reach into each other."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, n)
    angle = np.pi * rng.random(n)
    x = np.stack([np.cos(angle) * (1 - 2 * y) + y, np.sin(angle) * (1 - 2 * y) + 0.5 * y], 1)
    return torch.from_numpy((x + 0.1 * rng.standard_normal(x.shape)).astype(np.float32)), torch.from_numpy(y)


def digits(n: int, where: str) -> Arrays:
    """Return the first n training images of MNIST, as vectors, and their labels."""
    few = load_mnist(where).train[:n]
    return torch.tensor(few.images), torch.tensor(few.labels).long()


@dataclass(frozen=True)
class Case:
    """A module, its samples, and for how many epochs it is trained."""

    module: Callable[[], nn.Module]
    n: int
    epochs: int
    framework: str = "PyTorch"
    moons: bool = False


def cases() -> dict[str, Case]:
    """Name every case."""
    found = {}
    mlp, small = partial(perceptron, 784, 50, 50, 10), partial(perceptron, 2, 16, 16, 2)
    for n, epochs in ((500, 100), (1000, 100), (2000, 60), (5000, 30), (10_000, 30)):
        found[f"784-50-50-10, {n:,}"] = Case(mlp, n, epochs)
    for n, epochs in ((500, 100), (1000, 60), (5000, 20)):
        found[f"two convolutions, {n:,}"] = Case(convolutions, n, epochs)
    for n, epochs in ((600, 200), (3000, 60), (20_000, 20)):
        found[f"2-16-16-2, {n:,}"] = Case(small, n, epochs, moons=True)
    for n, epochs in ((1000, 100), (2000, 60), (5000, 30), (10_000, 30)):
        found[f"784-50-50-10 in JAX, {n:,}"] = Case(mlp, n, epochs, "JAX")
    return found


@dataclass(frozen=True)
class Row:
    """One search.

    Attributes
    ----------
    case, mini_batches
        The case, and ``"with"`` or ``"without"``.
    parameters
        Number of them.
    line, barrier
        Of the straight line and of the path, over continuous t.
    gradients, values
        Evaluations over all samples, those of mini-batches in proportion.
    rounds
        On mini-batches.
    seconds
        Of one thread's processor time.
    ratio, estimated
        How many iterations on mini-batches take as long as a gradient over all samples.
    ended
        Why the search ended.
    """

    case: str
    mini_batches: str
    parameters: int
    line: float
    barrier: float
    gradients: int
    values: int
    rounds: int
    seconds: float
    ratio: float | None
    estimated: float
    ended: str


def trained(case: Case, data: Arrays, seed: int) -> nn.Module:
    """Train a module from this seed."""
    torch.manual_seed(seed)
    module, (x, y) = case.module(), data
    optimizer = torch.optim.Adam(module.parameters(), LR)
    for _ in range(case.epochs):
        for index in torch.randperm(len(x)).split(TRAINED_ON):
            optimizer.zero_grad()
            LOSS(module(x[index]), y[index]).backward()
            optimizer.step()
    return module


def landscape(case: Case, module: nn.Module, data: Arrays, times: tuple[float, float] | None) -> Any:
    """Make the landscape of a module in its framework, with the framework's own ``batch_times`` or these."""
    if case.framework == "JAX":
        return _in_jax(module, data, times)
    made = TorchLandscape if times is None else type("Timed", (TorchLandscape,), {"batch_times": times})
    return made(module, LOSS, *data)


def _in_jax(module: nn.Module, data: Arrays, times: tuple[float, float] | None) -> Any:
    """Make the landscape of a multilayer perceptron in JAX, whose parameter vector is that of the module."""
    import jax
    import jax.numpy as jnp

    from minilandscape.adapters.jax import JaxLandscape

    def loss(parameters: list[Any], x: Any, y: Any) -> Any:
        for k in range(0, len(parameters), 2):
            x = (jnp.tanh(x) if k else x) @ parameters[k].T + parameters[k + 1]
        return jnp.mean(jax.nn.logsumexp(x, axis=1) - jnp.take_along_axis(x, y[:, None], axis=1)[:, 0])

    parameters = [jnp.asarray(p.detach().numpy()) for p in module.parameters()]
    made = JaxLandscape if times is None else type("Timed", (JaxLandscape,), {"batch_times": times})
    return made(loss, parameters, data=tuple(jnp.asarray(array.numpy()) for array in data))


def gradient_seconds(land: Any, at: np.ndarray) -> float:
    """Return the median processor time of a gradient over all samples at one of a few points."""
    points, found = np.repeat(at[None], POINTS, 0), []
    land.values_and_gradients(points)
    for _ in range(7):
        began = time.process_time()
        land.values_and_gradients(points)
        found.append(time.process_time() - began)
    return float(np.median(found)) / POINTS


def searched(name: str, case: Case, modules: tuple[nn.Module, nn.Module], data: Arrays, mini_batches: str) -> Row:
    """Connect both modules."""
    land = landscape(case, modules[0], data, TIMES[mini_batches])
    a, b = (np.concatenate([p.detach().numpy().ravel() for p in module.parameters()]) for module in modules)
    looks: list[tuple[float, int]] = []
    began = time.process_time()
    path = ml.find_path(land, a, b, progress=lambda state: looks.append((time.process_time(), state.rounds)))
    took = time.process_time() - began
    ratio = None
    if mini_batches == "with":  # the first round is between the first two states
        (start, before), (end, after) = looks[:2]
        ratio = gradient_seconds(land, a) * (after - before) / (end - start)
    higher = max(path.values[0], path.values[-1])
    line = float(land.values(a + np.linspace(0, 1, 197, dtype=np.float32)[:, None] * (b - a)).max() - higher)
    used, rounds = path.evaluations, path.metadata.get("minibatch_rounds", 0)
    numbers = (len(a), line, float(path.maximum - higher), used.gradients, used.values, rounds, took)
    estimate = iterations_per_gradient(landscape(case, modules[0], data, None))
    return Row(name, mini_batches, *numbers, ratio, estimate, str(path.reason))


def main(arguments: list[str]) -> int:
    """Measure all searches that the table does not hold, and add them to it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks mini-batches", description=__doc__)
    parser.add_argument(
        "--only", nargs="+", default=[""], metavar="TEXT", help="cases whose name contains one of these"
    )
    parser.add_argument("--data", default="auto")
    parser.add_argument("--table", type=Path, required=True, help="CSV file to which rows are added")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    wanted = {name: case for name, case in cases().items() if any(text in name for text in options.only)}
    if not wanted:
        parser.error(f"no case is called {' or '.join(options.only)}; there are: {'; '.join(cases())}")
    with threadpool_limits(1):
        for name, case in wanted.items():
            left = [kind for kind in TIMES if (name, kind) not in table.measured(options.table, "case", "mini_batches")]
            if not left:
                continue
            data = two_moons(case.n) if case.moons else digits(case.n, options.data)
            modules = trained(case, data, 0), trained(case, data, 1)
            for kind in left:
                row = searched(name, case, modules, data, kind)
                table.add(options.table, row)
                print(row, flush=True)
    return 0
