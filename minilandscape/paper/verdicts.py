"""Verdicts on the paper's statements: what they are, and by which rules they come about."""

from __future__ import annotations

from enum import StrEnum

import numpy as np

from ..analysis.permutation import Comparison, Separation
from .margin import COMPARABLE

#: A difference whose p is no larger is statistically significant.
SIGNIFICANT = 0.05
#: Centroids are close if half their distance is no more than this part of the vectors' own from their centroid.
CLOSE = 0.5
#: A path whose barrier is no higher crosses none; λ's price of length alone comes to some 1e-6.
NO_BARRIER = 1e-5
#: Two sets are apart where the area under the ROC curve along a component reaches this, 0.5 being none at all and 1 all
#: of it, and their medians are as far apart, in standard deviations, as such an area takes of two normal distributions.
APART, GAP = 0.9, 1.8
#: A test loss whose minimum lies beyond this part of a run's epochs was still falling at its end.
STILL_FALLING = 0.9
#: Kernel PCA of fewer vectors than half of the paper's 48 a set is another experiment: what it misses tells nothing.
ENOUGH = 24


class Verdict(StrEnum):
    """What a campaign says of a statement.

    Attributes
    ----------
    REPRODUCED
        It holds, significantly where there is a test.
    NOT_REPRODUCED
        The contrary holds, significantly where there is a test.
    INCONCLUSIVE
        Neither is significant, or a search or run on which it rests came to no end.
    NO_BARRIER
        It is about barriers, and no path on either side crosses one.
    BY_CONSTRUCTION
        It holds, but the losses at which the runs were told to end leave no other order.
    """

    REPRODUCED = "reproduced"
    NOT_REPRODUCED = "not reproduced"
    INCONCLUSIVE = "inconclusive"
    NO_BARRIER = "no barrier on either side"
    BY_CONSTRUCTION = "by construction"


#: How verdicts come about, for people; a sentence each.
RULES = (
    f"Reproduced and not reproduced: the difference is statistically significant (p ≤ {SIGNIFICANT:g}). "
    "Otherwise the verdict is inconclusive.",
    "We use permutation tests. They are two-sided, except those of centroids and of preferred directions.",
    "Runs of both optimisers that share an initial vector are swapped within the pair; all other runs are permuted "
    "freely.",
    "Paths enter a test only if they share no run: of all pairs, the largest such selection. Between optimisers they "
    "are permuted freely. Two quantities of the same runs or paths are compared by the signs of their differences.",
    "Least p is the smallest p that so few runs, or the number of permutations tried, allow.",
    f"Comparable, nearly the same and not higher mean: within a factor of {COMPARABLE:g}. The test is against that "
    "factor. A test curve rises if its last value exceeds its minimum by more than that factor.",
    "Height is Eq. (5), the largest loss at the M sample points. Maximum is the largest loss over continuous t. "
    "Barrier is the maximum minus the loss of the endpoint of higher loss.",
    f"A barrier of at most {NO_BARRIER:g} counts as 0. If no path on either side has one, the verdict is: "
    f"{Verdict.NO_BARRIER}.",
    "A search that did not converge, or is under-resolved, gives no verdict on barriers unless its barrier is 0. "
    "Its height counts only if the order stays the same when its endpoint's loss takes its place.",
    "By construction: L-BFGS-GSS's number is lower than the training loss at which SGD was told to end, so SGD's "
    "cannot be lower. For test weights this applies if their test loss was still falling at that end.",
    f"Without a test: centroids are close if half their distance is at most {CLOSE:g} of the mean distance of the "
    "vectors from their own centroid. There is no preferred direction if the first eigenvalue of the covariance is "
    f"within a factor of {COMPARABLE:g} of that with random signs. Heights do not depend on λ, N_F or M within that "
    "factor.",
    f"Sets are apart along a principal component if the area under the ROC curve is significant and at least "
    f"{APART:g}, and the medians are at least {GAP:g} standard deviations of the wider set apart. That they are not "
    f"apart is said from {ENOUGH} vectors a set on, half of the paper's.",
)


def verdict(claim: str, found: Comparison) -> Verdict:
    """Judge a statement by a comparison: reproduced, not reproduced or inconclusive.

    Parameters
    ----------
    claim
        What the paper says of the first number against the second: "higher", "lower", "less" (of the second against the
        first), "close", "no direction" or "the same"; or, of a test against the margin, "comparable", "nearly the
        same", "not higher", "rises" or "does not rise".
    """
    first, second = found.first, found.second
    if not np.isfinite([first, second]).all():  # a run that diverged
        return Verdict.INCONCLUSIVE
    if claim == "close":
        return _holds(first <= CLOSE * second)
    if claim in ("no direction", "the same"):
        return _holds(first <= COMPARABLE * second)
    if found.p > SIGNIFICANT:
        return Verdict.INCONCLUSIVE
    above = first > COMPARABLE * second
    holds = {
        "higher": first > second,
        "lower": first < second,
        "less": second < first,
        "not higher": not above,
        "comparable": not above and second <= COMPARABLE * first,
        "nearly the same": not above and second <= COMPARABLE * first,
        "rises": first > COMPARABLE,
        "does not rise": first <= COMPARABLE,
    }
    return _holds(holds[claim])


def verdict_apart(claim: str, found: Separation, n: int) -> Verdict:
    """Judge "apart" or "not apart", with n vectors in the smaller set."""
    apart = found.area >= APART and found.gap >= GAP and found.p <= SIGNIFICANT
    if not apart and n < ENOUGH:
        return Verdict.INCONCLUSIVE
    return _holds(apart == (claim == "apart"))


def _holds(whether: bool) -> Verdict:
    return Verdict.REPRODUCED if whether else Verdict.NOT_REPRODUCED
