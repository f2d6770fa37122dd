"""Results as labelled lines of text and as tables for notebooks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from html import escape
from math import floor, isfinite, log10
from typing import Any

#: Significant digits of a number that stands alone.
DIGITS = 5
#: A number with more digits than this before or after the point is written with an exponent.
MOST_DIGITS = 9

#: A label, a value and a remark.
Row = tuple[str, str, str]


def number(value: float, digits: int = DIGITS) -> str:
    """Format a number with some significant digits."""
    return f"{value:.{digits}g}"


def with_unit(text: str, unit: str) -> str:
    """Put the unit of a number after it, if it has one."""
    return f"{text} {unit}" if unit else text


def nearest(typed: str, names: Iterable[str]) -> str:
    """Suggest the one of some names that is most like what was typed; nothing where none is like it."""
    by_lower = {name.lower(): name for name in names}
    found = get_close_matches(typed.lower(), by_lower, n=1)
    return f" (did you mean {by_lower[found[0]]}?)" if found else ""


def listed(names: Iterable[Any], most: int = 4) -> str:
    """List the first few names, and say how many there are."""
    names = list(names)
    head = ", ".join(map(str, names[:most]))
    return head if len(names) <= most else f"{head}, … ({len(names)} in all)"


def aligned(value: float, among: Any) -> str:
    """Format one of some values with as many decimals as resolve their range to about six digits.

    Values such as energies have an arbitrary zero, so that their differences say how many decimals matter. Positive
    values that span decades are formatted with six significant digits instead.
    """
    others = [float(each) for each in among if isfinite(each)]
    low, high = min(others, default=0.0), max(others, default=0.0)
    if not (isfinite(value) and high > low) or 0 < low < 1e-2 * high:
        return f"{value:.6g}"
    decimals = 6 - floor(log10(high - low))
    if not 0 <= decimals <= MOST_DIGITS or abs(value) >= 10**MOST_DIGITS:
        return f"{value:.7g}"
    return f"{value:.{decimals}f}"


def count(n: int, noun: str, plural: str | None = None) -> str:
    """Format a number of things, the noun in the plural where it has to be."""
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


def text_lines(rows: Sequence[Row]) -> str:
    """Format rows as lines of text: the decimal points of numbers are aligned, and so are the remarks."""
    if not rows:
        return ""
    labels = max(len(label) for label, _, _ in rows)
    point = max([labels + 3, *(len(label) + 2 + _whole(value) for label, value, _ in rows if _whole(value))])
    # Words begin at the last digit before the points.
    shown = [f"{label:<{point - (_whole(value) or 1)}}{value}" for label, value, _ in rows]
    width = max((len(text) for text, (_, _, remark) in zip(shown, rows, strict=True) if remark), default=0) + 3
    lines = [f"{text:<{width}}{remark}" if remark else text for text, (_, _, remark) in zip(shown, rows, strict=True)]
    return "\n".join(lines)


def _whole(value: str) -> int:
    """Count the characters before the decimal point of a number, or of the first of several; 0 for words."""
    found = re.match(r"[-+]?\d[\d,]*(?=\.\d|e[-+]\d|, [-+\d]| [±(]|$)", value)
    return len(found.group()) if found else 0


def text_table(rows: Sequence[Sequence[str]]) -> str:
    """Format rows of cells, the first one the names of the columns; numbers are aligned to the right."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    right = [k > 0 and all(row[k][:1] in "-0123456789" for row in rows[1:]) for k in range(len(widths))]
    lines = [
        "  ".join(
            f"{cell:>{width}}" if flush else f"{cell:<{width}}"
            for cell, width, flush in zip(row, widths, right, strict=True)
        )
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def as_html(title: str, rows: Sequence[Row], picture: str = "") -> str:
    """Format a title and rows as an HTML table, with a picture (inline SVG) beside it if there is one."""
    left = ' style="text-align:left"'
    body = "".join(
        f"<tr><th{left}>{escape(name)}</th><td{left}>{escape(value)}</td>"
        + (f"<td{left}>{escape(remark)}</td></tr>" if remark else "</tr>")
        for name, value, remark in rows
    )
    table = f"<table><caption>{escape(title)}</caption><tbody>{body}</tbody></table>"
    if not picture:
        return table
    return f'<div style="display:flex;gap:1em;align-items:center;flex-wrap:wrap">{table}{picture}</div>'


def svg_of(axes: Any) -> str:
    """Draw the figure of some axes as inline SVG."""
    import io

    buffer = io.StringIO()
    axes.figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
