"""The four arrays of a data set as read, uint8 pixels or floats and labels, and the name of known ones."""

from __future__ import annotations

import hashlib

import numpy as np

from .images import Images, Mnist
from .remarks import remark

ARRAYS = ("x_train", "y_train", "x_test", "y_test")
# Digest of known arrays -> key: the same arrays have the same key, whatever they were read from.
KEYS = {
    "19e73e6cf3d0962cc3e56ce34c5bfcb3cfd93ba334ec986d9ac90b0265c24915": "mnist",
    "a49d4c30721a137e295a5980939b02251f767e076fc3df838be323f19f078f06": "mnist5k",
}


def digest(arrays: dict[str, np.ndarray]) -> str:
    """Return the SHA-256 of the four arrays, which is the same on every machine."""
    total = hashlib.sha256()
    for name in ARRAYS:
        array = arrays[name]
        little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        total.update(f"{name} {little.dtype.str} {little.shape};".encode())
        total.update(little.data.cast("B"))
    return total.hexdigest()


def assemble(arrays: dict[str, np.ndarray], source: str, kind: str) -> Mnist:
    """Make a data set of the four arrays as read; they are removed from ``arrays`` one by one to save memory."""
    _take_bits(arrays)
    key, known = _key_of(arrays, kind)
    exchanged = not known and len(arrays["x_test"]) > len(arrays["x_train"]) and _known(_exchanged(arrays)) is not None
    splits = {}
    for part in ("train", "test"):
        images, labels = arrays.pop(f"x_{part}"), arrays.pop(f"y_{part}")
        if images.dtype == np.uint8:
            images = _floats(images)
        splits[part] = Images(np.ascontiguousarray(images), labels.astype(np.int64))
        del images
    found = ""
    if exchanged:
        found = "MNIST's images, but training and test set are exchanged"
    elif not known:
        found = remark(splits["train"], splits["test"])
    return Mnist(splits["train"], splits["test"], source, key, found)


def _take_bits(arrays: dict[str, np.ndarray]) -> None:
    """Convert whole numbers up to 1 to floats as they are: they are not pixels from 0 to 255."""
    whole = [name for name in ("x_train", "x_test") if arrays[name].dtype == np.uint8]
    if whole and max(int(arrays[name].max()) for name in whole) <= 1:
        for name in whole:
            arrays[name] = arrays[name].astype(np.float32)


def _key_of(arrays: dict[str, np.ndarray], kind: str) -> tuple[str, bool]:
    """Return the arrays' key, the same for pixels and for pixels divided by 255, and whether the images are known.

    Floats that differ from pixels / 255 in their last digits are other arrays of the same images.
    """
    as_read = digest(arrays)
    exact = {name: _pixels(array) if name.startswith("x") else array for name, array in arrays.items()}
    same = all(exact[name] is arrays[name] for name in arrays)
    key = KEYS.get(as_read if same else digest(exact), f"{kind}:{as_read[:12]}")
    return key, key in KEYS.values() or _known(arrays) is not None


def _known(arrays: dict[str, np.ndarray]) -> str | None:
    """Return the key of the known data set with these images, up to rounding."""
    return KEYS.get(
        digest({name: _nearest_pixels(array) if name.startswith("x") else array for name, array in arrays.items()})
    )


def _exchanged(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays with training and test set exchanged."""
    return {name: arrays[name.replace("train", "-").replace("test", "train").replace("-", "test")] for name in ARRAYS}


def _floats(pixels: np.ndarray) -> np.ndarray:
    return np.divide(pixels, np.float32(255), dtype=np.float32)


def _nearest_pixels(images: np.ndarray) -> np.ndarray:
    return images if images.dtype == np.uint8 else np.rint(images * np.float32(255)).astype(np.uint8)


def _pixels(images: np.ndarray) -> np.ndarray:
    """Return the uint8 pixels from which floats were made; the floats themselves if there are none."""
    pixels = _nearest_pixels(images)
    return pixels if pixels is images or np.array_equal(_floats(pixels), images) else images
