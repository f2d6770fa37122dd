"""Alignment of modules: permuted copies are recovered, and functions are unchanged."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np
import pytest

import minilandscape as ml

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn.utils import prune  # noqa: E402

from minilandscape.adapters.torch import TorchLandscape  # noqa: E402
from minilandscape.adapters.torch_align import _index, _permuted, _sizes  # noqa: E402
from minilandscape.adapters.torch_axes import traced_axes  # noqa: E402

N = 20
IMAGES, SEQUENCES = torch.randn(N, 1, 8, 8), torch.randint(0, 11, (N, 5))
Y = torch.arange(N) % 3


class Residual(nn.Module):
    """A residual block with a projection, batch and group normalisation, and flattened pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.bn = nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.conv1, self.norm1 = nn.Conv2d(6, 8, 3, padding=1, stride=2), nn.BatchNorm2d(8)
        self.conv2, self.norm2 = nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.GroupNorm(1, 8)
        self.down, self.head, self.out = nn.Conv2d(6, 8, 1, stride=2), nn.Linear(8 * 4, 7), nn.Linear(7, 3)

    def forward(self, x: Any) -> Any:
        x = torch.relu(self.bn(self.stem(x)))
        x = nn.functional.relu(self.norm2(self.conv2(torch.relu(self.norm1(self.conv1(x))))) + self.down(x))
        x = nn.functional.max_pool2d(x, 2)
        return self.out(torch.tanh(self.head(torch.flatten(x, 1))))


class Transformer(nn.Module):
    """Embeddings tied to the output, positions, a class token's place, two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(11, 12), nn.Parameter(torch.randn(1, 5, 12))
        layer = nn.TransformerEncoderLayer(12, 3, 10, dropout=0.0, batch_first=True)
        self.encoder, self.norm = nn.TransformerEncoder(layer, 2), nn.LayerNorm(12)
        self.out = nn.Linear(12, 11, bias=False)
        self.out.weight = self.embed.weight

    def forward(self, x: Any) -> Any:
        return self.out(self.norm(self.encoder(self.embed(x) + self.place)).mean(1))[:, :3]


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.lstm, self.out = nn.Embedding(11, 4), nn.LSTM(4, 6, 2, batch_first=True), nn.Linear(6, 3)

    def forward(self, x: Any) -> Any:
        y, _ = self.lstm(self.embed(x))
        return self.out(y[:, -1])


class Branches(nn.Module):
    """Has control flow, which cannot be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.out = nn.Linear(8, 6), nn.Linear(6, 3)

    def forward(self, x: Any) -> Any:
        x = x.flatten(1)[:, :8]
        return self.out(torch.relu(self.first(x)) if x.sum() < 1e9 else self.first(x))


CASES: dict[str, Any] = {
    "residual": (Residual, IMAGES),
    "transformer": (Transformer, SEQUENCES),
    "lstm": (Recurrent, SEQUENCES),
}


def made(make: Any, inputs: Any, seed: int = 0) -> nn.Module:
    """With running statistics, and weights that are all different."""
    torch.manual_seed(seed)
    module = make()
    for p in module.parameters():
        nn.init.normal_(p, std=0.5)
    module(inputs)
    return module.eval()


def landscape(module: nn.Module, inputs: Any, **options: Any) -> TorchLandscape:
    return TorchLandscape(module, nn.functional.cross_entropy, inputs, Y, **options)


def shuffled(module: nn.Module, inputs: Any, seed: int = 5) -> tuple[nn.Module, int]:
    """A copy with all of its groups of units in a random order, and how many groups there are."""
    rng, table = np.random.default_rng(seed), traced_axes(copy.deepcopy(module), inputs)
    state = {name: tensor.numpy().copy() for name, tensor in module.state_dict().items()}
    orders = {group: rng.permutation(n) for group, n in _sizes(table, state).items()}
    for name, axes in table.items():
        state[name] = _permuted(state[name], axes, orders)
    other = copy.deepcopy(module)
    other.load_state_dict({name: torch.as_tensor(array) for name, array in state.items()})
    return other, len(orders)


# Stem, residual stream and head; residual stream, and heads and hidden units of two layers; embedding and two layers.
@pytest.mark.parametrize(("name", "groups"), [("residual", 3), ("transformer", 5), ("lstm", 3)])
def test_permuted_copies_are_recovered(name: str, groups: int) -> None:
    make, inputs = CASES[name]
    module = made(make, inputs)
    other, found = shuffled(module, inputs)
    with torch.no_grad():
        assert torch.allclose(module(inputs), other(inputs), rtol=1e-4, atol=1e-5)
    land = landscape(module, inputs)
    again = land.align(module, other)
    for key, tensor in module.state_dict().items():
        assert torch.equal(again[key], tensor), key
    assert found == groups


@pytest.mark.parametrize("name", CASES)
def test_another_network_comes_nearer_and_computes_the_same(name: str) -> None:
    make, inputs = CASES[name]
    a, b = made(make, inputs, 0), made(make, inputs, 1)
    land = landscape(a, inputs, buffers="recompute" if name == "residual" else None)
    start, end = land.vector(a), land.vector(b)
    nearer = ml.align(land, start, end)
    assert np.linalg.norm(nearer - start) < 0.98 * np.linalg.norm(end - start)
    assert land.values(nearer[None])[0] == pytest.approx(land.values(end[None])[0], rel=1e-4)
    assert np.sort(nearer) == pytest.approx(np.sort(end), abs=1e-7)
    state = land.align(a.state_dict(), b.state_dict())
    moved = copy.deepcopy(b)
    moved.load_state_dict(state)
    with torch.no_grad():
        assert torch.allclose(moved(inputs), b(inputs), rtol=1e-3, atol=1e-4)


