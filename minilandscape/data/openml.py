"""MNIST from OpenML."""

from __future__ import annotations

import socket
import tempfile
import threading
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable

import numpy as np

from .images import CLASSES, PIXELS, DataError

#: Seconds without an answer after which OpenML counts as unreachable.
TIMEOUT = 5.0
PROBE = "https://api.openml.org/"


def download_openml(say: Callable[[str], None]) -> dict[str, np.ndarray]:
    """Download OpenML's 70,000 digits; the first 60,000 are the training set."""
    _reach(PROBE)
    from sklearn.datasets import fetch_openml

    say("downloading MNIST from OpenML, once (about 15 MB)")
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on retries and future defaults; the data are checked below
            # This parser needs no pandas. At least one retry and a delay above 0 are required.
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
    """Return if the address answers within the time-out, else raise the error.

    The request runs in a thread, since looking up a host name has no time-out.
    """
    outcome: list[Exception | None] = []

    def ask() -> None:
        try:
            urllib.request.urlopen(address, timeout=TIMEOUT).close()
            outcome.append(None)
        except urllib.error.HTTPError:  # an error code is an answer, too
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
