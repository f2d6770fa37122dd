"""Path finders between two points of any landscape.

Curves, objectives, solvers, rules that end a search, and the path with its barrier. They know no networks.
May import `backend`, `display`, `drawing`, `files`, `motion`, `landscape`, `hessian`, `noise`, `optimizers`.
"""

from .compare import ComparisonInterrupted, PathComparison, compare_methods
from .drive import SearchInterrupted
from .endings import Ending
from .fourier import FourierPathFinder
from .methods import AutoNeb, Bezier, Fourier, Linear, Neb, Polyline
from .problem import PathState
from .result import Path, load_path
from .search import find_path

__all__ = [
    "AutoNeb",
    "Bezier",
    "ComparisonInterrupted",
    "Ending",
    "Fourier",
    "FourierPathFinder",
    "Linear",
    "Neb",
    "Path",
    "PathComparison",
    "PathState",
    "Polyline",
    "SearchInterrupted",
    "compare_methods",
    "find_path",
    "load_path",
]
