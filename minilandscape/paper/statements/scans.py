"""Statements on one pair: whether heights depend on λ, N_F or M. There is no test of them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from ..plan import OPTIMIZERS
from .entry import optimizer_name, untested

#: What is varied, for people.
VARIED = {"n_terms": "N_F", "n_points": "M"}


def of_scans(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the statements on λ, N_F and M."""
    return [*_of_lam(found), *_of_resolutions(found)]


def _of_lam(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    scans: dict[tuple[str, str], list[Any]] = {}
    for scanned in found.get("scan", ()):
        scans.setdefault((scanned["solver"], scanned["optimizer"]), []).append(scanned)
    entries = []
    for (solver, optimizer), scan in scans.items():
        heights = [height for e in scan for height in e["height"]]
        lams = [e["lam"] for e in scan if e["height"]]
        if len(heights) > 1:
            says = f"heights do not depend on λ (Fig. 3), from {min(lams):.0e} to {max(lams):.0e}: a pair of "
            says += f"{optimizer_name(optimizer)}'s training weights; {found['searches'][solver]}"
            of = "highest, lowest height over λ"
            entries.append(untested("scan", says, "the same", of, max(heights), min(heights)))
    return entries


def _of_resolutions(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    entries = []
    varied = [e for e in found.get("resolutions", ()) if e["height"]]
    for solver, optimizer, name in itertools.product(found["searches"], OPTIMIZERS, VARIED):
        scan = [e for e in varied if (e["solver"], e["optimizer"]) == (solver, optimizer) and name in e]
        if len(scan) > 1:
            numbers = [e[name] for e in scan]
            says = f"maxima do not depend on {VARIED[name]}, from {min(numbers)} to {max(numbers)}: a pair of "
            says += f"{optimizer_name(optimizer)}'s training weights; {found['searches'][solver]}"
            maxima = [e["maximum"][0] for e in scan]
            of = f"highest, lowest maximum over {VARIED[name]}"
            entries.append(untested("scan", says, "the same", of, max(maxima), min(maxima)))
    return entries
