"""The input of every side (network, images, points, mini-batches) and the operations that each kind of work needs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from minilandscape.data import Images, load_mnist
from minilandscape.networks import initial_vector
from minilandscape.paths.bases import sine_basis

BATCH_SIZE = 64
LEARNING_RATE = 0.1
#: Trial steps of a line search along its direction: six losses.
TRIALS = (0.2, 0.4, 0.8, 1.6, 0.6, 1.0)
#: Numbers of parts that the images are cut into, and the least size of one; each side keeps its fastest.
PARTS = (1, 4, 10, 20)
LEAST_CHUNK = 100


@dataclass(frozen=True)
class Task:
    """One network over some images, and the points of its evaluation.

    Attributes
    ----------
    device
        ``"cpu"`` or ``"gpu"``.
    n_points, n_terms
        M and N_F of the path.
    n_steps
        SGD steps in one call.
    plane_side
        Points along each side of the plane.
    n_runs
        Runs in the population, one epoch each.
    """

    model: str
    variant: str
    images: Images
    device: str = "cpu"
    n_points: int = 50
    n_terms: int = 10
    n_steps: int = 50
    plane_side: int = 51
    n_runs: int = 75

    @cached_property
    def chunks(self) -> list[int]:
        """Return possible chunk sizes, each a divisor of the number of images."""
        n = len(self.images)
        return [n // parts for parts in PARTS if parts == 1 or (n % parts == 0 and n // parts >= LEAST_CHUNK)]

    def vector(self, seed: int) -> np.ndarray:
        """Return random initial weights of the network, (D,) float32."""
        return initial_vector(self.model, np.random.default_rng(seed))

    @cached_property
    def start(self) -> np.ndarray:
        """Return the point of losses and gradients, which is also the path's start."""
        return self.vector(0)

    @cached_property
    def direction(self) -> np.ndarray:
        """Return the direction p of a line search, whose trial points are start − u p."""
        return 0.1 * self.vector(2)

    @cached_property
    def path_rows(self) -> np.ndarray:
        """Return the rows (2 + N_F, D): start, end and the coefficients b_n."""
        bends = [0.1 / n * self.vector(2 + n) for n in range(1, self.n_terms + 1)]
        return np.stack([self.start, self.vector(1), *bends], dtype=np.float32)

    @cached_property
    def path_coefficients(self) -> np.ndarray:
        """Return the coefficients (M − 2, 2 + N_F) of the sample points between the fixed endpoints."""
        return sine_basis(np.linspace(0, 1, self.n_points), self.n_terms)[1:-1]

    @cached_property
    def plane_rows(self) -> np.ndarray:
        """Return the parameter vectors (3, D) that span the plane."""
        return np.stack([self.vector(seed) for seed in range(3)])

    @cached_property
    def plane_coefficients(self) -> np.ndarray:
        """Return the barycentric coordinates (side², 3) of a grid around the three vectors."""
        a, b = np.meshgrid(*2 * [np.linspace(-0.5, 1.5, self.plane_side)])
        return np.column_stack([(1 - a - b).ravel(), a.ravel(), b.ravel()])

    @cached_property
    def batches(self) -> np.ndarray:
        """Return the numbers of the images in each mini-batch, (steps, 64)."""
        return np.random.default_rng(0).integers(0, len(self.images), (self.n_steps, BATCH_SIZE))

    def run(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Return a run's initial weights (D,) and first order of the images (N,), as ``train`` draws them."""
        start, order = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2))
        return initial_vector(self.model, start), order.permutation(len(self.images))

    # Floating-point operations; a product of (a, b) and (b, c) has 2abc ----------------------------------------------

    @property
    def flops(self) -> dict[str, float]:
        """Return the operations that each kind of work needs, by the layers' shapes.

        A gradient takes every layer's product three times, the first layer's twice, since the images need none. Points
        of a span share the first layer's products: one a row, and the mixing.
        """
        products, mixed = _products(self.model, self.variant)
        first, rest, n = products[0], sum(products[1:]), len(self.images)
        points, terms = self.n_points - 2, self.n_terms
        gradient = 2 * first + 3 * rest
        one_image = {
            "loss": first + rest,
            "gradient": gradient,
            "sgd": self.n_steps * BATCH_SIZE / n * gradient,
            "lbfgs": 2 * first + (3 + len(TRIALS)) * rest + len(TRIALS) * mixed,
            "path": 2 * terms * first + points * (3 * rest + 2 * (1 + terms) * mixed),
            "plane": 3 * first + self.plane_side**2 * (rest + 3 * mixed),
            "population": self.n_runs * (gradient + 2 * (first + rest)),
        }
        return {work: 2.0 * n * count for work, count in one_image.items()}


def _products(model: str, variant: str) -> tuple[list[int], int]:
    """Return the multiplications of each layer for one image, and the outputs of the first layer.

    An average pool before the activation folds into the convolution, whose products are then those of the pooled grid.
    """
    if model == "fcp":
        return [784 * 50, 50 * 50, 50 * 10], 50
    if model == "autoencoder":
        return [784 * 32, 32 * 32, 32 * 32, 32 * 784], 32
    if model == "lstm":
        return [28 * 28 * 192, 27 * 48 * 192, 48 * 10], 28 * 192
    grids = (14 * 14, 5 * 5) if variant == "paper" else (28 * 28, 10 * 10)
    convolutions = [grids[0] * 6 * 25, grids[1] * 16 * 150]
    return [*convolutions, 400 * 120, 120 * 84, 84 * 10], grids[0] * 6


def load_images(where: str, n: int) -> tuple[Images, str]:
    """Return the first n training images, repeated if the set is smaller, and their source."""
    if where == "random":
        rng = np.random.default_rng(0)
        pixels = rng.random((n, 784), dtype=np.float32) * (rng.random((n, 784)) < 0.2)
        return Images(pixels, rng.integers(0, 10, n)), "random images"
    data = load_mnist(where)
    source, found = data.source, data.train
    if n <= len(found):
        return found[:n], source
    order = np.resize(np.arange(len(found)), n)
    return Images(found.images[order], found.labels[order]), f"{source}, {len(found):,} repeated"
