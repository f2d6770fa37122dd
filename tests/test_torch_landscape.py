"""Modules as a landscape: values are the module's own, or are refused with what to do."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minilandscape as ml

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn.utils import prune  # noqa: E402

from minilandscape.adapters.torch import TorchLandscape  # noqa: E402

cross_entropy = nn.functional.cross_entropy
#: Inputs, sequences of inputs, and their classes.
N = 120
GENERATOR = torch.Generator().manual_seed(0)
X, S = torch.randn(N, 6, generator=GENERATOR), torch.randn(N, 4, 6, generator=GENERATOR)
Y = torch.randint(0, 3, (N,), generator=GENERATOR)


def plain(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))


def normalised(seed: int = 0) -> nn.Module:
    """With the running statistics of some batches."""
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    for part in X.split(30):
        module(part)
    return module


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.Module]) -> None:
        super().__init__()
        self.inside, self.out = kind(6, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, x: Any) -> Any:
        return self.out(self.inside(x)[0][:, -1])


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)
        self.second.weight = self.first.weight

    def forward(self, x: Any) -> Any:
        return self.second(torch.tanh(self.first(x)))[:, :3]


def pruned() -> nn.Module:
    module = plain()
    prune.l1_unstructured(module[0], "weight", amount=0.3)
    return module


def weight_normalised() -> nn.Module:
    module = plain()
    module[0] = nn.utils.parametrizations.weight_norm(module[0])
    return module


def spectrally_normalised() -> nn.Module:
    module = plain()
    nn.utils.spectral_norm(module[0])
    module(X)
    return module


class Lightning(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.scale = model, nn.Parameter(torch.ones(1))


def value_of(module: nn.Module, inputs: Any = X, loss: Any = cross_entropy) -> float:
    mode = module.training
    with torch.no_grad():
        value = float(loss(module.eval()(inputs), Y))
    module.train(mode)
    return value


def gradient_of(module: nn.Module) -> np.ndarray:
    """By backward(), in the order of named_parameters()."""
    cross_entropy(module.eval()(X), Y).backward()
    gradient = np.concatenate([p.grad.numpy().ravel() for p in module.parameters() if p.requires_grad])
    module.zero_grad()
    return gradient


def landscape(module: nn.Module, **options: Any) -> TorchLandscape:
    return TorchLandscape(module, cross_entropy, X, Y, **{"batch": 50, **options})


@pytest.mark.parametrize("points", [1, 3])
@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("make", [plain, normalised, Tied, pruned, weight_normalised, spectrally_normalised])
def test_values_and_gradients_are_the_modules_own(make: Any, points: int) -> None:
    module = make()
    land = landscape(module, points=points)
    x = land.vector(module.state_dict())
    for state in (None, module, module.state_dict()):
        assert np.array_equal(land.vector(state), x)
    values, gradients = land.values_and_gradients(np.stack([x] * 4))
    assert values == pytest.approx([value_of(module)] * 4, rel=1e-5)
    assert gradients == pytest.approx(np.stack([gradient_of(module)] * 4), rel=1e-4, abs=1e-6)
    other = x + 0.1
    loaded = land.load(other)
    assert not loaded.training
    assert np.array_equal(land.vector(loaded), other)
    assert np.array_equal(land.vector(land.state_dict(other)), other)
    for filled in (loaded, land.load(other, make()), make()):
        filled.load_state_dict(land.state_dict(other))
        assert filled is not module
        assert value_of(filled) == pytest.approx(land.values(other[None])[0], rel=1e-5)


class TestStates:
    @pytest.mark.parametrize("as_module", [False, True])
    def test_other_buffers_are_refused_by_name(self, as_module: bool) -> None:
        land, other = landscape(normalised()), normalised(1)
        with pytest.raises(ValueError, match=r"other buffers than the landscape: 1\.running_mean, 1\.running_var\."):
            land.vector(other if as_module else other.state_dict())
        # The count of batches alone changes no loss.
        state = normalised().state_dict()
        state["1.num_batches_tracked"] += 7
        assert np.array_equal(land.vector(state), land.vector())
        # In another precision they are the same.
        precise = normalised().double()
        precise[1].running_mean += 1e-12
        assert np.array_equal(land.vector(precise), land.vector())
        with pytest.raises(ValueError, match=r"missing: 1\.running_mean"):
            land.vector(dict(normalised().named_parameters()))

    def test_buffers_that_no_state_dict_holds_are_compared_too(self) -> None:
        first, second = plain(), plain()
        for module, shift in ((first, 0.0), (second, 1.0)):
            module.register_buffer("shift", torch.tensor(shift), persistent=False)
        land = landscape(first)
        assert np.array_equal(land.vector(plain().state_dict()), land.vector())
        for use in (land.vector, lambda module: land.load(land.vector(), module)):
            with pytest.raises(ValueError, match="other buffers than the landscape: shift"):
                use(second)

    @pytest.mark.parametrize(
        "wrap",
        [
            nn.DataParallel,
            torch.compile,
            lambda m: nn.DataParallel(torch.compile(m)),
            lambda m: nn.Sequential(torch.compile(m[0]), m[1], m[2]),
            lambda m: nn.ModuleDict({"model": m}),
        ],
    )
    def test_wrapped_modules_and_their_states_are_taken_for_what_is_inside(self, wrap: Any) -> None:
        land, wrapped = landscape(plain()), wrap(plain(1))
        assert np.array_equal(land.vector(wrapped.state_dict()), land.vector(plain(1)))
        if not isinstance(wrapped, nn.ModuleDict):
            assert np.array_equal(land.vector(wrapped), land.vector(plain(1)))
            assert land.load(land.vector(), wrapped) is wrapped
            assert all(torch.equal(a, b) for a, b in zip(wrapped.parameters(), plain().parameters(), strict=True))
            own = landscape(wrapped)
            assert np.array_equal(own.vector(plain(1).state_dict()), land.vector(plain(1)))
            assert own.values(own.vector()[None])[0] == pytest.approx(value_of(plain()), rel=1e-5)

    def test_a_state_with_more_beside_a_wrapped_one_is_refused(self) -> None:
        """As a Lightning module with a parameter of its own: nothing is loaded in part."""
        land, wrapped = landscape(plain()), Lightning(plain(1))
        before = copy.deepcopy(wrapped.state_dict())
        for use in (land.vector, lambda state: land.load(land.vector(), wrapped)):
            with pytest.raises(ValueError, match=r"holds scale, model.0.weight.*expected .* 0.weight.*'model.' before"):
                use(wrapped.state_dict())
        assert all(torch.equal(before[key], tensor) for key, tensor in wrapped.state_dict().items())

    @pytest.mark.parametrize(
        "dress",
        [
            lambda s: {"state_dict": s, "epoch": 3, "optimizer": {"state": {0: {"exp_avg": torch.ones(8, 6)}}}},
            lambda s: {"model_state_dict": {"module." + k: v for k, v in s.items()}},
            lambda s: {"model": {"module._orig_mod." + k: v for k, v in s.items()}, "best": torch.tensor(1.0)},
            lambda s: {"checkpoint": {"net": s}},
            lambda s: {k: v.double() for k, v in s.items()},
        ],
    )
    def test_checkpoints_as_they_are(self, dress: Any, tmp_path: Path) -> None:
        land, checkpoint = landscape(plain()), dress(plain(1).state_dict())
        torch.save(checkpoint, tmp_path / "a.pt")
        for source in (checkpoint, tmp_path / "a.pt", str(tmp_path / "a.pt")):
            assert np.array_equal(land.vector(source), land.vector(plain(1)))

    def test_several_states_in_one_checkpoint_are_refused_by_place(self) -> None:
        both = {"model": plain(1).state_dict(), "ema": plain(2).state_dict()}
        with pytest.raises(ValueError, match=r"2 states of this module, in \['model'\] and \['ema'\]; give"):
            landscape(plain()).vector(both)

    def test_tied_weights_count_once(self) -> None:
        land, state = landscape(Tied()), Tied().state_dict()
        assert land.size == sum(p.numel() for p in Tied().parameters()) == 36 + 12
        shorter = {key: tensor for key, tensor in state.items() if key != "second.weight"}  # as safetensors writes them
        assert np.array_equal(land.vector(shorter), land.vector(state))
        assert np.array_equal(land.vector({k: v for k, v in state.items() if k != "first.weight"}), land.vector(state))

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (
                lambda s: {k: v.t() for k, v in s.items()},
                r"0\.weight of the state has shape \(6, 8\); expected \(8, 6\)",
            ),
            (lambda s: {**s, "4.weight": s["0.weight"]}, r"unexpected: 4\.weight"),
            (lambda s: {"state_dict": {**s, "4.weight": s["0.weight"]}}, r"unexpected: 4\.weight"),
            (lambda s: {"0.weight": s["0.weight"]}, r"missing: 0\.bias, 2\.weight, 2\.bias"),
            (lambda s: {**s, "0.bias": s["0.bias"].numpy()}, r"holds ndarray for 0\.bias; expected a tensor"),
            (lambda s: {**s, "0.bias": s["0.bias"].to(torch.int8)}, r"0\.bias of the state is torch\.int8; expected"),
            (lambda s: {}, r"missing: 0\.weight"),
        ],
    )
    def test_other_states_are_refused(self, change: Any, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            landscape(plain()).vector(change(plain(1).state_dict()))

    def test_what_is_no_state_is_refused(self) -> None:
        land = landscape(plain())
        with pytest.raises(TypeError, match=r"the state is int; expected a state_dict"):
            land.vector(3)  # type: ignore[arg-type]
        with pytest.raises(FileNotFoundError, match=r"nowhere\.pt does not exist"):
            land.vector("nowhere.pt")
        for vector in (np.zeros(land.size + 1), np.zeros((1, land.size))):
            with pytest.raises(ValueError, match=rf"expected \({land.size},\)"):
                land.state_dict(vector)
        with pytest.raises(TypeError, match="the vector is complex"):
            land.load(np.full(land.size, 1j))
        with pytest.raises(TypeError, match="points are complex"):
            land.values(np.full((1, land.size), 1j))
        x = torch.ones(1, land.size, requires_grad=True)
        assert land.values(x) == land.values(np.ones((1, land.size)))
        assert np.array_equal(land.vector(land.load(x[0])), np.ones(land.size))

    def test_parameters_that_are_one_are_given_alike(self) -> None:
        state = Tied().state_dict()
        with pytest.raises(ValueError, match="is one parameter"):
            landscape(Tied()).vector({**state, "second.weight": state["first.weight"] + 1})

    def test_frozen_parameters_stay_where_they_are(self) -> None:
        module = plain()
        module[0].requires_grad_(False)
        land = landscape(module)
        assert land.size == sum(p.numel() for p in module[2].parameters())
        x = land.vector() + 1
        assert torch.equal(land.load(x)[0].weight, module[0].weight)
        assert land.values(x[None])[0] == pytest.approx(value_of(land.load(x)), rel=1e-5)
        with pytest.raises(ValueError, match=r"other parameters that are no coordinates .* 0\.weight, 0\.bias"):
            land.vector(plain(1))
        with pytest.raises(ValueError, match=r"module\.requires_grad_\(True\)"):
            landscape(plain().requires_grad_(False))


def test_nothing_that_happens_later_changes_the_landscape() -> None:
    module, inputs, targets = normalised(), X.clone(), Y.clone()
    weights = torch.ones(3)
    land = TorchLandscape(module, nn.CrossEntropyLoss(weight=weights), inputs, targets, batch=N)
    x = land.vector()
    before = land.values(x[None])
    mode = module.training
    middle = land.load(x + 1)
    assert np.array_equal(land.vector(module), x)
    assert module.training == mode
    module(X * 5)  # moves the running statistics
    with torch.no_grad():
        for tensor in (inputs, weights, *module.parameters(), *middle.parameters()):
            tensor.mul_(3)
    targets.zero_()
    module[0] = nn.Linear(6, 8, bias=False)
    state = land.state_dict(x)
    state["0.weight"].zero_()
    assert np.array_equal(land.vector(), x)
    assert np.array_equal(land.values(x[None]), before)


def test_layers_that_work_in_place_leave_the_data_alone() -> None:
    class Shifts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.out = nn.Linear(6, 3)

        def forward(self, x: Any) -> Any:
            return self.out(x.add_(1))

    land = landscape(Shifts(), points=2)
    assert np.ptp([land.values(land.vector()[None]) for _ in range(3)]) == 0
    assert land.values(land.vector()[None])[0] == pytest.approx(value_of(land.load(land.vector()), X.clone()), rel=1e-5)


LOSSES: dict[str, Any] = {
    "squared sum": lambda outputs, targets: cross_entropy(outputs, targets, reduction="sum").square(),
    "root": lambda outputs, targets: cross_entropy(outputs, targets).sqrt(),
    "whole set": lambda outputs, targets: (outputs - outputs.mean(dim=0)).square().mean(),
}


class TestLosses:
    @pytest.mark.parametrize("name", LOSSES)
    @pytest.mark.parametrize("batch", [50, 70, N - 1])
    def test_a_loss_that_is_no_mean_asks_for_all_samples_at_once(self, name: str, batch: int) -> None:
        with pytest.raises(ValueError, match=rf"would depend on batch={batch}\..* give batch={N}"):
            TorchLandscape(plain(), LOSSES[name], X, Y, batch=batch)
        land = TorchLandscape(plain(), LOSSES[name], X, Y, batch=N)
        assert land.values(land.vector()[None])[0] == pytest.approx(value_of(plain(), loss=LOSSES[name]), rel=1e-5)

    @pytest.mark.parametrize(
        "loss",
        [
            nn.CrossEntropyLoss(reduction="sum"),
            nn.CrossEntropyLoss(weight=torch.tensor([1.0, 1.05, 1.1])),
            nn.CrossEntropyLoss(weight=torch.tensor([0.01, 1.0, 30.0])),
            nn.CrossEntropyLoss(ignore_index=1),
            nn.CrossEntropyLoss(weight=torch.tensor([0.0, 1.0, 3.0]), label_smoothing=0.0),
            lambda outputs, targets: 3 * cross_entropy(outputs, targets, reduction="sum"),
        ],
    )
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_reductions_do_not_depend_on_the_batch(self, loss: Any, dtype: Any) -> None:
        module, inputs = plain().to(dtype), X.to(dtype)
        if isinstance(loss, nn.Module):
            loss = copy.deepcopy(loss).to(dtype)
        lands = [
            TorchLandscape(module, loss, inputs, Y, batch=batch, points=points)
            for batch, points in ((7, 1), (50, 1), (50, 3), (N - 1, 1), (N, 1), (N, 8), (1000, 3))
        ]
        points = lands[0].vector() + 0.3 * np.random.default_rng(0).standard_normal((3, lands[0].size))
        values, gradients = lands[4].values_and_gradients(points)
        assert values[0] == pytest.approx(value_of(lands[0].load(points[0]), inputs, loss), rel=1e-6)
        rounding = 1e-6 if dtype == torch.float32 else 1e-12
        for land in lands:
            again, slopes = land.values_and_gradients(points)
            assert again == pytest.approx(values, rel=rounding)
            assert land.values(points) == pytest.approx(values, rel=rounding)
            assert np.abs(slopes - gradients).max() < 5 * rounding * np.abs(gradients).max()

    @pytest.mark.parametrize("ignored", [-100, 255])
    def test_one_ignored_target_of_many_is_seen(self, ignored: int) -> None:
        loss = nn.CrossEntropyLoss(ignore_index=ignored)
        for row in (0, 1, 50, 78, N - 1):
            targets = Y.clone()
            targets[row] = ignored
            found = [
                TorchLandscape(plain(), loss, X, targets, batch=batch, points=2).values(np.ones((1, 83)))[0]
                for batch in (20, 50, N)
            ]
            assert found == pytest.approx([found[-1]] * 3, rel=1e-6)
        targets = Y.clone()
        targets[30:90] = ignored  # whole batches
        few = TorchLandscape(plain(), loss, X, targets, batch=20)
        assert few.values(few.vector()[None])[0] == pytest.approx(float(loss(plain()(X), targets).detach()), rel=1e-6)

    @pytest.mark.parametrize("rare", [0, 3, 6])
    @pytest.mark.parametrize("loss", ["weights", "a small weight", "a large weight", "ignored", "sum", "mean"])
    @pytest.mark.parametrize("shape", [(), (3,), (2, 2)])
    def test_a_rare_label_is_seen_wherever_it_stands(self, rare: int, loss: str, shape: tuple[int, ...]) -> None:
        """Among labels of samples, words of sequences and pixels of masks."""
        generator = torch.Generator().manual_seed(rare)
        inputs, targets = torch.randn(700, 8, generator=generator), torch.randint(0, 6, (700, *shape))
        targets = targets + (targets >= rare).long()
        for row in (333, 470):
            targets[row].view(-1)[:1] = rare
        weights = torch.ones(7)
        weights[rare] = {"weights": 20.0, "a small weight": 0.1, "a large weight": 1e4}.get(loss, 1.0)
        reduction = "sum" if loss == "sum" else "mean"
        ignored = rare if loss == "ignored" else -100
        function = nn.CrossEntropyLoss(weights, ignore_index=ignored, reduction=reduction)
        module = nn.Sequential(nn.Linear(8, 7 * max(1, targets[0].numel())), nn.Unflatten(1, (7, *shape)))
        expected = float(function(module(inputs), targets).detach())
        for batch in (100, 350, 699):
            land = TorchLandscape(module, function, inputs, targets, batch=batch, points=1)
            assert land.values(land.vector()[None])[0] == pytest.approx(expected, rel=2e-6)

    @pytest.mark.parametrize("rare", [0, 3, 6])
    def test_a_module_with_a_loss_of_its_own_is_refused_for_a_rare_label(self, rare: int) -> None:
        class Own(nn.Module):
            def __init__(self, ignored: int) -> None:
                super().__init__()
                self.inner, self.ignored = nn.Linear(8, 7), ignored

            def forward(self, x: Any, labels: Any) -> Any:
                return cross_entropy(self.inner(x), labels, ignore_index=self.ignored)

        labels = torch.arange(700) % 6
        labels += (labels >= rare).long()
        labels[333] = rare
        inputs = {"x": torch.randn(700, 8), "labels": labels}
        with pytest.raises(ValueError, match=r"would depend on batch=100\..* give batch=700"):
            TorchLandscape(Own(rare), None, inputs, batch=100)
        TorchLandscape(Own(-100), None, inputs, batch=100)

    def test_losses_of_modules_that_are_trained_or_far_out_are_taken_for_what_they_are(self) -> None:
        """From losses of 1e-9, of which rounding is a large part, to large ones."""
        for scale in (0.0, 1e-4, 1.0, 30.0, 1e4):
            module = plain()
            with torch.no_grad():
                module[2].weight.mul_(scale)
            targets = module(X).argmax(dim=1)
            for points in (1, 8):
                TorchLandscape(module, cross_entropy, X, targets, batch=50, points=points)
            if scale > 0:
                with pytest.raises(ValueError, match="mean over the samples"):
                    TorchLandscape(module, LOSSES["squared sum"], X, targets, batch=50)

    @pytest.mark.filterwarnings("ignore:torch.func.vmap cannot take the values")
    @pytest.mark.parametrize("outputs", ["tuple", "steps"])
    def test_outputs_of_other_forms(self, outputs: str) -> None:
        class Forms(Recurrent):
            def forward(self, x: Any) -> Any:
                all_steps = self.out(self.inside(x)[0])
                return (all_steps[:, -1], x) if outputs == "tuple" else all_steps.flatten(0, 1)

        def loss(found: Any, targets: Any) -> Any:
            if outputs == "tuple":
                return cross_entropy(found[0], targets)
            return cross_entropy(found, targets.repeat_interleave(4))

        land = TorchLandscape(Forms(nn.RNN), loss, S, Y, batch=50)
        assert land.values(land.vector()[None])[0] == pytest.approx(
            value_of(land.load(land.vector()), S, loss), rel=1e-5
        )
        with pytest.raises(ValueError, match="mean over the samples"):
            TorchLandscape(Forms(nn.RNN), lambda *both: len(both[1]) ** 2 * loss(*both), S, Y, batch=50)

    def test_modules_that_look_at_the_whole_batch_are_refused(self) -> None:
        module = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8, track_running_stats=False), nn.Linear(8, 3))
        with pytest.raises(ValueError, match=f"depends on the samples beside it.*batch={N}"):
            landscape(module)
        land = landscape(module, batch=N)
        assert land.values(land.vector()[None])[0] == pytest.approx(value_of(module), rel=1e-5)

    @pytest.mark.parametrize(
        ("loss", "message"),
        [
            (nn.CrossEntropyLoss(reduction="none"), r"the loss is of shape \(32,\).*expected a tensor of one"),
            (lambda outputs, targets: cross_entropy(outputs, targets).item(), "the loss is of type float"),
            (lambda outputs, targets: cross_entropy(outputs.detach(), targets), "leave PyTorch's record"),
            (lambda outputs, targets: cross_entropy(outputs, targets + 1), "the loss raised IndexError on outputs"),
            (lambda outputs, targets: cross_entropy(nn.functional.dropout(outputs), targets), "two evaluations"),
        ],
    )
    def test_other_losses_are_refused(self, loss: Any, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            TorchLandscape(plain(), loss, X, Y, batch=50)


def test_a_surface_says_whether_its_directions_are_filter_normalised(small_mnist: Any) -> None:
    land = landscape(plain())
    x = land.vector()
    found = ml.surface(land, x, n=2)
    assert found.metadata["filter_normalised"] is True
    assert found.metadata["held"] == ["0.bias", "2.bias"]
    assert ml.surface(land, np.stack([x, x + 1, -x + np.arange(x.size)]), n=2).metadata["filter_normalised"] is None
    network = ml.network_landscape("fcp", small_mnist.train[:10])
    assert ml.surface(network, ml.initial_vector("fcp", 0), n=2).metadata["filter_normalised"] is True


def convolutional() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Unflatten(1, (1, 6)), nn.Conv1d(1, 4, 3), nn.BatchNorm1d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 8),
        nn.ReLU(), nn.Linear(8, 3),
    ).double()  # fmt: skip


def test_a_plane_is_that_of_li_et_al() -> None:
    """Against their recipe parameter by parameter: random tensors, each filter scaled, biases and norms ignored."""
    module = convolutional()
    land = TorchLandscape(module, cross_entropy, X.double(), Y)
    found = ml.surface(land, land.vector(), n=5, seed=3)
    rng = np.random.default_rng(3)
    directions = []
    for _ in range(2):
        direction = []
        draws = np.split(rng.standard_normal(land.size), np.cumsum([p.numel() for p in module.parameters()])[:-1])
        for p, draw in zip(module.parameters(), draws, strict=True):
            d = torch.tensor(draw).reshape(p.shape)
            if d.dim() <= 1:
                d.fill_(0)
            else:
                for row, weights in zip(d, p.detach(), strict=True):
                    row.mul_(weights.norm() / (row.norm() + 1e-10))
            direction.append(d)
        directions.append(direction)
    for i, beta in enumerate(np.linspace(-1, 1, 5)):
        for k, alpha in enumerate(np.linspace(-1, 1, 5)):
            moved = copy.deepcopy(module)
            with torch.no_grad():
                for p, a, b in zip(moved.parameters(), *directions, strict=True):
                    p.add_(alpha * a + beta * b)
            loss = value_of(moved, X.double())
            assert found.values[i, k] == pytest.approx(loss, rel=1e-8)
    assert found.x == pytest.approx(np.linspace(-1, 1, 5))


def test_a_plane_does_not_depend_on_the_scale_of_layers() -> None:
    """One layer of ReLUs by 10, with its bias, and the next divided by 10: the same function."""
    module, scaled = convolutional(), convolutional()
    with torch.no_grad():
        scaled[5].weight.mul_(10)
        scaled[5].bias.mul_(10)
        scaled[7].weight.div_(10)
    planes = [
        ml.surface(land, land.vector(), n=7).values
        for land in (TorchLandscape(m, cross_entropy, X.double(), Y) for m in (module, scaled))
    ]
    assert planes[1] == pytest.approx(planes[0], rel=1e-9)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_modules_are_evaluated_point_by_point_and_say_so_once(kind: Any) -> None:
    torch.manual_seed(0)
    module = Recurrent(kind)
    land = TorchLandscape(module, cross_entropy, S, Y, batch=70)
    points = land.vector() + 0.1 * np.random.default_rng(0).standard_normal((10, land.size))
    expected = [value_of(land.load(point), S) for point in points]
    with pytest.warns(UserWarning, match=r"vmap cannot take the values .* point by point"):
        assert land.values(points) == pytest.approx(expected, rel=1e-5)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert land.values(points) == pytest.approx(expected, rel=1e-5)
    one_by_one = TorchLandscape(module, cross_entropy, S, Y, batch=70, points=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's own, of what is slow
        values, gradients = land.values_and_gradients(points[:2])
        assert values == pytest.approx(expected[:2], rel=1e-5)
        assert gradients == pytest.approx(one_by_one.values_and_gradients(points[:2])[1], rel=1e-4, abs=1e-6)


def test_what_a_module_raises_names_the_point() -> None:
    class Fails(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.out = nn.Linear(6, 3)

        def forward(self, x: Any) -> Any:
            if self.out.bias[0].item() > 5:
                raise RuntimeError("too far")
            return self.out(x)

    land = landscape(Fails())
    points = np.stack([land.vector(), land.vector() + 10])
    with pytest.warns(UserWarning, match="vmap cannot take the values"):
        assert np.isfinite(land.values(points[:1])).all()
    with pytest.raises(ml.LandscapeError, match=r"raised RuntimeError at .*: too far") as caught:
        land.values(points)
    assert np.array_equal(caught.value.point, points[1])


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:")
@pytest.mark.parametrize(
    ("module", "options", "error", "message"),
    [
        (lambda: nn.Sequential(nn.Linear(6, 3), nn.Linear(3, 3).double()), {}, ValueError, "float32 and float64"),
        (lambda: nn.Sequential(nn.LazyLinear(3)), {}, ValueError, "call the module once"),
        (lambda: torch.jit.script(plain()), {}, ValueError, r"compiled by torch\.jit"),
        (lambda: plain().double(), {}, ValueError, r"the module raised RuntimeError on inputs of shape .* in float32"),
        (lambda: cross_entropy, {}, TypeError, r"expected a torch\.nn\.Module"),
        (plain, {"batch": 0}, ValueError, "batch is 0"),
        (plain, {"points": 2.0}, ValueError, r"points is 2\.0"),
        (plain, {"inputs": X.numpy()}, TypeError, r"inputs is ndarray; .* torch\.as_tensor of an array"),
        (plain, {"targets": Y[:5]}, ValueError, "120 inputs and 5 targets; expected as many"),
        (plain, {"loss": "mse"}, TypeError, "loss is str"),
    ],
)
def test_wrong_arguments_are_refused(module: Any, options: dict[str, Any], error: Any, message: str) -> None:
    given = {"loss": cross_entropy, "inputs": X, "targets": Y, **options}
    with pytest.raises(error, match=message):
        TorchLandscape(module(), given.pop("loss"), given.pop("inputs"), given.pop("targets"), **given)


class Viewed(nn.Module):
    """Flattens by view, which wants the usual order of an image's numbers."""

    def __init__(self, flatten: str) -> None:
        super().__init__()
        self.conv, self.out, self.flatten = nn.Conv2d(2, 6, 3), nn.Linear(24, 3), flatten

    def forward(self, x: Any) -> Any:
        x = torch.relu(self.conv(x))
        return self.out(x.view(len(x), -1) if self.flatten == "view" else x.flatten(1))


