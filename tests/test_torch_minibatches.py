"""Mini-batches of a PyTorch landscape: estimates of the loss over all samples, with which searches begin."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import minilandscape as ml  # noqa: E402
from minilandscape.adapters import torch_minibatches  # noqa: E402
from minilandscape.adapters.torch import TorchLandscape  # noqa: E402
from minilandscape.landscape import LandscapeError  # noqa: E402
from minilandscape.paths import batches  # noqa: E402

nn, F = torch.nn, torch.nn.functional
N = 60


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def classes(n: int = N) -> tuple[Any, Any]:
    return torch.randn(n, 4), torch.arange(n) % 3


def net(*more: Any) -> Any:
    return nn.Sequential(nn.Linear(4, 6), *more, nn.Tanh(), nn.Linear(6, 3))


def summed(outputs: Any, targets: Any) -> Any:
    return F.cross_entropy(outputs, targets, reduction="sum")


def weighted(outputs: Any, targets: Any) -> Any:
    return F.cross_entropy(outputs, targets, weight=torch.tensor([1.0, 2.0, 5.0]))


class Twice(nn.Module):
    """Takes two inputs by name, and returns the loss itself."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = net()

    def forward(self, x: Any, labels: Any) -> Any:
        return {"loss": F.cross_entropy(self.inner(x), labels)}["loss"]


def named() -> TorchLandscape:
    x, y = classes()
    return TorchLandscape(Twice(), None, {"x": x, "labels": y})


def interpolated() -> TorchLandscape:
    states = []
    for _ in range(2):
        module = net(nn.BatchNorm1d(6))
        module[1](3 * torch.randn(50, 6) + 1)
        states.append(module.eval())
    return TorchLandscape(net(nn.BatchNorm1d(6)), F.cross_entropy, *classes(), buffers="interpolate", states=states)


def frozen() -> TorchLandscape:
    return TorchLandscape(net(), F.cross_entropy, *classes(), parameters=["2.*"])


def convolutional() -> TorchLandscape:
    module = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 3))
    return TorchLandscape(module, F.cross_entropy, torch.randn(N, 1, 6, 6), torch.arange(N) % 3)


CASES = {
    "mean": lambda: TorchLandscape(net(), F.cross_entropy, *classes()),
    "mean in batches of 7": lambda: TorchLandscape(net(), F.cross_entropy, *classes(), batch=7),
    "sum": lambda: TorchLandscape(net(), summed, *classes()),
    "sum in batches of 7": lambda: TorchLandscape(net(), summed, *classes(), batch=7),
    "two points at a time": lambda: TorchLandscape(net(), F.cross_entropy, *classes(), batch=20, points=2),
    "double precision": lambda: TorchLandscape(
        net().double(), F.mse_loss, torch.randn(N, 4).double(), torch.randn(N, 3).double()
    ),
    "a loss of its own": named,
    "interpolated statistics": interpolated,
    "some parameters": frozen,
    "convolutions": convolutional,
}


@pytest.mark.parametrize("case", CASES)
def test_the_mean_over_mini_batches_is_the_loss_over_all_samples(case: str) -> None:
    """In value and gradient, at several points at once, whatever the parts; and so is a batch of all samples."""
    land = CASES[case]()
    assert land.n_samples == N
    few, rng = land.batch_values_and_gradients, np.random.default_rng(0)
    assert few is not None
    points = (land.vector() + 0.5 * rng.standard_normal((3, land.size))).astype(land.dtype)
    values, gradients = land.values_and_gradients(points)
    orders = np.stack([rng.permutation(N) for _ in points])
    found = [few(points, part) for part in np.split(orders, 5, axis=1)]
    scale = {"rtol": 2e-5, "atol": 1e-5 * float(np.abs(gradients).max())}
    assert np.allclose(np.mean([v for v, _ in found], axis=0), values, rtol=2e-5)
    assert np.allclose(np.mean([g for _, g in found], axis=0), gradients, **scale)
    assert not np.allclose(found[0][0], values, rtol=1e-3)
    whole = few(points, np.arange(N))
    assert np.allclose(whole[0], values, rtol=2e-5)
    assert np.allclose(whole[1], gradients, **scale)
    assert whole[1].dtype == land.dtype


