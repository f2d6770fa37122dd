"""Remarks on images that are not MNIST's."""

from __future__ import annotations

import numpy as np

from .images import CLASSES, Images

#: Mean and standard deviation of a pixel of Fashion-MNIST's training images, as published, to four digits.
FASHION, TOLERANCE = (0.2860, 0.3530), 2e-4
#: Number of images of a one that are examined, and the ratio of width to height above which they lie on their side.
ONES, LYING = 500, 1.3
#: With fewer images a class may be missing by chance.
ENOUGH = 100


def remark(train: Images, test: Images) -> str:
    """Describe how images differ from MNIST's: "not MNIST's own …" and visible properties."""
    remarks = ["not MNIST's own 60,000 + 10,000 images"]
    if (np.bincount(train.labels, minlength=CLASSES) == 6_000).all():
        found = train.images.mean(dtype=np.float64), train.images.std(dtype=np.float64)
        if np.abs(np.subtract(found, FASHION)).max() < TOLERANCE:
            remarks.append("Fashion-MNIST's by their statistics")
        else:
            remarks.append("6,000 of each class, as in EMNIST and KMNIST, unlike MNIST")
    if _lying(train.images[train.labels == 1][:ONES].reshape(-1, 28, 28)):
        remarks.append("the ones lie on their side, like all images in EMNIST's files: swap the two axes of each")
    for name, split in (("training", train), ("test", test)):
        missing = np.flatnonzero(np.bincount(split.labels, minlength=CLASSES) == 0)
        if missing.size and len(split) >= ENOUGH:
            remarks.append(f"no {name} image is labelled {', '.join(map(str, missing))}")
        if split.images[: 10 * ENOUGH].mean() > 0.5:
            remarks.append(f"the {name} images are bright on average, while MNIST's background is 0: use 1 - x")
        if split.images.max() < 0.5:
            remarks.append(f"the brightest pixel of the {name} images is {split.images.max():.3g}")
    if len(test) > len(train):
        remarks.append("there are more test than training images: are the two exchanged?")
    return "; ".join(remarks)


def _lying(ones: np.ndarray) -> bool:
    """Return whether images (N, 28, 28) of a one are wider than tall."""
    total = ones.sum(axis=(1, 2))
    ones, total = ones[total > 0], total[total > 0]
    if len(ones) < 10:
        return False
    place = np.arange(28)
    spread = []
    for axis in (2, 1):  # summed over columns, then over rows
        profile = ones.sum(axis=axis) / total[:, None]
        mean = profile @ place
        spread.append(float(np.median(np.sqrt((profile * (place - mean[:, None]) ** 2).sum(axis=1)))))
    tall, wide = spread
    return wide > LYING * tall
