"""JAX's side: jitted, chunks and epochs scanned, points mapped or batched, on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from minilandscape.backend import thread_count
from minilandscape.data import lstm_permutation
from minilandscape.networks import get_network

from ..task import BATCH_SIZE, LEARNING_RATE, TRIALS, Task
from . import Forms, Results

jax.config.update("jax_platforms", "cpu")

#: Points of a plane that are evaluated together in its batched form.
PLANE_POINTS = 51


class Side:
    """A loss as a function of the flat vector, and its transformations."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.images = (jnp.asarray(task.images.images), jnp.asarray(task.images.labels, dtype=jnp.int32))
        self.n = len(task.images)
        layout = get_network(task.model, task.variant).layout
        self.unpack = lambda point: {name: tensor[0] for name, tensor in layout.unpack(point[None]).items()}
        self.act = jax.nn.relu if task.variant == "paper" else jax.nn.softplus
        self.outputs = {"fcp": self._fcp, "lenet": self._lenet, "autoencoder": self._autoencoder, "lstm": self._lstm}[
            task.model
        ]

    def _fcp(self, W: dict[str, Any], x: Any) -> Any:
        a = self.act(x @ W["fc1.weight"].T)
        return self.act(a @ W["fc2.weight"].T) @ W["fc3.weight"].T

    def _autoencoder(self, W: dict[str, Any], x: Any) -> Any:
        for layer in ("encoder1", "encoder2", "decoder1"):
            x = jax.nn.softplus(x @ W[f"{layer}.weight"].T)
        return jax.nn.sigmoid(x @ W["decoder2.weight"].T)

    def _lenet(self, W: dict[str, Any], x: Any) -> Any:
        x = x.reshape(-1, 1, 28, 28)
        for layer, padding in (("conv1", "SAME"), ("conv2", "VALID")):
            x = lax.conv_general_dilated(x, W[f"{layer}.weight"], (1, 1), padding)
            x += W[f"{layer}.bias"][:, None, None]
            x = self.act(_pool(x)) if self.task.variant == "paper" else _pool(self.act(x))
        x = x.reshape(len(x), -1)
        for layer in ("fc1", "fc2"):
            x = self.act(x @ W[f"{layer}.weight"].T + W[f"{layer}.bias"])
        return x @ W["fc3.weight"].T + W["fc3.bias"]

    def _lstm(self, W: dict[str, Any], x: Any) -> Any:
        steps = x[:, lstm_permutation()].reshape(-1, 28, 28).swapaxes(0, 1)
        bias = W["lstm.bias_ih"] + W["lstm.bias_hh"]

        def step(state: Any, gates: Any) -> tuple[Any, None]:
            h, c = state
            i, f, g, o = jnp.split(gates + h @ W["lstm.weight_hh"].T, 4, axis=1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

        zeros = jnp.zeros((len(x), 48), x.dtype)
        (h, _), _ = lax.scan(step, (zeros, zeros), steps @ W["lstm.weight_ih"].T + bias)
        return h @ W["fc.weight"].T

    def batch_sum(self, point: Any, x: Any, y: Any) -> Any:
        """The loss summed over images."""
        outputs = self.outputs(self.unpack(point), x)
        if self.task.model == "autoencoder":
            return ((outputs - x) ** 2).sum() / 784
        picked = jnp.take_along_axis(outputs, y[:, None], axis=1)[:, 0]
        return (jax.nn.logsumexp(outputs, axis=1) - picked).sum()

    def jit(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """``function(images, …)`` jitted and given the images: closed over, they would be folded in as constants."""
        return partial(jax.jit(function), self.images)

    def over_chunks(self, function: Callable[..., Any], chunk: int, images: Any, point: Any) -> Any:
        """``function(point, x, y)`` summed over chunks by a scan, and divided by the number of images."""
        xs, ys = images[0].reshape(-1, chunk, 784), images[1].reshape(-1, chunk)
        zero = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(function, point, xs[0], ys[0]))

        def add(total: Any, part: Any) -> tuple[Any, None]:
            return jax.tree.map(jnp.add, total, function(point, *part)), None

        total, _ = lax.scan(add, zero, (xs, ys))
        return jax.tree.map(lambda a: a / self.n, total)

    def value(self, chunk: int) -> Callable[[Any, Any], Any]:
        """(images, point (D,)) -> mean loss."""
        return partial(self.over_chunks, self.batch_sum, chunk)

    def value_and_gradient(self, chunk: int) -> Callable[[Any, Any], Any]:
        """(images, point (D,)) -> mean loss and gradient (D,)."""
        return partial(self.over_chunks, jax.value_and_grad(self.batch_sum), chunk)

    def forms(self, make: Callable[..., Callable[[], Results]], **ways: Any) -> Forms:
        """``make(chunk)``, or ``make(chunk, way)`` for some named ways, of every chunk size."""
        if not ways:
            return {f"chunk {chunk:,}": make(chunk) for chunk in self.task.chunks}
        named = [(name.replace("_", " "), way) for name, way in ways.items()]
        return {f"{name}, chunk {chunk:,}": make(chunk, way) for name, way in named for chunk in self.task.chunks}

    # Pieces of work --------------------------------------------------------------------------------------------------

    def loss(self) -> Forms:
        def make(chunk: int) -> Callable[[], Results]:
            value = self.jit(self.value(chunk))
            return lambda: {"loss": np.asarray(value(self.task.start))}

        return self.forms(make)

    def gradient(self) -> Forms:
        def make(chunk: int) -> Callable[[], Results]:
            value_and_gradient = self.jit(self.value_and_gradient(chunk))

            def call() -> Results:
                value, gradient = value_and_gradient(self.task.start)
                return {"loss": np.asarray(value), "gradient": np.asarray(gradient)}

            return call

        return self.forms(make)

    def steps(self, images: Any, point: Any, batches: Any) -> Any:
        """SGD over mini-batches (S, B) of image numbers, scanned."""

        def step(point: Any, batch: Any) -> tuple[Any, None]:
            gradient = jax.grad(self.batch_sum)(point, *(array[batch] for array in images))
            return point - LEARNING_RATE / len(batch) * gradient, None

        return lax.scan(step, point, batches)[0]

    def sgd(self) -> Forms:
        steps, task = self.jit(self.steps), self.task
        return {"scan": lambda: {"way": np.asarray(steps(task.start, task.batches)) - task.start}}

    def lbfgs(self) -> Forms:
        start, p = self.task.start, self.task.direction

        def make(chunk: int) -> Callable[[], Results]:
            value, value_and_gradient = self.jit(self.value(chunk)), self.jit(self.value_and_gradient(chunk))

            def call() -> Results:
                first, gradient = value_and_gradient(start)
                losses = [float(first), *(float(value(start - np.float32(u) * p)) for u in TRIALS)]
                return {"loss": np.array(losses), "gradient": np.asarray(gradient)}

            return call

        return self.forms(make)

    def path(self) -> Forms:
        task = self.task
        C = task.path_coefficients.astype(np.float32)

        def make(chunk: int, together: int) -> Callable[[], Results]:
            def pulled_back(images: Any, rows: Any) -> Any:
                one_point = partial(self.value_and_gradient(chunk), images)
                values, gradients = lax.map(one_point, C @ rows, batch_size=together)
                return values, C[:, 2:].T @ gradients

            step = self.jit(pulled_back)

            def call() -> Results:
                values, pullback = step(task.path_rows)
                return {"loss": np.asarray(values), "gradient": np.asarray(pullback)}

            return call

        return self.forms(make, scan=1, vmap=len(C))

    def plane(self) -> Forms:
        task = self.task
        C = task.plane_coefficients.astype(np.float32)

        def make(chunk: int, together: int) -> Callable[[], Results]:
            def values(images: Any, rows: Any) -> Any:
                return lax.map(partial(self.value(chunk), images), C @ rows, batch_size=together)

            losses = self.jit(values)
            return lambda: {"loss": np.asarray(losses(task.plane_rows))}

        return self.forms(make, scan=1, vmap=PLANE_POINTS)

    def population(self) -> Forms:
        runs = [self.task.run(seed) for seed in range(self.task.n_runs)]
        starts = np.stack([x for x, _ in runs])
        orders = np.stack([order for _, order in runs])

        def make(chunk: int, way: str) -> Callable[[], Results]:
            def run(images: Any, start: Any, order: Any) -> Any:
                whole = self.n // BATCH_SIZE * BATCH_SIZE  # the last mini-batch of an epoch may be smaller
                end = self.steps(images, start, order[:whole].reshape(-1, BATCH_SIZE))
                end = self.steps(images, end, order[None, whole:]) if whole < self.n else end
                value = self.value(chunk)
                return jnp.stack([value(images, start), value(images, end)]), end

            one, batched = self.jit(run), self.jit(jax.vmap(run, in_axes=(None, 0, 0)))

            def call() -> Results:
                if way == "vmap":
                    losses, ends = batched(starts, orders)
                else:
                    threads = thread_count() if way == "threads" else 1
                    with ThreadPoolExecutor(threads) as pool:
                        losses, ends = zip(*pool.map(one, starts, orders), strict=True)
                return {"loss": np.asarray(losses), "way": np.asarray(ends) - starts}

            return call

        return self.forms(make, one_by_one="one by one", threads="threads", vmap="vmap")


def _pool(x: Any) -> Any:
    """2×2 means."""
    return lax.reduce_window(x, 0.0, lax.add, (1, 1, 2, 2), (1, 1, 2, 2), "VALID") / 4
