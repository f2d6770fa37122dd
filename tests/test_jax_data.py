"""Losses over data written with jax.numpy: sums over parts of the samples, mini-batches, test data and metrics."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minilandscape as ml
from minilandscape.optimizers import Adam
from minilandscape.paths import batches

jax = pytest.importorskip("jax")

import jax.numpy as jnp  # noqa: E402

from minilandscape.adapters import jax_compiled  # noqa: E402
from minilandscape.adapters.jax import JaxLandscape, load_along  # noqa: E402
from minilandscape.adapters.jax_operations import operations_of  # noqa: E402

N = 37
RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((N, 4)), RNG.integers(0, 3, N)
PARAMETERS = {"b": 0.1 * RNG.standard_normal(3), "w": RNG.standard_normal((4, 3))}
POINTS = RNG.standard_normal((5, 15))
#: Batches with several parts and points at a time; one part; one sample at a time.
SIZES = [7, 36, 1000]


@pytest.fixture(autouse=True)
def _double_precision() -> Any:
    on = jax.experimental.enable_x64(True) if hasattr(jax.experimental, "enable_x64") else jax.enable_x64(True)
    with on:
        yield


def entropies(p: Any, x: Any, y: Any) -> Any:
    return -jnp.take_along_axis(jax.nn.log_softmax(jnp.tanh(x @ p["w"]) + p["b"]), y[:, None], 1)


def mean_loss(p: Any, x: Any, y: Any) -> Any:
    return entropies(p, x, y).mean()


def sum_loss(p: Any, x: Any, y: Any) -> Any:
    return entropies(p, x, y).sum()


def decayed(p: Any, x: Any, y: Any) -> Any:
    return entropies(p, x, y).mean() + 0.1 * (p["w"] ** 2).sum()


def contrastive(p: Any, x: Any, y: Any) -> Any:
    out = x @ p["w"]
    return -jnp.diagonal(jax.nn.log_softmax(out @ out.T)).mean()


def accuracy(p: Any, x: Any, y: Any) -> Any:
    return (jnp.argmax(x @ p["w"] + p["b"], 1) == y).mean()


@pytest.mark.parametrize(("loss", "batch"), [*((mean_loss, each) for each in SIZES), (sum_loss, 7), (decayed, 36)])
def test_any_batch_gives_the_loss_over_all_samples(loss: Any, batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values, gradients and products with the Hessian, at any number of points."""
    monkeypatch.setattr(jax_compiled, "LEAST", 4)
    whole = JaxLandscape(lambda p: loss(p, X, Y), PARAMETERS)
    land = JaxLandscape(loss, PARAMETERS, data=(X, Y), batch=batch)
    assert land.n_samples == N
    for n in (0, 1, 5):
        found, expected = land.values_and_gradients(POINTS[:n]), whole.values_and_gradients(POINTS[:n])
        assert np.allclose(found[0], expected[0], rtol=1e-12)
        assert np.allclose(found[1], expected[1], rtol=1e-10, atol=1e-12)
        assert np.allclose(land.values(POINTS[:n]), expected[0], rtol=1e-12)
    products = land.hessian_products(POINTS[0], POINTS[1:])
    assert np.allclose(products, whole.hessian_products(POINTS[0], POINTS[1:]), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("batch", SIZES)
def test_no_more_samples_at_a_time_than_a_batch(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over all points together."""
    monkeypatch.setattr(jax_compiled, "LEAST", 4)
    land, most = JaxLandscape(mean_loss, PARAMETERS, data=(X, Y), batch=batch), []
    monkeypatch.setattr(land._loss, "_both", lambda p, x, y: most.append(len(p) * len(x)) or (np.zeros(len(p)), p))
    for n in (1, 2, 3, 4, 5, 64):
        land.values_and_gradients(RNG.standard_normal((n, 15)))
    assert max(most) <= batch
    assert max(most) > batch / 2 or batch > 64 * N


def test_data_are_tuples_of_arguments_or_one() -> None:
    expected = JaxLandscape(mean_loss, PARAMETERS, data=(X, Y)).values(POINTS)
    assert np.allclose(JaxLandscape(mean_loss, PARAMETERS, data=[X, Y]).values(POINTS), expected)
    for given in ({"x": X, "y": Y}, {"x": jnp.asarray(X), "y": jnp.asarray(Y)}):
        land = JaxLandscape(lambda p, d: mean_loss(p, d["x"], d["y"]), PARAMETERS, data=given, batch=10)
        assert np.allclose(land.values(POINTS), expected)
    land = JaxLandscape(lambda p, x: mean_loss(p, x[:, :4], x[:, 4].astype(int)), PARAMETERS, data=np.c_[X, Y])
    assert np.allclose(land.values(POINTS), expected)
    flat = JaxLandscape(lambda p, x, y: mean_loss({"b": p[:3], "w": p[3:].reshape(4, 3)}, x, y), 15, data=(X, Y))
    assert np.allclose(flat.values(POINTS), expected)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "float8_e4m3fn", "int8", "bool"])
def test_data_are_in_any_precision_of_jax(dtype: str) -> None:
    """The numbers are those that the precision holds."""
    x = jnp.asarray(X, dtype=dtype)
    land = JaxLandscape(lambda p, x, y: mean_loss(p, x.astype(float), y), PARAMETERS, data=(x, Y), batch=10)
    expected = JaxLandscape(mean_loss, PARAMETERS, data=(np.asarray(x.astype(float)), Y)).values(POINTS)
    assert np.allclose(land.values(POINTS), expected, rtol=1e-12)


def test_the_data_are_copied() -> None:
    x = X.copy()
    land = JaxLandscape(mean_loss, PARAMETERS, data=(x, Y), batch=10)
    before = land.values(POINTS)
    x[:] = 0
    assert np.array_equal(land.values(POINTS), before)


def test_the_precision_is_that_of_the_call() -> None:
    land = JaxLandscape(mean_loss, PARAMETERS, data=(X, Y), batch=10)
    double = land.values(POINTS)
    off = jax.experimental.enable_x64(False) if hasattr(jax.experimental, "enable_x64") else jax.enable_x64(False)
    with off:
        single = land.values(POINTS)
        assert land.values_and_gradients(POINTS)[1].dtype == np.float32
    assert np.array_equal(land.values(POINTS), double)
    assert 1e-10 < np.abs(single - double).max() < 1e-5


@pytest.mark.parametrize("loss", [contrastive, lambda p, x, y: entropies(p, x, y).mean() ** 2])
def test_a_loss_of_all_samples_together_needs_them_in_one_batch(loss: Any) -> None:
    with pytest.raises(ValueError, match=r"the mean over two parts of them .* give batch=37, all samples at once"):
        JaxLandscape(loss, PARAMETERS, data=(X, Y), batch=36)
    land = JaxLandscape(loss, PARAMETERS, data=(X, Y), batch=37)
    assert np.allclose(land.values(POINTS), JaxLandscape(lambda p: loss(p, X, Y), PARAMETERS).values(POINTS))
    assert land.batch_values_and_gradients is None


@pytest.mark.parametrize("rare", [0, 1, 2])
@pytest.mark.parametrize("weight", [0.0, 0.5, 20.0])
@pytest.mark.parametrize("several", [False, True])
def test_a_weight_of_a_rare_label_is_seen_wherever_it_stands(rare: int, weight: float, several: bool) -> None:
    """Among labels of samples, and beside other numbers of theirs."""
    x, y = RNG.standard_normal((700, 4)), RNG.choice([k for k in range(3) if k != rare], 700)
    y[333] = rare
    weights = np.ones(3)
    weights[rare] = weight

    def loss(p: Any, x: Any, y: Any) -> Any:
        each = entropies(p, x, y[:, -1] if several else y)[:, 0]
        w = jnp.asarray(weights)[y[:, -1] if several else y]
        return (w * each).sum() / w.sum()

    labels = np.stack([np.full_like(y, 7), y], axis=1) if several else y
    with pytest.raises(ValueError, match="give batch=700, all samples at once"):
        JaxLandscape(loss, PARAMETERS, data=(x, labels), batch=100)
    assert JaxLandscape(loss, PARAMETERS, data=(x, labels), batch=700).batch_values_and_gradients is None
    plain = JaxLandscape(mean_loss, PARAMETERS, data=(x, y), batch=100)
    assert plain.batch_values_and_gradients is not None


@pytest.mark.parametrize("loss", [mean_loss, sum_loss])
@pytest.mark.parametrize("batch", [3, 1000])
def test_mini_batches_average_to_the_loss(loss: Any, batch: int) -> None:
    """Over a partition of the samples, and each point with samples of its own."""
    land = JaxLandscape(loss, PARAMETERS, data=(X[:36], Y[:36]), batch=batch)
    few, parts = land.batch_values_and_gradients, np.random.default_rng(1).permutation(36).reshape(9, 4)
    assert few is not None
    found = [few(POINTS, part) for part in parts]
    values, gradients = land.values_and_gradients(POINTS)
    assert np.mean([v for v, _ in found], 0) == pytest.approx(values)
    assert np.allclose(np.mean([g for _, g in found], 0), gradients)
    own, slopes = few(POINTS, parts[:5])
    for k in range(5):
        assert own[k] == pytest.approx(found[k][0][k])
        assert np.allclose(slopes[k], found[k][1][k])
    assert JaxLandscape(lambda x: x @ x, 3).batch_values_and_gradients is None


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ((X, Y[:5]), ValueError, "arrays of data have 5 and 37 samples"),
        ((X[:0], Y[:0]), ValueError, "have 0 samples"),
        ((X, 3), TypeError, "data holds int; expected arrays"),
        ((X, "classes"), TypeError, "data holds str; expected arrays"),
        ((X, np.array(3)), TypeError, r"data holds an array of shape \(\) in int64; expected arrays"),
        ((X, Y.astype(str)), TypeError, r"data holds an array of shape \(37,\) in <U"),
        ((X, jax.random.split(jax.random.key(0), N)), TypeError, r"an array of shape \(37,\) in key<"),
        ((), TypeError, "data holds no array"),
        ((X[:, :3], Y), ValueError, r"raised TypeError on samples of shape \(32, 3\), \(32,\)"),
        ((X,), ValueError, "missing 1 required positional argument"),
    ],
)
def test_data_that_do_not_fit_are_refused(data: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        JaxLandscape(mean_loss, PARAMETERS, data=data)


def test_wrong_options_are_refused() -> None:
    with pytest.raises(ValueError, match="batch is 0"):
        JaxLandscape(mean_loss, PARAMETERS, data=(X, Y), batch=0)
    for given in ({"test": (X, Y)}, {"metrics": {"accuracy": accuracy}}):
        with pytest.raises(ValueError, match="without data="):
            JaxLandscape(mean_loss, PARAMETERS, **given)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'loss' and names with 'test ' before are taken"):
        JaxLandscape(mean_loss, PARAMETERS, data=(X, Y), metrics={"loss": accuracy})
    with pytest.raises(ValueError, match=r"the loss is of shape \(32, 1\)"):
        JaxLandscape(entropies, PARAMETERS, data=(X, Y))
    with pytest.raises(ValueError, match=r"is not finite on 32 samples"):
        JaxLandscape(lambda p, x, y: mean_loss(p, x, y) * jnp.nan, PARAMETERS, data=(X, Y), batch=10)
    with pytest.raises(TypeError, match="the landscape has no data"):
        JaxLandscape(lambda x: x @ x, 3).measure(np.ones((1, 3)))


def test_losses_and_metrics_along_a_path(tmp_path: Any) -> None:
    land = JaxLandscape(
        mean_loss, PARAMETERS, data=(X[:30], Y[:30]), test=(X[30:], Y[30:]), metrics={"accuracy": accuracy}, batch=7
    )
    path = ml.find_path(land, POINTS[0], POINTS[1], "linear", n_points=5)
    found = land.along(path)
    for k, t in enumerate(found.t):
        tree = land.tree(path.points(t)[0])
        for prefix, x, y in (("", X[:30], Y[:30]), ("test ", X[30:], Y[30:])):
            assert found.values[f"{prefix}loss"][k] == pytest.approx(float(mean_loss(tree, x, y)))
            assert found.values[f"{prefix}accuracy"][k] == pytest.approx(float(accuracy(tree, x, y)))
    assert found.metadata == {"n_samples": 30, "n_test": 7}
    found.save(tmp_path / "along.npz")
    assert np.array_equal(load_along(tmp_path / "along.npz").values["test loss"], found.values["test loss"])


def test_an_error_names_the_point() -> None:
    class Refuses(Exception): ...

    def fails_late(p: Any, x: Any, y: Any) -> Any:
        if len(x) == 9:
            raise Refuses("of nine")
        return mean_loss(p, x, y)

    land = JaxLandscape(fails_late, PARAMETERS, data=(X[:36], Y[:36]), batch=9)
    with pytest.raises(ml.LandscapeError, match=r"the loss raised Refuses at .*of nine") as caught:
        land.values(POINTS)
    assert np.array_equal(caught.value.point, POINTS[0])


def test_a_function_without_data_takes_few_points_at_a_time_where_they_need_much_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    large = jnp.asarray(RNG.standard_normal((2000, 4)))

    def f(x: Any) -> Any:
        return (jnp.tanh(large @ x.reshape(4, 50)) ** 2).sum()

    points = RNG.standard_normal((32, 200))
    expected = JaxLandscape(f, 200).values_and_gradients(points)
    asked: list[int] = []
    monkeypatch.setattr(jax_compiled, "MOST_BYTES", 8 * 2000 * 50 * 16)
    land = JaxLandscape(f, 200)
    one = land._loss._called
    monkeypatch.setattr(land._loss, "_called", lambda g, p, *rest: asked.append(len(p)) or one(g, p, *rest))
    found = land.values_and_gradients(points)
    assert 1 <= max(asked) <= 16
    assert sum(asked) == 32
    assert np.allclose(found[0], expected[0], rtol=1e-12)
    assert np.allclose(found[1], expected[1], rtol=1e-9)


@pytest.mark.parametrize(
    ("f", "shapes", "expected"),
    [
        (lambda x, w: x @ w, [(7, 4), (4, 3)], 2 * 7 * 4 * 3),
        (lambda x, w: jnp.einsum("bij,bjk->bik", x, w), [(5, 7, 4), (5, 4, 3)], 5 * 2 * 7 * 4 * 3),
        (
            lambda x, w: jax.lax.conv_general_dilated(x, w, (1, 1), "VALID"),
            [(2, 3, 9, 9), (5, 3, 2, 2)],
            2 * 2 * 2 * 5 * 64 * 3 * 4,
        ),
        (lambda x, w: jax.lax.scan(lambda h, _: (jnp.tanh(h @ w), None), x, None, 28)[0], [(7, 3), (3, 3)], 28 * 126),
        (lambda x, w: jax.lax.cond(x[0, 0] > 0, lambda: x @ w, lambda: x[:, :3]), [(7, 4), (4, 3)], 2 * 7 * 4 * 3),
        (jax.jit(lambda x, w: jax.checkpoint(jnp.dot)(x, w)), [(7, 4), (4, 3)], 2 * 7 * 4 * 3),
        (lambda x, w: x * w, [(7, 4), (7, 4)], 0),
    ],
)
def test_operations_are_counted(f: Any, shapes: Any, expected: int) -> None:
    """As often as a loop runs."""
    assert operations_of(jax.make_jaxpr(f)(*(np.ones(shape) for shape in shapes)).jaxpr) == expected


def test_a_search_between_networks_begins_on_mini_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until no barrier is left over continuous t."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3000, 8))
    y = (x[:, 0] * x[:, 1] > 0).astype(int) + 2 * (x[:, 2] > 0)

    def make() -> dict[str, Any]:
        a, b = rng.standard_normal((8, 24)) / 3, rng.standard_normal((24, 4)) / 5
        return {"a": a, "b": b, "c": np.zeros(24)}

    def loss(p: Any, x: Any, y: Any) -> Any:
        logits = jax.nn.relu(x @ p["a"] + p["c"]) @ p["b"]
        return -jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], 1).mean()

    land = JaxLandscape(loss, make(), data=(x, y))
    assert land.narrow_minima
    assert repr(land) == "<JaxLandscape: 312 parameters in float64, 3,000 samples>"
    ends, adam = np.stack([land.vector(make()) for _ in range(2)]), Adam(lr=0.02)
    for _ in range(150):
        adam.update(ends, land.values_and_gradients(ends)[1])
    assert not batches.has_batches(land)  # little work
    monkeypatch.setattr(batches, "WORTHWHILE", 0)
    states: list[Any] = []
    path = ml.find_path(land, *ends, progress=states.append)
    assert batches.LEAST_ITERATIONS < states[1].rounds - states[0].rounds <= batches.FIRST_ITERATIONS + 1
    assert states[1].evaluations.gradients < 120
    assert path.converged
    assert path.barrier < 0.01 * ml.find_path(land, *ends, "linear").barrier
