"""The entry of one statement: what the paper says, the verdict on it, and the test behind the verdict."""

from __future__ import annotations

from typing import Any

from ...analysis.permutation import Comparison
from ..verdicts import Verdict, verdict

WEIGHTS = ("train", "test")
#: What the two numbers of most statements are of.
BOTH = "L-BFGS-GSS, SGD"


def entry(
    topic: str,
    says: str,
    claim: str,
    of: str,
    result: Comparison,
    here: Verdict | None = None,
    headline: str | None = None,
) -> dict[str, Any]:
    """Return the entry of a statement as a dict.

    Parameters
    ----------
    topic, says, claim
        Where the report puts it; the statement; what it says of this network.
    of, result
        What the two compared numbers are; the test.
    here
        The verdict; None takes that of the test.
    headline
        The statement in short, if it answers one of the paper's main questions.
    """
    here = verdict(claim, result) if here is None else here
    found = {"topic": topic, "says": says, "claim": claim, "here": here, "of": of}
    return {**found, **vars(result), "n": list(result.n), **({"headline": headline} if headline else {})}


def untested(topic: str, says: str, claim: str, of: str, first: float, second: float) -> dict[str, Any]:
    """Return the entry of a statement on one pair, on which there is no test."""
    result = Comparison(first, second, 1.0, 1.0, (1,))
    return {**entry(topic, says, claim, of, result), "p": None, "least": None}


def optimizer_name(optimizer: str) -> str:
    """Return an optimiser's name for people."""
    return "L-BFGS-GSS" if optimizer == "lbfgs-gss" else "SGD"


def adjective(place: str) -> str:
    """Return "training" or "test", of weights, landscapes and losses."""
    return "training" if place == "train" else place
