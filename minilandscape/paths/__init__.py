"""Path finders: low paths between two points of any landscape."""

from .fourier import FourierPathFinder, PathState, SearchInterrupted, find_path, stands_still
from .result import Path, load_path

__all__ = ["FourierPathFinder", "Path", "PathState", "SearchInterrupted", "find_path", "load_path", "stands_still"]