@pytest.mark.parametrize("flatten", ["view", "flatten"])
@pytest.mark.parametrize("points", [None, 1, 3])
def test_the_order_of_numbers_in_memory_changes_no_result(flatten: str, points: Any) -> None:
    torch.manual_seed(0)
    module, images = Viewed(flatten), torch.randn(N, 2, 4, 4)
    land = TorchLandscape(module, cross_entropy, images, Y, batch=50, points=points)
    land._evaluation.points = points or 1
    x = np.stack([land.vector(), land.vector() + 0.1])
    values, gradients = land.values_and_gradients(x)
    for k, point in enumerate(x):
        own = land.load(point)
        cross_entropy(own(images), Y).backward()
        assert values[k] == pytest.approx(value_of(own, images), rel=1e-5)
        expected = np.concatenate([p.grad.numpy().ravel() for p in own.parameters()])
        assert np.abs(gradients[k] - expected).max() < 1e-5 * np.abs(expected).max()


def test_points_go_together_where_they_are_small() -> None:
    assert landscape(plain(), points=None)._evaluation.points == 8
    wide = nn.Sequential(nn.Linear(6, 4000), nn.Tanh(), nn.Linear(4000, 3))
    land = landscape(wide, points=None, batch=1000)
    assert land._evaluation.points < 8
    many = TorchLandscape(wide, cross_entropy, X.repeat(20, 1), Y.repeat(20), batch=2400)
    assert many._evaluation.points == 1
    assert max(np.diff(many._evaluation.batches.bounds)) < 2400


