"""The whole engine on the strict stand-in for CuPy, and on a real GPU where there is one, against the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from minilandscape import backend
from minilandscape.networks import MODELS, initial_vector, network_landscape
from minilandscape.optimizers import adam_batches
from minilandscape.paths import find_path
from minilandscape.training import train

DEVICES = ["stand-in", pytest.param("real", marks=pytest.mark.gpu)]


@pytest.fixture(params=DEVICES)
def gpu(request: pytest.FixtureRequest) -> str:
    """Puts the stand-in in CuPy's place, or leaves the real one there."""
    if request.param == "stand-in":
        request.getfixturevalue("strict_cupy")
    return "gpu"


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("optimizer", "epochs"), [("sgd", 2), ("lbfgs-gss", 4)])
def test_training_is_the_same_on_both_devices(
    model: str, optimizer: str, epochs: int, gpu: str, small_mnist: Any
) -> None:
    runs = [
        train(model, small_mnist, optimizer=optimizer, epochs=epochs, seed=3, device=device, dtype="float64")
        for device in ("cpu", gpu)
    ]
    measured = {"train_loss", "test_loss"}
    measured |= set() if model == "autoencoder" else {"train_accuracy", "test_accuracy"}
    for run in runs:
        assert {name: len(curve) for name, curve in run.curves.items() if len(curve)} == dict.fromkeys(
            measured, epochs + 1
        )
    for name in measured:
        assert runs[1].curves[name] == pytest.approx(runs[0].curves[name], rel=1e-6), name
    assert np.abs(runs[0].train_weights - runs[1].train_weights).max() < 1e-6
    assert isinstance(runs[1].train_weights, np.ndarray)
    assert runs[0].reason == runs[1].reason


def test_adam_is_the_same_on_both_devices(gpu: str, small_mnist: Any) -> None:
    ends = []
    for device in ("cpu", gpu):
        landscape = network_landscape("fcp", small_mnist.train, device=device, dtype="float64")
        start = backend.to_device(initial_vector("fcp", np.random.default_rng(0), np.float64), device)
        states = adam_batches(landscape, start, np.random.default_rng(1), lr=1e-3)
        next(states)
        ends.append(backend.to_host(next(states).x))
    assert np.abs(ends[0] - ends[1]).max() < 1e-9


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("solver", "steps"), [("adam", 3), ("lbfgs-gss", 3)])
@pytest.mark.parametrize("power", [1, 2])
def test_paths_are_the_same_on_both_devices(
    model: str, solver: str, steps: int, power: int, gpu: str, small_mnist: Any
) -> None:
    start, end = (initial_vector(model, np.random.default_rng(seed), np.float64) for seed in (1, 2))
    paths = [
        find_path(
            network_landscape(model, small_mnist.test[:30], device=device, dtype="float64"),
            start,
            end,
            n_terms=3,
            n_points=7,
            steps=steps,
            solver=solver,
            power=power,
        )
        for device in ("cpu", gpu)
    ]
    assert paths[1].values == pytest.approx(paths[0].values, rel=1e-6)
    assert paths[1].height == pytest.approx(paths[0].height, rel=1e-6)
    assert paths[1].length == pytest.approx(paths[0].length, rel=1e-6)
    assert isinstance(paths[1].points(np.array([0.3])), np.ndarray)
    assert np.array_equal(paths[1].points(np.array([0.0, 1.0])), np.stack([start, end]))
