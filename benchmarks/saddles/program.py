"""``python -m benchmarks saddles``: calls to the saddle between two minima."""

from __future__ import annotations

import argparse
from pathlib import Path

from .systems import names, system


def main(arguments: list[str]) -> int:
    """Runs what the arguments ask for."""
    options = _parser().parse_args(arguments)
    wanted = [name for name in names(options.data, options.lj38) if _wanted(name, options.only)]
    if options.list:
        _list(wanted, options.data)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks saddles", description=__doc__)
    parser.add_argument("--list", action="store_true", help="the systems that can be run here, without running them")
    parser.add_argument("--only", action="append", metavar="TEXT", help="systems whose name contains this")
    parser.add_argument(
        "--data", type=Path, metavar="FOLDER", help="holds heptamer/, baker/ or lj38/; without it those are left out"
    )
    parser.add_argument("--lj38", action="store_true", help="the two funnels of LJ38 as well, which take long")
    return parser


def _wanted(name: str, only: list[str] | None) -> bool:
    return not only or any(text in name for text in only)


def _list(wanted: list[str], data: Path | None) -> None:
    print(f"{'system':26}{'D':>5}{'tolerance':>11}{'right barrier':>15}")
    for name in wanted:
        found = system(name, data)
        barrier = "not known" if found.barrier is None else f"{found.barrier:.6f}"
        print(f"{name:26}{found.start.size:>5}{found.tolerance:>11g}{barrier:>15}", flush=True)
