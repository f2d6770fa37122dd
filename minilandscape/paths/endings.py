"""Why a search ended."""

from __future__ import annotations

from enum import StrEnum


class Ending(StrEnum):
    """Why a search of a path ended.

    Attributes
    ----------
    converged
        Whether the path is a measured optimum: nothing is left to gain.
    meaning
        What was measured, in one clause.
    advice
        What to do where the path is not converged.
    """

    converged: bool
    meaning: str
    advice: str

    def __new__(cls, value: str, converged: bool, meaning: str, advice: str = "") -> Ending:
        """An ending that is its own name, with what it means."""
        ending = str.__new__(cls, value)
        ending._value_ = value
        ending.converged, ending.meaning, ending.advice = converged, meaning, advice
        return ending

    CONVERGED = (
        "converged",
        True,
        "the objective is stationary, the sample points resolve the maximum, and it has no second negative mode",
    )
    NO_BARRIER = ("no barrier", True, "no point of the path lies above the higher endpoint")
    STRAIGHT_LINE = ("straight line", False, "the straight line was asked for; nothing was searched", "search a path")
    STEPS = ("steps", False, "stopped after the number of steps", "take more steps, or resume from this path")
    BUDGET = ("budget", False, "the budget is spent", "raise the budget, or resume from this path")
    STAGES = (
        "stages",
        False,
        "the maximum still fell from stage to stage when β had been raised twelve times",
        "resume from this path",
    )
    STALLED = (
        "stalled",
        False,
        "the objective fell no more although its gradient is not zero",
        "check the gradient, lower lr, or take the solver auto",
    )
    LINE_SEARCH = (
        "line search",
        False,
        "no lower value of the objective lies along its gradient, which is not zero",
        "check the gradient: it is not that of the values, or these are noisy",
    )
    UNDER_RESOLVED = (
        "under-resolved",
        False,
        "the barrier stands between the sample points, unseen by the search",
        "resume from this path with more sample points",
    )
    NOT_STATIONARY = (
        "not stationary",
        False,
        "the objective is stationary, but the maximum is no stationary point across the path, whose curves cannot bend "
        "that far",
        "give more terms and sample points; refine_saddle goes to the saddle from here",
    )
    HIGHER_INDEX = (
        "higher index",
        False,
        "the maximum has a second negative mode, which leads down from it",
        "begin from a path aside of this one (initial), or move an endpoint a little",
    )
    NOT_FINITE = ("not finite", False, "a value or gradient is not finite", "see where: the error names the point")
    INTERRUPTED = ("interrupted", False, "interrupted", "resume from this path")
