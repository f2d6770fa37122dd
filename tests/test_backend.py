"""Devices that are missing, threads, BLAS limits, work arrays."""

from __future__ import annotations

import contextlib
import math
import sys
import threading
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from minilandscape import backend


@pytest.mark.parametrize("scale", [0.0, 1e-320, 1e-200, 1.0, 1e200, 1e307, np.inf])
def test_lengths_are_known_where_squares_are_not(scale: float) -> None:
    rows = np.array([[3.0, 4.0], [8.0, 6.0]]) * (scale if scale < np.inf else 1.0)
    rows[0, 0] = np.inf if scale == np.inf else rows[0, 0]
    expected = [math.hypot(*row) for row in rows]
    assert backend.norm(rows, axis=1) == pytest.approx(expected, rel=1e-3 if scale == 1e-320 else 1e-15, abs=0)
    assert backend.norm(rows[0]) == pytest.approx(expected[0], rel=1e-3 if scale == 1e-320 else 1e-15, abs=0)
    assert backend.norm(np.zeros(0)) == 0


def test_a_missing_cupy_and_a_missing_device_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(backend.DeviceError, match=r"not installed: pip install 'minilandscape\[gpu\]'"):
        backend.device_module("gpu")

    def no_driver() -> int:
        raise RuntimeError("cudaErrorInsufficientDriver")

    for count, message in ((no_driver, "no usable CUDA device"), (lambda: 0, "has no CUDA device")):
        fake = ModuleType("cupy")
        fake.__dict__.update(__version__="99", cuda=SimpleNamespace(runtime=SimpleNamespace(getDeviceCount=count)))
        monkeypatch.setitem(sys.modules, "cupy", fake)
        with pytest.raises(backend.DeviceError, match=message) as caught:
            backend.device_module("gpu")
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="expected one of cpu, gpu"):
        backend.device_module("cuda")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "\n====\nFailed to import CuPy.\n\nOriginal error:\n  ImportError: libcuda.so.1\n====\n",
            "ImportError: libcuda",
        ),
        ("two\nlines", "two lines"),
        ("", "ImportError"),
    ],
)
def test_a_cupy_that_does_not_import_is_described_in_one_line(
    text: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def find_spec(self, name: str, path: object = None, target: object = None) -> None:
            if name == "cupy":
                raise ImportError(text)

    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    with pytest.raises(backend.DeviceError, match=f"does not import: {reason}") as caught:
        backend.device_module("gpu")
    assert "\n" not in str(caught.value)


def test_threads_are_set_and_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINILANDSCAPE_THREADS", "3")
    assert backend.thread_count() == 3
    backend.set_threads(2)
    assert backend.thread_count() == 2
    backend.set_threads(None)
    for wrong in ("many", "0", "-1", "1.5", "²"):
        monkeypatch.setenv("MINILANDSCAPE_THREADS", wrong)
        with pytest.raises(ValueError, match=f"MINILANDSCAPE_THREADS is '{wrong}'"):
            backend.thread_count()
    with pytest.raises(ValueError, match="at least 1"):
        backend.set_threads(0)


def blas_threads() -> set[int]:
    """Of NumPy's BLAS; wheels of other packages bring one of their own, which products of ours never see."""
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    own = [pool for pool in pools if ".libs" not in pool["filepath"] or "numpy.libs" in pool["filepath"]]
    assert own
    return {pool["num_threads"] for pool in own}


def test_blas_limits_nest_and_are_restored() -> None:
    before = blas_threads()
    with backend.one_blas_thread():
        assert blas_threads() == {1}
        with backend.one_blas_thread():
            assert blas_threads() == {1}
        assert blas_threads() == {1}
    assert blas_threads() == before
    with pytest.raises(KeyError), backend.one_blas_thread():
        raise KeyError
    assert blas_threads() == before


def test_workers_that_map_do_not_wait_for_each_other() -> None:
    backend.set_threads(2)
    results: list[object] = []

    def nested(k: int) -> list[int]:
        return backend.parallel_map(lambda j: 10 * k + j, 3)

    thread = threading.Thread(target=lambda: results.append(backend.parallel_map(nested, 4)), daemon=True)
    try:
        thread.start()
        thread.join(timeout=20)
        assert results == [[[10 * k + j for j in range(3)] for k in range(4)]]
    finally:
        backend.set_threads(None)


def test_parallel_map_keeps_the_order_and_raises() -> None:
    backend.set_threads(3)
    try:
        assert backend.parallel_map(lambda k: k * k, 20) == [k * k for k in range(20)]
        with pytest.raises(ZeroDivisionError):
            backend.parallel_map(lambda k: 1 // (k - 3), 8)
    finally:
        backend.set_threads(None)


def test_work_arrays_are_reused_by_name_and_thread() -> None:
    work = backend.Workspace(np, np.float32)
    first = work("a", 4, 5)
    assert first.shape == (4, 5)
    assert first.dtype == np.float32
    assert np.shares_memory(first, work("a", 2, 3))
    assert not np.shares_memory(first, work("b", 4, 5))
    assert work("a", 100).size == 100
    elsewhere: list[np.ndarray] = []
    thread = threading.Thread(target=lambda: elsewhere.append(work("a", 100)))
    thread.start()
    thread.join()
    assert not np.shares_memory(elsewhere[0], work("a", 100))


def test_threads_that_are_set_for_a_while_come_back() -> None:
    for before in (None, 3):
        backend.set_threads(before)
        try:
            usual = backend.thread_count()
            with contextlib.suppress(KeyError), backend.threads(2):
                assert backend.thread_count() == 2
                with backend.threads(1):
                    assert backend.thread_count() == 1
                assert backend.thread_count() == 2
                raise KeyError
            assert backend.thread_count() == usual
        finally:
            backend.set_threads(None)
