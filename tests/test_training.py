"""Training: curves, minima, files, and runs that go on with the same bits."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minilandscape.backend import set_threads
from minilandscape.files import json_text
from minilandscape.networks import network_landscape
from minilandscape.training import (
    load_runs,
    loop,
    remove_checkpoint,
    run_options,
    train,
    train_to_folder,
    train_together,
)
from minilandscape.training.records import Records


@pytest.mark.parametrize(("optimizer", "epochs"), [("sgd", 40), ("adam", 20), ("lbfgs-gss", 12)])
def test_curves_and_minima(optimizer: str, epochs: int, small_mnist: Any, tmp_path: Path) -> None:
    seen: list[int] = []
    run = train("fcp", small_mnist, optimizer=optimizer, epochs=epochs, progress=lambda epoch, *_: seen.append(epoch))
    assert seen == list(range(epochs + 1))
    assert run.reason == "epochs"
    land = network_landscape("fcp", small_mnist.train)
    assert land.values(run.train_weights[None])[0] == pytest.approx(run.train_minimum["loss"], rel=1e-6)
    test = network_landscape("fcp", small_mnist.test)
    assert test.values(run.test_weights[None])[0] == pytest.approx(run.test_minimum["loss"], rel=1e-6)
    assert run.train_minimum["loss"] < 0.8 * run.curves["train_loss"][0]
    assert len(run.curves["test_accuracy"]) == epochs + 1
    run.save(tmp_path)
    (again,) = load_runs(tmp_path)
    assert np.array_equal(again.train_weights, run.train_weights)
    assert again.facts() == run.facts()


@pytest.mark.parametrize(("optimizer", "epochs", "at"), [("sgd", 6, 3), ("adam", 6, 4), ("lbfgs-gss", 27, 24)])
def test_an_interrupted_run_goes_on_with_the_same_bits(
    optimizer: str, epochs: int, at: int, small_mnist: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY", 0)
    options: dict[str, Any] = {"optimizer": optimizer, "epochs": epochs, "seed": 2}
    whole = train("fcp", small_mnist, **options)
    checkpoint = tmp_path / "checkpoint.npz"

    def interrupt(epoch: int, *_: float) -> None:
        if epoch == at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train("fcp", small_mnist, checkpoint=checkpoint, progress=interrupt, **options)
    assert checkpoint.exists()
    with pytest.raises(ValueError, match="seed 2, not 3"):
        train("fcp", small_mnist, checkpoint=checkpoint, **{**options, "seed": 3})
    with pytest.raises(ValueError, match=r"has reached epoch \d+, beyond 1: ask for \d+ epochs or more"):
        train("fcp", small_mnist, checkpoint=checkpoint, **{**options, "epochs": 1})
    sooner = {**options, "epochs": at}
    ended = train("fcp", small_mnist, checkpoint=checkpoint, **sooner)
    assert ended.facts() == train("fcp", small_mnist, **sooner).facts()
    resumed = train("fcp", small_mnist, checkpoint=checkpoint, **options)
    remove_checkpoint(checkpoint)
    assert list(tmp_path.iterdir()) == []
    assert np.array_equal(resumed.train_weights, whole.train_weights)
    assert np.array_equal(resumed.test_weights, whole.test_weights)
    assert resumed.facts() == whole.facts()


def test_what_does_not_go_together_is_refused() -> None:
    with pytest.raises(ValueError, match="finds its own steps"):
        run_options("fcp", optimizer="lbfgs-gss", lr=0.1)
    with pytest.raises(ValueError, match="expected one of lbfgs-gss"):
        run_options("fcp", optimizer="newton")
    with pytest.raises(ValueError, match="expected one of paper"):
        run_options("fcp", variant="mine")
    for lr in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="expected a finite number above 0"):
            run_options("fcp", optimizer="sgd", lr=lr)


@pytest.mark.parametrize("model", ["fcp", "lenet", "autoencoder", "lstm"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_side_by_side_each_run_has_the_bits_it_has_alone(model: str, optimizer: str, small_mnist: Any) -> None:
    options: dict[str, Any] = {"optimizer": optimizer, "epochs": 2, "train_size": 150}
    together = train_together(model, small_mnist, [3, 5, 4], **options)
    for seed, run in zip([3, 5, 4], together, strict=True):
        alone = train(model, small_mnist, seed=seed, **options)
        assert np.array_equal(run.train_weights, alone.train_weights)
        assert np.array_equal(run.test_weights, alone.test_weights)
        assert run.facts() == alone.facts()
    assert not np.array_equal(together[0].train_weights, together[1].train_weights)


def test_an_interrupted_population_goes_on_with_the_same_bits(
    small_mnist: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY", 0)
    options: dict[str, Any] = {"optimizer": "adam", "epochs": 5}
    whole = train_together("fcp", small_mnist, [0, 1, 2], **options)

    def interrupt(seed: int, epoch: int, *_: float) -> None:
        if (seed, epoch) == (2, 3):
            raise KeyboardInterrupt

    set_threads(1)
    try:
        with pytest.raises(KeyboardInterrupt):
            train_to_folder(tmp_path / "out", "fcp", small_mnist, [0, 1, 2], progress=interrupt, **options)
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["checkpoint-0-2.npz"]
        runs, worked = train_to_folder(tmp_path / "out", "fcp", small_mnist, [0, 1, 2], **options)
    finally:
        set_threads(None)
    assert worked
    assert [run.facts() for run in runs] == [run.facts() for run in whole]


@pytest.mark.parametrize("optimizer", ["sgd", "lbfgs-gss"])
def test_worker_processes_give_the_same_bits(optimizer: str, small_mnist: Any, tmp_path: Path) -> None:
    seen: set[tuple[int, int]] = set()
    options: dict[str, Any] = {"optimizer": optimizer, "epochs": 3}
    set_threads(2)
    try:
        runs, worked = train_to_folder(
            tmp_path, "fcp", small_mnist, [1, 2, 3], progress=lambda seed, epoch, *_: seen.add((seed, epoch)), **options
        )
    finally:
        set_threads(None)
    assert worked
    assert seen == {(seed, epoch) for seed in (1, 2, 3) for epoch in range(4)}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.json", "test.npy", "train.npy"]
    for run in runs:
        alone = train("fcp", small_mnist, seed=run.options["seed"], **options)
        assert np.array_equal(run.train_weights, alone.train_weights)
        assert run.facts() == alone.facts()


def test_each_run_of_a_population_ends_at_its_own_floor(small_mnist: Any) -> None:
    whole = train_together("fcp", small_mnist, [0, 1, 2], optimizer="sgd", epochs=30)
    floor = float(np.median([run.curves["train_loss"][12] for run in whole]))
    options: dict[str, Any] = {"optimizer": "sgd", "epochs": 30, "loss_floor": floor}
    together = train_together("fcp", small_mnist, [0, 1, 2], **options)
    assert len({len(run.curves["train_loss"]) for run in together}) > 1
    for seed, run in enumerate(together):
        assert run.facts() == train("fcp", small_mnist, seed=seed, **options).facts()
        assert run.reason == "loss floor"
        assert run.curves["train_loss"][-1] <= floor < run.curves["train_loss"][-2]


def test_a_run_that_overflows_ends_by_itself_without_warnings(small_mnist: Any, tmp_path: Path) -> None:
    options: dict[str, Any] = {"optimizer": "sgd", "lr": 20.0, "epochs": 6, "train_size": 150, "batch_size": 32}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        together = train_together("fcp", small_mnist, [0, 1, 3], **options)
        alone = [train("fcp", small_mnist, seed=seed, **options) for seed in (0, 1, 3)]
    assert [run.reason for run in together] == ["not finite", "epochs", "not finite"]
    assert len({len(run.curves["train_loss"]) for run in together}) == 3
    for run, other in zip(together, alone, strict=True):
        finite = np.isfinite(run.curves["train_loss"])
        assert finite[:-1].all()
        assert finite[-1] == (run.reason == "epochs")
        assert np.isfinite([run.train_weights, run.test_weights]).all()
        assert json_text(run.facts()) == json_text(other.facts())
    together[0].save(tmp_path)
    assert json_text(load_runs(tmp_path)[0].facts()) == json_text(together[0].facts())


def test_a_test_loss_that_is_not_finite_for_a_while_hides_no_lower_one() -> None:
    class Losses:
        def __init__(self, *losses: float) -> None:
            self.left = list(losses)

        def measure(self, points: np.ndarray) -> tuple[np.ndarray, None]:
            return np.array([self.left.pop(0)]), None

    records = Records(0.0)
    lands = [Losses(3.0, 2.0, 1.0), Losses(3.0, np.nan, 2.5)]
    for epoch in range(3):
        records.add(lands, np.full((1, 2), float(epoch)))
    assert records.best["test"][0, 0] == 2
    assert not records.over().any()
