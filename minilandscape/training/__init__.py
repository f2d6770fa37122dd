"""Training runs: one, several side by side, and into a folder from which they resume.

Options, the loop, checkpoints and the folder's files.
May import `backend`, `display`, `files`, `workers`, `landscape`, `data`, `networks`, `optimizers`.
"""

from .checkpoint import remove_checkpoint
from .folder import CHECKPOINTS, train_to_folder
from .loop import train, train_together
from .options import OPTIMIZERS, run_options
from .records import CURVES
from .run import Run, load_runs, save_runs

__all__ = [
    "CHECKPOINTS",
    "CURVES",
    "OPTIMIZERS",
    "Run",
    "load_runs",
    "remove_checkpoint",
    "run_options",
    "save_runs",
    "train",
    "train_to_folder",
    "train_together",
]
