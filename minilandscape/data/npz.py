"""A data set in one .npz file."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from .arrays import ARRAYS
from .images import PIXELS, DataError, check_labels


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Read ``x_train y_train x_test y_test``: images (N, 784) uint8 or float32, labels (N,) uint8."""
    try:
        if path.stat().st_size == 0:
            raise DataError(f"{path} is empty; expected an .npz with {' '.join(ARRAYS)}")
        if not zipfile.is_zipfile(path):
            raise DataError(f"{path} is not an .npz file, or is cut off (for IDX files, name their folder)")
        arrays = {}
        with np.load(path, allow_pickle=False) as file:
            missing = [name for name in ARRAYS if name not in file.files]
            if missing:
                raise DataError(
                    f"{path} holds {' '.join(file.files) or 'no arrays'} but not {' '.join(missing)}; "
                    f"expected {' '.join(ARRAYS)}"
                )
            for name in ARRAYS:
                read = _npz_images if name.startswith("x") else _npz_labels
                arrays[name] = read(_npz_array(file, name, path), f"{path}: {name}")
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None
    except Exception as error:  # a damaged zip file raises many types of errors
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
    """Return images (N, 784) as uint8 pixels, or float32 in [0, 1]."""
    shape = images.shape
    if images.ndim == 4 and 1 in (shape[1], shape[3]):  # a single channel, before or after the pixels
        images = images.reshape(len(images), *((shape[2], shape[3]) if shape[1] == 1 else shape[1:3]))
    if images.ndim not in (2, 3) or images.shape[1:] not in ((28, 28), (PIXELS,)) or not len(images):
        raise DataError(f"{name} has shape {shape}; expected (N, 28, 28) or (N, {PIXELS})")
    images = images.reshape(len(images), PIXELS)
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind not in "fiub":
        raise DataError(f"{name} holds {images.dtype} values; expected numbers from 0 to 255, or floats in [0, 1]")
    if images.dtype.kind == "b":
        return images.astype(np.float32)
    low, high = images.min(), images.max()  # either is NaN where a pixel is
    if not np.isfinite([low, high]).all():
        raise DataError(f"{name} holds values that are not finite; expected floats in [0, 1]")
    if low >= 0 and high <= 255 and (images.dtype.kind in "iu" or (high > 1 and (images == np.rint(images)).all())):
        return images.astype(np.uint8)
    if low < 0 or high > 1:
        undo = "undo the standardisation (x * std + mean)" if low < 0 else "divide by the largest possible value"
        raise DataError(f"{name} holds values from {low:g} to {high:g}; expected [0, 1], or 0 to 255: {undo}")
    return images.astype(np.float32, copy=False)


def _npz_labels(labels: np.ndarray, name: str) -> np.ndarray:
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        hint = f": if they are one-hot, {name.rpartition(' ')[2]}.argmax(axis=1)" if labels.ndim == 2 else ""
        raise DataError(f"{name} has shape {labels.shape}; expected (N,), one digit for each image{hint}")
    whole = labels.dtype.kind in "iu" or (labels.dtype.kind == "f" and (labels == np.rint(labels)).all())
    if not whole:
        raise DataError(f"{name} holds {labels.dtype} values; expected whole numbers 0 to 9")
    check_labels(labels, name)
    return labels.astype(np.uint8)
