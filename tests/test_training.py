"""Training: curves, minima, files, and runs that go on with the same bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minilandscape import training
from minilandscape.networks import network_landscape
from minilandscape.training import load_runs, run_options, train


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
    monkeypatch.setattr(training, "CHECKPOINT_EVERY", 0)
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
    resumed = train("fcp", small_mnist, checkpoint=checkpoint, **options)
    training.remove_checkpoint(checkpoint)
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
