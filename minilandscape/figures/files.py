"""A figure as the bytes of picture files."""

from __future__ import annotations

import io
from typing import Any


def draw(figure: Any, name: str) -> dict[str, bytes]:
    """A figure as PNG and SVG, the same bytes wherever the same numbers are drawn."""
    from matplotlib import rc_context

    figure.get_layout_engine().execute(figure)  # once: every drawing would do it again
    figure.set_layout_engine(None)
    pictures = {}
    for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
        buffer = io.BytesIO()
        with rc_context({"svg.hashsalt": name}):  # else every SVG has names of its own inside
            figure.savefig(buffer, format=kind, dpi=130, metadata=metadata)
        pictures[kind] = buffer.getvalue()
    return pictures
