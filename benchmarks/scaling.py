"""Growth of cost and memory of minilandscape: straight lines fitted to the time against each size."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np

from .sides.ours import Side
from .task import Task, load_images
from .timing import alternate

#: Of each series: the work, the task's size that is varied, and its values.
SERIES = {
    "images": ("path", "images", (1_000, 3_000, 10_000, 30_000, 60_000)),
    "path points": ("path", "n_points", (10, 25, 50, 100, 200)),
    "Fourier terms": ("path", "n_terms", (5, 10, 20, 40)),
    "population": ("population", "n_runs", (1, 5, 25, 75)),
}
#: Images of the series in which they do not vary.
IMAGES = {"path": 10_000, "population": 2_000}


def print_all(where: str, device: str, quick: bool) -> dict[str, Any]:
    """Print every series of FCP and its straight line; with ``quick``, on a hundredth of the images."""
    scale = 100 if quick else 1
    record: dict[str, Any] = {}
    for name, (work, size, values) in SERIES.items():
        images, _ = load_images(where, (max(values) if size == "images" else IMAGES[work]) // scale)
        sizes = [value // scale for value in values] if size == "images" else list(values[: 2 if quick else None])
        task = Task("fcp", "paper", images, device)
        seconds = []
        for value in sizes:
            change: dict[str, Any] = {size: images[:value] if size == "images" else value}
            seconds.append(_seconds(replace(task, **change), work, quick))
        record[name] = _print_line(name, work, sizes, seconds)
        if size == "n_points":
            alone = _seconds(task, "gradient", quick)
            slope = record[name]["slope"]
            print(f"  a point: {1e3 * slope:.3g} ms, a gradient by itself: {1e3 * alone:.3g} ms, {slope / alone:.0%}")
            record[name]["gradient"] = alone
    record["memory"] = _print_memory(where, device, [value // scale for value in SERIES["images"][2]])
    return record


def _seconds(task: Task, work: str, quick: bool) -> float:
    (call,) = getattr(Side(task), work)().values()
    return alternate({"": call}, 1, 0.0 if quick else 2.0)[""].median


def _print_line(name: str, work: str, sizes: list[int], seconds: list[float]) -> dict[str, Any]:
    """Fit and print the straight line of least relative error, and the distance of the times from it."""
    x, y = np.array(sizes, dtype=float), np.array(seconds)
    slope, intercept = np.polyfit(x, y, 1, w=1 / y)
    away = np.abs(slope * x + intercept - y) / y
    print(f"\n{name} ({work}): {1e3 * slope:.4g} ms each + {1e3 * intercept:.4g} ms, at most {away.max():.0%} away")
    for size, measured, off in zip(sizes, seconds, away, strict=True):
        print(f"  {size:>8,}{1e3 * measured:>12.4g} ms{off:>8.0%}")
    return {"sizes": sizes, "seconds": seconds, "slope": float(slope), "intercept": float(intercept)}


def _print_memory(where: str, device: str, sizes: list[int]) -> dict[str, Any]:
    """Print the peak memory of a path step beyond the packed images, each in a new process."""
    print("\nmemory of a path step (MiB): resident with the images packed, peak, what the step added")
    record = {}
    for n in sizes:
        arguments = ["peak", "--only", "fcp (paper), path step", "--images", str(n), "--data", where]
        found = in_fresh_process([*arguments, "--device", device])
        before, peak = found["before"] / 2**20, found["peak"] / 2**20
        print(f"  {n:>8,}{before:>8.0f}{peak:>8.0f}{peak - before:>8.0f}", flush=True)
        record[str(n)] = found
    return record


def in_fresh_process(arguments: list[str]) -> dict[str, int]:
    """Return the JSON that ``python -m benchmarks`` prints in a new process."""
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
