"""Saddles: the search from a start, the verification of the index, the descents to both minima.

They know landscapes and points, no paths.
May import `backend`, `display`, `drawing`, `files`, `motion`, `landscape`, `hessian`, `noise`.
"""

from .descent import REACHED, Descent, Known, Minimum
from .model import Model
from .refine import Refinement, Rescaled, Start, unit_of
from .result import Saddle, load_saddle
from .search import SaddleSearch, Seen
from .spectrum import Spectrum, examine
from .surface import Surface

__all__ = [
    "REACHED",
    "Descent",
    "Known",
    "Minimum",
    "Model",
    "Refinement",
    "Rescaled",
    "Saddle",
    "SaddleSearch",
    "Seen",
    "Spectrum",
    "Start",
    "Surface",
    "examine",
    "load_saddle",
    "unit_of",
]
