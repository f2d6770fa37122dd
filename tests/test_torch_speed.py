"""How PyTorch landscapes are evaluated in less time: fused layers, threads, pullbacks; results stay."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from minilandscape.adapters.torch import TorchLandscape  # noqa: E402
from minilandscape.adapters.torch_attention import SelfAttention, with_self_attention  # noqa: E402
from minilandscape.adapters.torch_data import Samples  # noqa: E402
from minilandscape.adapters.torch_forward import Forward  # noqa: E402
from minilandscape.adapters.torch_fused import fused  # noqa: E402
from minilandscape.adapters.torch_speed import channels_last  # noqa: E402
from minilandscape.adapters.torch_workers import Workers, can_share_cores  # noqa: E402

cross_entropy = nn.functional.cross_entropy
N = 48
IMAGES, CLASSES = torch.randn(N, 2, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(N) % 3


class Residual(nn.Module):
    def __init__(self, bias: bool, affine: bool, convolution: dict[str, Any]) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 6, 3, padding=1, bias=bias, **convolution)
        self.norm = nn.BatchNorm2d(6, affine=affine)
        self.second, self.after = nn.Conv2d(6, 6, 3, padding=1, bias=bias), nn.BatchNorm2d(6)
        self.out = nn.Linear(6, 3)

    def forward(self, x: Any) -> Any:
        x = torch.relu(self.norm(self.first(x)))
        return self.out(torch.relu(x + self.after(self.second(x))).mean((2, 3)))


class Kept(Residual):
    """The convolution's own output is read as well."""

    def forward(self, x: Any) -> Any:
        own = self.first(x)
        return self.out((torch.relu(self.norm(own)) + own).mean((2, 3)))


def seen(module: nn.Module) -> nn.Module:
    """Batch-normalisation statistics that are not those of a new module; in evaluation mode."""
    with torch.no_grad():
        for _ in range(5):
            module.train()(3 * IMAGES + 1)
    return module.eval()


def loss_and_gradient(module: nn.Module, parameters: dict[str, Any]) -> tuple[float, Any]:
    leaves = {name: p.detach().clone().requires_grad_() for name, p in parameters.items()}
    value = cross_entropy(torch.func.functional_call(module, leaves, (IMAGES.double(),)), CLASSES)
    slopes = torch.autograd.grad(value, list(leaves.values()), allow_unused=True)
    return value.item(), torch.cat([g.flatten() for g in slopes if g is not None])


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("convolution", [{}, {"stride": 1, "groups": 2}])
def test_a_fused_module_has_the_same_loss_and_gradient(bias: bool, affine: bool, convolution: dict[str, Any]) -> None:
    torch.manual_seed(1)
    module = seen(Residual(bias, affine, convolution)).double()
    quick = fused(module)
    assert quick is not None
    assert not {"first", "norm", "second", "after"} & {n.target for n in quick.graph.nodes if n.op == "call_module"}
    own = dict(module.named_parameters())
    (value, slope), (found, other) = loss_and_gradient(module, own), loss_and_gradient(quick, own)
    assert found == pytest.approx(value, rel=1e-13)
    assert float((other - slope).norm()) < 1e-12 * float(slope.norm())


