"""``python -m benchmarks paths``: cost and maximum of converged paths, by method and objective."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

import minilandscape as ml

from .saddles.systems import POTENTIALS, System, names, system

#: Name -> options of ``find_path``. All run to convergence.
SEARCHES: dict[str, dict[str, Any]] = {
    "fourier (the defaults)": {},
    "fourier, smoothmax": {"objective": "smoothmax"},
    "fourier, lbfgs-gss": {"solver": "lbfgs-gss"},
    "fourier, adam": {"solver": "adam"},
    "fourier, sum, auto": {"objective": "sum", "solver": "auto", "steps": "auto"},
    "bezier": {"method": "bezier"},
    "polyline": {"method": "polyline"},
    "neb, 9 images": {"method": "neb", "images": 9},
    "autoneb, 9 images": {"method": "autoneb", "images": 9},
}
DEFAULTS = next(iter(SEARCHES))


def main(arguments: list[str]) -> int:
    """Print one table: a row for each search, a column for each system."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks paths", description=__doc__)
    parser.add_argument("--data", type=Path, help="folder with the files of heptamer, baker and lj38")
    parser.add_argument("--only", action="append", help="systems whose names hold this; repeat it for several")
    parser.add_argument("--searches", action="append", help="searches whose names hold this; repeat it for several")
    options = parser.parse_args(arguments)
    wanted = [name for name in names(options.data) if _holds(name, options.only or (*POTENTIALS, "lj6", "al100"))]
    searches = {
        name: each for name, each in SEARCHES.items() if options.searches is None or _holds(name, options.searches)
    }
    if not wanted or not searches:
        parser.error("nothing here is called so")
    os.environ["OMP_NUM_THREADS"] = "1"
    with threadpool_limits(1):
        systems = [system(name, options.data) for name in wanted]
        print("| calls / batches, maximum above the saddle | " + " | ".join(each.name for each in systems) + " |")
        print("| --- |" + " --- |" * len(systems))
        for name, each in searches.items():
            print(f"| {name} | " + " | ".join(outcome(found, each) for found in systems) + " |", flush=True)
    return 0


def outcome(found: System, options: dict[str, Any]) -> str:
    """Describe one search: its cost, and its maximum above the saddle as a fraction of the barrier."""
    land = found.landscape()
    try:
        path = ml.find_path(land, found.start, found.end, **options)
    except ml.LandscapeError as error:
        return f"error: {error}"
    height = "" if found.barrier is None else f", {100 * (path.barrier_forward - found.barrier) / found.barrier:+.3f} %"
    ended = "" if path.converged else f" ({path.reason})"
    return f"{land.calls:,} / {land.rounds:,}{height}{ended}"


def _holds(name: str, parts: Iterable[str]) -> bool:
    return any(part in name for part in parts)
