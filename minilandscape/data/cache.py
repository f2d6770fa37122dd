"""Where downloaded and parsed data are kept."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import numpy as np

from ..files import read_result, write_result
from .arrays import ARRAYS, digest

KIND = "cached data set"


def user_cache() -> Path | None:
    """The folder for downloaded and parsed data; None where the user has no home folder.

    ``$MINILANDSCAPE_CACHE``, else ``minilandscape`` in ``$XDG_CACHE_HOME``, else in ``~/.cache``
    (``~/Library/Caches`` on macOS, ``%LOCALAPPDATA%`` on Windows). It is created when something is written.
    """
    own = os.environ.get("MINILANDSCAPE_CACHE")
    if own:
        return Path(own).expanduser()
    xdg = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(xdg):  # the XDG specification says to ignore relative ones
        return Path(xdg, "minilandscape")
    try:
        home = Path.home()
    except RuntimeError:  # a container whose user has no entry
        return None
    platform: str = sys.platform
    if platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local", "minilandscape")
    return home / ("Library/Caches" if platform == "darwin" else ".cache") / "minilandscape"


def cache_file(name: str) -> Path | None:
    """A file of the cache; None where there is no home folder."""
    folder = user_cache()
    return None if folder is None else folder / name


def read_cache(path: Path | None) -> tuple[dict[str, np.ndarray], str] | None:
    """The arrays and what they were made from, or None: a damaged cache is as good as none."""
    if path is None or not os.path.isfile(path):
        return None
    try:
        arrays, facts = read_result(path, KIND)
        arrays = {name: arrays[name] for name in ARRAYS}
        if digest(arrays) != facts["digest"]:
            return None
        return arrays, facts["origin"]
    except Exception:  # whatever is wrong with it, the source is read anew
        return None


def write_cache(path: Path | None, arrays: dict[str, np.ndarray], origin: str) -> None:
    """Keeps the arrays; without a place to keep them they are made again next time."""
    if path is None:
        return
    try:
        write_result(path, KIND, arrays, {"origin": origin, "digest": digest(arrays)})
    except OSError as error:
        logging.getLogger("minilandscape.data").info(
            "the cache %s cannot be written: %s", path, error.strerror or error
        )
