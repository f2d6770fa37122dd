"""Buffers between two checkpoints: the value at an endpoint is the checkpoint's own, and gradients are the value's."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import numpy as np
import pytest

import minilandscape as ml

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from minilandscape.adapters.torch import TorchLandscape  # noqa: E402

cross_entropy = nn.functional.cross_entropy
N, BATCH = 160, 40


class Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.norm1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        self.second, self.norm2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)

    def forward(self, x: Any) -> Any:
        return torch.relu(x + self.norm2(self.second(torch.relu(self.norm1(self.first(x))))))


def resnet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(), Residual(6), nn.MaxPool2d(2),
        Residual(6), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4),
    )  # fmt: skip


@cache
def images() -> tuple[Any, Any]:
    """Bright squares in one of four corners."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(N) % 4
    x = torch.randn(N, 1, 8, 8, generator=generator)
    for k in range(N):
        x[k, 0, 4 * (labels[k] // 2) :, 4 * (labels[k] % 2) :][:4, :4] += 1
    return x, labels


@cache
def trained(seed: int, dtype: Any = torch.float32) -> nn.Module:
    torch.manual_seed(seed)
    module, (x, y) = resnet(), images()
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-2)
    for _ in range(5):
        for part in torch.randperm(N).split(BATCH):
            optimizer.zero_grad()
            cross_entropy(module(x[part]), y[part]).backward()
            optimizer.step()
    return module.eval().to(dtype)


def own_loss(module: nn.Module, dtype: Any = torch.float32) -> float:
    x, y = images()
    with torch.no_grad():
        return float(cross_entropy(copy.deepcopy(module).eval()(x.to(dtype)), y))


def updated(module: nn.Module, dtype: Any = torch.float32) -> nn.Module:
    """With the statistics that PyTorch computes for averaged weights."""
    module = copy.deepcopy(module)
    torch.optim.swa_utils.update_bn(images()[0].to(dtype).split(BATCH), module)
    return module.eval()


def landscape(module: nn.Module, dtype: Any = torch.float32, **options: Any) -> TorchLandscape:
    x, y = images()
    return TorchLandscape(module, cross_entropy, x.to(dtype), y, batch=BATCH, **options)


def test_without_a_choice_other_statistics_are_refused() -> None:
    land = landscape(trained(0))
    with pytest.raises(ValueError, match=r"other buffers .*1\.running_mean.*buffers='recompute' .*'interpolate' with"):
        land.vector(trained(1))
    with pytest.raises(ValueError, match=r"state 2 has|other buffers|buffers is None"):
        land.between(trained(0), trained(1))
    alone = land.between(other := trained(1))
    assert alone.values(alone.vector(other)[None]) == pytest.approx([own_loss(other)], rel=1e-6)
    with pytest.raises(ValueError, match="buffers is 'recompute'"):
        landscape(trained(0), buffers="recompute").between(other)
    with pytest.raises(ValueError, match="no layer of it with running statistics"):
        TorchLandscape(nn.Linear(2, 1), nn.MSELoss(), torch.ones(3, 2), torch.ones(3, 1), buffers="recompute")
    with pytest.raises(ValueError, match="buffers is 'mean'; expected None, 'interpolate' or 'recompute'"):
        landscape(trained(0), buffers="mean")


def test_interpolated_buffers_belong_to_the_endpoints() -> None:
    a, b = trained(0), trained(1)
    land = landscape(a, buffers="interpolate", states=(a.state_dict(), b))
    start, end = land.vector(a), land.vector(b.state_dict())
    values = land.values(np.stack([start, end, 0.5 * (start + end)]))
    assert values[:2] == pytest.approx([own_loss(a), own_loss(b)], rel=1e-6)
    middle = copy.deepcopy(a)
    middle.load_state_dict({k: (0.5 * (p + b.state_dict()[k])).to(p) for k, p in a.state_dict().items()})
    assert values[2] == pytest.approx(own_loss(middle), rel=1e-5)
    loaded = land.load(0.5 * (start + end))
    assert own_loss(loaded) == pytest.approx(values[2], rel=1e-5)
    assert torch.allclose(loaded[1].running_mean, middle[1].running_mean, rtol=1e-5)
    assert land.vector(loaded) == pytest.approx(0.5 * (start + end), abs=1e-7)
    assert land.hessian_products is not None
    # Beyond the endpoints they stay: a running variance would become negative.
    assert torch.equal(land.load(3 * end - 2 * start)[1].running_var, b[1].running_var)
    with pytest.raises(ValueError, match=r"Name all states .* land\.between"):
        land.vector(trained(2))


def test_three_states_have_their_own_buffers() -> None:
    modules = [trained(seed) for seed in (0, 1, 2)]
    land = landscape(modules[2], buffers="interpolate").between(*modules)
    points = np.stack([land.vector(module) for module in modules])
    assert land.values(points) == pytest.approx([own_loss(module) for module in modules], rel=1e-6)
    mean = land.load(points.mean(axis=0))
    expected = torch.stack([module[1].running_var for module in modules]).mean(0)
    assert torch.allclose(mean[1].running_var, expected, rtol=1e-4)
    with pytest.raises(ValueError, match="lie on one line"):
        land.between(modules[0], modules[1], modules[0])


def test_recomputed_statistics_are_those_of_update_bn() -> None:
    a, b = trained(0), trained(1)
    land = landscape(a, buffers="recompute")
    start, end = land.vector(a), land.vector(b)
    points = np.stack([start, end, 0.5 * (start + end)])
    modules = [updated(m) for m in (a, b, land.load(points[2]))]
    values = land.values(points)
    assert values == pytest.approx([own_loss(module) for module in modules], rel=1e-6)
    assert land.values_and_gradients(points)[0] == pytest.approx(values, rel=1e-6)
    for point, module in zip(points, modules, strict=True):
        assert own_loss(land.load(point)) == pytest.approx(own_loss(module), rel=1e-6)
        for key, tensor in land.state_dict(point).items():
            if "running" in key:
                assert torch.allclose(tensor, module.state_dict()[key], rtol=1e-4, atol=1e-6), key


def test_the_barrier_with_and_without_recomputation() -> None:
    """Of the straight line, against state dicts averaged one by one, with and without update_bn."""
    a, b = trained(0), trained(1)
    t, module = np.linspace(0, 1, 9), copy.deepcopy(a)
    expected: dict[str, list[float]] = {"interpolate": [], "recompute": []}
    for share in t:
        other = b.state_dict()
        module.load_state_dict({k: ((1 - share) * p + share * other[k]).to(p) for k, p in a.state_dict().items()})
        expected["interpolate"].append(own_loss(module))
        expected["recompute"].append(own_loss(updated(module)))
    for buffers, losses in expected.items():
        land = landscape(a, buffers=buffers, states=(a, b) if buffers == "interpolate" else ())
        path = ml.find_path(land, land.vector(a), land.vector(b), "linear", n_points=9)
        assert path.values == pytest.approx(losses, rel=1e-5)
        assert path.barrier >= max(losses) - max(losses[0], losses[-1]) - 1e-5
    assert max(np.abs(np.subtract(*expected.values()))) > 0.1


@pytest.mark.parametrize(("buffers", "batch"), [("interpolate", 90), ("recompute", 90)])
def test_gradients_and_hessian_products_are_those_of_the_value(buffers: str, batch: int) -> None:
    """Where buffers depend on the point, by differences in double precision, of softplus in place of ReLU."""
    module = trained(0, torch.float64)
    module, other = (_smooth(m) for m in (module, trained(1, torch.float64)))
    x, y = images()
    states = {"states": (module, other)} if buffers == "interpolate" else {}
    land = TorchLandscape(module, cross_entropy, x.double(), y, batch=batch, buffers=buffers, **states)
    point = 0.7 * land.vector(module) + 0.3 * land.vector(other)
    rng, h = np.random.default_rng(0), 1e-5
    V = rng.standard_normal((2, land.size)) / np.sqrt(land.size)
    V[1] = land.vector(other) - land.vector(module)
    V[1] /= np.linalg.norm(V[1])
    ahead, slopes_ahead = land.values_and_gradients(point + h * V)
    behind, slopes_behind = land.values_and_gradients(point - h * V)
    gradient = land.values_and_gradients(point[None])[1][0]
    assert V @ gradient == pytest.approx((ahead - behind) / (2 * h), rel=1e-5, abs=1e-8)
    products = land.hessian_products(point, V)
    differences = (slopes_ahead - slopes_behind) / (2 * h)
    assert np.abs(products - differences).max() < 1e-6 * np.abs(products).max()


def _smooth(module: nn.Module) -> nn.Module:
    """The network with softplus, whose kinks differences would step over."""

    class Smooth(nn.Module):
        def __init__(self, inside: nn.Module) -> None:
            super().__init__()
            self.inside = inside

        def forward(self, x: Any) -> Any:
            stem, norm, _, first, _, second, *rest = self.inside
            x = nn.functional.softplus(norm(stem(x)))
            for block, pool in ((first, True), (second, False)):
                inner = nn.functional.softplus(block.norm1(block.first(x)))
                x = nn.functional.softplus(x + block.norm2(block.second(inner)))
                x = nn.functional.avg_pool2d(x, 2) if pool else x
            return nn.Sequential(*rest)(x)

    return Smooth(module).eval()


@pytest.mark.parametrize(("n", "batch"), [(7, 3), (10, 3), (101, 50), (161, 40), (1001, 1000), (5, 4), (60, 7), (6, 2)])
def test_no_batch_of_recomputed_statistics_has_a_single_sample(n: int, batch: int) -> None:
    """Nor more than asked for; and each counts by its samples."""
    module, x, y = plain_with_statistics(), torch.randn(n, 5), torch.arange(n) % 3
    land = TorchLandscape(module, cross_entropy, x, y, batch=batch, buffers="recompute")
    sizes = np.diff(land._evaluation.batches.bounds)
    assert sizes.sum() == n
    assert 2 <= sizes.min() <= sizes.max() <= batch
    with torch.no_grad():
        parts = module[0](x).split(sizes.tolist())
        weights = torch.tensor(sizes / n, dtype=torch.float32)[:, None]
        module[1].running_mean = (weights * torch.stack([part.mean(0) for part in parts])).sum(0)
        module[1].running_var = (weights * torch.stack([part.var(0) for part in parts])).sum(0)
        expected = float(cross_entropy(module(x), y))
    values, gradients = land.values_and_gradients(land.vector()[None])
    assert values == pytest.approx([expected], rel=1e-5)
    assert np.isfinite(gradients).all()


@pytest.mark.parametrize(
    ("n", "batch", "advice"), [(8, 1, "batch=3 or more"), (7, 2, "batch=3 or more"), (1, 9, "more s")]
)
def test_single_samples_without_a_variance_are_refused_at_once(n: int, batch: int, advice: str) -> None:
    x, y = torch.randn(n, 5), torch.arange(n) % 3
    with pytest.raises(ValueError, match=f"a single sample has no variance; give {advice}"):
        TorchLandscape(plain_with_statistics(), cross_entropy, x, y, batch=batch, buffers="recompute")


def plain_with_statistics() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)).eval()


