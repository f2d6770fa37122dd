"""Optimisers over flat vectors, as generators; whoever drives them stops them.

SGD, Adam, the golden-section line search and L-BFGS-GSS. They know landscapes, and no networks.
May import `backend`, `files`, `landscape`.
"""

from .adam import Adam
from .lbfgs import LandscapeLine, LbfgsState, Stop, lbfgs_gss, two_loop
from .line_search import golden_section, search_step
from .sgd import EpochState, adam_batches, sgd

__all__ = [
    "Adam",
    "EpochState",
    "LandscapeLine",
    "LbfgsState",
    "Stop",
    "adam_batches",
    "golden_section",
    "lbfgs_gss",
    "search_step",
    "sgd",
    "two_loop",
]