def test_statistics_that_no_vector_holds_ask_for_checkpoints() -> None:
    a, b = made(Residual, IMAGES, 0), made(Residual, IMAGES, 1)
    land = landscape(a, IMAGES)
    x = land.vector()
    with pytest.raises(ValueError, match=r"align the checkpoints, land\.align\(state_a, state_b\)"):
        land.align(x, land_vector(b)[0])
    with pytest.raises(ValueError, match="one of a and b is a vector"):
        land.align(x, b)
    between = landscape(a, IMAGES, buffers="interpolate")
    state = between.align(a, b)
    joined = between.between(a, state)
    assert joined.values(joined.vector(state)[None])[0] == pytest.approx(
        landscape(b, IMAGES).values(land_vector(b))[0], rel=1e-4
    )


def land_vector(module: nn.Module) -> np.ndarray:
    return landscape(module, IMAGES).vector()[None]


def test_a_module_that_cannot_be_traced_takes_a_table() -> None:
    a, b = made(Branches, IMAGES, 0), made(Branches, IMAGES, 1)
    land = landscape(a, IMAGES, points=1)
    with pytest.raises(ValueError, match=r"torch\.fx cannot trace the module \(TraceError.*axes="):
        land.align(a, b)
    table = {"first.weight": ("h", None), "first.bias": ("h",), "out.weight": (None, "h")}
    state = land.align(a, b, axes=table)
    order = [int((b.first.bias == x).nonzero()[0, 0]) for x in state["first.bias"]]
    assert sorted(order) == list(range(6))
    assert order != list(range(6))
    for wrong, message in (
        ({"first.weight": ("h", None)}, "outputs change by"),
        ({"second.weight": ("h", None)}, "axes names 'second.weight'"),
        ({"first.weight": ("h",)}, r"axes of first\.weight are 1; it has shape \(6, 8\)"),
        ({"first.weight": ("h", "h")}, "not 1 times the 6 units of 'h'"),
    ):
        with pytest.raises(ValueError, match=message):
            land.align(a, b, axes=wrong)


def test_units_that_pass_through_something_unknown_stay() -> None:
    class Sorted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.out = nn.Linear(8, 6), nn.Linear(6, 5), nn.Linear(5, 3)

        def forward(self, x: Any) -> Any:
            x = torch.cumsum(self.first(x.flatten(1)[:, :8]), 1)
            return self.out(torch.relu(self.second(x)))

    a, b = made(Sorted, IMAGES, 0), made(Sorted, IMAGES, 1)
    state = landscape(a, IMAGES).align(a, b)
    assert torch.equal(state["first.weight"], b.first.weight)
    assert not torch.equal(state["second.bias"], b.second.bias)


class Dated(nn.Module):
    """Makes a tensor in its forward pass, and has a buffer that no state holds."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(11, 8), nn.Embedding(5, 8)
        self.up, self.down, self.out = nn.Linear(8, 9), nn.Linear(9, 8), nn.Linear(8, 3)
        self.register_buffer("scale", torch.linspace(0.5, 2.0, 8), persistent=False)

    def forward(self, x: Any) -> Any:
        x = (self.embed(x) + self.place(torch.arange(5))) * self.scale
        return self.out((x + self.down(torch.tanh(self.up(x)))).mean(1))


def with_computed_weight(change: Any) -> Any:
    """Three layers, of which the first computes its weight from what its state holds."""

    def make() -> nn.Module:
        layers = nn.Linear(64, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)
        module = nn.Sequential(nn.Flatten(), *layers)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of an old form of weight_norm
            change(module[1])
        return module

    return make


@pytest.mark.parametrize(
    ("make", "inputs", "moving"),
    [
        *(
            (with_computed_weight(change), IMAGES, "3.bias")
            for change in (
                nn.utils.parametrizations.weight_norm,
                nn.utils.weight_norm,
                nn.utils.parametrizations.spectral_norm,
                nn.utils.parametrizations.orthogonal,
                lambda layer: prune.l1_unstructured(layer, "weight", amount=0.3),
            )
        ),
        (Dated, SEQUENCES, "up.bias"),
    ],
)
def test_units_of_what_no_state_holds_stay(make: Any, inputs: Any, moving: str) -> None:
    """Weights that are computed from others, and tensors that the forward pass makes; other units are aligned."""
    a, b = made(make, inputs, 0), made(make, inputs, 1)
    state = landscape(a, inputs).align(a, b)
    own = b.state_dict()
    changed = [name for name in own if not torch.equal(own[name], state[name])]
    assert moving in changed
    assert {name.partition(".")[0] for name in changed} <= ({"up", "down"} if make is Dated else {"3", "5"})
    moved = make().eval()
    moved.load_state_dict(state)
    with torch.no_grad():
        assert torch.allclose(moved(inputs), b(inputs), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("vectors", [True, False])
def test_units_of_parameters_that_are_no_coordinates_stay(vectors: bool) -> None:
    a = made(with_computed_weight(lambda layer: layer.requires_grad_(False)), IMAGES, 0)
    b = copy.deepcopy(a)
    for p in b.parameters():
        if p.requires_grad:
            nn.init.normal_(p, std=0.5)
    land = landscape(a, IMAGES)
    ends = (land.vector(a), land.vector(b)) if vectors else (a, b)
    found = land.align(*ends)
    start, end, nearer = land.vector(a), land.vector(b), land.vector(land.load(found) if vectors else found)
    assert np.linalg.norm(nearer - start) < np.linalg.norm(end - start)
    assert land.values(nearer[None]) == pytest.approx(land.values(end[None]), rel=1e-4)


def test_the_places_of_repeated_units() -> None:
    assert _index(np.array([1, 0]), 2, 3).tolist() == [3, 4, 5, 0, 1, 2, 9, 10, 11, 6, 7, 8]