def test_advice_of_statistics_is_one_that_is_taken() -> None:
    """Those of instance normalisation are not recomputed."""
    states = []
    for _ in range(2):
        module = nn.Sequential(nn.Conv1d(1, 4, 2), nn.InstanceNorm1d(4, track_running_stats=True), nn.Flatten())
        module.append(nn.Linear(16, 3))(torch.randn(6, 1, 5))
        states.append(module.eval())
    land = TorchLandscape(states[0], cross_entropy, torch.randn(12, 1, 5), torch.arange(12) % 3)
    with pytest.raises(ValueError, match="other buffers") as refused:
        land.vector(states[1])
    assert "recompute" not in str(refused.value)
    assert "buffers='interpolate'" in str(refused.value)


class Filter(nn.Module):
    """A filter in Fourier space (complex), an order of its results (whole numbers), and a count of steps."""

    def __init__(self, phase: float, shift: int, steps: int) -> None:
        super().__init__()
        self.register_buffer("filter", torch.exp(1j * phase * torch.arange(4, dtype=torch.float64)))
        self.register_buffer("order", torch.arange(6).roll(shift))
        self.register_buffer("steps", torch.tensor(steps))
        self.first, self.second = nn.Linear(6, 3), nn.Linear(3, 1)

    def forward(self, x: Any) -> Any:
        x = torch.fft.irfft(torch.fft.rfft(x) * self.filter, n=6)[:, self.order]
        return self.second(torch.tanh(self.first(x)))


