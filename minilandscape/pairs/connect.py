"""The tasks of barriers within sets: the vectors of a set, and a path between two of them on any landscape."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..paths import find_path
from ..tasks import Result, Task
from .recipes import Recipe
from .search import find_to_the_end, path_record

#: Where the functions are, and the name by which task ids know that place: results from before it moved count.
HERE, KNOWN_AS = "minilandscape.pairs.connect", "minilandscape.campaign.sets"


def set_task(name: str, sha256: str) -> Task:
    """The task that stands for the vectors of a set, which are put into the store."""
    options = {"name": name, "sha256": sha256}
    return Task(f"{name}-vectors", f"{HERE}:stored_set", options, known_as=f"{KNOWN_AS}:stored_set")


def pair_task(name: str, vectors: Task, pair: tuple[int, int], path: dict[str, Any], recipe: Recipe) -> Task:
    """The task that connects two vectors of a set by a search with some options of a path."""
    options = {"pair": list(pair), "path": path, **recipe.options}
    function, known_as = f"{HERE}:connect_pair", f"{KNOWN_AS}:connect_pair"
    return Task(name, function, options, (vectors,), {"recipe": recipe}, known_as=known_as)


def stored_set(options: dict[str, Any], inputs: list[Result], checkpoint: Path) -> Result:
    """The vectors of a set, which whoever asks for barriers puts into the store."""
    raise ValueError(
        f"the vectors of {options['name']} are gone from the folder; the same command puts them there again"
    )


def connect_pair(options: dict[str, Any], inputs: list[Result], checkpoint: Path) -> Result:
    """A path between two vectors of a set."""
    (arrays, _), (i, j) = inputs[0], options["pair"]
    land = options["recipe"].landscape()
    start, end = arrays["vectors"][i], arrays["vectors"][j]
    search = options["path"]
    if search.get("objective") == "sum":
        return path_record(*find_to_the_end(land, start, end, search, None, checkpoint))
    path = find_path(land, start, end, **search)
    return path_record(path, path.evaluations, len(path.history["height"]) - 1)
