"""The option --align: the end brought near to the start by symmetries of the landscape."""

from __future__ import annotations

from typing import Any

import numpy as np

from .inputs import Vector
from .options import UsageError
from .output import note


def aligned_ends(land: Any, metadata: dict[str, Any], a: Vector, b: Vector) -> tuple[Any, tuple[Any, Any]]:
    """The landscape, a, and b near to a; says on standard error how far it came."""
    from minilandscape.analysis.atom_alignment import align_atoms
    from minilandscape.analysis.symmetry import align
    from minilandscape.potentials import LennardJones

    start, end = a.values, b.values
    if "model" in metadata:
        nearer = align(metadata["model"], start, end)
    elif getattr(land, "interpolates", False):  # buffers are permuted too, which no vector holds
        state = land.align(a.file, b.file)
        land = land.between(a.file, state)
        nearer = land.vector(state)
    elif hasattr(land, "align"):
        nearer = land.align(start, end)
    elif isinstance(land, LennardJones):
        nearer = align_atoms(start, end)
    else:
        raise ValueError("--align: the landscape has no method align(a, b), which says what its symmetries are")
    apart = f"{np.linalg.norm(nearer - start):.5g} apart"
    moved = not np.array_equal(nearer, end)
    note(
        f"aligned: {apart}, {np.linalg.norm(end - start):.5g} before"
        if moved
        else f"aligned: the end stays as it is, {apart}; no symmetry that is known brings it nearer"
    )
    metadata["aligned"] = True
    return land, (start, nearer)


def check_alignment(before: Any, ends: tuple[Any, Any], align: bool, file: Any) -> None:
    """Refuses a path to another end where one of the two was aligned, and says what to do."""
    aligned = bool(before.metadata.get("data", {}).get("aligned"))
    end = before.points(1.0)[0]
    if aligned == align or end.shape != np.shape(ends[1]) or np.allclose(end, ends[1]):
        return
    what, advice = (
        ("an aligned end", "give --align too") if aligned else ("an end that was not aligned", "remove --align")
    )
    raise UsageError(f"--from {file}: its path leads to {what}; {advice}")
