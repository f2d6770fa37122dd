"""A network over a data set as a landscape: chunks of images, threads, mini-batches."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable
from functools import cached_property, partial
from typing import Any

import numpy as np

from .. import backend, cuda
from ..backend import Workspace, concatenated, parallel_map, to_device, to_host
from ..landscape import LandscapeDefaults
from . import autoencoder, fcp, lenet, lstm
from .dense import by_label_and_extent
from .losses import cross_entropy, probabilities, squared_error
from .network import Network
from .span import NetworkSpan

NETWORKS: dict[str, Callable[[str], Network]] = {
    "fcp": fcp.network,
    "lenet": lenet.network,
    "autoencoder": autoencoder.network,
    "lstm": lstm.network,
}
MODELS = tuple(NETWORKS)
VARIANTS = ("paper", "authors")
TRAIN_SIZES = {"paper": 50_000, "authors": 60_000}

#: Few images still make so many chunks, for the threads to share, of at least so many images each.
LEAST_CHUNKS, LEAST_IMAGES = 2, 250
#: Chunks hold a multiple of so many images where they are large: it has many divisors, which blocks of products need.
GRAIN = 48
#: Gradients are summed over this many runs of chunks, and the sums in their order, whatever the number of threads.
PARTIAL_SUMS = 16
#: Numbers in the work arrays of one block of points on a CPU: what stays near a core.
CPU_BLOCK = 1 << 21
#: What overflows is seen in the values, infinite or NaN; NumPy's warnings would name lines in here.
OVERFLOW: dict[str, Any] = {"over": "ignore", "invalid": "ignore"}


def model_size(model: str) -> int:
    """D of a model by name."""
    return get_network(model, "paper").layout.size


def model_of_size(size: int) -> str:
    """The model whose vectors have this many parameters; the four sizes differ.

    Raises
    ------
    ValueError
        If there is none; it lists the sizes.
    """
    for model in MODELS:
        if model_size(model) == size:
            return model
    sizes = ", ".join(f"{model} {model_size(model)}" for model in MODELS)
    raise ValueError(f"no model has {size} parameters; expected one of: {sizes}")


def variant_train_size(variant: str) -> int:
    """Training images of a variant: 50,000 (paper) or 60,000 (authors)."""
    get_network("fcp", variant)
    return TRAIN_SIZES[variant]


def get_network(model: str, variant: str) -> Network:
    """The arithmetic of a model; ValueError lists the names where one is unknown."""
    if model not in NETWORKS:
        raise ValueError(f"model is {model!r}; expected one of {', '.join(MODELS)}")
    if variant not in VARIANTS:
        raise ValueError(f"variant is {variant!r}; expected one of {', '.join(VARIANTS)}")
    return NETWORKS[model](variant)


def initial_vector(model: str, rng: np.random.Generator | int, dtype: Any = np.float32) -> np.ndarray:
    """PyTorch's default initialisation of a model, (D,): uniform ±1/√fan_in, ±1/√48 for the LSTM.

    Parameters
    ----------
    rng
        A generator, or the seed of one.
    """
    return get_network(model, "paper").layout.draw(np.random.default_rng(rng), dtype)


def call(key: Hashable, function: Callable[..., Any], *inputs: Any) -> Any:
    """Calls a function as it is, where a recorder would know it by a key."""
    return function(*inputs)


class NetworkLandscape(LandscapeDefaults):
    """The mean loss of a network over some images, as a function of its parameters.

    Made by :func:`network_landscape`.

    Attributes
    ----------
    model, variant
        Names.
    size
        D.
    images
        The images and labels.
    """

    names_points = True
    quantity = "loss"

    def __init__(self, network: Network, images: Any, device: str, dtype: Any) -> None:
        self.network = network
        self.model, self.variant, self.size = network.name, network.variant, network.layout.size
        self.images = images
        self.n_images = len(images)
        self.device = device
        self.dtype = np.dtype(dtype)
        # The paper's, and its notebooks'.
        self.path_defaults = {"objective": "sum", "lam": 1e-4, "steps": 100, "lr": 1e-3, "n_terms": 10, "n_points": 50}
        self.xp = backend.device_module(device)
        self.work = Workspace(self.xp, self.dtype)
        self._graph_memory = cuda.GraphMemory()
        self._record = self.recorder()
        self._chunks: list[Any] | None = None
        self._on_device: Any = None

    def __repr__(self) -> str:
        return (
            f"<{self.model} ({self.variant}) over {self.n_images:,} images: "
            f"{self.size:,} parameters, {self.dtype}, {self.device}>"
        )

    # Points ------------------------------------------------------------------------------------------------------

    def values(self, points: Any) -> np.ndarray:
        """Mean losses (P,) of a stack of vectors (P, D)."""
        return self.measure(points)[0]

    def measure(self, points: Any) -> tuple[np.ndarray, np.ndarray | None]:
        """Mean losses (P,) and accuracies (P,) in [0, 1]; None for the autoencoder, which classifies nothing.

        An image counts as correct where its label alone has the largest logit, as 1/k where k classes share it.
        """
        points = self._checked(points)
        sums, correct, _ = self.run(self._record, "values", self._pass_of_points(False), 0, points)
        return sums / self.n_images, correct / self.n_images if self.network.classifies else None

    def values_and_gradients(self, points: Any) -> tuple[np.ndarray, Any]:
        """Mean losses (P,) and their gradients (P, D)."""
        points = self._checked(points)
        values, gradients = np.empty(len(points)), self.xp.empty(points.shape, dtype=self.dtype)
        for start in range(0, len(points), PARTIAL_SUMS):  # bounds the memory of the partial sums
            part = slice(start, start + PARTIAL_SUMS)
            few = points[part]
            sums, _, total = self.run(self._record, "gradients", self._pass_of_points(True), len(few), few)
            values[part], gradients[part] = sums / self.n_images, total
        gradients *= 1 / self.n_images
        return values, gradients

    def batch_values_and_gradients(self, points: Any, indices: np.ndarray) -> tuple[Any, Any]:
        """Mean losses (P,) and gradients (P, D) over mini-batches, both where the points are.

        Parameters
        ----------
        indices
            (B,) image numbers for all points, or (P, B), one batch a point.
        """
        points = self._checked(points)
        indices = np.asarray(indices)
        if indices.ndim == 2 and len(indices) != len(points):
            raise ValueError(f"there are {len(points)} points and {len(indices)} batches; expected one a point")
        if self._on_device is None:
            self._on_device = (
                to_device(self.images.images, self.device, self.dtype),
                to_device(self.images.labels, self.device),
            )
        return self._record("batch", self._batch_pass, points, indices)

    def _batch_pass(self, points: Any, indices: Any) -> tuple[Any, Any]:
        images, labels = self._on_device
        gradients = self.xp.zeros(points.shape, dtype=self.dtype)
        n_batch = indices.shape[-1]
        together = len(points) if indices.ndim == 1 else self.block(n_batch)
        sums = []
        with backend.one_blas_thread(), np.errstate(**OVERFLOW):
            for start in range(0, len(points), together):
                part = slice(start, start + together)
                where = indices if indices.ndim == 1 else indices[part]
                inputs = self.network.pack_batch(self.xp, images[where], labels[where])
                sums.append(self._chunk_of_points(points[part], True, inputs, gradients[part])[0])
        gradients *= 1 / n_batch
        return concatenated(sums) / n_batch, gradients

    def span(self, basis: Any) -> NetworkSpan:
        """The span of some rows; its points share the products of the first layer."""
        return NetworkSpan(self, basis)

    def outputs(self, points: Any, images: np.ndarray | None = None) -> np.ndarray:
        """Class probabilities (P, N, 10), or reconstructions (P, N, 784), on the host.

        Parameters
        ----------
        images
            (N, 784); None takes the landscape's own, in their order.
        """
        points = self._checked(points)
        images = self.images.images if images is None else np.asarray(images, dtype=np.float32)
        if images.ndim != 2 or images.shape[1] != 784:
            raise ValueError(f"images have shape {images.shape}; expected (N, 784)")
        network, work, first = self.network, self.work, self.network.n_first
        outputs = np.empty((len(points), len(images), 10 if network.classifies else 784), dtype=self.dtype)
        with backend.one_blas_thread(), np.errstate(**OVERFLOW):
            for start in range(0, len(images), network.chunk):
                part = slice(start, start + network.chunk)
                batch = to_device(images[part], self.device, self.dtype)
                labels = self.xp.zeros(len(batch), dtype=np.int64)
                inputs = network.open(work, network.pack_batch(self.xp, batch, labels))
                for p in range(len(points)):
                    Z = network.first(work, inputs, points[p : p + 1, :first])
                    Y, _ = network.forward(work, inputs, Z, points[p : p + 1, first:])
                    Y = probabilities(self.xp, Y).swapaxes(1, 2) if network.classifies else 0.5 + 0.5 * Y
                    outputs[p, part] = to_host(Y)[0]
        return outputs

    # Chunks ------------------------------------------------------------------------------------------------------

    def _checked(self, points: Any) -> Any:
        points = to_device(points, self.device, self.dtype)
        if points.ndim != 2 or points.shape[1] != self.size:
            raise ValueError(
                f"points have shape {tuple(points.shape)}; {self.model} takes a stack (P, {self.size}): "
                "one vector w goes in as w[None]"
            )
        return points

    @property
    def chunks(self) -> list[Any]:
        """The images, packed for the first layer chunk by chunk; done once."""
        if self._chunks is None:
            images, labels = self.images.images, self.images.labels
            order = by_label_and_extent(images, labels) if self.network.sorts else None
            if self.device == "cpu":
                least = min(LEAST_CHUNKS, self.n_images // LEAST_IMAGES)
                n_chunks = max(-(-self.n_images // self.network.chunk), least)
                if n_chunks > 1:  # the same number in every partial sum, or an even number of sums
                    n_chunks += -n_chunks % (PARTIAL_SUMS if n_chunks > PARTIAL_SUMS else 2)
            else:  # as large as leaves room for some points of a path
                size = np.clip(self._budget // (16 * self.network.floats_per_image), self.network.chunk, 20_000)
                n_chunks = -(-self.n_images // int(size))
            cuts = np.linspace(0, self.n_images, n_chunks + 1).astype(int)
            if self.n_images >= 4 * GRAIN * n_chunks:
                cuts[1:-1] -= cuts[1:-1] % GRAIN
            chunks = []
            for a, b in itertools.pairwise(cuts):
                where = slice(a, b) if order is None else order[a:b]
                chunks.append(self.network.pack(self.xp, images[where], labels[where], self.dtype))
            self._chunks = chunks  # all or none, should packing be interrupted
        return self._chunks

    @cached_property
    def _budget(self) -> int:
        """Numbers that the work arrays of one block of points may hold: near a core, or a quarter of a GPU's memory."""
        free = backend.free_memory(self.device)
        return CPU_BLOCK if free is None else free // 4 // self.dtype.itemsize

    def block(self, n_images: int) -> int:
        """Points that go through the network together."""
        return max(1, self._budget // (self.network.floats_per_image * n_images))

    def recorder(self) -> Any:
        """What calls passes: on a GPU it replays those that it has called before."""
        return call if self.device == "cpu" else cuda.Recorder(self._graph_memory)

    def run(
        self, record: Any, key: Hashable, make_pass: Callable[..., Any], n_rows: int, *arrays: Any
    ) -> tuple[np.ndarray, np.ndarray, Any]:
        """Runs ``make_pass(*arrays)(inputs, total) -> (sums, correct)`` over all chunks, and adds up in a fixed order.

        Parameters
        ----------
        record
            A :meth:`recorder`, and
        key
            what it knows the pass by, beside the arrays' shapes.
        n_rows
            Of ``total``, to which the pass adds gradients; 0 where it adds none.
        arrays
            What the pass reads beside the images, where they are or on the host.
        """
        chunks = self.chunks

        def everything(*arrays: Any) -> tuple[Any, ...]:
            sums, correct, total = self._over_chunks(chunks, make_pass(*arrays), n_rows)
            return (sums, correct, total) if n_rows else (sums, correct)

        sums, correct, *total = record(key, everything, *arrays)
        return to_host(sums), to_host(correct), total[0] if total else None

    def _over_chunks(self, chunks: list[Any], chunk_pass: Any, n_rows: int) -> tuple[Any, Any, Any]:
        n_tasks = min(PARTIAL_SUMS, len(chunks))
        cuts = np.linspace(0, len(chunks), n_tasks + 1).astype(int)

        def task(k: int) -> tuple[Any, Any, Any]:
            total = self.xp.zeros((n_rows, self.size), dtype=self.dtype) if n_rows else None
            with np.errstate(**OVERFLOW):  # of this thread
                sums, correct = zip(*(chunk_pass(c, total) for c in chunks[cuts[k] : cuts[k + 1]]), strict=True)
                return sum(sums[1:], sums[0]), sum(correct[1:], correct[0]), total

        parts = parallel_map(task, n_tasks, self.device)
        sums, correct, total = parts[0]
        with np.errstate(**OVERFLOW):
            for more_sums, more_correct, more_total in parts[1:]:
                sums = sums + more_sums
                correct = correct + more_correct
                if n_rows:
                    total += more_total
        return sums, correct, total

    def rest_of_network(
        self, inputs: Any, Z: Any, rest: Any, gradient: bool
    ) -> tuple[Any, Any, Callable[[], tuple[Any, Any]] | None]:
        """Sums of losses, correct answers, and the backward pass of one chunk and block of points."""
        Y, backward = self.network.forward(self.work, inputs, Z, rest)
        if self.network.classifies:
            sums, correct, dY = cross_entropy(self.work, Y, inputs.labels, gradient)
        else:
            sums, dY = squared_error(self.work, Y, inputs.centred, gradient)
            correct = self.xp.zeros(len(Y))
        return sums, correct, partial(backward, dY) if gradient else None

    def _chunk_of_points(self, points: Any, gradient: bool, inputs: Any, total: Any) -> tuple[Any, Any]:
        """One chunk for points (P, D) as they are; adds their gradients to ``total`` (P, D)."""
        network, work, first = self.network, self.work, self.network.n_first
        inputs = network.open(work, inputs)
        all_sums, all_correct = [], []
        block = self.block(inputs.labels.shape[-1])
        for start in range(0, len(points), block):
            part = slice(start, start + block)
            Z = network.first(work, inputs, points[part, :first])
            sums, correct, backward = self.rest_of_network(inputs, Z, points[part, first:], gradient)
            if backward is not None:
                dZ, d_rest = backward()
                network.first_backward(work, inputs, dZ, total[part, :first])
                total[part, first:] += d_rest
            all_sums.append(sums)
            all_correct.append(correct)
        return concatenated(all_sums), concatenated(all_correct)

    def _pass_of_points(self, gradient: bool) -> Callable[[Any], Any]:
        return lambda points: partial(self._chunk_of_points, points, gradient)


def network_landscape(
    model: str, images: Any, variant: str = "paper", device: str = "cpu", dtype: str = "float32"
) -> NetworkLandscape:
    """The loss of a network over images as a landscape.

    Parameters
    ----------
    model
        ``"fcp"``, ``"lenet"``, ``"autoencoder"`` or ``"lstm"``.
    images
        ``data.train``, ``data.test``, or a slice of one: all of it is used.
    variant
        ``"paper"`` (ReLU, pooling before the activation) or ``"authors"`` (softplus, pooling after it).
    device
        ``"cpu"`` or ``"gpu"``.
    dtype
        ``"float32"`` or ``"float64"``.

    Raises
    ------
    ValueError
        If a name is unknown or there are no images.
    DeviceError
        If the device cannot be used.
    """
    network = get_network(model, variant)
    if dtype not in backend.DTYPES:
        raise ValueError(f"dtype is {dtype!r}; expected one of {', '.join(backend.DTYPES)}")
    if not hasattr(images, "images") or not hasattr(images, "labels"):
        raise TypeError(f"images are {type(images).__name__}; expected data.train, data.test or a slice of one")
    if len(images) == 0:
        raise ValueError("there are no images; expected at least one")
    return NetworkLandscape(network, images, device, dtype)
