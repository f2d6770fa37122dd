"""Products for cuBLAS and recorded graphs, on the strict stand-in for CuPy and on a real GPU, against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from minilandscape import backend, cuda
from minilandscape.networks import MODELS, initial_vector, network_landscape
from minilandscape.networks.span import NetworkSpan

DEVICES = ["stand-in", pytest.param("real", marks=pytest.mark.gpu)]


@pytest.fixture(params=DEVICES)
def cupy(request: pytest.FixtureRequest) -> Any:
    if request.param == "stand-in":
        return request.getfixturevalue("strict_cupy")
    return backend.device_module("gpu")


def products() -> dict[str, Any]:
    """Factors as the networks hold them, and others, made from arrays of random numbers by these views."""
    return {
        "plain": ((3, 4, 5), (3, 5, 6), lambda a: a, lambda b: b),
        "one matrix": ((4, 5), (5, 6), lambda a: a, lambda b: b),
        "first broadcast": ((1, 4, 5), (3, 5, 6), lambda a: a, lambda b: b),
        "second without the axis": ((3, 4, 5), (5, 6), lambda a: a, lambda b: b),
        "both turned": ((3, 5, 4), (3, 6, 5), lambda a: a.swapaxes(1, 2), lambda b: b.swapaxes(1, 2)),
        "part of a row": ((3, 40), (3, 5, 6), lambda a: a[:, 7:27].reshape(3, 4, 5), lambda b: b),
        "two axes, each broadcast once": ((3, 1, 4, 5), (1, 7, 5, 6), lambda a: a, lambda b: b),
        "two axes that do not merge": ((3, 9, 4, 5), (3, 1, 5, 6), lambda a: a[:, 1:8], lambda b: b),
        "steps of a sequence": ((3, 4, 8, 5), (3, 4, 6, 5), lambda a: a[:, 1:], lambda b: b[:, 1:].swapaxes(2, 3)),
        "columns": ((3, 4, 1), (3, 1, 6), lambda a: a, lambda b: b),
        "dots": ((3, 1, 5), (3, 5, 1), lambda a: a, lambda b: b),
        "a column of a matrix": ((3, 4, 5), (3, 5, 6), lambda a: a, lambda b: b[:, :, 2:3]),
        "a row of a matrix, turned": ((3, 5, 4), (3, 5, 6), lambda a: a[:, :, 1:2].swapaxes(1, 2), lambda b: b),
        "every other number": ((3, 4, 10), (3, 5, 6), lambda a: a[:, :, ::2], lambda b: b),
        "nothing to sum": ((3, 4, 0), (3, 0, 6), lambda a: a, lambda b: b),
        "no matrix": ((0, 4, 5), (0, 5, 6), lambda a: a, lambda b: b),
    }


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", products())
def test_matmul_reads_factors_as_they_lie(name: str, dtype: str, cupy: Any) -> None:
    a_shape, b_shape, of_a, of_b = products()[name]
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(shape).astype(dtype) for shape in (a_shape, b_shape))
    expected = of_a(a) @ of_b(b)
    on_a, on_b = of_a(cupy.asarray(a)), of_b(cupy.asarray(b))
    bound = 1e-5 if dtype == "float32" else 1e-13
    found = cuda.matmul(on_a, on_b)
    assert found.dtype == expected.dtype
    assert found.get() == pytest.approx(expected, rel=bound, abs=bound)
    # Into a part of a larger array, whose rest stays; and into an array that lies the other way round.
    whole = cupy.asarray(np.full((*expected.shape[:-1], expected.shape[-1] + 3), 7, dtype))
    assert cuda.matmul(on_a, on_b, whole[..., 1:-2]) is not None
    assert whole.get()[..., 1:-2] == pytest.approx(expected, rel=bound, abs=bound)
    assert (whole.get()[..., [0, -2, -1]] == 7).all()
    turned = cupy.asarray(np.zeros(expected.swapaxes(-1, -2).shape, dtype))
    cuda.matmul(on_a, on_b, turned.swapaxes(-1, -2))
    assert turned.get().swapaxes(-1, -2) == pytest.approx(expected, rel=bound, abs=bound)


@pytest.mark.parametrize("name", products())
def test_matmul_cuts_long_sums(name: str, cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "LEAST_SUM", 1)
    monkeypatch.setattr(cuda, "MULTIPROCESSORS", 30)
    test_matmul_reads_factors_as_they_lie(name, "float64", cupy)


def test_matmul_leaves_other_types_to_cupy(cupy: Any) -> None:
    a, b = np.arange(6.0).reshape(2, 3), np.arange(12).reshape(3, 4)
    assert np.array_equal(cuda.matmul(cupy.asarray(a), cupy.asarray(b).astype(np.float64)).get(), a @ b)
    integers = cupy.asarray(b), cupy.asarray(b.T.copy())
    assert np.array_equal(cuda.matmul(*integers, cupy.empty((3, 3), dtype=np.int64)).get(), b @ b.T)


def test_matmul_refuses_what_does_not_fit(cupy: Any) -> None:
    a, b = cupy.asarray(np.ones((2, 3, 4))), cupy.asarray(np.ones((2, 5, 6)))
    with pytest.raises(ValueError, match="cannot be multiplied"):
        cuda.matmul(a, b)
    with pytest.raises(ValueError, match="cannot be multiplied"):
        cuda.matmul(a, b[:, :4], cupy.asarray(np.ones((2, 3, 5))))
    with pytest.raises(ValueError, match="cannot be multiplied"):
        cuda.matmul(a, b[:, :4], cupy.asarray(np.ones((3, 6))))


def test_a_recording_is_replayed_with_other_arguments(cupy: Any) -> None:
    calls = []

    def function(x: Any, y: Any) -> tuple[Any, Any]:
        calls.append(x.shape)
        total = cuda.matmul(x, y)
        total += 1
        return total, cupy.maximum(total, 0).sum()

    record = cuda.Recorder(cuda.GraphMemory())
    rng, results = np.random.default_rng(0), []
    for turn in range(5):
        x, y = rng.standard_normal((3, 4)), rng.standard_normal((4, 2))
        total, above = record("a key", function, x if turn % 2 else cupy.asarray(x), cupy.asarray(y))
        results.append((total, x @ y + 1))
        assert float(above.get()) == pytest.approx(np.maximum(x @ y + 1, 0).sum(), rel=1e-12)
    assert record.refused is None
    assert len(calls) == 2  # once as it is, once to be recorded
    for found, expected in results:  # no replay has written over an earlier one's results
        assert found.get() == pytest.approx(expected, rel=1e-12)
    record("a key", function, rng.standard_normal((5, 4)), rng.standard_normal((4, 2)))
    assert len(calls) == 3
    for k in range(2 * cuda.MOST_GRAPHS):
        record(k, function, x, y)
        record(k, function, x, y)
    assert len(record) == cuda.MOST_GRAPHS


def test_what_cannot_be_recorded_is_called(cupy: Any) -> None:
    record = cuda.Recorder(cuda.GraphMemory())

    def function(x: Any) -> tuple[Any]:
        return (x * float(x.sum().get()),)

    for n in (1, 2, 3, 4):
        assert np.array_equal(record("a key", function, np.full(3, float(n)))[0].get(), np.full(3, 3.0 * n * n))
    assert record.refused is not None
    assert len(record) == 0


@pytest.mark.parametrize("variant", ["paper", "authors"])
@pytest.mark.parametrize("model", MODELS)
def test_networks_are_recorded_and_stay_the_same(model: str, variant: str, cupy: Any, small_mnist: Any) -> None:
    cpu, gpu = (network_landscape(model, small_mnist.train[:60], variant, d, "float64") for d in ("cpu", "gpu"))
    rng = np.random.default_rng(0)
    for turn in range(4):
        points = np.stack([initial_vector(model, rng, np.float64) for _ in range(3)])
        assert gpu.values(points) == pytest.approx(cpu.values(points), rel=1e-10)
        for found, expected in zip(gpu.values_and_gradients(points), cpu.values_and_gradients(points), strict=True):
            assert np.abs(backend.to_host(found) - expected).max() <= 1e-10 * np.abs(expected).max()
        for batch in (rng.integers(0, 60, 16), rng.integers(0, 60, (3, 16))):
            values, gradients = cpu.batch_values_and_gradients(points, batch)
            on_values, on_gradients = gpu.batch_values_and_gradients(points, batch)
            assert on_values.get() == pytest.approx(values, rel=1e-10)
            assert np.abs(on_gradients.get() - gradients).max() <= 1e-10 * np.abs(gradients).max(), turn
    assert gpu._record.refused is None
    assert len(gpu._record) == 4


@pytest.mark.parametrize("model", MODELS)
def test_spans_are_recorded_and_stay_the_same(model: str, cupy: Any, small_mnist: Any) -> None:
    rng = np.random.default_rng(0)
    rows = np.stack([initial_vector(model, rng, np.float64) for _ in range(4)])
    lands = [network_landscape(model, small_mnist.train[:60], device=d, dtype="float64") for d in ("cpu", "gpu")]
    cpu, gpu = spans = [land.span(rows) for land in lands]
    for turn in range(14):
        for span in spans:  # rows that follow each other and rows that do not, combinations of old and of new ones
            if turn % 4 == 1:
                span.replace([0, 1, 3], rows[:3] * (1 + turn))
            elif turn % 4 == 3:
                span.replace([2], rows[3:] * turn)
            if turn % 2:
                span.combine([1], np.array([[0.5, 1.0, 0.0, 0.25 * turn]]))
        coefficients = rng.normal(0.2, 0.1, (6, 4))
        assert gpu.values(coefficients) == pytest.approx(cpu.values(coefficients), rel=1e-9)
        values, pulled = cpu.values_and_pullback(coefficients, rows=[1, 3])
        on_values, on_pulled = gpu.values_and_pullback(coefficients, rows=[1, 3])
        assert on_values == pytest.approx(values, rel=1e-9)
        assert np.abs(backend.to_host(on_pulled) - pulled).max() <= 1e-9 * np.abs(pulled).max()
    assert gpu._record.refused is None
    assert len(gpu._record) >= 2


@pytest.mark.parametrize("device", ["cpu", "gpu"], ids=["host", "stand-in"])
def test_rows_of_a_span_are_named_as_those_of_an_array(device: str, strict_cupy: Any, small_mnist: Any) -> None:
    rows = np.stack([initial_vector("fcp", seed, np.float64) for seed in range(5)])
    land = network_landscape("fcp", small_mnist.train[:30], device=device, dtype="float64")
    mine, expected, mix = land.span(rows[:4]), rows[:4].copy(), np.array([[0.5, 0.0, -1.0, 0.25]])
    mine.values(np.eye(4))
    mine.replace([-1], rows[4:])
    expected[-1] = rows[4]
    assert mine.values(np.eye(4)) == pytest.approx(land.values(expected), rel=1e-12)
    mine.combine([-2], mix)
    expected[-2] = (mix @ expected)[0]
    assert mine.values(np.eye(4)) == pytest.approx(land.values(expected), rel=1e-12)
    mine.replace([3, 0], rows[4])  # the same vector for both
    expected[[3, 0]] = rows[4]
    assert mine.values(np.eye(4)) == pytest.approx(land.values(expected), rel=1e-12)
    with pytest.raises(IndexError):
        mine.replace([4], rows[4:])
    with pytest.raises(ValueError):  # noqa: PT011 - NumPy's words and ours
        mine.replace([0, 1], rows[:3])
    with pytest.raises(ValueError):  # noqa: PT011
        mine.combine([0], np.ones((1, 5)))
    with pytest.raises(ValueError):  # noqa: PT011
        mine.combine([0, 1, 2], np.ones((2, 4)))
    assert mine.values(np.eye(4)) == pytest.approx(land.values(expected), rel=1e-12)


@pytest.mark.parametrize("device", ["cpu", "gpu"], ids=["host", "stand-in"])
def test_what_is_interrupted_between_chunks_is_done_again(
    device: str, strict_cupy: Any, small_mnist: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Packing the images, and bringing the products that a span keeps up to date."""
    rows = np.stack([initial_vector("fcp", seed, np.float64) for seed in range(3)])
    land, whole = (network_landscape("fcp", small_mnist.train[:90], device=d, dtype="float64") for d in (device, "cpu"))
    object.__setattr__(land.network, "chunk", 30)
    monkeypatch.setattr(land, "_budget", 1 << 16)

    def second_fails(original: Any) -> Any:
        calls = []

        def function(*args: Any, **kwargs: Any) -> Any:
            calls.append(args)
            if len(calls) == 2:
                raise KeyboardInterrupt
            return original(*args, **kwargs)

        return function

    pack = land.network.pack
    object.__setattr__(land.network, "pack", second_fails(pack))
    with pytest.raises(KeyboardInterrupt):
        land.values(rows)
    assert land.values(rows) == pytest.approx(whole.values(rows), rel=1e-12)
    assert len(land.chunks) > 1
    kept = land.span(rows)
    kept.values(np.eye(3))
    kept.combine([0], np.array([[0.5, 0.5, 0.0]]))
    monkeypatch.setattr(NetworkSpan, "_chunk_products", second_fails(NetworkSpan._chunk_products))
    with pytest.raises(KeyboardInterrupt):
        kept.values(np.eye(3))
    expected = np.stack([(rows[0] + rows[1]) / 2, *rows[1:]])
    assert kept.values(np.eye(3)) == pytest.approx(whole.values(expected), rel=1e-12)