@pytest.mark.parametrize("points", [1, None])
def test_buffers_that_all_states_have_alike_are_theirs(points: int | None) -> None:
    """Of whole numbers too, which cannot be interpolated; complex ones can."""
    torch.manual_seed(0)
    a, b, own = Filter(0.3, 2, 150).double(), Filter(0.8, 2, 150).double(), Filter(0.0, 0, 0).double()
    x, y = torch.randn(20, 6, dtype=torch.float64), torch.randn(20, 1, dtype=torch.float64)
    land = TorchLandscape(own, nn.MSELoss(), x, y, buffers="interpolate", points=points)
    alone, between = land.between(b), land.between(a, b)
    start, end = between.vector(a), between.vector(b)
    assert np.array_equal(alone.vector(b), end)
    middle = copy.deepcopy(a)
    middle.load_state_dict({k: (p + b.state_dict()[k]) / 2 for k, p in a.state_dict().items()})
    exact = [nn.functional.mse_loss(module(x), y).item() for module in (a, b, middle)]
    mean = (start + end) / 2
    assert between.values(np.stack([start, end, mean])) == pytest.approx(exact, rel=1e-6)
    assert alone.values(end[None]) == pytest.approx(exact[1:2], rel=1e-12)
    assert torch.equal(between.load(mean).order, a.order)
    assert between.load(mean).steps == 150
    found, along = between.values_and_gradients(mean[None])[1][0], (end - start) / np.linalg.norm(end - start)
    rise = between.values(mean + 1e-5 * np.outer([1, -1], along))
    assert found @ along == pytest.approx((rise[0] - rise[1]) / 2e-5, rel=1e-6)
    step = 1e-5 * np.outer([1, -1], along)
    slopes = between.values_and_gradients(mean + step)[1]
    assert between.hessian_products is not None
    product = between.hessian_products(mean, along[None])[0]
    assert product == pytest.approx((slopes[0] - slopes[1]) / 2e-5, rel=1e-5, abs=1e-8)
    with pytest.raises(ValueError, match=r"different buffers of whole numbers: steps; .* any number will do"):
        land.between(a, Filter(0.8, 2, 151).double())
