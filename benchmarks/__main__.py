"""``python -m benchmarks``: this project's work against PyTorch's, JAX's and the authors', side by side.

``table`` (the default) prints the comparison, ``scaling`` the growth of cost and memory, ``profile`` the shares of our
time, ``saddles`` the cost of the saddle between two minima, ``paths`` the cost of converged paths,
``network-paths`` the cost of a path between trained networks until its barrier is down, ``modules`` path steps of
PyTorch modules beside a plain loop, ``mini-batches`` searches between modules with and without mini-batches. The last
five have options of their own (``saddles --help``).
Times are medians over alternating blocks in one process, ranges the extremes. The results of every side are first
checked against minilandscape's.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from dataclasses import asdict, replace
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from minilandscape.backend import DeviceError, device_description

from . import profile, scaling
from .network_paths import main as network_paths
from .paths import main as paths
from .rows import TOLERANCES, Disagreement, Outcome, Row, all_rows, measure
from .saddles.program import main as saddles
from .sides import SIDES, available
from .sides.ours import Side as Ours
from .task import load_images
from .timing import Timing, matrix_product_rate, memory

COLUMNS = f"{'':43}{'minilandscape':>24}" + "".join(f"{name:>24}" for name in list(SIDES)[1:])


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark named by the arguments; returns 1 if the sides disagree."""
    arguments = sys.argv[1:] if arguments is None else arguments
    others = {
        "saddles": saddles,
        "paths": paths,
        "network-paths": network_paths,
        "modules": modules,
        "mini-batches": mini_batches,
    }
    if arguments[:1] == ["saddles"]:
        # Small systems: threads would wait for each other longer than they work.
        os.environ["OMP_NUM_THREADS"] = "1"
    if arguments and arguments[0] in others:
        return others[arguments[0]](arguments[1:])
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.what == "profile" and options.device == "gpu":
        parser.error("profile times NumPy's operations, so it takes --device cpu")
    if options.quick:  # PyTorch's threads wait for each other at every small product, for ever on a busy machine
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    if options.device == "gpu":
        try:
            matrix_product_rate("gpu")
        except DeviceError as error:
            print(f"not measured: {error}")
            _write(options.json, {"device": "gpu", "not measured": str(error)})
            return 0
    return _of_networks(options)


def modules(arguments: list[str]) -> int:
    """Run the benchmark of PyTorch modules' path steps."""
    _need_torch("modules")
    from .modules import main as run

    return run(arguments)


def mini_batches(arguments: list[str]) -> int:
    """Run the benchmark of searches between modules."""
    _need_torch("mini-batches")
    from .mini_batches import main as run

    return run(arguments)


def _need_torch(what: str) -> None:
    if find_spec("torch") is None:
        raise SystemExit(f"{what} needs PyTorch, which is not installed: pip install torch")


def _of_networks(options: argparse.Namespace) -> int:
    """Run a benchmark of the networks' passes."""
    where = options.data or ("random" if options.quick else "auto")
    images, source = load_images(where, options.images or (400 if options.quick else 10_000))
    rows = [row for row in all_rows(images, options.device, options.quick) if _wanted(row, options.only)]
    if not rows:
        raise SystemExit(f"no row is called {' or '.join(options.only)}")
    if options.what == "peak":
        # "loss" is a part of "loss + gradient" too: the shortest name is the one that was asked for.
        return _peak(min(rows, key=lambda row: len(row.name)))
    record = {"images": len(images), "source": source, **_machine(options.device)}
    print(f"{len(images):,} images ({source}), float32, {record['device']}")
    print(", ".join(f"{name} {number}" for name, number in record["versions"].items()))
    if options.what == "scaling":
        record["series"] = scaling.print_all(where, options.device, options.quick)
    elif options.what == "profile":
        record["matrix product"] = matrix_product_rate(options.device)
        record["profiles"] = profile.print_profiles(rows, record["matrix product"])
    else:
        return _table(rows, options, record)
    _write(options.json, record)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("what", nargs="?", choices=("table", "scaling", "profile", "peak"), default="table")
    parser.add_argument("--quick", action="store_true", help="few images and calls: checks that the sides agree")
    parser.add_argument("--data", help="as for minilandscape train, or 'random'; auto, with --quick random")
    parser.add_argument("--images", type=int, help="10,000, with --quick 400")
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--only", action="append", metavar="TEXT", help="rows whose name contains this")
    parser.add_argument(
        "--memory", action="store_true", help="peak memory of our side, each row in a process of its own"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="writes what was printed")
    return parser


