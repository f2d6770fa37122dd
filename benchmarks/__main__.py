"""``python -m benchmarks``: one table of this project's work against PyTorch's, side by side in one process."""

from __future__ import annotations

import argparse
import resource
from collections.abc import Callable
from typing import Any

import numpy as np

from minilandscape.data import load_mnist
from minilandscape.networks import MODELS, initial_vector, network_landscape
from minilandscape.optimizers import LandscapeLine, lbfgs_gss
from minilandscape.paths import FourierPathFinder

from .timing import Timing, alternate

VARIANTS = {"fcp": ("paper", "authors"), "lenet": ("paper", "authors"), "autoencoder": ("paper",), "lstm": ("paper",)}


def main() -> None:
    """Prints the table; exits non-zero where the sides disagree."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few images and calls: checks that the sides agree")
    parser.add_argument("--data", default="auto")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--only", choices=MODELS, action="append")
    options = parser.parse_args()
    images = load_mnist(options.data).train[: 500 if options.quick else options.images]
    blocks, calls = (1, 1) if options.quick else (4, 5)
    print(f"{len(images):,} images, float32; seconds are medians, ranges in brackets; ratio = PyTorch / minilandscape")
    print(f"{'work':34} {'minilandscape':>26} {'PyTorch':>26} {'ratio':>6}")
    for model in options.only or MODELS:
        for variant in VARIANTS[model]:
            for work, sides, slow in _rows(model, variant, images):
                times = alternate(sides, blocks, max(1, calls // slow))
                ours, theirs = times["minilandscape"], times["PyTorch"]
                ratio = theirs.median / ours.median
                print(f"{f'{model} ({variant}), {work}':34} {_show(ours)} {_show(theirs)} {ratio:6.2f}", flush=True)
    print(f"peak resident memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB")


def _show(timing: Timing) -> str:
    return f"{f'{1e3 * timing.median:.2f} [{1e3 * timing.low:.2f}, {1e3 * timing.high:.2f}] ms':>26}"


def _rows(model: str, variant: str, images: Any) -> Any:
    """(name, sides, how many times fewer calls) of each piece of work, the sides' results compared first."""
    import torch

    from .pytorch import Loss

    land = network_landscape(model, images, variant=variant)
    vectors = [initial_vector(model, np.random.default_rng(seed)) for seed in (0, 1)]
    theirs = Loss(model, variant, images.images, images.labels)
    theirs.set_vector(vectors[0])
    theirs.pick_chunk(theirs.value_and_gradient)
    (value,), (gradient,) = land.values_and_gradients(vectors[0][None])
    their_value, their_gradient = theirs.value_and_gradient()
    worst = np.abs(gradient - their_gradient).max() / np.abs(their_gradient).max()
    if abs(value - their_value) > 1e-4 * abs(their_value) or worst > 1e-3:
        raise SystemExit(f"{model} ({variant}): loss {value} and {their_value}, gradients differ by {worst:.1e}")

    def ours_gradient() -> object:
        return land.values_and_gradients(vectors[0][None])

    def ours_value() -> object:
        return land.values(vectors[0][None])

    yield "loss + gradient", {"minilandscape": ours_gradient, "PyTorch": theirs.value_and_gradient}, 1
    yield "loss", {"minilandscape": ours_value, "PyTorch": theirs.value}, 1
    yield "SGD step of 64", _sgd_sides(land, theirs, vectors[0], torch), 1
    yield "L-BFGS-GSS iteration", _lbfgs_sides(land, theirs, vectors[0]), 2
    if model == "fcp":
        yield "path step, M = 50", _path_sides(land, theirs, vectors), 5


def _sgd_sides(land: Any, theirs: Any, vector: np.ndarray, torch: Any) -> dict[str, Callable[[], object]]:
    """Fifty steps on the same mini-batches."""
    rng = np.random.default_rng(0)
    batches = [rng.integers(0, land.n_images, 64) for _ in range(50)]
    tensors = [torch.from_numpy(batch) for batch in batches]
    x = vector.copy()
    optimizer = torch.optim.SGD(theirs.net.parameters(), lr=0.01)

    def ours() -> None:
        for batch in batches:
            _, gradient = land.batch_values_and_gradients(x[None], batch)
            gradient *= 0.01
            np.subtract(x, gradient[0], out=x)

    def pytorch() -> None:
        for batch in tensors:
            theirs.sgd_step(optimizer, batch)

    return {"minilandscape": ours, "PyTorch": pytorch}


def _lbfgs_sides(land: Any, theirs: Any, vector: np.ndarray) -> dict[str, Callable[[], object]]:
    """One iteration here; one gradient and six losses there."""
    states = lbfgs_gss(LandscapeLine(land, vector))
    next(states)

    def pytorch() -> None:
        theirs.value_and_gradient()
        for _ in range(6):
            theirs.value()

    return {"minilandscape": lambda: next(states), "PyTorch": pytorch}


def _path_sides(land: Any, theirs: Any, vectors: list[np.ndarray]) -> dict[str, Callable[[], object]]:
    """One Adam step of Algorithm 2 here; fifty gradients, point by point, there."""
    states = FourierPathFinder(land).steps(*vectors)
    next(states)
    points = [(1 - t) * vectors[0] + t * vectors[1] for t in np.linspace(0, 1, 50, dtype=np.float32)]

    def pytorch() -> None:
        for point in points:
            theirs.set_vector(point)
            theirs.value_and_gradient()

    return {"minilandscape": lambda: next(states), "PyTorch": pytorch}


if __name__ == "__main__":
    main()
