"""A scraper for sphinx-gallery: shows the pictures that an example saves, and leaves nothing of them beside it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from sphinx_gallery.scrapers import figure_rst


def saved_pictures(block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """Move the PNG files that a block of an example has written to where the gallery keeps its pictures."""
    moved = []
    for picture in sorted(Path(block_vars["src_file"]).parent.glob("*.png"), key=lambda file: file.stat().st_mtime_ns):
        target = next(block_vars["image_path_iterator"])
        shutil.move(picture, target)
        moved.append(target)
    return figure_rst(moved, gallery_conf["src_dir"])
