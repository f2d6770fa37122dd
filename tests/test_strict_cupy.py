"""The stand-in for CuPy refuses what it should and offers no more than CuPy."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest


def test_no_implicit_conversions(strict_cupy: Any) -> None:
    a, host = strict_cupy.asarray(np.arange(3.0)), np.arange(3.0)
    for attempt in (
        lambda: np.asarray(a),
        lambda: np.sum(a),
        lambda: np.exp(a),
        lambda: a + host,
        lambda: host + a,
        lambda: a[host > 1],
        lambda: float(a[0]),
        lambda: bool(a[0] > 0),
        lambda: list(a),
        lambda: strict_cupy.exp(host),
        lambda: strict_cupy.exp(a, out=host),
        lambda: strict_cupy.exp(a, where=a > 0),
    ):
        with pytest.raises(TypeError):
            attempt()
    with pytest.raises(TypeError):
        a[:] = host
    with pytest.raises(AttributeError):
        _ = strict_cupy.polyfit


def test_arrays_compute_and_share_memory(strict_cupy: Any) -> None:
    a = strict_cupy.asarray(np.arange(6.0)).reshape(2, 3)
    view = a[:, 1]
    view += 10
    assert np.array_equal(a.get(), [[0, 11, 2], [3, 14, 5]])
    assert type(a.sum()).__module__ == "cupy"
    assert np.array_equal((2 / (1 + a)).get(), 2 / (1 + a.get()))
    out = strict_cupy.empty((2, 2))
    assert strict_cupy.matmul(a, a.T, out=out) is out
    assert np.array_equal(out.get(), a.get() @ a.get().T)


def test_it_offers_only_what_cupy_has(strict_cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = sys.modules["strict_cupy"]
    monkeypatch.undo()
    cupy = pytest.importorskip("cupy")
    assert [name for name in stand_in.FUNCTIONS | stand_in.CONSTANTS if not hasattr(cupy, name)] == []
    assert [name for name in stand_in.METHODS if not hasattr(cupy.ndarray, name)] == []
