"""Exact Hessian-vector products of modules against PyTorch's own Hessian, and where there are none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minilandscape as ml

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from minilandscape.adapters.torch import TorchLandscape  # noqa: E402

N = 24
X, Y = torch.randn(N, 3, 4, generator=torch.Generator().manual_seed(0)), torch.arange(N) % 2


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inside, self.out = nn.LSTM(4, 2, batch_first=True), nn.Linear(2, 2)

    def forward(self, x: Any) -> Any:
        return self.out(self.inside(x)[0][:, -1])


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(4, 2, 4, dropout=0.0, batch_first=True)
        self.out = nn.Linear(4, 2)

    def forward(self, x: Any) -> Any:
        return self.out(self.layer(x).mean(1))


class Once(torch.autograd.Function):
    """Has a first derivative alone."""

    @staticmethod
    def forward(context: Any, x: Any) -> Any:  # type: ignore[override]
        context.save_for_backward(x)
        return torch.tanh(x)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context: Any, slope: Any) -> Any:  # type: ignore[override]
        return slope / torch.cosh(context.saved_tensors[0]) ** 2


class OnceAlone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(12, 2)

    def forward(self, x: Any) -> Any:
        return Once.apply(self.out(x.flatten(1)))


def dense() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 3), nn.ReLU(), nn.Linear(3, 2))


def landscape(make: Callable[[], nn.Module], loss: Any = nn.functional.cross_entropy, **options: Any) -> TorchLandscape:
    torch.manual_seed(0)
    return TorchLandscape(make().double(), loss, X.double(), Y, **options)


def full_hessian(land: TorchLandscape) -> np.ndarray:
    """By PyTorch's own double backward, of all samples at once."""

    def value(x: Any) -> Any:
        return land._evaluation.one(land._evaluation.workers.forward, x, {}, *land._samples.rows(slice(None)))

    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        return torch.autograd.functional.hessian(value, torch.tensor(land.vector())).numpy()


@pytest.mark.parametrize("make", [dense, Recurrent, Attention])
@pytest.mark.parametrize(("batch", "points"), [(7, 1), (100, 4)])
def test_products_are_those_of_the_hessian(make: Any, batch: int, points: int) -> None:
    land = landscape(make, batch=batch, points=points)
    H, V = full_hessian(land), np.random.default_rng(0).standard_normal((5, land.size))
    assert land.hessian_products is not None
    for rows in (V, V[:1], V[:0]):
        assert np.abs(land.hessian_products(land.vector(), rows) - rows @ H).max(initial=0) < 1e-12 * np.abs(H).max()


def test_a_loss_that_is_a_sum_or_has_weights() -> None:
    for loss in (nn.CrossEntropyLoss(reduction="sum"), nn.CrossEntropyLoss(torch.tensor([1.0, 5.0]).double())):
        land = landscape(dense, loss, batch=7)
        H = full_hessian(land)
        assert land.hessian_products(land.vector(), np.eye(land.size)) == pytest.approx(H, rel=1e-9, abs=1e-12)


def test_what_has_no_forward_rule_is_differentiated_backwards_twice() -> None:
    """mse_loss and group normalisation have none."""
    for make in (dense, lambda: nn.Sequential(nn.Linear(4, 2), nn.GroupNorm(1, 3), nn.Flatten(), nn.Linear(6, 2))):
        torch.manual_seed(0)
        targets = torch.randn(N, 2).double()
        land = TorchLandscape(make().double(), nn.functional.mse_loss, X.double(), targets, batch=7)
        H = full_hessian(land)
        assert land.hessian_products(land.vector(), np.eye(land.size)) == pytest.approx(H, rel=1e-9, abs=1e-12)


class Padded(nn.Module):
    """A table whose first row PyTorch gives no gradient."""

    def __init__(self, rows: int, tied: bool = False) -> None:
        super().__init__()
        self.table, self.out = nn.Embedding(rows, 4, padding_idx=0), nn.Linear(4, rows if tied else 3)
        if tied:
            self.out.weight = self.table.weight

    def forward(self, tokens: Any) -> Any:
        return self.out(torch.tanh(self.table(tokens).mean(1)))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("rows", [5, 30])
