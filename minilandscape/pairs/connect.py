"""The tasks of barriers within sets: the vectors of a set, and a path between two of them on any landscape."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..paths import find_path
from ..tasks import Result, Task
from .recipes import Recipe
from .search import find_low, path_record

#: The module of the functions, and its former name, which task ids keep so that old results apply.
HERE, KNOWN_AS = "minilandscape.pairs.connect", "minilandscape.campaign.sets"


def set_task(name: str, sha256: str) -> Task:
    """Return the task whose result is the vectors of a set, which the caller puts into the store."""
    options = {"name": name, "sha256": sha256}
    return Task(f"{name}-vectors", f"{HERE}:stored_set", options, known_as=f"{KNOWN_AS}:stored_set")


def pair_task(name: str, vectors: Task, pair: tuple[int, int], path: dict[str, Any], recipe: Recipe) -> Task:
    """Return the task that connects two vectors of a set, with the options of a path search."""
    options = {"pair": list(pair), "path": path, **recipe.options}
    function, known_as = f"{HERE}:connect_pair", f"{KNOWN_AS}:connect_pair"
    return Task(name, function, options, (vectors,), {"recipe": recipe}, known_as=known_as)


def stored_set(options: dict[str, Any], inputs: list[Result], checkpoint: Path) -> Result:
    """Raise ValueError: the vectors of a set are put into the store by the caller."""
    raise ValueError(
        f"the vectors of {options['name']} are missing from the folder; the same command writes them again"
    )


def connect_pair(options: dict[str, Any], inputs: list[Result], checkpoint: Path) -> Result:
    """Connect two vectors of a set."""
    (arrays, _), (i, j) = inputs[0], options["pair"]
    land = options["recipe"].landscape()
    start, end = arrays["vectors"][i], arrays["vectors"][j]
    search = options["path"]
    if search.get("objective") == "sum":
        return path_record(*find_low(land, start, end, search, None, checkpoint))
    path = find_path(land, start, end, **search)
    return path_record(path, path.evaluations, len(path.history["height"]) - 1)
