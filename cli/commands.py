"""The commands by name: where each is, what it does, and a line to begin from.

A command's module is imported when the command is called, so that help and information come at once. To add a command,
write its function and its entry in :data:`COMMANDS`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

#: The groups of commands, in the order of ``minilandscape --help``.
PATHS, NETWORKS, ANALYSIS, PAPER, OTHER = "Paths", "Networks", "Analysis", "The paper", "Other"
GROUPS = (PATHS, NETWORKS, ANALYSIS, PAPER, OTHER)


@dataclass(frozen=True)
class Command:
    """A command.

    Attributes
    ----------
    module
        Of this package, which has a function of the command's name.
    group
        Under which it is listed.
    summary
        What it does, in a sentence: the first of its docstring.
    examples
        Lines that show how it is called.
    """

    module: str
    group: str
    summary: str
    examples: tuple[str, ...]

    def load(self, name: str) -> Callable[..., None]:
        """The function of the command."""
        function: Any = getattr(importlib.import_module(f"{__package__}.{self.module}"), name)
        return function


COMMANDS = {
    "connect": Command(
        "paths",
        PATHS,
        "Connect two points by a path of low maximum value, and print the barrier.",
        (
            "minilandscape connect a.npy b.npy --steps auto --out path.npz --plot path.png",
            "minilandscape connect a.pt b.pt --landscape my_net:make",
            "minilandscape connect a.npy b.npy --landscape my_energy:f",
            "minilandscape connect a.npy b.npy --landscape my_energy:f --saddle --out saddle.npz",
            "minilandscape connect start.xyz end.xyz --calculator emt --out hop",
        ),
    ),
    "compare": Command(
        "paths",
        PATHS,
        "Compare all path methods on one pair: barrier against function evaluations.",
        ("minilandscape compare a.npy b.npy --limit 2000 --budget 5000 --plot compare.png",),
    ),
    "barriers": Command(
        "barriers",
        PATHS,
        "Connect random pairs within each set of vectors, and print the barriers.",
        ("minilandscape barriers sgd/train.npy lbfgs/train.npy --pairs 20 --limit 10000 --out barriers",),
    ),
    "train": Command(
        "networks",
        NETWORKS,
        "Train a network; keep the weights at the minimum of the training loss and of the test loss.",
        (
            "minilandscape train fcp --optimizer sgd --out sgd",
            "minilandscape train lenet --optimizer lbfgs-gss --seeds 0-4 --out five",
        ),
    ),
    "evaluate": Command(
        "networks",
        NETWORKS,
        "Print losses and accuracies of weight vectors, one row per vector.",
        ("minilandscape evaluate sgd/train.npy five/test.npy:0 --split test",),
    ),
    "demo": Command(
        "demo",
        NETWORKS,
        "Train two networks with each optimiser, connect each pair by a low-loss path: three minutes.",
        ("minilandscape demo",),
    ),
    "curvature": Command(
        "curvature",
        ANALYSIS,
        "Compute the Hessian's highest and lowest eigenvalues, its trace and spectral density.",
        ("minilandscape curvature five/train.npy:0 --limit 1000 --density --plot spectrum.png",),
    ),
    "surface": Command(
        "surface",
        ANALYSIS,
        "Evaluate a plane through up to three points, through a path or a training run, or around one point.",
        ("minilandscape surface --path path.npz --limit 1000 --plot plane.png",),
    ),
    "kpca": Command(
        "sets",
        ANALYSIS,
        "Compute the kernel PCA of sets of vectors together (Fig. 6).",
        ("minilandscape kpca sgd/train.npy lbfgs/train.npy --plot kpca.png",),
    ),
    "statistics": Command(
        "sets",
        ANALYSIS,
        "Compute means and standard deviations of sets of vectors (Table S1), lengths and angles of two (Fig. 5).",
        ("minilandscape statistics sgd/train.npy lbfgs/train.npy --plot lengths.png",),
    ),
    "figure3": Command(
        "figure3",
        PAPER,
        "Compute the paper's Fig. 3: paths on a two-dimensional landscape for three values of lambda.",
        ("minilandscape figure3 --out figure3.png",),
    ),
    "reproduce": Command(
        "campaign",
        PAPER,
        "Make every table and figure of the paper from the data alone; resumes where it was stopped.",
        (
            "minilandscape reproduce --scale smoke --out campaign",
            "minilandscape reproduce --scale full --out campaign --scheduler tcp://HOST:8786",
        ),
    ),
    "status": Command(
        "campaign",
        PAPER,
        "Show which tasks of a campaign are done, running, failed and left.",
        ("minilandscape status campaign",),
    ),
    "report": Command(
        "campaign",
        PAPER,
        "Write report.html again from the finished tasks.",
        ("minilandscape report campaign",),
    ),
    "info": Command(
        "info",
        OTHER,
        "Print versions, devices, and where the images would come from.",
        ("minilandscape info",),
    ),
}