class Counted(nn.Module):
    """Counts its calls; vmap cannot take it where it looks at a number."""

    def __init__(self, looks: bool) -> None:
        super().__init__()
        self.inner, self.looks, self.calls = net(), looks, 0

    def forward(self, x: Any) -> Any:
        self.calls += 1
        return self.inner(x) if not self.looks or float(x.sum()) < 1e9 else x


@pytest.mark.parametrize("looks", [False, True])
def test_small_modules_are_called_once_for_all_points(looks: bool) -> None:
    """Each with samples of its own; point by point where vmap cannot take the module, with the same numbers."""
    (x, y), module = classes(), Counted(looks)
    land = TorchLandscape(module, F.cross_entropy, x, y, points=4)
    rng = np.random.default_rng(0)
    points = (land.vector() + 0.5 * rng.standard_normal((4, land.size))).astype(land.dtype)
    index = np.stack([rng.permutation(N)[:10] for _ in points])
    few, own = land.batch_values_and_gradients, land._evaluation.workers.forward.module
    assert few is not None
    few(points, index)  # finds out whether vmap takes the module
    own.calls = 0
    values, gradients = few(points, index)
    assert own.calls == (4 if looks else 1)
    for p, some in enumerate(index):
        loss = F.cross_entropy(land.load(points[p])(x[some]), y[some])
        assert values[p] == pytest.approx(float(loss), rel=1e-5)
        own_few, own_gradients = few(points[p : p + 1], some)
        assert values[p] == pytest.approx(own_few[0], rel=1e-5)
        assert np.allclose(gradients[p], own_gradients[0], rtol=1e-4, atol=1e-6)
    assert land.batch_times[1] == (torch_minibatches.CALL if looks else torch_minibatches.CALL_TOGETHER)


