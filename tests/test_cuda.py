"""Products for cuBLAS and recorded graphs, on the strict stand-in for CuPy and on a real GPU, against NumPy."""

from __future__ import annotations

import threading
import weakref
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from minilandscape import backend, cuda
from minilandscape.cuda import graphs, products
from minilandscape.cuda.products import thread_cublas  # the real one, which the stand-in replaces
from minilandscape.networks import MODELS, initial_vector, network_landscape
from minilandscape.networks.span import NetworkSpan

DEVICES = ["stand-in", pytest.param("real", marks=pytest.mark.gpu)]


@pytest.fixture(params=DEVICES)
def cupy(request: pytest.FixtureRequest) -> Any:
    if request.param == "stand-in":
        return request.getfixturevalue("strict_cupy")
    return backend.device_module("gpu")


def factors() -> dict[str, Any]:
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
@pytest.mark.parametrize("name", factors())
def test_matmul_reads_factors_as_they_lie(name: str, dtype: str, cupy: Any) -> None:
    a_shape, b_shape, of_a, of_b = factors()[name]
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


@pytest.mark.parametrize("name", factors())
def test_matmul_cuts_long_sums(name: str, cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "LEAST_SUM", 1)
    for n in (15, 30):
        monkeypatch.setattr(products, "MULTIPROCESSORS", n)
        test_matmul_reads_factors_as_they_lie(name, "float64", cupy)


