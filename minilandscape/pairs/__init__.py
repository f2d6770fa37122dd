"""Pairs of vectors: which are drawn from a set, the search of a path between two, the landscapes that it needs.

Tasks of barriers within sets are here, and what the paper's campaign shares with them.
May import `backend`, `display`, `drawing`, `files`, `tasks`, `landscape`, `data`, `networks`, `paths`.
"""

from .draw import disjoint, draw_pairs
from .recipes import GivenRecipe, NamedRecipe, NetworkRecipe, Recipe

__all__ = ["GivenRecipe", "NamedRecipe", "NetworkRecipe", "Recipe", "disjoint", "draw_pairs"]
