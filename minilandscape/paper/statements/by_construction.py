"""Whether a campaign's target losses leave a statement no other outcome."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...analysis.permutation import Comparison
from ...training import reached_target
from ..verdicts import SIGNIFICANT, STILL_FALLING, Verdict


def by_construction(found: Mapping[str, Any], result: Comparison, weights: str) -> Verdict | None:
    """Return the verdict "by construction" if it applies, else None.

    It applies if L-BFGS-GSS's number is significantly lower than any that SGD reaches at its target loss. Of test
    weights that is so if the test loss was still falling when the runs ended.
    """
    reasons = found["reasons"]["sgd"]
    at_target = sum(reached_target(reason) for reason in reasons) > len(reasons) / 2
    if weights == "test":
        minima, last = (float(np.mean(found["epochs"]["sgd"][w])) for w in ("test", "train"))
        at_target = at_target and minima >= STILL_FALLING * last
    lower = result.first < min(result.second, found["table1"]["sgd"]["train"]["mean"])
    return Verdict.BY_CONSTRUCTION if at_target and lower and result.p <= SIGNIFICANT else None
