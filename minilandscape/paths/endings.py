"""Why a search ended."""

from __future__ import annotations

from enum import StrEnum


class Ending(StrEnum):
    """Why a search of a path ended.

    Attributes
    ----------
    converged
        Whether the path is verified to be converged.
    meaning
        The finding, in one clause.
    advice
        What to do where the path is not converged.
    """

    converged: bool
    meaning: str
    advice: str

    def __new__(cls, value: str, converged: bool, meaning: str, advice: str = "") -> Ending:
        """Make an ending, a string with further attributes."""
        ending = str.__new__(cls, value)
        ending._value_ = value
        ending.converged, ending.meaning, ending.advice = converged, meaning, advice
        return ending

    CONVERGED = (
        "converged",
        True,
        "the objective is stationary, the sample points resolve the maximum, and it has no second negative mode",
    )
    NO_BARRIER = ("no barrier", True, "the path has no barrier, to within 2e-5 of that of the straight line")
    STRAIGHT_LINE = ("straight line", False, "the straight line was evaluated without a search", "search a path")
    TARGET = (
        "target barrier",
        False,
        "the barrier is at most the target",
        "a lower target barrier searches on",
    )
    STEPS = ("steps", False, "stopped after the number of steps", "take more steps, or resume from this path")
    BUDGET = ("budget", False, "the budget is spent", "raise the budget, or resume from this path")
    STAGES = (
        "stages",
        False,
        "the maximum still decreased after twelve stages of β",
        "resume from this path",
    )
    STALLED = (
        "stalled",
        False,
        "the objective no longer decreases although its gradient is not zero",
        "check the gradient, lower lr, or take the solver auto",
    )
    LINE_SEARCH = (
        "line search",
        False,
        "the objective does not decrease along its negative gradient, which is not zero",
        "check the gradient: it is not that of the values, or the values are noisy",
    )
    UNDER_RESOLVED = (
        "under-resolved",
        False,
        "the maximum lies between the sample points, where the search does not evaluate",
        "resume from this path with more sample points",
    )
    NOT_STATIONARY = (
        "not stationary",
        False,
        "the objective is stationary, but the maximum is not stationary perpendicular to the path: it may have "
        "too few terms, or images",
        "give more terms and sample points, or more images of a band, or search the saddle from this path with "
        "refine_saddle",
    )
    HIGHER_INDEX = (
        "higher index",
        False,
        "the maximum has a second negative mode: it is not a first-order saddle",
        "start from a path on one side of this one (initial), or displace an endpoint slightly",
    )
    RAN_OFF = (
        "ran off",
        False,
        "the path became a million times as long as the straight line: the objective decreases without end",
        "bound the values from below where no path should go, or give lam",
    )
    NOT_FINITE = ("not finite", False, "a value or gradient is not finite", "the error names the point")
    INTERRUPTED = ("interrupted", False, "interrupted", "resume from this path")
