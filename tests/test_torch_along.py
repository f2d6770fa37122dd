"""Losses and metrics along a path, against the module's own, and the barrier by three definitions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minilandscape as ml

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.utils.data import DataLoader, TensorDataset  # noqa: E402

from minilandscape.adapters.along import Barriers  # noqa: E402
from minilandscape.adapters.torch import TorchLandscape, load_along  # noqa: E402

cross_entropy = nn.functional.cross_entropy
N = 90
GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(N, 4, generator=GENERATOR)
Y = (X[:, 0] * X[:, 1] > 0).long() + (X[:, 2] > 1).long()
TRAIN, TEST = (X[:60], Y[:60]), (X[60:], Y[60:])


def net(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.BatchNorm1d(8), nn.Linear(8, 3))
    optimizer = torch.optim.Adam(module.parameters(), lr=0.03)
    for _ in range(60):
        optimizer.zero_grad()
        cross_entropy(module(TRAIN[0]), TRAIN[1]).backward()
        optimizer.step()
    return module.eval()


def own(module: nn.Module, data: Any) -> tuple[float, float]:
    with torch.no_grad():
        outputs = module(data[0])
    return float(cross_entropy(outputs, data[1])), float((outputs.argmax(1) == data[1]).double().mean())


def test_losses_and_accuracies_are_the_modules_own(tmp_path: Path) -> None:
    a, b = net(0), net(1)
    test = DataLoader(TensorDataset(*TEST), batch_size=8)
    land = TorchLandscape(a, cross_entropy, *TRAIN, batch=25, test=test, buffers="recompute")
    path = ml.find_path(land, land.vector(a), land.vector(b), n_points=7, n_terms=2, steps=3)
    found = land.along(path)
    assert found.t.tolist() == sorted({*path.t, path.maximum_t})
    assert found.values["loss"][np.isin(found.t, path.t)] == pytest.approx(path.values, rel=1e-5)
    assert found.values["loss"].max() == pytest.approx(path.maximum, rel=1e-5)
    straight = path.start + found.t[:, None] * (path.end - path.start)
    for values, points in ((found.values, path.points(found.t)), (found.line, straight)):
        for k, point in enumerate(points):
            module = land.load(point)
            for prefix, data in (("", TRAIN), ("test ", TEST)):
                loss, right = own(module, data)
                assert values[prefix + "loss"][k] == pytest.approx(loss, rel=1e-4)
                assert values[prefix + "accuracy"][k] == pytest.approx(right, abs=1e-12)
    halfway = land.load(0.5 * (path.start + path.end))
    assert found.average["test loss"] == pytest.approx(own(halfway, TEST)[0], rel=1e-5)
    assert found.average["accuracy"] == pytest.approx(own(halfway, TRAIN)[1], abs=1e-12)
    assert found.metadata == {"n_samples": 60, "n_test": 30}
    test_losses = found.values["test loss"]
    assert found.barriers("test loss").barrier == pytest.approx(test_losses.max() - max(test_losses[[0, -1]]))
    with pytest.raises(ValueError, match="there is no 'recall'; expected one of loss, accuracy, test loss"):
        found.barriers("recall")
    found.save(tmp_path / "a.npz")
    again = load_along(tmp_path / "a.npz")
    assert list(again.values) == list(found.values)
    assert all(np.array_equal(again.values[name], found.values[name]) for name in found.values)
    assert again.average == found.average
    assert "test accuracy" in str(again)
    assert all(np.array_equal(again.line[name], found.line[name]) for name in found.line)


def test_the_picture_tells_training_from_test_and_the_path_from_the_straight_line() -> None:
    a = net(0)
    land = TorchLandscape(a, cross_entropy, *TRAIN, test=TEST, buffers="recompute")
    path = ml.find_path(land, land.vector(a), land.vector(net(1)), n_points=7, n_terms=2, steps=3)
    found = land.along(path)
    losses, accuracies = found.plot().figure.axes
    assert (losses.get_ylabel(), accuracies.get_ylabel()) == ("loss", "accuracy")
    looks = {}
    for panel, name in ((losses, "loss"), (accuracies, "accuracy")):
        for line in panel.lines:
            looks[line.get_label()] = (line.get_color(), line.get_marker(), line.get_linestyle())
            values = found.line if "straight" in line.get_label() else found.values
            expected = values[("test " if "test" in line.get_label() else "") + name]
            assert line.get_ydata() == pytest.approx(expected)
    assert len(set(looks.values())) == 4
    assert [text.get_text() for text in losses.get_legend().get_texts()] == list(looks)
    straight = land.along(ml.find_path(land, land.vector(a), land.vector(net(1)), "linear", n_points=7))
    assert straight.line is straight.values
    axes = losses.figure.subplots()
    assert found.plot(axes) is axes


def test_the_three_definitions_differ() -> None:
    t, values = np.linspace(0, 1, 5), np.array([1.0, 2.0, 5.0, 5.5, 3.0])
    found = Barriers.of(t, values)
    assert (found.barrier, found.forward, found.reverse) == (2.5, 4.5, 2.5)
    assert found.loss_barrier == 5.5 - (0.25 * 1 + 0.75 * 3)
    assert Barriers.of(t, values) != Barriers.of(t, values[::-1])


def test_metrics_of_all_samples_at_once() -> None:
    """A median is no mean over batches."""
    metrics = {"median": lambda outputs, targets: (outputs[:, 0] - targets).median()}
    module = net(0)
    land = TorchLandscape(module, cross_entropy, *TRAIN, batch=7, test=TEST, metrics=metrics)
    x = land.vector()
    with torch.no_grad():
        expected = [float((module(data[0])[:, 0] - data[1]).median()) for data in (TRAIN, TEST)]
    found = land.measure(np.stack([x, x + 0.1]))
    assert [found[name][0] for name in ("median", "test median")] == pytest.approx(expected, rel=1e-5)
    assert list(found) == ["loss", "median", "test loss", "test median"]
    assert found["loss"] == pytest.approx(land.values(np.stack([x, x + 0.1])), rel=1e-6)
    assert list(TorchLandscape(module, cross_entropy, *TRAIN, metrics={}).measure(x[None])) == ["loss"]
    with pytest.raises(TypeError, match="metrics are expected as a dictionary"):
        TorchLandscape(module, cross_entropy, *TRAIN, metrics=cross_entropy)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'loss' and names with 'test '"):
        TorchLandscape(module, cross_entropy, *TRAIN, metrics={"loss": cross_entropy})
    bad = TorchLandscape(module, cross_entropy, *TRAIN, metrics={"bad": lambda outputs, targets: outputs})
    with pytest.raises(ml.LandscapeError, match="a metric raised") as caught:
        bad.measure(x[None])
    assert np.array_equal(caught.value.point, x)