def _wanted(row: Row, only: list[str] | None) -> bool:
    return not only or any(text in row.name for text in only)


def _machine(device: str) -> dict[str, Any]:
    versions = {"python": platform.python_version()}
    for package in ("numpy", "torch", "jax", "cupy-cuda12x"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {"device": device_description(device), "versions": versions}


def _table(rows: list[Row], options: argparse.Namespace, record: dict[str, Any]) -> int:
    sides, missing = available(options.device)
    for name, reason in missing.items():
        print(f"without {name}: {reason}")
    rate = matrix_product_rate(options.device)
    print(f"matrix product: {rate / 1e9:.0f} GFLOP/s")
    if (load := os.getloadavg()[0]) > 0.5 and not options.quick:
        print(f"the machine is busy (load {load:.1f}): these times say nothing, threads wait for others' turns")
    bounds = ", ".join(f"{what} {bound:g}" for what, bound in TOLERANCES.items())
    print(f"results must agree to (of the largest entry): {bounds}\n")
    print(f"{COLUMNS}{'ratio':>7}{'goal':>17}{'share':>7}{'MiB':>7}")
    protocol = (1, 0.0, 0.0) if options.quick else (4, 1.0, 0.2)
    record |= {"matrix product": rate, "missing": missing, "rows": {}}
    wrong, forms = [], []
    for row in rows:
        try:
            outcome = measure(row, sides, *protocol)
        except Disagreement as error:
            wrong.append(str(error))
            print(f"{row.name:43}  WRONG", flush=True)
            continue
        if options.memory:
            outcome = replace(outcome, memory=_peak_of(row, options))
        print(_line(row, outcome, rate), flush=True)
        forms += [f"{row.name}: {name}, {form}" for name, form in outcome.forms.items() if form]
        record["rows"][row.name] = {**asdict(outcome), "goal": row.goal, "share": _share(outcome, rate)}
    print("\nms [range]. ratio: the faster of PyTorch and JAX over minilandscape; share of the matrix product's rate")
    print("\n".join(["", "fastest forms", *forms]))
    print("\n".join(["", *wrong]) if wrong else f"\nall sides agree in {len(rows)} rows")
    _write(options.json, {**record, "wrong": wrong})
    return 1 if wrong else 0


def _line(row: Row, outcome: Outcome, rate: float) -> str:
    cells = "".join(f"{_cell(outcome.times.get(name)):>24}" for name in SIDES)
    ratio = "–" if outcome.ratio is None else f"{outcome.ratio:.2f}"
    memory = "–" if outcome.memory is None else f"{outcome.memory / 2**20:.0f}"
    return f"{row.name:43}{cells}{ratio:>7}{row.goal:>17}{_share(outcome, rate):>7.0%}{memory:>7}"


def _cell(timing: Timing | None) -> str:
    if timing is None:
        return "–"
    median, low, high = (f"{1e3 * seconds:.4g}" for seconds in (timing.median, timing.low, timing.high))
    return f"{median} [{low}, {high}]"


def _share(outcome: Outcome, rate: float) -> float:
    return outcome.flops / outcome.times["minilandscape"].median / rate


def _peak_of(row: Row, options: argparse.Namespace) -> int:
    """Return the peak resident bytes of a new process that runs our side of one row."""
    again = ["peak", "--only", row.name, "--device", options.device, "--images", str(len(row.task.images))]
    again += ["--data", options.data] if options.data else []
    again += ["--quick"] if options.quick else []
    return scaling.in_fresh_process(again)["peak"]


def _peak(row: Row) -> int:
    """Print this process's memory before our side's first call and its peak after two calls, as JSON."""
    side = Ours(row.task)
    (call,) = getattr(side, row.work)().values()
    assert side.land.chunks  # packed
    before = memory()["now"]
    call()
    call()
    print(json.dumps({"before": before, "peak": memory()["peak"]}))
    return 0


def _write(path: Path | None, record: dict[str, Any]) -> None:
    if path is not None:
        path.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