def test_a_path_between_modules_is_in_their_precision_short_in_print_and_ends_by_itself() -> None:
    a, b = plain(), plain(1)
    land = landscape(a)
    path = ml.find_path(land, land.vector(a), land.vector(b), n_points=7, n_terms=2)
    assert path.metadata["solver"] != "adam"  # which has no end of its own
    assert path.converged
    assert path.evaluations.gradients < 20_000
    assert path.start.dtype == path.points(path.t).dtype == np.float32
    assert path.points(0.5).dtype == np.float32
    assert len(str(path)) < 400
    assert "\n" not in repr(path)


class Watched(nn.Module):
    """An MLP that keeps the sizes of the gradients by its outputs, as they come out of its last layer."""

    def __init__(self, seen: list[Any]) -> None:
        super().__init__()
        self.hidden, self.out, self.seen = nn.Linear(4, 8), nn.Linear(8, 5), seen

    def __deepcopy__(self, memo: Any) -> Any:
        other = Watched(self.seen)
        other.load_state_dict(self.state_dict())
        return other

    def forward(self, x: Any) -> Any:
        h = nn.functional.softplus(self.hidden(x))
        if h.requires_grad:
            h.register_hook(lambda slopes: self.seen.append(slopes))
        return self.out(h)


@pytest.mark.parametrize("scale", [1.0, 30.0, 300.0])
def test_gradients_of_almost_fitted_samples_hold_no_subnormal_numbers(scale: float) -> None:
    """A CPU computes with them tens of times more slowly; the gradient is the module's own to the last digit."""
    seen: list[Any] = []
    module = Watched(seen)
    with torch.no_grad():
        module.out.weight *= scale
    x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    y = module(x).argmax(1)
    y[0] = (y[0] + 1) % 5  # one sample is not fitted
    land = TorchLandscape(module, nn.CrossEntropyLoss(), x, y, points=1)
    seen.clear()
    value, gradient = land.values_and_gradients(land.vector(module)[None])
    assert seen
    tiny = torch.finfo(torch.float32).tiny
    for slopes in seen:
        assert not ((slopes != 0) & (slopes.abs() < tiny)).any()
    loss = nn.CrossEntropyLoss()(module(x), y)
    own = torch.cat([g.ravel() for g in torch.autograd.grad(loss, list(module.parameters()))]).numpy()
    assert value[0] == pytest.approx(float(loss.detach()), rel=1e-5, abs=1e-12)
    np.testing.assert_allclose(gradient[0], own, rtol=1e-4, atol=1e-6 * np.abs(own).max())


