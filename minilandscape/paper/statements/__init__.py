"""The paper's statements, each judged by a campaign's numbers: the statement, the verdict, and its test.

One module for each kind of statement; `entry` is what they have in common.
May import what `paper` may.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..plan import OPTIMIZERS
from .averages import of_averages
from .curvature import of_curvature
from .entry import WEIGHTS
from .kernels import of_kernels
from .paths import of_paths
from .runs import of_runs
from .scans import of_scans

__all__ = ["TOPICS", "WEIGHTS", "of_kernels", "of_paths", "of_scans", "statements"]

#: The topics of statements, in the order of the paper.
TOPICS = {
    "losses": "Losses",
    "paths": "Barriers",
    "scan": "Heights against λ, N_F and M",
    "vectors": "Components, lengths and directions",
    "kernels": "Kernel PCA",
    "curvature": "Sharpness",
    "averages": "Generalisation and averages",
}


def statements(model: str, found: Mapping[str, Any], sets: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the paper's statements on a network.

    Parameters
    ----------
    found
        The numbers of the network from :func:`minilandscape.paper.results.collect`, without statements.
    sets
        The weights of each optimiser.

    Returns
    -------
    list of dict
        ``topic``, one of :data:`TOPICS`; ``says``, the statement; ``claim``, what it says of this network; ``here``,
        the :class:`~minilandscape.paper.verdicts.Verdict`; ``of``, what the two numbers ``first`` and ``second`` are;
        ``p``, ``least`` (the smallest attainable p) and ``n``. Where there is no test, p is None. Statements on paths
        also have ``search`` and ``what``. Those that answer the paper's main questions have a ``headline``.
    """
    seeds = {o: sets[o]["seeds"].tolist() for o in OPTIMIZERS}
    return [
        *of_runs(model, found, sets),
        *of_paths(model, found),
        *of_scans(found),
        *of_kernels(model, found),
        *of_curvature(found, seeds),
        *of_averages(model, found, seeds),
    ]
