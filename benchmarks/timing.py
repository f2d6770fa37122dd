"""Alternating blocks: each side rests, warms up, and is timed several calls in a row; ratios are of the medians."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

PAUSE = 0.2


@dataclass(frozen=True)
class Timing:
    """Seconds a call: median and extremes over all counted calls."""

    median: float
    low: float
    high: float


def alternate(sides: dict[str, Callable[[], object]], blocks: int, calls: int) -> dict[str, Timing]:
    """Times the sides in turn, ``blocks`` blocks of ``calls`` counted calls each.

    The pause lets the other side's worker threads go to sleep; the uncounted call brings the caches back.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(blocks):
        for name, call in sides.items():
            time.sleep(PAUSE)
            call()
            for _ in range(calls):
                start = time.perf_counter()
                call()
                seconds[name].append(time.perf_counter() - start)
    return {name: Timing(statistics.median(s), min(s), max(s)) for name, s in seconds.items()}