def test_what_cannot_be_fused_stays() -> None:
    class Decides(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = Residual(True, True, {})

        def forward(self, x: Any) -> Any:
            return self.net(x if x.sum() > 0 else -x)

    hooked = Residual(True, True, {})
    for layer in (hooked.norm, hooked.after):
        layer.register_forward_hook(lambda layer, args, out: 2 * out)
    assert fused(seen(Decides())) is None
    assert fused(seen(hooked)) is None
    assert fused(seen(Kept(True, True, {}))) is None
    assert fused(seen(Residual(True, True, {"padding_mode": "circular"}))) is not None  # its second layer
    assert fused(nn.Sequential(nn.Linear(2, 2), nn.ReLU())) is None


@pytest.mark.parametrize("buffers", [None, "recompute", "interpolate"])
def test_a_landscape_of_a_fused_module_has_the_gradient_of_the_module(buffers: str | None) -> None:
    torch.manual_seed(2)
    module, other = seen(Residual(True, True, {})).double(), seen(Residual(True, True, {})).double()
    states = (module, other) if buffers == "interpolate" else ()
    land = TorchLandscape(module, cross_entropy, IMAGES.double(), CLASSES, buffers=buffers, states=states)
    assert land._evaluation.workers.forward.quick is not None
    rng = np.random.default_rng(0)
    x = land.vector(module) if buffers is None else 0.6 * land.vector(module) + 0.4 * land.vector(other)
    direction = rng.standard_normal(land.size)
    value, slope = land.values_and_gradients(x[None])
    if buffers is None:
        assert value[0] == pytest.approx(float(cross_entropy(module(IMAGES.double()), CLASSES)), rel=1e-12)
    h = 1e-6
    ahead, behind = land.values(np.stack([x + h * direction, x - h * direction]))
    assert slope[0] @ direction == pytest.approx((ahead - behind) / (2 * h), rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("channels", [1, 2])
def test_the_first_convolution_keeps_the_order_of_pixels(channels: int) -> None:
    images, kernels = IMAGES[:, :channels], torch.randn(5, channels, 3, 3)
    batch, _ = Samples(channels_last(images), None, N).rows(slice(3, 20))
    found = torch.conv2d(batch, channels_last(kernels))
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert not found.is_contiguous()
    torch.testing.assert_close(found, torch.conv2d(images[3:20].contiguous(), kernels))


@pytest.mark.skipif(not can_share_cores(), reason="PyTorch's own threads cannot be limited one by one")
def test_results_do_not_depend_on_the_threads_and_their_number_is_the_callers() -> None:
    torch.manual_seed(3)
    module = seen(Residual(True, True, {}))
    images, classes = IMAGES.repeat(20, 1, 1, 1), CLASSES.repeat(20)
    land = TorchLandscape(module, cross_entropy, images, classes, points=1, batch=100)
    x = np.stack([land.vector() + 0.01 * k for k in range(5)])
    forward, found, threads = land._evaluation.workers.forward, [], torch.get_num_threads()
    for n in (2, 3, 2):
        land._evaluation.workers = Workers(forward, n)
        found.append((land.values(x), *land.values_and_gradients(x)))
    for others in found[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(found[0], others, strict=True))
    assert torch.get_num_threads() == threads
    seen_there: list[int] = []
    later = threading.Thread(target=lambda: seen_there.append(torch.get_num_threads()))
    later.start()
    later.join()
    assert seen_there == [threads]


def test_jobs_that_raise_end_the_others_and_results_keep_their_order() -> None:
    workers = Workers(Forward(nn.Linear(1, 1), None, False), 2)
    assert list(workers.run(lambda forward, k=k: k for k in range(7))) == list(range(7))

    def fails(forward: Forward) -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(workers.run([lambda forward: 1, fails, lambda forward: 2]))
    assert list(workers.run(lambda forward, k=k: k for k in range(3))) == [0, 1, 2]


@pytest.mark.parametrize("points", [1, None])
def test_a_pullback_is_that_of_the_gradients(points: int | None) -> None:
    torch.manual_seed(4)
    land = TorchLandscape(nn.Linear(4, 3).double(), cross_entropy, torch.randn(30, 4).double(), torch.arange(30) % 3,
                          points=points)  # fmt: skip
    rng = np.random.default_rng(1)
    basis, C, w = rng.standard_normal((4, land.size)), rng.standard_normal((9, 4)), rng.standard_normal(9)
    values, gradients = land.values_and_gradients(C @ basis)
    span = land.span(basis)
    for weights in (None, w, lambda values: values**2):
        scale = np.ones(9) if weights is None else (weights(values) if callable(weights) else weights)
        for rows in (None, [0, 2]):
            pull = (scale[:, None] * C)[:, [0, 1, 2, 3] if rows is None else rows]
            found, pulled = span.values_and_pullback(C, weights, rows)
            assert found == pytest.approx(values, rel=1e-12)
            assert pulled == pytest.approx(pull.T @ gradients, rel=1e-10)
            assert span.pulled_again(w, rows) == pytest.approx(
                (w[:, None] * C)[:, [0, 1, 2, 3] if rows is None else rows].T @ gradients, rel=1e-10
            )
    assert span.evaluations.gradients == 90  # those evaluated anew are counted


def attention(batch_first: bool, **options: Any) -> nn.MultiheadAttention:
    torch.manual_seed(5)
    return nn.MultiheadAttention(12, 3, batch_first=batch_first, **options).double().eval()


def masks(n: int, length: int) -> dict[str, Any]:
    later = torch.ones(length, length, dtype=torch.bool).triu(1)
    causal = torch.zeros(length, length).double().masked_fill(later, float("-inf"))
    return {
        "none": {},
        "boolean": {"attn_mask": later},
        "causal": {"attn_mask": causal, "is_causal": True},
        "by head": {"attn_mask": torch.randn(3 * n, length, length).double()},
        "padding": {"key_padding_mask": torch.arange(length).expand(n, length) > 4},
        "weights": {"need_weights": True},
    }


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("mask", list(masks(1, 1)))
def test_self_attention_is_that_of_the_layer(batch_first: bool, bias: bool, mask: str) -> None:
    layer = attention(batch_first, bias=bias)
    quick = with_self_attention(layer)
    assert quick is not None
    assert type(quick) is SelfAttention
    assert type(layer) is nn.MultiheadAttention
    assert [id(p) for p in quick.parameters()] == [id(p) for p in layer.parameters()]
    n, length = 4, 6
    given = {"need_weights": False, **masks(n, length)[mask]}
    x = torch.randn(*((n, length) if batch_first else (length, n)), 12).double().requires_grad_()
    along, found = torch.randn_like(x), []
    for module in (layer, quick):
        y, _ = module(x, x, x, **given)
        found.append((y, *torch.autograd.grad((y * along).sum(), [x, *layer.parameters()])))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(b, a, rtol=1e-11, atol=1e-13)


def test_attention_to_others_stays_the_layers_own() -> None:
    layer = attention(True)
    quick: Any = with_self_attention(layer)
    x, other = torch.randn(2, 4, 5, 12).double()
    torch.testing.assert_close(quick(x, other, other)[0], layer(x, other, other)[0])
    torch.testing.assert_close(quick(x[0], x[0], x[0])[0], layer(x[0], x[0], x[0])[0])
    hooked = attention(True)
    hooked.register_forward_hook(lambda layer, args, out: out)
    for module in (hooked, attention(True, kdim=5), attention(True, add_bias_kv=True), nn.Linear(2, 2)):
        assert with_self_attention(module) is None


def test_a_landscape_of_a_transformer_attends_in_less_time() -> None:
    layer = nn.TransformerEncoderLayer(12, 3, 10, dropout=0.0, batch_first=True)
    module = nn.Sequential(nn.TransformerEncoder(layer, 2), nn.Flatten(), nn.Linear(60, 3)).double()
    x, y = torch.randn(20, 5, 12).double(), torch.arange(20) % 3
    land = TorchLandscape(module, cross_entropy, x, y, points=1)
    quick = land._evaluation.workers.forward.quick
    assert quick is not None
    assert sum(type(part) is SelfAttention for part in quick.modules()) == 2
    leaves = [p.requires_grad_() for p in module.eval().parameters()]
    value = cross_entropy(module(x), y)
    slope = torch.cat([g.flatten() for g in torch.autograd.grad(value, leaves)])
    values, slopes = land.values_and_gradients(land.vector()[None])
    assert values[0] == pytest.approx(value.item(), rel=1e-12)
    assert slopes[0] == pytest.approx(slope.numpy(), rel=1e-9, abs=1e-12)
