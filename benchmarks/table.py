"""Tables of measurements as CSV files, to which a row is added when it is measured."""

from __future__ import annotations

import csv
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any


def measured(table: Path, *key: str) -> set[tuple[str, ...]]:
    """Read which rows are there, by the columns that name a row."""
    if not table.exists():
        return set()
    with table.open(newline="") as file:
        return {tuple(row[name] for name in key) for row in csv.DictReader(file)}


def add(table: Path, row: Any) -> None:
    """Add a row, a dataclass, to the table; numbers have four digits."""
    new = not table.exists()
    with table.open("a", newline="") as file:
        writer = csv.DictWriter(file, [each.name for each in fields(row)], lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(
            {name: f"{value:.4g}" if isinstance(value, float) else value for name, value in asdict(row).items()}
        )
