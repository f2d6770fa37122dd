"""Samples as people have them: loaders, data sets, several inputs, losses of outputs alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset, default_collate  # noqa: E402

from minilandscape.adapters.torch import TorchLandscape  # noqa: E402

cross_entropy = nn.functional.cross_entropy
N = 60
X = torch.randn(N, 5, generator=torch.Generator().manual_seed(0))
Y = torch.arange(N) % 3


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))


class Pair(nn.Module):
    """Takes two inputs by place or name, and an option."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = net()

    def forward(self, first: Any, second: Any, labels: Any = None, scale: float = 1.0) -> Any:
        outputs = scale * self.inside(torch.cat([first, second], dim=1))
        return outputs if labels is None else SimpleNamespace(loss=cross_entropy(outputs, labels), logits=outputs)


class Rows(Dataset):  # type: ignore[type-arg]
    def __init__(self, noise: float = 0.0) -> None:
        self.noise = noise

    def __len__(self) -> int:
        return N

    def __getitem__(self, k: int) -> Any:
        return X[k] + self.noise * torch.randn(5), int(Y[k])


class Stream(IterableDataset):  # type: ignore[type-arg]
    def __iter__(self) -> Any:
        return iter([(X[k], int(Y[k])) for k in range(N)])


EXPECTED = TorchLandscape(net(), cross_entropy, X, Y)


def same(land: TorchLandscape) -> None:
    points = EXPECTED.vector() + 0.1 * np.random.default_rng(0).standard_normal((2, EXPECTED.size))
    for found, expected in zip(land.values_and_gradients(points), EXPECTED.values_and_gradients(points), strict=True):
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize(
    "source",
    [
        lambda: Rows(),
        lambda: TensorDataset(X, Y),
        lambda: DataLoader(Rows(), batch_size=7),
        lambda: DataLoader(Rows(), batch_size=7, shuffle=True, drop_last=True),
        lambda: DataLoader(Stream(), batch_size=7),
        lambda: Stream(),
        lambda: DataLoader([(X[k : k + 20], Y[k : k + 20]) for k in (0, 20, 40)], batch_size=None),
        lambda: DataLoader(Rows(), batch_sampler=[[0, 1, 2], list(range(3, N))]),
        lambda: DataLoader(TensorDataset(X, Y), sampler=torch.utils.data.SubsetRandomSampler(range(N))),
    ],
)
def test_data_sets_and_loaders_are_read_whole_and_in_order(source: Any) -> None:
    state = torch.random.get_rng_state()
    land = TorchLandscape(net(), cross_entropy, source(), batch=25)
    torch.manual_seed(0)
    same(land)
    assert np.array_equal(land._samples.targets.numpy(), Y.numpy())
    torch.random.set_rng_state(state)
    TorchLandscape(EXPECTED.load(EXPECTED.vector()), cross_entropy, source())
    assert torch.equal(torch.random.get_rng_state(), state)


def test_some_samples_alone() -> None:
    few = TorchLandscape(net(), cross_entropy, DataLoader(Subset(Rows(), range(10)), batch_size=4, shuffle=True))
    drawn = TorchLandscape(
        net(), cross_entropy, DataLoader(Rows(), batch_size=4, sampler=torch.utils.data.SubsetRandomSampler(range(10)))
    )
    by_hand = TorchLandscape(net(), cross_entropy, X[:10], Y[:10])
    x = by_hand.vector()[None]
    assert few.values(x) == pytest.approx(by_hand.values(x), rel=1e-6)
    assert drawn.values(x) == pytest.approx(by_hand.values(x), rel=1e-6)


@pytest.mark.parametrize("points", [1, 4])
@pytest.mark.parametrize(
    ("loss", "inputs", "targets"),
    [
        (cross_entropy, (X[:, :2], X[:, 2:]), Y),
        (cross_entropy, {"second": X[:, 2:], "first": X[:, :2], "scale": 1.0}, Y),
        (cross_entropy, TensorDataset(X[:, :2], X[:, 2:], Y), None),
        (None, {"first": X[:, :2], "second": X[:, 2:], "labels": Y}, None),
        (lambda outputs: outputs.loss, {"first": X[:, :2], "second": X[:, 2:], "labels": Y}, None),
        (lambda outputs, targets: cross_entropy(outputs, targets["y"]), (X[:, :2], X[:, 2:]), {"y": Y}),
        (
            None,
            [{"first": X[k, :2], "second": X[k, 2:], "labels": Y[k]} for k in range(N)],
            None,
        ),
    ],
)
def test_several_inputs_and_losses_of_outputs_alone(loss: Any, inputs: Any, targets: Any, points: int) -> None:
    if isinstance(inputs, list):
        inputs = DataLoader(inputs, batch_size=9)
    same(TorchLandscape(Pair(), loss, inputs, targets, batch=20, points=points))


class WithLoss(nn.Module):
    """Returns its loss, in one of the forms in which people do."""

    def __init__(self, form: Any) -> None:
        super().__init__()
        self.inside, self.form = net(), form

    def forward(self, x: Any, labels: Any) -> Any:
        outputs = self.inside(x)
        return self.form(cross_entropy(outputs, labels), outputs)


