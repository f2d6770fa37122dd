"""The cache of downloaded and parsed data."""

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
    """Return the folder for downloaded and parsed data; None if the user has no home folder.

    It is ``$MINILANDSCAPE_CACHE``, else ``minilandscape`` in ``$XDG_CACHE_HOME``, else in ``~/.cache``
    (``~/Library/Caches`` on macOS, ``%LOCALAPPDATA%`` on Windows). It is created when something is written.
    """
    named = os.environ.get("MINILANDSCAPE_CACHE")
    if named:
        return Path(named).expanduser()
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
    """Return the path of a file in the cache; None if there is no home folder."""
    folder = user_cache()
    return None if folder is None else folder / name


def read_cache(path: Path | None) -> tuple[dict[str, np.ndarray], str] | None:
    """Read the arrays and their origin; None if there is no such file or it is damaged."""
    if path is None or not os.path.isfile(path):
        return None
    try:
        arrays, metadata = read_result(path, KIND)
        arrays = {name: arrays[name] for name in ARRAYS}
        if digest(arrays) != metadata["digest"]:
            return None
        return arrays, metadata["origin"]
    except Exception:  # whatever the damage, the source is read again
        return None


def write_cache(path: Path | None, arrays: dict[str, np.ndarray], origin: str) -> None:
    """Write the arrays to the cache; if it cannot be written they are made again next time."""
    if path is None:
        return
    try:
        write_result(path, KIND, arrays, {"origin": origin, "digest": digest(arrays)})
    except OSError as error:
        logging.getLogger("minilandscape.data").info(
            "the cache %s cannot be written: %s", path, error.strerror or error
        )
