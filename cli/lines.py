"""Results as aligned lines and tables on standard output."""

from __future__ import annotations

from collections.abc import Sequence

from minilandscape.display import Row, text_lines, text_table


def print_lines(rows: Sequence[Row]) -> None:
    """Prints rows of (label, value, remark), if there are any."""
    if rows:
        print(text_lines(rows))


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Prints rows, the first of them the names of the columns."""
    print(text_table(rows))
