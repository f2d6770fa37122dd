"""Results in a few lines of text, and as a table in a notebook."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape


def as_text(title: str, rows: Mapping[str, str]) -> str:
    """Format a title and rows of name and value as lines of text, the values aligned."""
    width = max((len(name) for name in rows), default=0)
    return "\n".join([title, *(f"  {name:{width}}  {value}" for name, value in rows.items())])


def as_html(title: str, rows: Mapping[str, str]) -> str:
    """Format a title and rows of name and value as an HTML table."""
    body = "".join(
        f'<tr><th style="text-align:left">{escape(name)}</th><td style="text-align:left">{escape(value)}</td></tr>'
        for name, value in rows.items()
    )
    return f"<table><caption>{escape(title)}</caption><tbody>{body}</tbody></table>"
