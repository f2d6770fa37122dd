"""Verdicts on the paper's statements, and the rules by which they are given."""

from __future__ import annotations

from enum import StrEnum

import numpy as np

from ..analysis.permutation import Comparison, Separation
from .margin import COMPARABLE
from .plan import NO_BARRIER

#: Largest p of a statistically significant difference.
SIGNIFICANT = 0.05
#: Centroids are close if half their distance is at most this part of the vectors' mean distance from their centroid.
CLOSE = 0.5
#: Two sets are apart along a component if the area under the ROC curve and the distance of the medians, in standard
#: deviations, are at least these; for two normal distributions the two are equivalent.
APART, GAP = 0.9, 1.8
#: A test loss with its minimum beyond this part of a run's epochs was still falling at the end.
STILL_FALLING = 0.9
#: Vectors per set from which a missing separation counts: half of the paper's 48.
ENOUGH = 24


class Verdict(StrEnum):
    """The verdict of a campaign on a statement.

    Attributes
    ----------
    REPRODUCED
        It holds, significantly where there is a test.
    NOT_REPRODUCED
        The contrary holds, significantly where there is a test.
    INCONCLUSIVE
        Neither is significant, or a search or run behind it was cut off.
    NO_BARRIER
        It is about barriers, and no path on either side has one.
    BY_CONSTRUCTION
        It holds, but the target losses of the runs leave no other outcome.
    """

    REPRODUCED = "reproduced"
    NOT_REPRODUCED = "not reproduced"
    INCONCLUSIVE = "inconclusive"
    NO_BARRIER = "no barrier on either side"
    BY_CONSTRUCTION = "by construction"


#: The rules of verdicts, for people; one sentence or a few each.
RULES = (
    f"Reproduced and not reproduced: the difference is statistically significant (p ≤ {SIGNIFICANT:g}). "
    "Otherwise the verdict is inconclusive.",
    "We use permutation tests. They are two-sided, except those of centroids and of preferred directions.",
    "Runs of both optimisers that share an initial vector are swapped within the pair; all other runs are permuted "
    "freely.",
    "Paths enter a test only if they share no run: of all pairs, the largest such selection. Between optimisers they "
    "are permuted freely. Two quantities of the same runs or paths are compared by the signs of their differences.",
    "Smallest p is the smallest attainable p, given the number of runs and of permutations.",
    f"Comparable, nearly the same and not higher mean: within a factor of {COMPARABLE:g}. The test is against that "
    "factor. A test curve rises if its last value exceeds its minimum by more than that factor.",
    "Height is Eq. (5), the largest loss at the M sample points. Maximum is the largest loss over continuous t. "
    "Barrier is the maximum minus the loss of the endpoint of higher loss.",
    f"A barrier of at most {NO_BARRIER:g} counts as 0. If no path on either side has one, the verdict is: "
    f"{Verdict.NO_BARRIER}.",
    "A second search that was cut off, or is under-resolved, gives no verdict on barriers unless its barrier counts as "
    "0. "
    "Its height counts only if the order stays the same when its endpoint's loss takes its place.",
    "By construction: L-BFGS-GSS's number is lower than SGD's target loss, at which its runs end, so SGD's cannot be "
    "lower. For test weights this applies if the test loss was still falling at the end of the runs.",
    f"Without a test: centroids are close if half their distance is at most {CLOSE:g} of the mean distance of the "
    "vectors from their own centroid. There is no preferred direction if the first eigenvalue of the covariance is "
    f"within a factor of {COMPARABLE:g} of that with random signs. Heights do not depend on λ, N_F or M within that "
    "factor.",
    f"Sets are apart along a principal component if the area under the ROC curve is significant and at least "
    f"{APART:g}, and the medians are at least {GAP:g} standard deviations of the wider set apart. That they are not "
    f"apart is concluded only from at least {ENOUGH} vectors per set, half of the paper's.",
)


def verdict(claim: str, found: Comparison) -> Verdict:
    """Judge a statement by a comparison: reproduced, not reproduced or inconclusive.

    Parameters
    ----------
    claim
        The paper's claim on the first number against the second: "higher", "lower", "less" (of the second against the
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