class InPlace(nn.Module):
    """Changes its input, which vmap takes if every point has samples of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = net()

    def forward(self, x: Any) -> Any:
        return self.inner(x.mul_(2.0))


@pytest.mark.parametrize(("module", "together"), [(InPlace(), True), (Counted(True), False)])
@pytest.mark.filterwarnings("ignore:torch.func.vmap cannot take")
def test_what_was_evaluated_before_changes_no_bits_of_mini_batches(module: Any, together: bool) -> None:
    """Nor the estimate of their time, by which a search begins on them or not."""
    (x, y), found = classes(), []
    for before in (False, True):
        land = TorchLandscape(module, F.cross_entropy, x, y, points=4)
        points = (land.vector() + np.linspace(-0.5, 0.5, 4)[:, None]).astype(land.dtype)
        if before:
            land.values_and_gradients(points)
        assert land.batch_times[1] == (torch_minibatches.CALL_TOGETHER if together else torch_minibatches.CALL)
        assert land.batch_values_and_gradients is not None
        found.append(land.batch_values_and_gradients(points, np.arange(40).reshape(4, 10)))
    assert all(a.tobytes() == b.tobytes() for a, b in zip(*found, strict=True))


def test_samples_that_are_not_there_do_not_end_calls_for_all_points() -> None:
    land = TorchLandscape(net(), F.cross_entropy, *classes())
    few = land.batch_values_and_gradients
    assert few is not None
    points = np.stack([land.vector()] * 2)
    with pytest.raises((LandscapeError, IndexError)):
        few(points, [[0, N], [1, 2]])
    assert land._mini_batches is not None
    assert land._mini_batches.together


def test_weighted_means_are_those_of_the_batch() -> None:
    land = TorchLandscape(net(), weighted, *classes(), batch=30)
    assert land.batch_values_and_gradients is not None
    _, y = classes()
    points = land.vector()[None]
    index = np.array([[0, 4, 8, 11]])
    with torch.no_grad():
        expected = weighted(land.load(points[0])(land._samples.inputs[index[0]]), y[index[0]])
    assert land.batch_values_and_gradients(points, index)[0] == pytest.approx([float(expected)], rel=1e-5)
    assert np.allclose(land.batch_values_and_gradients(points, np.arange(N))[0], land.values(points), rtol=1e-5)


@pytest.mark.parametrize("batch", [N, 10 * N])
def test_losses_of_all_samples_together_have_none(batch: int) -> None:
    """Whether or not a batch held them all, so that nothing was tried when the landscape was made."""

    def contrastive(outputs: Any, targets: Any) -> Any:
        return -torch.log_softmax(outputs @ outputs.T, 1).diagonal().mean()

    land = TorchLandscape(net(), contrastive, *classes(), batch=batch)
    assert np.isfinite(land.values(land.vector()[None])).all()
    assert land.batch_values_and_gradients is None


def test_recomputed_statistics_have_none() -> None:
    land = TorchLandscape(net(nn.BatchNorm1d(6)), F.cross_entropy, *classes(), buffers="recompute")
    assert land.batch_values_and_gradients is None


def test_other_states_have_mini_batches_of_their_own() -> None:
    land = interpolated()
    other = net(nn.BatchNorm1d(6))
    other[1](torch.randn(50, 6) - 2)
    between = land.between(other.eval())
    assert land.batch_values_and_gradients is not None
    again = land.between(other)
    x = between.vector(other)[None]
    for each in (between, again):
        assert each.batch_values_and_gradients is not None
        assert np.allclose(each.batch_values_and_gradients(x, np.arange(N))[0], each.values(x), rtol=1e-5)


def test_an_error_names_its_point() -> None:
    class Refuses(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(4, 3)

        def forward(self, x: Any) -> Any:
            if self.inner.bias.detach()[0] > 100:
                raise RuntimeError("too far")
            return self.inner(x)

    land = TorchLandscape(Refuses(), F.cross_entropy, *classes())
    points = np.stack([land.vector()] * 3)
    points[1, land.size - 3] = 200
    few = land.batch_values_and_gradients
    assert few is not None
    with pytest.raises(LandscapeError, match="too far") as raised:
        few(points, np.arange(10))
    assert np.array_equal(raised.value.point, points[1])


@pytest.fixture(scope="module")
def trained() -> tuple[TorchLandscape, np.ndarray]:
    """A landscape of 3,000 samples, and two networks trained from different seeds."""
    torch.manual_seed(1)
    x = torch.randn(3000, 8)
    y = (x[:, 0] * x[:, 1] > 0).long() + 2 * (x[:, 2] > 0).long()

    def make() -> Any:
        return nn.Sequential(nn.Linear(8, 24), nn.ReLU(), nn.Linear(24, 4))

    ends = []
    for seed in range(2):
        torch.manual_seed(seed)
        module = make()
        optimizer = torch.optim.Adam(module.parameters(), lr=0.02)
        for _ in range(100):
            optimizer.zero_grad()
            F.cross_entropy(module(x), y).backward()
            optimizer.step()
        ends.append(module)
    land = TorchLandscape(make(), F.cross_entropy, x, y)
    return land, np.stack([land.vector(module) for module in ends])


@pytest.mark.parametrize("objective", ["maxflux", "sum"])
def test_a_search_between_modules_begins_on_mini_batches(
    objective: str, trained: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The barrier is gone at a fraction of the evaluations of a search over all samples."""
    land, ends = trained
    monkeypatch.setattr(batches, "WORTHWHILE", 0)
    options: dict[str, Any] = {"objective": objective, "solver": "auto"}
    if objective == "sum":
        options |= {"n_terms": 5, "n_points": 16, "lam": 1e-4, "target_barrier": 0}
    states: list[Any] = []
    path = ml.find_path(land, *ends, **options, progress=states.append)
    assert sorted({state.step for state in states}) == list(range(states[-1].step + 1))
    assert batches.LEAST_ITERATIONS < states[1].rounds - states[0].rounds <= batches.FIRST_ITERATIONS + 1
    assert path.converged
    monkeypatch.setattr(batches, "LEAST_SAMPLES", 3001)
    without = ml.find_path(land, *ends, **options)
    line = ml.find_path(land, *ends, "linear").barrier
    assert max(path.barrier, without.barrier) < 0.01 * line
    cost, cost_without = (of.evaluations.gradients + 0.4 * of.evaluations.values for of in (path, without))
    assert cost < 0.7 * cost_without