@pytest.mark.parametrize("n_parts", [2, 3, 12])
def test_parts_of_a_sum_are_read_as_they_lie(n_parts: int, cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """In parts of several terms, from rows, columns, every other number, and matrices that are broadcast."""
    given = []

    def parts_of_a_sum(n_inner: int, n_rows: int, n_columns: int, count: int) -> int:
        given.append(count)
        return n_parts if count == 6 else 1

    monkeypatch.setattr(products, "parts_of_a_sum", parts_of_a_sum)
    rng = np.random.default_rng(0)
    firsts = [
        ((2, 3, 4, 12), lambda a: a),
        ((1, 3, 4, 12), lambda a: a),
        ((2, 1, 12, 4), lambda a: a.swapaxes(2, 3)),
        ((3, 4, 24), lambda a: a[..., ::2]),
        ((4, 12), lambda a: a),
    ]
    seconds = [
        ((2, 3, 12, 5), lambda b: b),
        ((2, 1, 12, 5), lambda b: b),
        ((2, 3, 5, 12), lambda b: b.swapaxes(2, 3)),
        ((2, 3, 12, 9), lambda b: b[..., 2:7]),
        ((2, 3, 12, 10), lambda b: b[..., ::2]),
    ]
    for a_shape, of_a in firsts:
        for b_shape, of_b in seconds:
            a, b = rng.standard_normal(a_shape), rng.standard_normal(b_shape)
            expected = of_a(a) @ of_b(b)
            factors = of_a(cupy.asarray(a)), of_b(cupy.asarray(b))
            whole = cupy.asarray(np.zeros((*expected.shape[:-1], 8)))
            cuda.matmul(*factors, whole[..., 1:6])
            for found in (cuda.matmul(*factors).get(), whole.get()[..., 1:6]):
                assert found == pytest.approx(expected, rel=1e-12, abs=1e-12)
    assert 6 in given


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


def run_in_thread(function: Any) -> Any:
    """What a function returns in a thread that ends then."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(function()))
    thread.start()
    thread.join()
    return results[0]


def test_threads_take_over_the_cublas_of_threads_that_have_ended(
    strict_cupy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    class Counted:
        def __init__(self, library: Any) -> None:
            made.append(self)

        def leave(self) -> None:
            pass

    monkeypatch.setattr(products, "_library", object)
    monkeypatch.setattr(products, "Cublas", Counted)
    monkeypatch.setattr(strict_cupy.cuda.runtime, "getDevice", lambda: 77)  # on which nothing else works
    first = run_in_thread(thread_cublas)
    assert run_in_thread(thread_cublas) is first
    assert run_in_thread(lambda: (thread_cublas(), run_in_thread(thread_cublas)))[1] is not first
    assert len(made) == 2


class FakeLibrary:
    """cuBLAS's functions, which only note what they are called with."""

    def __init__(self) -> None:
        self.workspaces: list[int] = []

    def __getattr__(self, name: str) -> Any:
        def function(*arguments: Any) -> int:
            if name == "cublasSetWorkspace_v2":
                self.workspaces.append(arguments[1].value)
            return 0

        self.__dict__[name] = function
        return function


def test_streams_share_no_workspace_and_graphs_keep_theirs(strict_cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A workspace that a graph works in may not end with a thread, nor be used by two streams at once."""
    monkeypatch.setattr(products, "CUBLAS_WORKSPACE", 64)
    library = FakeLibrary()
    cublas = products.Cublas(library)
    monkeypatch.setattr(products, "thread_cublas", lambda: cublas)
    a = strict_cupy.asarray(np.ones((3, 3)))
    cuda.matmul(a, a)
    cuda.matmul(a, a)
    assert len(library.workspaces) == 1
    at_first = weakref.ref(cublas._workspace)
    with strict_cupy.cuda.Stream(non_blocking=True):
        cuda.matmul(a, a)
        assert len(library.workspaces) == 2
        assert at_first() is None  # what the first stream is still doing there comes before what it does next
    pools: list[Any] = []
    original = strict_cupy.cuda.MemoryPool
    monkeypatch.setattr(
        strict_cupy.cuda, "MemoryPool", lambda allocator: pools.append(original(allocator)) or pools[-1]
    )
    record = cuda.Recorder(cuda.GraphMemory())
    for n in (3, 4, 5):
        record("a key", lambda x: (cuda.matmul(a, x),), a)
        assert len(library.workspaces) == n  # to the null stream, to the recording's, and to the null stream again
        assert [block.size for block in pools[0]._blocks].count(64) == 1 if n > 3 else not pools
        cuda.matmul(a, a)
    assert record.refused is None


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
    for k in range(2 * graphs.MOST_GRAPHS):
        record(k, function, x, y)
        record(k, function, x, y)
    assert len(record) == graphs.MOST_GRAPHS


def test_what_cannot_be_recorded_is_called(cupy: Any) -> None:
    record = cuda.Recorder(cuda.GraphMemory())

    def function(x: Any) -> tuple[Any]:
        return (x * float(x.sum().get()),)

    for n in (1, 2, 3, 4):
        assert np.array_equal(record("a key", function, np.full(3, float(n)))[0].get(), np.full(3, 3.0 * n * n))
    assert record.refused is not None
    assert len(record) == 0


def test_a_recording_that_fails_keeps_nothing_and_takes_nothing_from_others(cupy: Any) -> None:
    made = []

    class Array:
        """Stands for the arrays that a recording makes."""

    def small(x: Any) -> tuple[Any]:
        return ((x + 1) * 2 - (x - 1),)  # works in memory that goes back to the pool

    def large(x: Any) -> tuple[Any]:
        array = Array()
        made.append(weakref.ref(array))
        return (x + float((x * 3).sum().get()),)

    memory = cuda.GraphMemory()
    record, another = cuda.Recorder(memory), cuda.Recorder(memory)
    x = np.arange(5.0)
    for _ in range(2):
        record("small", small, x)
    for _ in range(3):
        another("large", large, x)
    assert another.refused is not None
    assert [array() for array in made] == [None] * 4  # called as it is, recorded in vain, and called twice
    for _ in range(2):
        assert np.array_equal(record("small", small, x)[0].get(), x + 3)
    assert record.refused is None
    assert len(record) == 1


def test_graphs_keep_their_memory_when_there_is_no_more(strict_cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool that finds none frees all that no array holds, and tries again."""

    def function(x: Any) -> tuple[Any]:
        return ((x + 1) * 2 - (x - 1),)

    record = cuda.Recorder(cuda.GraphMemory())
    for _ in range(2):
        record("first", function, np.arange(3.0))
    left = [2]
    original = strict_cupy.cuda.Memory

    def memory(size: int) -> Any:
        left[0] -= 1
        if left[0] == 0:
            raise MemoryError
        return original(size)

    monkeypatch.setattr(strict_cupy.cuda, "Memory", memory)
    for _ in range(3):
        record("second", function, np.arange(4.0))
    assert len(record) == 2
    assert np.array_equal(record("first", function, np.arange(3.0))[0].get(), np.arange(3.0) + 3)


def test_a_first_call_that_is_interrupted_is_none(cupy: Any) -> None:
    """What it would have sent to the device, for later calls too, a recording cannot send."""
    known: list[Any] = []

    def function(x: Any) -> tuple[Any]:
        if len(calls) == 1:
            raise KeyboardInterrupt
        if not known:
            known.append(cupy.asarray(np.ones(3)))
        return (x + known[0],)

    calls: list[int] = []
    record = cuda.Recorder(cuda.GraphMemory())
    for n in range(4):
        calls.append(n)
        try:
            assert np.array_equal(record("a key", function, np.full(3, 1.0 * n))[0].get(), np.full(3, 1.0 + n))
        except KeyboardInterrupt:
            assert n == 0
    assert record.refused is None
    assert len(record) == 1


def test_an_interrupted_recording_is_made_anew(cupy: Any) -> None:
    interrupted = []

    def function(x: Any) -> tuple[Any]:
        y = x + 1
        if len(interrupted) == 1:
            interrupted.append(y)
            raise KeyboardInterrupt
        return (y * 2,)

    record = cuda.Recorder(cuda.GraphMemory())
    record("a key", function, np.arange(3.0))
    interrupted.append(None)
    with pytest.raises(KeyboardInterrupt):
        record("a key", function, np.arange(3.0))
    interrupted[:] = [None, None]
    for n in range(3):
        assert np.array_equal(record("a key", function, np.full(3, 1.0 * n))[0].get(), np.full(3, 2.0 * n + 2))
    assert record.refused is None
    assert len(record) == 1


def test_streams_have_graphs_of_their_own(strict_cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs of two streams would work in the same memory at once; each thread's default stream is another."""
    calls = []

    def function(x: Any) -> tuple[Any]:
        calls.append(threading.get_ident())
        return (x + 1,)

    def twice() -> None:
        for _ in range(3):
            record("a key", function, np.arange(3.0))

    record = cuda.Recorder(cuda.GraphMemory())
    for stream, n_graphs in ((0, 1), (1 << 40, 2), (graphs.PER_THREAD_STREAM, 4)):
        monkeypatch.setattr(strict_cupy.cuda, "get_current_stream", lambda stream=stream: SimpleNamespace(ptr=stream))
        twice()
        run_in_thread(twice)
        assert len(record) == n_graphs
        assert len(calls) == 2 * n_graphs
    monkeypatch.setattr(strict_cupy.cuda.runtime, "getDevice", lambda: 1)
    twice()
    assert len(record) == 5


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
    monkeypatch.setattr(NetworkSpan, "chunk_products", second_fails(NetworkSpan.chunk_products))
    with pytest.raises(KeyboardInterrupt):
        kept.values(np.eye(3))
    expected = np.stack([(rows[0] + rows[1]) / 2, *rows[1:]])
    assert kept.values(np.eye(3)) == pytest.approx(whole.values(expected), rel=1e-12)
