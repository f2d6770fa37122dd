"""Statements on sharpness, the paper's conclusion: whether L-BFGS-GSS's minima are sharper."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from ...analysis.permutation import compare_runs
from ..plan import OPTIMIZERS
from ..verdicts import Verdict
from .entry import WEIGHTS, adjective, entry

#: Forms of the Hessian, for people.
FORMS = {"plain": "Hessian", "scaled": "scale-free Hessian, diag|ω| H diag|ω|"}
#: What is compared, for people.
NAMES = {"highest": "largest eigenvalue", "trace": "trace"}
#: The statements that answer the paper's main question, by (weights, landscape, form, what).
HEADLINES = {
    ("train", "train", "plain", "highest"): "L-BFGS-GSS's training weights are sharper: largest Hessian eigenvalue",
    ("test", "train", "plain", "highest"): "… and its early-stopping weights",
}


def of_curvature(found: Mapping[str, Any], seeds: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the statements on the largest eigenvalue and the trace of the Hessian."""
    by = {(e["optimizer"], e["weights"], e["landscape"], e["form"]): e for e in found.get("curvature", ())}
    entries = []
    for weights, where, form, what in itertools.product(WEIGHTS, ("train", "test"), FORMS, NAMES):
        both = [e for o in OPTIMIZERS if (e := by.get((o, weights, where, form))) and len(e[what]) > 1]
        if len(both) < 2:
            continue
        a, b = both
        of_seeds = [[seeds[e["optimizer"]][k] for k in e["places"]] for e in both]
        result = compare_runs(a[what], b[what], (of_seeds[0], of_seeds[1]))
        says = f"L-BFGS-GSS's minima are sharper: {adjective(weights)} weights, {adjective(where)} loss, "
        says += f"{NAMES[what]} of the {FORMS[form]}"
        converged = what == "trace" or all(all(e["converged"]) for e in both)
        here = None if converged else Verdict.INCONCLUSIVE
        headline = HEADLINES.get((weights, where, form, what))
        entries.append(entry("curvature", says, "higher", f"{NAMES[what]}: L-BFGS-GSS, SGD", result, here, headline))
    return entries