def test_mini_batches_are_left_out_where_all_samples_are_little_work(trained: Any) -> None:
    """The calls of PyTorch would take longer than they save."""
    land, ends = trained
    assert not batches.has_batches(land)
    states: list[Any] = []
    ml.find_path(land, *ends, steps=1, progress=states.append)
    assert states[1].rounds - states[0].rounds < batches.LEAST_ITERATIONS


@pytest.mark.parametrize(("n", "saves"), [(1000, False), (10_000, True)])
def test_convolutions_count_as_often_as_they_are_applied(n: int, saves: bool) -> None:
    """And twice, since they take longer."""
    land = TorchLandscape(nn.Conv2d(1, 20, 3), F.mse_loss, torch.zeros(n, 1, 12, 12), torch.zeros(n, 20, 10, 10))
    work = torch_minibatches.work_of(land._evaluation, land._coordinates.tensor(land.vector()))
    assert work == 2 * 2 * 100 * 9 * 20
    assert land.batch_times == (3 * work / 4e10, torch_minibatches.CALL)
    assert batches.has_batches(land) == saves


def test_the_work_of_recurrent_layers_counts() -> None:
    """Whose kernel in single precision PyTorch's counter does not see."""

    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.LSTM(7, 5, batch_first=True)

        def forward(self, x: Any) -> Any:
            return self.inner(x)[0][:, -1]

    land = TorchLandscape(Recurrent(), F.mse_loss, torch.randn(N, 9, 7), torch.randn(N, 5))
    work = torch_minibatches.work_of(land._evaluation, land._coordinates.tensor(land.vector()))
    assert work == 9 * 2 * (7 + 5) * 20


def test_an_object_with_mini_batches_of_its_own_is_searched_so_too(
    trained: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With copies of its arguments, and errors that name a point."""
    land, ends = trained
    monkeypatch.setattr(batches, "WORTHWHILE", 0)
    monkeypatch.setattr(batches, "FIRST_ITERATIONS", 50)

    class Own:
        size, n_samples, dtype = land.size, land.n_samples, land.dtype
        asked = 0

        def values_and_gradients(self, points: np.ndarray) -> Any:
            return land.values_and_gradients(points)

        def values(self, points: np.ndarray) -> Any:
            return land.values(points)

        def batch_values_and_gradients(self, points: np.ndarray, indices: np.ndarray) -> Any:
            self.asked += 1
            found = land.batch_values_and_gradients(points, indices)
            points[:], indices[:] = 0, 0
            return found

    own = Own()
    path = ml.find_path(own, *ends, steps=2)
    assert own.asked
    assert np.array_equal(path.coefficients, ml.find_path(land, *ends, steps=2).coefficients)

    def broken(points: np.ndarray, indices: np.ndarray) -> Any:
        raise ZeroDivisionError("of its own")

    own.batch_values_and_gradients = broken  # type: ignore[method-assign]
    with pytest.raises(LandscapeError, match="batch_values_and_gradients raised ZeroDivisionError"):
        ml.find_path(own, *ends)
