"""The four arrays of a data set as read: uint8 pixels or floats, and labels; what they are known as."""

from __future__ import annotations

import hashlib

import numpy as np

from .images import Images, Mnist

ARRAYS = ("x_train", "y_train", "x_test", "y_test")
# What the arrays' digests are known as; the same arrays have the same key wherever they were read from.
KEYS = {
    "19e73e6cf3d0962cc3e56ce34c5bfcb3cfd93ba334ec986d9ac90b0265c24915": "mnist",
    "a49d4c30721a137e295a5980939b02251f767e076fc3df838be323f19f078f06": "mnist5k",
}


def digest(arrays: dict[str, np.ndarray]) -> str:
    """SHA-256 of the four arrays, the same on every machine."""
    total = hashlib.sha256()
    for name in ARRAYS:
        array = arrays[name]
        little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        total.update(f"{name} {little.dtype.str} {little.shape};".encode())
        total.update(little.data.cast("B"))
    return total.hexdigest()


def key_of(arrays: dict[str, np.ndarray], kind: str) -> str:
    """The name of the arrays, the same whether they hold pixels or those divided by 255."""
    own = digest(arrays)
    as_pixels = {name: _pixels(array) if name.startswith("x") else array for name, array in arrays.items()}
    known = own if all(as_pixels[name] is arrays[name] for name in arrays) else digest(as_pixels)
    return KEYS.get(known, f"{kind}:{own[:12]}")


def _floats(pixels: np.ndarray) -> np.ndarray:
    return np.divide(pixels, np.float32(255), dtype=np.float32)


def _pixels(images: np.ndarray) -> np.ndarray:
    """The uint8 that floats were made from; the floats themselves where none gives just these."""
    if images.dtype == np.uint8:
        return images
    pixels = np.rint(images * np.float32(255)).astype(np.uint8)
    return pixels if np.array_equal(_floats(pixels), images) else images


def assemble(arrays: dict[str, np.ndarray], source: str, kind: str) -> Mnist:
    """The four arrays as read -> Mnist. Takes them out of ``arrays``, so that the bytes go as the floats come."""
    key = key_of(arrays, kind)
    splits = {}
    for part in ("train", "test"):
        images, labels = arrays.pop(f"x_{part}"), arrays.pop(f"y_{part}")
        if images.dtype == np.uint8:
            images = _floats(images)
        splits[part] = Images(np.ascontiguousarray(images), labels.astype(np.int64))
        del images
    return Mnist(splits["train"], splits["test"], source, key)
