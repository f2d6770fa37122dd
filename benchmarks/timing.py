"""Alternating blocks, the machine's matrix-product rate, and memory."""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minilandscape.backend import device_module

MOST_CALLS = 20
MOST_SECONDS = 60.0


@dataclass(frozen=True)
class Timing:
    """Seconds per call: median and extremes over all counted calls."""

    median: float
    low: float
    high: float

    def __truediv__(self, n: int) -> Timing:
        return Timing(self.median / n, self.low / n, self.high / n)


def alternate(
    sides: dict[str, Callable[[], object]], blocks: int, seconds: float = 1.0, pause: float = 0.2
) -> dict[str, Timing]:
    """Time the sides alternately, each for some blocks of counted calls.

    The pause lets the other side's worker threads go to sleep. An uncounted call then fills the caches; its duration
    sets the number of counted calls in about ``seconds``. After :data:`MOST_SECONDS` only two blocks are run.
    """
    times: dict[str, list[float]] = {name: [] for name in sides}
    begin = time.perf_counter()
    for block in range(blocks):
        if block > 1 and time.perf_counter() - begin > MOST_SECONDS:
            break
        for name, call in sides.items():
            time.sleep(pause)
            calls = round(seconds / duration(call))
            times[name] += [duration(call) for _ in range(min(max(calls, 1), MOST_CALLS))]
    return {name: Timing(statistics.median(s), min(s), max(s)) for name, s in times.items()}


def duration(call: Callable[[], object]) -> float:
    """Measure the seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def matrix_product_rate(device: str) -> float:
    """Measure the rate of the device's float32 matrix product in operations per second, the best of ten."""
    xp, n = device_module(device), 2000 if device == "cpu" else 8000
    a = xp.ones((n, n), dtype=np.float32)

    def product() -> None:
        float((a @ a)[0, 0])  # waits for the device

    product()
    return 2 * n**3 / min(duration(product) for _ in range(10))


def memory() -> dict[str, int]:
    """Return the resident bytes of this process and their peak; the peak twice if only that is known."""
    status = Path("/proc/self/status")
    if not status.exists():
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        return {"now": peak, "peak": peak}
    # Linux counts in ru_maxrss what the parent had resident when it started this process.
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return {key: 1024 * int(lines[name].split()[0]) for key, name in (("now", "VmRSS"), ("peak", "VmHWM"))}