def test_what_fits_exactly_keeps_its_second_derivatives() -> None:
    """Where all residuals are 0, or close to underflow, gradients vanish and Hessians do not."""
    module = nn.Linear(3, 2)
    x = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    for residual in (0.0, 1e-33):
        with torch.no_grad():
            module.weight.zero_()
            module.bias.zero_()
        land = TorchLandscape(module, nn.MSELoss(), x, torch.full((20, 2), residual))
        point = np.zeros(land.size, dtype=np.float32)
        columns = torch.cat([x, torch.ones(20, 1)], 1).double()
        product = land.hessian_products(point, np.eye(land.size, dtype=np.float32))
        assert np.linalg.matrix_rank(product, tol=1e-4) == land.size
        assert np.trace(product) == pytest.approx(float(2 * (columns**2).sum() / 20), rel=1e-4)
        _, slopes = land.values_and_gradients(point[None])
        assert np.isfinite(slopes).all()
        assert (np.abs(slopes).max() > 0) == (residual > 0)  # no sample counts beside another: none is dropped


@pytest.mark.parametrize("residual", [0.0, 1.0])
def test_a_loss_may_hold_gradients_of_its_own_where_outputs_fit(residual: float) -> None:
    """A penalty on the gradient by the inputs differentiates slopes by outputs that are 0."""

    class Kept(nn.Module):
        inputs: Any = None

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, x: Any) -> Any:
            with torch.enable_grad():
                Kept.inputs = x.detach().requires_grad_()
                return self.layer(Kept.inputs)

    def loss(outputs: Any, targets: Any) -> Any:
        with torch.enable_grad():
            squares = 0.5 * ((outputs - targets) ** 2).sum()
            (by_inputs,) = torch.autograd.grad(squares, Kept.inputs, create_graph=True)
            return by_inputs.sum()

    x = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    point = torch.tensor([1.0, 2, 0, 0, 0, 1, 0, 0], requires_grad=True)  # weights by rows, biases
    W, bias = point[:6].view(2, 3), point[6:]
    targets = torch.stack([x[:, 0] + 2 * x[:, 1] - residual, x[:, 2] - 1], dim=1)
    land = TorchLandscape(Kept(), loss, x, targets, points=1)
    ((x @ W.T + bias - targets) @ W).sum().backward()
    _, slopes = land.values_and_gradients(point.detach().numpy()[None])
    np.testing.assert_allclose(slopes[0], point.grad, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("points", [1, 2])
def test_a_batch_may_have_no_outputs(points: int) -> None:
    """As a detector that finds nothing in some images."""

    class Positive(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, x: Any) -> Any:
            return self.layer(x)[x[:, 0] > 0]

    x = torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
    x[20:40, 0] = -1
    module = Positive()
    land = TorchLandscape(module, lambda outputs: (outputs**2).sum(), x, batch=20, points=1)
    values, slopes = land.values_and_gradients(np.stack([land.vector(module)] * points))
    whole = (module(x) ** 2).sum()
    own = torch.cat([g.ravel() for g in torch.autograd.grad(whole, list(module.parameters()))]).numpy()
    np.testing.assert_allclose(values, whole.item(), rtol=1e-5)
    np.testing.assert_allclose(slopes, [own] * points, rtol=1e-4)


def test_what_is_attached_to_outputs_does_not_pile_up() -> None:
    """Where a module returns a parameter itself, as a table does, all batches share it."""

    class Table(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Parameter(torch.ones(5, 2))

        def forward(self, x: Any) -> Any:
            seen.append(len(self.table._backward_hooks or ()))
            return self.table

    seen: list[int] = []
    x = torch.arange(40) % 5
    land = TorchLandscape(Table(), lambda table, rows: (table[rows] ** 2).mean(), x, x, batch=4, points=1)
    land.values_and_gradients(np.ones((1, land.size), dtype=np.float32))
    assert max(seen) == 0


@pytest.mark.parametrize("make", [nn.Conv2d, nn.ConvTranspose2d])
def test_the_filters_of_random_directions_lead_into_channels(make: Any) -> None:
    """A transposed convolution has its weights as (in, out, …)."""
    torch.manual_seed(0)
    module = nn.Sequential(make(3, 5, 2), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2))
    x = torch.randn(6, 3, 4, 4)
    module(x)
    land = TorchLandscape(module, nn.functional.cross_entropy, x, torch.tensor([0, 1] * 3))
    direction, block = ml.surface(land, land.vector(), n=2).axes[0], land.blocks[0]
    part, own = (v[block.start : block.stop].reshape(block.shape) for v in (direction, land.vector()))
    axes = (0, 2, 3) if make is nn.ConvTranspose2d else (1, 2, 3)
    assert np.sqrt((part**2).sum(axis=axes)) == pytest.approx(np.sqrt((own**2).sum(axis=axes)), rel=1e-5)
