"""Small results that their labelled values describe."""

from __future__ import annotations

from ..display import Row, as_html, text_lines


class Described:
    """A result that its rows describe in one line, in lines of text and as a table."""

    def rows(self) -> list[Row]:
        raise NotImplementedError

    def __repr__(self) -> str:
        """One line: all values with their labels."""
        values = ", ".join(f"{label} {value}" for label, value, _ in self.rows())
        return f"<{type(self).__name__}: {values}>"

    def summary(self) -> str:
        """Describe the result in lines of text."""
        return text_lines(self.rows())

    def _repr_html_(self) -> str:
        return as_html(type(self).__name__, self.rows())