def test_the_padding_row_of_an_embedding_is_held(rows: int, dtype: torch.dtype) -> None:
    """The Hessian is that of the other coordinates, with zeros for the row."""
    torch.manual_seed(0)
    tokens, labels = torch.randint(0, rows, (40, 5)), torch.randint(0, 3, (40,))
    land = TorchLandscape(Padded(rows).to(dtype), nn.functional.cross_entropy, tokens, labels)
    assert land.hessian_products is not None
    H = land.hessian_products(land.vector(), np.eye(land.size, dtype=land.dtype))
    size = max(H.max(), -H.min())
    rounding = 1e-12 if dtype == torch.float64 else 1e-5
    assert np.abs(H - H.T).max() < rounding * size
    assert not H[:4].any()
    assert np.abs(full_hessian(land) - H)[4:, 4:].max() < rounding * size


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("norm", [nn.utils.weight_norm, nn.utils.parametrizations.weight_norm])
@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
def test_products_that_are_not_symmetric_are_not_taken(norm: Any, dtype: torch.dtype, seed: int) -> None:
    """PyTorch leaves the derivative of the norm out of the second derivatives of weight normalisation."""
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Flatten(), norm(nn.Linear(12, 4)), nn.Tanh(), norm(nn.Linear(4, 2))).to(dtype)
    land = TorchLandscape(module, nn.functional.cross_entropy, X.to(dtype), Y)
    asymmetry = np.abs((H := full_hessian(land)) - H.T).max()
    assert asymmetry > 1e-3 * np.abs(H).max()
    assert land.hessian_products is None


def test_a_table_that_is_tied_to_the_output_has_no_row_held() -> None:
    torch.manual_seed(0)
    tokens, labels = torch.randint(0, 6, (40, 5)), torch.randint(0, 6, (40,))
    land = TorchLandscape(Padded(6, tied=True).double(), nn.functional.cross_entropy, tokens, labels)
    assert land.hessian_products is None or land.hessian_products(land.vector(), np.eye(land.size))[:4].any()


def test_in_single_precision() -> None:
    exact = landscape(dense)
    single = TorchLandscape(exact.load(exact.vector()).float(), nn.functional.cross_entropy, X, Y)
    V = np.random.default_rng(0).standard_normal((2, single.size)).astype(np.float32)
    products = single.hessian_products(single.vector(), V)
    assert products.dtype == np.float32
    assert products == pytest.approx(exact.hessian_products(exact.vector(), V), rel=1e-4, abs=1e-5)


def test_modules_without_second_derivatives_have_none_and_differences_take_their_place() -> None:
    land = landscape(OnceAlone, points=1)
    assert land.hessian_products is None
    found = ml.curvature(land, land.vector(), 2)
    assert found.evaluations.gradients > 2 * land.size
    smooth = landscape(lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 2), nn.Tanh()))
    assert found.highest == pytest.approx(np.linalg.eigvalsh(full_hessian(smooth))[::-1][:2], rel=1e-5)


@pytest.mark.parametrize(
    ("layers", "kinks"),
    [
        ([nn.ReLU()], ("relu",)),
        ([nn.MaxPool1d(2), nn.GELU()], ("max_pool2d_with_indices",)),
        ([nn.LeakyReLU(), nn.Hardtanh()], ("hardtanh", "leaky_relu")),
        ([nn.Tanh(), nn.SiLU(), nn.Softplus(), nn.LayerNorm(4), nn.AvgPool1d(2)], ()),
    ],
)
def test_operations_with_kinks_are_named(layers: Any, kinks: Any) -> None:
    module = nn.Sequential(nn.Linear(4, 4), *layers, nn.Flatten(), nn.LazyLinear(2))
    module(X)
    assert TorchLandscape(module, nn.functional.cross_entropy, X, Y).kinks == kinks


def test_any_landscape_may_have_products() -> None:
    H = np.diag([1.0, 2.0, 5.0])

    class Own:
        size = 3

        def values_and_gradients(self, points: Any) -> Any:
            return 0.5 * (points @ H * points).sum(axis=1), points @ H

        def hessian_products(self, point: Any, vectors: Any) -> Any:
            return vectors @ H

    land = ml.as_landscape(Own())
    assert np.array_equal(land.hessian_products(np.ones(3), np.eye(3)), H)
    Own.hessian_products = lambda self, point, vectors: vectors[:, :2]  # type: ignore[method-assign]
    with pytest.raises(ml.LandscapeError, match=r"hessian_products returned shape \(3, 2\); expected \(3, 3\)"):
        ml.as_landscape(Own()).hessian_products(np.ones(3), np.eye(3))
    Own.hessian_products = lambda self, point, vectors: 1 / 0  # type: ignore[method-assign]
    with pytest.raises(ml.LandscapeError, match="hessian_products raised ZeroDivisionError"):
        ml.as_landscape(Own()).hessian_products(np.ones(3), np.eye(3))
    Own.hessian_products = None  # type: ignore[assignment]
    assert getattr(ml.as_landscape(Own()), "hessian_products", None) is None
