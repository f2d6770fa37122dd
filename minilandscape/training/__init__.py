"""Training runs: options, the loop, checkpoints, and folders from which runs resume.

May import `backend`, `display`, `files`, `workers`, `landscape`, `data`, `networks`, `optimizers`.
"""

from .checkpoint import remove_checkpoint
from .folder import CHECKPOINTS, train_to_folder
from .loop import train, train_together
from .options import OPTIMIZERS, run_options
from .records import CURVES, reached_target, renamed
from .run import Run, load_runs, save_runs

__all__ = [
    "CHECKPOINTS",
    "CURVES",
    "OPTIMIZERS",
    "Run",
    "load_runs",
    "reached_target",
    "remove_checkpoint",
    "renamed",
    "run_options",
    "save_runs",
    "train",
    "train_to_folder",
    "train_together",
]