@pytest.mark.parametrize("batch", [7, 20, 1000])
@pytest.mark.parametrize("metrics", [None, {}, "own"])
@pytest.mark.parametrize(
    "form",
    [
        lambda loss, logits: loss,
        lambda loss, logits: (loss, logits),
        lambda loss, logits: [loss],
        lambda loss, logits: {"logits": logits, "loss": loss},
        lambda loss, logits: SimpleNamespace(loss=loss, logits=logits),
    ],
)
def test_a_loss_that_the_module_returns_is_measured(form: Any, metrics: Any, batch: int) -> None:
    """In one batch and in several, with metrics and without."""
    data = {"x": X, "labels": Y}
    own = {"largest": lambda outputs, targets: 2.0} if metrics == "own" else metrics
    land = TorchLandscape(WithLoss(form), None, data, batch=batch, points=1, test=(data, None), metrics=own)
    same(land)
    points = EXPECTED.vector() + np.arange(2)[:, None]
    found, values = land.measure(points), EXPECTED.values(points)
    assert found["loss"] == pytest.approx(values, rel=1e-5)
    assert found["test loss"] == pytest.approx(values, rel=1e-5)
    assert found.keys() == {"loss", "test loss"} | ({"largest", "test largest"} if metrics == "own" else set())
    assert metrics != "own" or found["largest"] == pytest.approx([2.0, 2.0])


def test_random_augmentation_is_refused_with_the_reason() -> None:
    for source in (Rows(0.1), DataLoader(Rows(0.1), batch_size=8)):
        with pytest.raises(ValueError, match=r"sample 0 of the data set changes .* random augmentation"):
            TorchLandscape(net(), cross_entropy, source)


class Noisy(IterableDataset):  # type: ignore[type-arg]
    def __iter__(self) -> Any:
        return iter([(X[k] + torch.randn(5), int(Y[k])) for k in range(N)])


class Once(IterableDataset):  # type: ignore[type-arg]
    """A stream that can be read a single time."""

    def __init__(self) -> None:
        self.rest = iter([(X[k], int(Y[k])) for k in range(N)])

    def __iter__(self) -> Any:
        return self.rest


class Buckets:
    """Batches in another order each time, of the same samples, or of others."""

    def __init__(self, other: bool) -> None:
        self.other = other

    def __iter__(self) -> Any:
        found = [list(range(k, k + 10)) for k in torch.randperm(6).mul(10).tolist()]
        return iter(found[:3] if self.other else found)


def mixed(items: Any) -> Any:
    x, y = default_collate(items)
    part = torch.rand(())
    return part * x + (1 - part) * x.flip(0), y


WEIGHTED = torch.utils.data.WeightedRandomSampler(torch.ones(N), N)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (lambda: Noisy(), "the first batch of the data set changes .* random augmentation and shuffling"),
        (lambda: DataLoader(Noisy(), batch_size=7), "the first batch of the data set changes"),
        (lambda: DataLoader(Rows(), batch_size=7, collate_fn=mixed), "collate_fn puts the same samples together"),
        (lambda: DataLoader(Rows(), batch_sampler=Buckets(False), collate_fn=mixed), "collate_fn puts the same"),
        (lambda: DataLoader(Rows(), batch_size=7, sampler=WEIGHTED), "WeightedRandomSampler draws other samples"),
        (lambda: DataLoader(Rows(), sampler=torch.utils.data.RandomSampler(Rows(), True)), "RandomSampler draws other"),
        (lambda: DataLoader(Rows(), batch_sampler=Buckets(True)), "Buckets draws other samples"),
        (lambda: DataLoader(Rows(0.1), batch_sampler=Buckets(False)), "sample .* of the data set changes"),
    ],
)
def test_what_is_drawn_at_random_is_refused_with_the_reason(source: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TorchLandscape(net(), cross_entropy, source())


@pytest.mark.parametrize(
    "source",
    [
        lambda: Once(),
        lambda: DataLoader(Once(), batch_size=7),
        lambda: DataLoader(Rows(), batch_sampler=Buckets(False)),
        lambda: DataLoader(Rows(), batch_size=7, collate_fn=lambda items: default_collate(items)),
    ],
)
def test_the_same_samples_in_another_order_are_taken(source: Any) -> None:
    same(TorchLandscape(net(), cross_entropy, source()))


@pytest.mark.parametrize("size", [1e-3, 1e-1])
@pytest.mark.parametrize("form", [lambda outputs: outputs, lambda outputs: (outputs,)])
def test_a_module_that_adds_noise_is_refused(size: float, form: Any) -> None:
    class Adds(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inside = net()

        def forward(self, x: Any) -> Any:
            return form(self.inside(x) + size * torch.randn(len(x), 3))

    def loss(outputs: Any, targets: Any) -> Any:
        return cross_entropy(outputs[0] if isinstance(outputs, tuple) else outputs, targets)

    for batch in (7, 1000):
        with pytest.raises(ValueError, match="two evaluations at the same parameters differ"):
            TorchLandscape(Adds(), loss, X, Y, batch=batch)


@pytest.mark.parametrize(
    ("inputs", "targets", "error", "message"),
    [
        (Rows(), Y, ValueError, "targets are given beside a Rows"),
        (TensorDataset(X[:0], Y[:0]), None, ValueError, "no samples"),
        (DataLoader([(X[k, : 3 + k % 2], 0) for k in range(4)]), None, ValueError, "cannot be put together"),
        ((X, X[:5]), Y, ValueError, "60 inputs and 5 inputs; expected as many"),
        ({"x": 3}, Y, TypeError, "inputs is dict; expected a tensor"),
        (X, torch.tensor(1), TypeError, "targets has a tensor of one number"),
        ((X[:, :2], X[:, 2:], X), Y, ValueError, "the module raised TypeError on inputs of 3 tensors"),
    ],
)
def test_what_does_not_fit_is_refused(inputs: Any, targets: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        TorchLandscape(net(), cross_entropy, inputs, targets)


def test_a_loss_of_ones_own_output_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the module's output, which is the loss where none is given, is of shape"):
        TorchLandscape(net(), None, X)
