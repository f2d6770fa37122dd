"""``python -m benchmarks saddles``: what the saddle between two minima costs, in points whose energy and gradient are
computed, for this project and for others.

A search is right if its own criterion is met and its barrier is the known one, within what forces of the tolerance do
over 0.3 Å (3 meV at 0.01 eV/Å, 15 meV at 0.05); where there are no atoms, within 1e-4 of it. With ``--out`` every
search is stored once it has finished, and is not repeated.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from threadpoolctl import threadpool_limits

from minilandscape.files import read_json, write_json

from .methods import METHODS, Found, Method
from .systems import POTENTIALS, System, names, system

PACKAGES = ("minilandscape", "numpy", "scipy", "ase", "sella", "pydmf", "geodesic-interpolate", "tblite")
OURS = "minilandscape"
QUICK = [*POTENTIALS, "lj6"]


def main(arguments: list[str]) -> int:
    """Runs what the arguments ask for; 1 where this project's barrier is not right."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.data is not None and not options.data.is_dir():
        parser.error(f"--data {options.data} is no folder")
    wanted = _chosen(QUICK if options.quick else names(options.data, options.lj38), options.only)
    if not wanted:
        parser.error(f"no system is called {' or '.join(options.only)}: see --list; --data FOLDER adds those of files")
    if options.list:
        _list(wanted, options.data)
        return 0
    methods = _methods(options.method or ([OURS] if options.quick else None))
    if not methods:
        parser.error(f"nothing here is called {' or '.join(options.method)}; methods: {'; '.join(METHODS)}")
    try:
        record = _record(options.out)
    except ValueError as error:
        parser.error(str(error))
    print(", ".join(f"{name} {number}" for name, number in record["versions"].items()))
    print(f"\n{'':26}{'':18}{'calls':>7}{'verified':>9}{'rounds':>8}{'barrier':>12}  verdict")
    with threadpool_limits(1):
        results = {name: _run(system(name, options.data), methods, record, options.out) for name in wanted}
    if not any(results.values()):
        parser.error(f"{'; '.join(methods)} cannot search {', '.join(wanted)}")
    _print_medians(results, methods)
    wrong = [name for name, rows in results.items() if OURS in rows and rows[OURS]["verdict"] not in ("right", "?")]
    if options.quick and wrong:
        print(f"\nnot right: {', '.join(wrong)}")
    return 1 if options.quick and wrong else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks saddles", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="small systems, this project alone: 1 where one is not right"
    )
    parser.add_argument("--list", action="store_true", help="the systems that can be run here, without running them")
    parser.add_argument("--only", action="append", metavar="TEXT", help="a system, or those whose name contains this")
    parser.add_argument("--method", action="append", metavar="TEXT", help="likewise for methods")
    parser.add_argument(
        "--data", type=Path, metavar="FOLDER", help="holds heptamer/, baker/ or lj38/; without it those are left out"
    )
    parser.add_argument("--lj38", action="store_true", help="the two funnels of LJ38 as well, which take long")
    parser.add_argument("--out", type=Path, metavar="FILE", help="JSON that results are added to, and resumed from")
    return parser


def _chosen(known: Iterable[str], only: list[str] | None) -> list[str]:
    """The names asked for: those given in full, and those that contain a text that is no name in full."""
    known = list(known)
    parts = [text.casefold() for text in only or [""] if text not in known]
    return [name for name in known if name in (only or ()) or any(part in name.casefold() for part in parts)]


def _methods(only: list[str] | None) -> dict[str, Method]:
    """The methods asked for whose packages are installed; the others are named."""
    wanted = {name: METHODS[name] for name in _chosen(METHODS, only)}
    for name, method in wanted.items():
        if method.missing:
            print(f"without {name}: {', '.join(method.missing)} not installed")
    return {name: method for name, method in wanted.items() if not method.missing}


