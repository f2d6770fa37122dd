"""Vertical bars in docstrings are those of |x|, not of reStructuredText's substitutions."""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

#: After numpydoc, which has made reStructuredText of the docstring by then.
AFTER_NUMPYDOC = 900
#: Literals and roles, such as :math:, keep their bars.
KEPT = re.compile(r"(``.+?``|:\w+:`.+?`)")


def escape(app: Sphinx, what: str, name: str, owner: object, options: Any, lines: list[str]) -> None:
    """Escapes the bars of text: not those of literals, of code, or of formulas."""
    formula: int | None = None
    for k, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        if line.strip() and formula is not None and indent <= formula:
            formula = None
        if line.lstrip().startswith(".. math::"):
            formula = indent
        if formula is None and "|" in line and not line.lstrip().startswith((">>>", "...")):
            parts = KEPT.split(line)
            parts[::2] = [part.replace("|", "\\|") for part in parts[::2]]
            lines[k] = "".join(parts)


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers the event."""
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("autodoc-process-docstring", escape, priority=AFTER_NUMPYDOC)
    return {"parallel_read_safe": True}
