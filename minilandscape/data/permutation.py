"""The LSTM's permutation of the pixels."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from .images import PIXELS


@cache
def lstm_permutation() -> np.ndarray:
    """Return the fixed permutation of the 784 pixels, which the LSTM reads 28 at a time: ``images[:, permutation]``.

    Returns
    -------
    numpy.ndarray, (784,) int64
        ``torch.randperm(784, generator=torch.Generator().manual_seed(1234))`` of the authors' notebooks, made
        without torch: MT19937 seeded by ``init_genrand(1234)``, then a forward Fisher–Yates shuffle with one 32-bit
        draw u for each swap(r[i],(r[i], r[i + u mod (784 − i)]).
    """
    twister = np.random.MT19937()
    # RandomState seeds by init_genrand, whereas MT19937(1234) would hash the seed first.
    state: Any = np.random.RandomState(1234).get_state(legacy=False)
    twister.state = state
    permutation = np.arange(PIXELS, dtype=np.int64)
    for i, draw in enumerate(twister.random_raw(PIXELS - 1)):
        j = i + int(draw) % (PIXELS - i)
        permutation[[i, j]] = permutation[[j, i]]
    permutation.flags.writeable = False  # all callers share this array
    return permutation
