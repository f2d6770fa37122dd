"""The four arrays of a data set as read: uint8 pixels or floats, and labels; what they are known as."""

from __future__ import annotations

import hashlib

import numpy as np

from .images import Images, Mnist
from .remarks import remark

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


def assemble(arrays: dict[str, np.ndarray], source: str, kind: str) -> Mnist:
    """The four arrays as read -> Mnist. Takes them out of ``arrays``, so that the bytes go as the floats come."""
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
    said = ""
    if exchanged:
        said = "MNIST's own, but training and test images are exchanged"
    elif not known:
        said = remark(splits["train"], splits["test"])
    return Mnist(splits["train"], splits["test"], source, key, said)


def _take_bits(arrays: dict[str, np.ndarray]) -> None:
    """Whole numbers of which none is above 1 are no 255ths: they become floats as they are."""
    whole = [name for name in ("x_train", "x_test") if arrays[name].dtype == np.uint8]
    if whole and max(int(arrays[name].max()) for name in whole) <= 1:
        for name in whole:
            arrays[name] = arrays[name].astype(np.float32)


def _key_of(arrays: dict[str, np.ndarray], kind: str) -> tuple[str, bool]:
    """The name of the arrays, the same whether they hold pixels or those divided by 255; whether they are known ones.

    Floats that differ from pixels in their last digits only are other arrays, of the same images.
    """
    own = digest(arrays)
    exact = {name: _pixels(array) if name.startswith("x") else array for name, array in arrays.items()}
    same = all(exact[name] is arrays[name] for name in arrays)
    key = KEYS.get(own if same else digest(exact), f"{kind}:{own[:12]}")
    return key, key in KEYS.values() or _known(arrays) is not None


def _known(arrays: dict[str, np.ndarray]) -> str | None:
    """The known data set whose images these are, up to rounding."""
    return KEYS.get(
        digest({name: _nearest_pixels(array) if name.startswith("x") else array for name, array in arrays.items()})
    )


def _exchanged(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same with training and test set in each other's place."""
    return {name: arrays[name.replace("train", "-").replace("test", "train").replace("-", "test")] for name in ARRAYS}


def _floats(pixels: np.ndarray) -> np.ndarray:
    return np.divide(pixels, np.float32(255), dtype=np.float32)


def _nearest_pixels(images: np.ndarray) -> np.ndarray:
    return images if images.dtype == np.uint8 else np.rint(images * np.float32(255)).astype(np.uint8)


def _pixels(images: np.ndarray) -> np.ndarray:
    """The uint8 that floats were made from; the floats themselves where none gives just these."""
    pixels = _nearest_pixels(images)
    return pixels if pixels is images or np.array_equal(_floats(pixels), images) else images
