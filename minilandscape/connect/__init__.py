"""From paths to barriers: the saddle at a path's maximum, the minima that a path passes, the barrier in one call.

Connects paths and saddles, which know nothing of each other.
May import `backend`, `display`, `drawing`, `files`, `motion`, `landscape`, `hessian`, `noise`, `paths`, `saddles`.
"""

from .chain import ConnectionInterrupted
from .find import find_saddle
from .refine import refine_saddle
from .result import Connection, load_connection
from .split import split_at_minima

__all__ = ["Connection", "ConnectionInterrupted", "find_saddle", "load_connection", "refine_saddle", "split_at_minima"]