def _record(out: Path | None) -> dict[str, Any]:
    """What is stored, or an empty record, with the versions of today; ValueError where the file is another."""
    record = read_json(out) if out is not None and out.is_file() else {"results": {}}
    if not isinstance(record, dict) or "results" not in record:
        raise ValueError(f"{out} holds other JSON than results of saddles; expected what --out has written before")
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {**record, "versions": versions}


def _run(found: System, methods: dict[str, Method], record: dict[str, Any], out: Path | None) -> dict[str, Any]:
    """The results of every method that applies to a system, of which those not stored yet are searched for."""
    stored, results = record["results"].setdefault(found.name, {}), {}
    for name, method in methods.items():
        if not method.applies(found):
            continue
        if name not in stored:
            stored[name] = _outcome(found, method)
            if out is not None:
                write_json(out, record)
        judged = {"group": found.group, "known": found.barrier is not None, "verdict": _verdict(found, stored[name])}
        results[name] = stored[name] | judged
        print(_line(found.name, name, results[name]), flush=True)
    return results


def _outcome(found: System, method: Method) -> dict[str, Any]:
    """What a search came to, the barrier, and how long it took."""
    land, began = found.landscape(), time.perf_counter()
    try:
        outcome = method.search(found, land)
    except Exception as error:  # whatever a search fails by is its result
        outcome = Found(None, land.calls, land.rounds, False, reason=f"{type(error).__name__}: {error}")
    seconds = round(time.perf_counter() - began, 2)
    start = float(found.landscape().values(found.start[None])[0])
    barrier = None if outcome.value is None else float(outcome.value) - start
    return asdict(outcome) | {"barrier": barrier, "seconds": seconds}


def _verdict(found: System, result: dict[str, Any]) -> str:
    if not result["converged"]:
        return "not converged"
    if found.barrier is None:
        return "?"
    off = result["barrier"] - found.barrier
    return "right" if abs(off) <= found.within else f"off by {off:+.4f}"


def _line(name: str, method: str, result: dict[str, Any]) -> str:
    verified = "–" if result["verified"] is None else result["verified"]
    barrier = "–" if result["barrier"] is None else f"{result['barrier']:.6f}"
    words = [result["verdict"]]
    if result["connects"] is not None:
        words.append("connects" if result["connects"] else "does not connect")
    if not result["converged"]:
        words.append(result["reason"].split("\n")[0][:60])
    numbers = f"{result['calls']:>7}{verified:>9}{result['rounds']:>8}{barrier:>12}"
    return f"{name:26}{method:18}{numbers}  {', '.join(words)}"


def _print_medians(results: dict[str, dict[str, Any]], methods: Iterable[str]) -> None:
    """For each group and method: how many of the known ones are right, medians over all systems, whatever was found."""
    print(f"\n{'medians':26}{'':18}{'calls':>7}{'verified':>9}{'rounds':>8}{'right':>12}  converged")
    groups = dict.fromkeys(r["group"] for of_system in results.values() for r in of_system.values())
    for group in groups:
        for method in methods:
            rows = [r[method] for r in results.values() if method in r and r[method]["group"] == group]
            if not rows:
                continue
            verified = [row["verified"] for row in rows if row["verified"] is not None]
            cells = f"{median(r['calls'] for r in rows):>7g}{median(verified) if verified else '–':>9}"
            right = f"{sum(r['verdict'] == 'right' for r in rows)} of {sum(r['known'] for r in rows)}"
            converged = f"{sum(r['converged'] for r in rows)} of {len(rows)}"
            print(f"{group:26}{method:18}{cells}{median(r['rounds'] for r in rows):>8g}{right:>12}  {converged}")


def _list(wanted: list[str], data: Path | None) -> None:
    print(f"{'system':26}{'D':>5}{'tolerance':>11}{'right barrier':>15}")
    for name in wanted:
        found = system(name, data)
        barrier = "not known" if found.barrier is None else f"{found.barrier:.6f}"
        print(f"{name:26}{found.start.size:>5}{found.tolerance:>11g}{barrier:>15}", flush=True)
