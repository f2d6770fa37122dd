"""The test of whether two means agree within the factor that the paper calls comparable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ..analysis.permutation import Comparison

#: Numbers agree if neither is larger than the other by more than this factor: Table 1's test losses, which the paper
#: calls comparable, differ by up to 1.21.
COMPARABLE = 1.25


def against_margin(compare: Callable[[Any, Any], Comparison], a: Any, b: Any, both: bool = True) -> Comparison:
    """Whether means lie within a factor of 1.25: the test is against that, not against 1. Negative ones tell nothing.

    Parameters
    ----------
    compare
        A test of the difference between two groups.
    both
        Whether neither may be larger by more; else the first may not.

    Returns
    -------
    Comparison
        p is small where it is clear on which side of the margin they are.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.mean() < 0 or b.mean() < 0:  # a factor says nothing of them
        return replace(compare(a, b), p=1.0)
    above = compare(a, COMPARABLE * b)
    below = compare(COMPARABLE * a, b)
    if above.first > above.second or not both:
        decides = above
    elif below.first < below.second:
        decides = below
    else:  # it has to be clear of both margins
        decides = max(above, below, key=lambda found: found.p)
    return Comparison(float(a.mean()), float(b.mean()), decides.p, decides.least, above.n)
