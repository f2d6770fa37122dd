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
    """Test whether two means agree within a factor of 1.25: the test is against that factor, not against 1.

    Parameters
    ----------
    compare
        The test of the difference between two groups.
    both
        Whether neither may be larger by more than the factor; else only the first may not.

    Returns
    -------
    Comparison
        p is small if the means are significantly on one side of the margin; 1 if a mean is negative.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.mean() < 0 or b.mean() < 0:  # a factor has no meaning for them
        return replace(compare(a, b), p=1.0)
    above = compare(a, COMPARABLE * b)
    below = compare(COMPARABLE * a, b)
    if above.first > above.second or not both:
        decides = above
    elif below.first < below.second:
        decides = below
    else:  # both margins count
        decides = max(above, below, key=lambda found: found.p)
    return Comparison(float(a.mean()), float(b.mean()), decides.p, decides.least, above.n)
