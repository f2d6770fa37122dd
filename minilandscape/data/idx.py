"""IDX files, four for a data set."""

from __future__ import annotations

import gzip
import os
import zlib
from pathlib import Path

import numpy as np

from .images import PIXELS, DataError, check_labels

FILES = {
    "x_train": ("train-images", "idx3"),
    "y_train": ("train-labels", "idx1"),
    "x_test": ("t10k-images", "idx3"),
    "y_test": ("t10k-labels", "idx1"),
}
MAGIC = {0x0801: "labels", 0x0803: "images"}


def idx_names(name: str) -> list[str]:
    """Return the file names that an array of a data set may have."""
    stem, kind = FILES[name]
    plain = [f"{stem}-{kind}-ubyte", f"{stem}.{kind}-ubyte"]
    return plain + [f"{file}.gz" for file in plain]


def find_idx(folder: Path) -> dict[str, Path] | None:
    """Find the four files of a data set in a folder.

    Returns None if there is none of them.

    Raises
    ------
    DataError
        If there are only some of them.
    """
    some = None
    for place in (folder, folder / "MNIST" / "raw", folder / "raw"):
        found = {}
        for name in FILES:
            file = next((place / file for file in idx_names(name) if os.path.isfile(place / file)), None)
            if file is not None:
                found[name] = file
        if len(found) == len(FILES):
            return found
        if found and some is None:
            missing = ", ".join(idx_names(name)[0] for name in FILES if name not in found)
            some = f"{place} holds {', '.join(file.name for file in found.values())} but not {missing} (or .gz)"
    if some is not None:
        raise DataError(some)
    return None


def read_idx(path: Path, kind: str) -> np.ndarray:
    """Read pixels (N, 784) or labels (N,), uint8, as a view of the file's content.

    Raises
    ------
    DataError
        If the file cannot be read, is damaged, or holds something else; the message names the file.
    """
    content = _content(path)
    if not content:
        raise DataError(f"{path} is empty; expected an IDX file of {kind}")
    magic = int.from_bytes(content[:4], "big")
    if len(content) < 4 or MAGIC.get(magic) != kind:
        expected = next(number for number, name in MAGIC.items() if name == kind)
        found = f"is an IDX file of {MAGIC[magic]}" if magic in MAGIC else f"starts with {content[:4].hex()}"
        raise DataError(f"{path} {found}; expected one of {kind}, which starts with {expected:08x}")
    start = 16 if kind == "images" else 8
    count = _count(content, start, kind, path)
    values = np.frombuffer(content, np.uint8, offset=start)
    if kind == "images":
        return values.reshape(count, PIXELS)
    check_labels(values, str(path))
    return values


def _content(path: Path) -> bytes:
    """Return a file's content, unpacked if it is gzipped."""
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":  # by content, since a browser may unpack a file and keep its name
            return gzip.decompress(content)
        if path.suffix == ".gz" and content and content[:2] != b"\0\0":
            raise DataError(f"{path} is not a gzip file")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is damaged or cut off: {error}") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None
    return content


def _count(content: bytes, start: int, kind: str, path: Path) -> int:
    """Return the number of images or labels by a file's header, which is checked against its length."""
    if len(content) < start:
        raise DataError(f"{path} is cut off: {len(content)} bytes, its header alone has {start}")
    count, *sides = (int.from_bytes(content[i : i + 4], "big") for i in range(4, start, 4))
    if kind == "images" and sides != [28, 28]:
        raise DataError(f"{path} holds images of {sides[0]} by {sides[1]} pixels; expected 28 by 28")
    if count == 0:
        raise DataError(f"{path} holds no {kind}")
    size, follow = count * (PIXELS if kind == "images" else 1), len(content) - start
    if follow != size:
        fault = "is cut off" if follow < size else "is too long"
        raise DataError(f"{path} {fault}: its header says {count} {kind}, {size} bytes, and {follow} follow it")
    return count
