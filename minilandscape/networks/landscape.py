"""The loss of a network over images as a landscape: chunks of images, threads, mini-batches."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from .. import backend, cuda
from ..backend import Workspace, concatenated, parallel_map, to_device, to_host
from ..data import Images
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

#: A small set is cut into at least LEAST_CHUNKS chunks for the threads, of at least LEAST_IMAGES images each.
LEAST_CHUNKS, LEAST_IMAGES = 2, 250
#: Large chunks hold a multiple of this many images: it has many divisors, into which products are cut.
GRAIN = 48
#: Gradients are summed over this many runs of chunks, then in order: the sum does not depend on the threads.
PARTIAL_SUMS = 16
#: Numbers in the work arrays of one block of points on a CPU, so that they stay in a core's caches.
CPU_BLOCK = 1 << 21
#: An overflow shows in the values, which are infinite or NaN; NumPy's warnings would name lines of this file.
OVERFLOW: dict[str, Any] = {"over": "ignore", "invalid": "ignore"}


def model_size(model: str) -> int:
    """Return D, the number of parameters of a model."""
    return get_network(model, "paper").layout.size


def model_of_size(size: int) -> str:
    """Return the model with this number of parameters; the four numbers differ.

    Raises
    ------
    ValueError
        If there is no such model; the message lists the sizes.
    """
    for model in MODELS:
        if model_size(model) == size:
            return model
    sizes = ", ".join(f"{model} {model_size(model)}" for model in MODELS)
    raise ValueError(f"no model has {size} parameters; expected one of: {sizes}")


def variant_train_size(variant: str) -> int:
    """Return the number of training images of a variant: 50,000 (paper) or 60,000 (authors)."""
    get_network("fcp", variant)
    return TRAIN_SIZES[variant]


def get_network(model: str, variant: str) -> Network:
    """Return the arithmetic of a model in a variant.

    Raises
    ------
    ValueError
        If a name is unknown; the message lists the names.
    """
    if model not in NETWORKS:
        raise ValueError(f"model is {model!r}; expected one of {', '.join(MODELS)}")
    if variant not in VARIANTS:
        raise ValueError(f"variant is {variant!r}; expected one of {', '.join(VARIANTS)}")
    return NETWORKS[model](variant)


def initial_vector(model: str, rng: np.random.Generator | int, dtype: DTypeLike = np.float32) -> NDArray[np.floating]:
    """Draw the initial weights of a network, (D,), by PyTorch's default initialisation.

    Each tensor is uniform on ±1/√fan_in; those of the LSTM on ±1/√48, by its number of hidden units.

    Parameters
    ----------
    model : str
        ``"fcp"``, ``"lenet"``, ``"autoencoder"`` or ``"lstm"``.
    rng : numpy.random.Generator or int
        A generator, or the seed of one.
    dtype : numpy.dtype or str
        ``"float32"`` or ``"float64"``.

    Returns
    -------
    numpy.ndarray, (D,)
        The parameters in PyTorch's order: layer by layer, weight (out, in) before bias.

    Raises
    ------
    ValueError
        If the model is unknown.

    Examples
    --------
    >>> import minilandscape as ml
    >>> weights = ml.initial_vector("fcp", 0)
    >>> weights.shape, str(weights.dtype)
    ((42200,), 'float32')
    >>> float(abs(weights).max()) <= 1 / 50**0.5
    True
    """
    return get_network(model, "paper").layout.draw(np.random.default_rng(rng), dtype)


def call(key: Hashable, function: Callable[..., Any], *inputs: Any) -> Any:
    """Call a function; on a GPU, a recorder with these arguments recognises it by its key."""
    return function(*inputs)


class NetworkLandscape(LandscapeDefaults):
    """The mean loss of a network over images as a function of its parameters, as :func:`network_landscape` makes it.

    Attributes
    ----------
    model, variant : str
        Names of the network and of its variant.
    size : int
        D, the number of parameters.
    images : Images
        The images and labels.
    n_samples : int
        Number of images.
    dtype : numpy.dtype
        Of points and gradients.
    device : str
        ``"cpu"`` or ``"gpu"``.
    """

    names_points = True
    narrow_minima = True
    quantity = "loss"

    def __init__(self, network: Network, images: Images, device: str, dtype: DTypeLike) -> None:
        self.network = network
        self.model, self.variant, self.size = network.name, network.variant, network.layout.size
        self.images = images
        self.n_samples = len(images)
        self.device = device
        self.dtype = np.dtype(dtype)
        # Of the paper and of its notebooks.
        self.path_defaults = {"objective": "sum", "lam": 1e-4, "steps": 100, "lr": 1e-3, "n_terms": 10, "n_points": 50}
        self.xp = backend.device_module(device)
        self.work = Workspace(self.xp, self.dtype)
        self._graph_memory = cuda.GraphMemory()
        self._record = self.recorder()
        self._chunks: list[Any] | None = None
        self._on_device: Any = None

    def __repr__(self) -> str:
        return (
            f"<NetworkLandscape: {self.model} ({self.variant}) over {self.n_samples:,} images, "
            f"{self.size:,} parameters, {self.dtype}, {self.device}>"
        )

    # Points ------------------------------------------------------------------------------------------------------

    def values(self, points: ArrayLike) -> NDArray[np.float64]:
        """Return the mean losses (P,) of parameter vectors (P, D)."""
        return self.measure(points)[0]

    def measure(self, points: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        """Return mean losses (P,) and accuracies (P,) in [0, 1] of points (P, D); no accuracies for the autoencoder.

        An image counts as correct if its label alone has the largest logit, and as 1/k if k classes share it.
        """
        stack = self._checked(points)
        sums, correct, _ = self.run(self._record, "values", self._pass_of_points(False), 0, stack)
        return sums / self.n_samples, correct / self.n_samples if self.network.classifies else None

    def values_and_gradients(self, points: ArrayLike) -> tuple[NDArray[np.float64], Any]:
        """Return mean losses (P,) and their gradients (P, D); the gradients are on the landscape's device."""
        stack = self._checked(points)
        values, gradients = np.empty(len(stack)), self.xp.empty(stack.shape, dtype=self.dtype)
        for start in range(0, len(stack), PARTIAL_SUMS):  # bounds the memory of the partial sums
            part = slice(start, start + PARTIAL_SUMS)
            few = stack[part]
            sums, _, total = self.run(self._record, "gradients", self._pass_of_points(True), len(few), few)
            values[part], gradients[part] = sums / self.n_samples, total
        gradients *= 1 / self.n_samples
        return values, gradients

    def batch_values_and_gradients(self, points: ArrayLike, indices: ArrayLike) -> tuple[Any, Any]:
        """Return mean losses (P,) and gradients (P, D) over mini-batches, both on the landscape's device.

        Parameters
        ----------
        points
            (P, D)
        indices
            Numbers of images, (B,) for all points or (P, B), one batch for each point.
        """
        stack = self._checked(points)
        numbers = np.asarray(indices)
        if numbers.ndim == 2 and len(numbers) != len(stack):
            raise ValueError(f"there are {len(stack)} points and {len(numbers)} batches; expected one for each point")
        if self._on_device is None:
            self._on_device = (
                to_device(self.images.images, self.device, self.dtype),
                to_device(self.images.labels, self.device),
            )
        return self._record("batch", self._batch_pass, stack, numbers)

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

    def span(self, basis: ArrayLike) -> NetworkSpan:
        """Return the span of rows (R, D); its points share the products of the first layer."""
        return NetworkSpan(self, basis)

    def outputs(self, points: ArrayLike, images: ArrayLike | None = None) -> NDArray[np.floating]:
        """Return class probabilities (P, N, 10) or reconstructions (P, N, 784) of points (P, D), on the host.

        Parameters
        ----------
        points
            (P, D)
        images
            (N, 784) with values in [0, 1]; the landscape's images in their order by default.
        """
        stack = self._checked(points)
        shown = self.images.images if images is None else np.asarray(images, dtype=np.float32)
        if shown.ndim != 2 or shown.shape[1] != 784:
            raise ValueError(f"images have shape {shown.shape}; expected (N, 784)")
        network, work, first = self.network, self.work, self.network.n_first
        outputs = np.empty((len(stack), len(shown), 10 if network.classifies else 784), dtype=self.dtype)
        with backend.one_blas_thread(), np.errstate(**OVERFLOW):
            for start in range(0, len(shown), network.chunk):
                part = slice(start, start + network.chunk)
                batch = to_device(shown[part], self.device, self.dtype)
                labels = self.xp.zeros(len(batch), dtype=np.int64)
                inputs = network.open(work, network.pack_batch(self.xp, batch, labels))
                for p in range(len(stack)):
                    Z = network.first(work, inputs, stack[p : p + 1, :first])
                    Y, _ = network.forward(work, inputs, Z, stack[p : p + 1, first:])
                    Y = probabilities(self.xp, Y).swapaxes(1, 2) if network.classifies else 0.5 + 0.5 * Y
                    outputs[p, part] = to_host(Y)[0]
        return outputs

    # Chunks ------------------------------------------------------------------------------------------------------

    def _checked(self, points: Any) -> Any:
        points = to_device(points, self.device, self.dtype)
        if points.ndim != 2 or points.shape[1] != self.size:
            raise ValueError(
                f"points have shape {tuple(points.shape)}; {self.model} expects (P, {self.size}): "
                "pass one parameter vector w as w[None]"
            )
        return points

    @property
    def chunks(self) -> list[Any]:
        """Return the images, packed for the first layer chunk by chunk; they are packed once."""
        if self._chunks is None:
            images, labels = self.images.images, self.images.labels
            order = by_label_and_extent(images, labels) if self.network.sorts else None
            if self.device == "cpu":
                least = min(LEAST_CHUNKS, self.n_samples // LEAST_IMAGES)
                n_chunks = max(-(-self.n_samples // self.network.chunk), least)
                if n_chunks > 1:  # equally many in every partial sum, or an even number of sums
                    n_chunks += -n_chunks % (PARTIAL_SUMS if n_chunks > PARTIAL_SUMS else 2)
            else:  # as large as memory allows for a few points of a path
                size = np.clip(self._budget // (16 * self.network.floats_per_image), self.network.chunk, 20_000)
                n_chunks = -(-self.n_samples // int(size))
            cuts = np.linspace(0, self.n_samples, n_chunks + 1).astype(int)
            if self.n_samples >= 4 * GRAIN * n_chunks:
                cuts[1:-1] -= cuts[1:-1] % GRAIN
            chunks = []
            for a, b in itertools.pairwise(cuts):
                where = slice(a, b) if order is None else order[a:b]
                chunks.append(self.network.pack(self.xp, images[where], labels[where], self.dtype))
            self._chunks = chunks  # all or none, should packing be interrupted
        return self._chunks

    @cached_property
    def _budget(self) -> int:
        """Return the capacity in numbers of a block's work arrays: a core's caches or a quarter of a GPU."""
        free = backend.free_memory(self.device)
        return CPU_BLOCK if free is None else free // 4 // self.dtype.itemsize

    def block(self, n_images: int) -> int:
        """Return the number of points that go through the network together over so many images."""
        return max(1, self._budget // (self.network.floats_per_image * n_images))

    def recorder(self) -> Any:
        """Return the function that calls passes; on a GPU it replays those that it has recorded."""
        return call if self.device == "cpu" else cuda.Recorder(self._graph_memory)

    def run(
        self, record: Any, key: Hashable, make_pass: Callable[..., Any], n_rows: int, *arrays: Any
    ) -> tuple[np.ndarray, np.ndarray, Any]:
        """Run ``make_pass(*arrays)(inputs, total) -> (sums, correct)`` over all chunks, and sum in a fixed order.

        Parameters
        ----------
        record
            A :meth:`recorder`.
        key
            Identifies the pass to the recorder, with the shapes of the arrays.
        make_pass
            Makes the pass over one chunk.
        n_rows
            Rows of ``total``, to which the pass adds gradients; 0 if it adds none.
        arrays
            Arrays that the pass reads beside the images, on the landscape's device or on the host.

        Returns
        -------
        sums, correct, total
            (P,) and (P,) on the host; (n_rows, D) on the device, or None.
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
        """Return losses and correct answers summed over a chunk, and the backward pass, for a block of points."""
        Y, backward = self.network.forward(self.work, inputs, Z, rest)
        if self.network.classifies:
            sums, correct, dY = cross_entropy(self.work, Y, inputs.labels, gradient)
        else:
            sums, dY = squared_error(self.work, Y, inputs.centred, gradient)
            correct = self.xp.zeros(len(Y))
        return sums, correct, partial(backward, dY) if gradient else None

    def _chunk_of_points(self, points: Any, gradient: bool, inputs: Any, total: Any) -> tuple[Any, Any]:
        """Evaluate points (P, D) over one chunk; adds their gradients to ``total`` (P, D)."""
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
    model: str, images: Images, variant: str = "paper", device: str = "cpu", dtype: str = "float32"
) -> NetworkLandscape:
    """Return the mean loss of a network over images as a landscape.

    The loss is the cross-entropy in nats; for the autoencoder the squared error averaged over the pixels. Forward and
    backward passes are hand-written; ``landscape.values(points)`` and ``landscape.values_and_gradients(points)`` take
    parameter vectors (P, D).

    Parameters
    ----------
    model : str
        ``"fcp"`` (a multilayer perceptron 784-50-50-10, D = 42,200), ``"lenet"`` (D = 61,706), ``"autoencoder"``
        (784-32-32-32-784, D = 52,224) or ``"lstm"`` (D = 15,456).
    images : Images
        ``data.train``, ``data.test`` or a slice of either; all images are used.
    variant : str
        ``"paper"`` (ReLU; average pooling before the activation) or ``"authors"`` (softplus; pooling after it), as in
        the authors' code. Autoencoder and LSTM do not differ.
    device : str
        ``"cpu"`` or ``"gpu"`` (CuPy).
    dtype : str
        ``"float32"`` or ``"float64"``, of points and gradients. Losses are float64.

    Returns
    -------
    NetworkLandscape
        The landscape, which every function of the package accepts.

    Raises
    ------
    ValueError
        If a name is unknown or there are no images.
    TypeError
        If ``images`` holds no images and labels.
    DeviceError
        If the device cannot be used.

    References
    ----------
    arXiv:2602.21276, Sec. II.A and Table 1.

    Examples
    --------
    >>> import numpy as np
    >>> import minilandscape as ml
    >>> from minilandscape.data import Images
    >>> rng = np.random.default_rng(0)
    >>> images = Images(rng.random((100, 784), dtype=np.float32), rng.integers(0, 10, 100))
    >>> land = ml.network_landscape("fcp", images)
    >>> land
    <NetworkLandscape: fcp (paper) over 100 images, 42,200 parameters, float32, cpu>
    >>> values, gradients = land.values_and_gradients(ml.initial_vector("fcp", 0)[None])
    >>> values.shape, gradients.shape
    ((1,), (1, 42200))

    With MNIST: ``ml.network_landscape("fcp", ml.load_mnist("auto").train)``.
    """
    network = get_network(model, variant)
    if dtype not in backend.DTYPES:
        raise ValueError(f"dtype is {dtype!r}; expected one of {', '.join(backend.DTYPES)}")
    if not hasattr(images, "images") or not hasattr(images, "labels"):
        raise TypeError(f"images are {type(images).__name__}; expected data.train, data.test or a slice of one")
    if len(images) == 0:
        raise ValueError("there are no images; expected at least one")
    return NetworkLandscape(network, images, device, dtype)
