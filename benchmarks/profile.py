"""The distribution of our time over matrix products, elementwise functions, sums, copies and the rest.

Work arrays record the time of each NumPy operation on them, on one thread.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from minilandscape import backend
from minilandscape.backend import Workspace

from .rows import Row
from .sides.ours import Side
from .timing import duration

KINDS = ("products", "elements", "sums", "copies")
#: Works that this process does itself; populations go to others.
WORKS = ("path", "gradient", "loss", "sgd", "lbfgs", "plane")
CALLS = 7

_seconds: Counter[str] = Counter()
_calls: Counter[str] = Counter()


def _noted(kind: str, operation: Callable[[], Any]) -> Any:
    start = time.perf_counter()
    result = operation()
    _seconds[kind] += time.perf_counter() - start
    _calls[kind] += 1
    return result


def _bare(x: Any) -> Any:
    return x.view(np.ndarray) if isinstance(x, NotingArray) else x


class NotingArray(np.ndarray):
    """An array that records the time of every operation on it; results are such arrays, too."""

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **options: Any) -> Any:
        operands = [_bare(x) for x in inputs]
        if out is not None:
            options["out"] = tuple(_bare(x) for x in out)
        kind = "products" if ufunc is np.matmul else "elements" if method == "__call__" else "sums"
        result = _noted(kind, lambda: getattr(ufunc, method)(*operands, **options))
        if out is not None:
            return out[0]
        return result.view(NotingArray) if isinstance(result, np.ndarray) else result

    def __getitem__(self, key: Any) -> Any:
        return _noted("copies", lambda: super(NotingArray, self).__getitem__(key))

    def __setitem__(self, key: Any, value: Any) -> None:
        _noted("copies", lambda: _bare(self).__setitem__(key, _bare(value)))


class NotingWorkspace(Workspace):
    """Work arrays that record the time of operations on them."""

    def __call__(self, name: str, *shape: int) -> Any:
        return super().__call__(name, *shape).view(NotingArray)


def _overhead() -> float:
    """Measure the seconds that recording adds to one operation."""
    _seconds.clear()
    for _ in range(10_000):
        _noted("nothing", lambda: None)
    return _seconds["nothing"] / 10_000


def profile(row: Row) -> dict[str, Any]:
    """Measure the seconds of one unit of a row's work on one thread and on all, and the shares of one thread's time.

    Returns
    -------
    dict
        ``one``, ``all``: seconds; ``calls``: NumPy operations; and a share for each of :data:`KINDS`, and ``rest``:
        Python, and small arrays beside the work arrays.
    """
    plain, noting = Side(row.trial), Side(row.trial)
    noting.land.work = NotingWorkspace(np, noting.land.dtype)
    (plain_call,), (noting_call,) = (getattr(side, row.work)().values() for side in (plain, noting))
    plain_call()
    everything = statistics.median(duration(plain_call) for _ in range(CALLS))
    backend.set_threads(1)
    try:
        plain_call()
        noting_call()
        overhead = _overhead()
        seconds, parts = [], []
        for _ in range(CALLS):  # alternately, so that both run under the same load
            seconds.append(duration(plain_call))
            _seconds.clear()
            _calls.clear()
            noting_call()
            parts.append([_seconds[kind] - overhead * _calls[kind] for kind in KINDS])
    finally:
        backend.set_threads(None)
    one = statistics.median(seconds)
    shares = dict(zip(KINDS, (np.median(parts, axis=0) / one).tolist(), strict=True))
    return {
        "one": one / row.units,
        "all": everything / row.units,
        "calls": _calls.total() / row.units,
        **shares,
        "rest": max(1 - sum(shares.values()), 0.0),
    }


def print_profiles(rows: list[Row], rate: float) -> dict[str, dict[str, Any]]:
    """Print a line for each row; ``rate`` is that of the matrix product on all threads, operations per second."""
    print(f"\n{'':43}{'one thread':>11}{'all':>8}{'at rate':>9}{'calls':>8}", end="")
    print("".join(f"{kind:>10}" for kind in (*KINDS, "rest")))
    profiles = {}
    for row in rows:
        if row.work not in WORKS:
            continue
        found = profile(row)
        found["at rate"] = row.trial.flops[row.work] / row.units / rate
        one, everything, at_rate = (1e3 * found[key] for key in ("one", "all", "at rate"))
        times = f"{one:>11.4g}{everything:>8.4g}{at_rate:>9.3g}{found['calls']:>8.0f}"
        print(f"{row.name:43}{times}" + "".join(f"{found[kind]:>10.0%}" for kind in (*KINDS, "rest")), flush=True)
        profiles[row.name] = found
    print("\nms. at rate: the products that the work needs, at the matrix product's rate on all threads.")
    print("Shares are of one thread's time; rest: Python, and small arrays beside the work arrays.")
    return profiles
