"""Path finders: low paths between two points of any landscape."""

from .fourier import FourierPathFinder, PathState, find_path, stands_still
from .result import Path, load_path

__all__ = ["FourierPathFinder", "Path", "PathState", "find_path", "load_path", "stands_still"]
