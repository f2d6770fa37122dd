"""Barriers within sets of vectors: random pairs of each set connected by two searches, in a folder that resumes."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .analysis.permutation import Comparison, compare_runs
from .files import read_json, read_vectors, sha256, write_atomic, write_json
from .landscape import as_landscape
from .pairs import GivenRecipe, NamedRecipe, NetworkRecipe, Recipe, disjoint, draw_pairs
from .pairs.connect import pair_task, set_task
from .paths import Fourier
from .tasks import Store, Summary, Task, run_tasks

#: The searches: Algorithm 2 of the paper, and the one that runs to convergence.
SEARCHES = ("adam", "converged")
#: Adam's steps, as published.
STEPS = 100
#: A value that differs by more, relative to the larger one, is that of another landscape.
SAME = 1e-3
COLUMNS = (
    "set",
    "search",
    "i",
    "j",
    "value_i",
    "value_j",
    "height",
    "maximum",
    "barrier",
    "height_linear",
    "length",
    "distance",
    "steps",
    "gradients",
    "values",
    "converged",
    "reason",
)


@dataclass(frozen=True)
class Barriers:
    """Paths between pairs of vectors of some sets.

    Attributes
    ----------
    rows
        One a path, with :data:`COLUMNS`: the set, the search, the places i and j of the pair in the set, their values,
        the path's height (Eq. 5), maximum over t and barrier (maximum minus the higher endpoint's value), the straight
        line's height, lengths, cost, and whether the search converged.
    searches
        By search, what it is for people.
    summary
        How the tasks stand.
    """

    rows: list[dict[str, Any]]
    searches: dict[str, str]
    summary: Summary

    def of(self, name: str, search: str) -> list[dict[str, Any]]:
        """The paths of a set by a search."""
        return [row for row in self.rows if (row["set"], row["search"]) == (name, search)]

    def compare(self, a: str, b: str, search: str, what: str = "barrier") -> Comparison | None:
        """The means of two sets by a permutation test of paths that share no vector; None where there are too few."""

        def independent(name: str) -> list[float]:
            rows = self.of(name, search)
            return [rows[k][what] for k in disjoint([(row["i"], row["j"]) for row in rows])]

        first, second = independent(a), independent(b)
        return compare_runs(first, second) if min(len(first), len(second)) > 1 else None


def barriers(
    landscape: Any,
    sets: Mapping[str, Any] | Sequence[str | os.PathLike[str]],
    folder: str | os.PathLike[str],
    *,
    pairs: int = 10,
    seed: int = 0,
    searches: Sequence[str] = SEARCHES,
    n_terms: int | None = None,
    n_points: int | None = None,
    steps: int = STEPS,
    name: str = "landscape",
    executor: Executor | None = None,
    scheduler: Any = None,
    workers: int | None = None,
    retry_failed: bool = False,
    progress: Callable[[Task, str, int], None] | None = None,
) -> Barriers:
    """Connect random distinct pairs of vectors in each set, and measure the barriers between them.

    What is finished is kept in the folder: the same call resumes, and more pairs are added to those that are there. The
    files are bit-identical however often it was interrupted. ``barriers.csv`` is the table, ``barriers.png`` and
    ``barriers.svg`` the histograms.

    Parameters
    ----------
    landscape
        Anything that :func:`~minilandscape.landscape.as_landscape` takes; or a recipe of
        `minilandscape/pairs/recipes.py`, by which other processes make the landscape on their own.
    sets
        Arrays (K, D) by name, or files of vectors.
    folder
        Where results are kept.
    pairs
        Pairs of each set; all of them where there are fewer.
    seed
        Of the choice of pairs.
    searches
        ``"adam"``: Algorithm 2 of the paper, Σ f with Adam for ``steps`` steps; ``"converged"``: the search that runs
        to convergence, on networks with more sample points where these miss the barrier, elsewhere the landscape's own.
    n_terms, n_points
        N_F and M of both. None takes the landscape's own: 10 and 50 on networks.
    name
        Of a landscape that is given as it is: results of other names are others.
    executor, scheduler, workers, retry_failed
        Of :func:`minilandscape.tasks.run_tasks`. A landscape that is given as it is and cannot be sent to other
        processes needs an executor of threads.
    progress
        Called with each task that ends, how it ended, and how many have ended.

    Returns
    -------
    Barriers

    Raises
    ------
    ValueError
        If a set has fewer than two vectors, two sets have the same name or vectors, a number is out of range, or the
        folder holds barriers of another landscape under the same name.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> import minilandscape as ml
    >>> from concurrent.futures import ThreadPoolExecutor
    >>> well = lambda x: ((x[0] ** 2 - 1) ** 2 + x[1] ** 2, np.array([4 * x[0] * (x[0] ** 2 - 1), 2 * x[1]]))
    >>> minima = {"minima": [[-1.0, 0.0], [1.0, 0.0]]}
    >>> with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as threads:
    ...     found = ml.barriers(well, minima, folder, searches=["converged"], executor=threads)
    >>> round(found.rows[0]["barrier"], 3)
    1.0
    """
    for what, number, least in (("pairs", pairs, 1), ("seed", seed, 0), ("steps", steps, 1)):
        if not isinstance(number, (int, np.integer)) or number < least:
            raise ValueError(f"{what} is {number!r}; expected a whole number, at least {least}")
    if not searches or set(searches) - set(SEARCHES):
        raise ValueError(f"searches are {tuple(searches)}; expected some of {', '.join(SEARCHES)}")
    asked = Fourier(n_terms=n_terms, n_points=n_points)
    is_recipe = isinstance(landscape, (NetworkRecipe, NamedRecipe, GivenRecipe))
    recipe: Recipe = landscape if is_recipe else GivenRecipe(landscape, name)
    vectors = _vectors(sets)
    store = Store(folder)
    land = as_landscape(recipe.landscape(), len(next(iter(vectors.values()))[0]))
    asked = asked.on(land)
    common = {"n_terms": asked.n_terms, "n_points": asked.n_points}
    paths = {search: _path_options(search, land.path_defaults, common, int(steps)) for search in searches}
    with store.locked("barriers"):
        _check_landscape(store, recipe, land, vectors)
    tasks, labels = _tasks(recipe, vectors, paths, int(pairs), int(seed), store)
    done = 0

    def show(task: Task, how: str) -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(task, how, done)

    summary = run_tasks(
        tasks,
        store,
        executor=executor,
        scheduler=scheduler,
        workers=workers,
        retry_failed=retry_failed,
        progress=show,
    )
    rows = [row for task in tasks if task.id in labels if (row := _row(task, labels[task.id], store)) is not None]
    texts = {"adam": f"{steps} Adam steps", "converged": "run to convergence"}
    found = Barriers(rows, {search: texts[search] for search in searches}, summary)
    _write(found, list(vectors), Path(folder))
    return found


def _vectors(sets: Mapping[str, Any] | Sequence[Any]) -> dict[str, np.ndarray]:
    """The sets by name, each (K, D)."""
    if isinstance(sets, (str, os.PathLike)):
        sets = [sets]
    if not isinstance(sets, Mapping):
        if len({os.fspath(file) for file in sets}) < len(sets):
            raise ValueError("a file is given twice; expected each set once")
        sets = {os.fspath(file): read_vectors(file) for file in sets}
    if not sets:
        raise ValueError("no set is given; expected at least one")
    found: dict[str, np.ndarray] = {}
    known: dict[str, str] = {}
    for name, given in sets.items():
        array = np.asarray(given)
        array = array if array.dtype in (np.float32, np.float64) else array.astype(np.float64)
        if array.ndim != 2 or len(array) < 2:
            raise ValueError(f"{name} has shape {array.shape}; expected at least two vectors to pair, (K, D)")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} holds numbers that are not finite")
        if found and array.shape[1] != (size := next(iter(found.values())).shape[1]):
            raise ValueError(f"{name} holds vectors of {array.shape[1]} numbers, {next(iter(found))} of {size}")
        if (other := known.setdefault(sha256(array), name)) != name:
            raise ValueError(f"{name} and {other} hold the same vectors; give each set once")
        found[name] = array
    return found


def _path_options(search: str, defaults: Mapping[str, Any], common: dict[str, Any], steps: int) -> dict[str, Any]:
    """The options of a search on a landscape with some defaults of its own."""
    if search == "adam":
        return {**common, "objective": "sum", "solver": "adam", "steps": steps}
    if defaults.get("objective") == "sum" and defaults.get("lam") is not None:
        return {**common, "objective": "sum", "solver": "auto", "steps": "auto", "lam": float(defaults["lam"])}
    return {**common, "steps": "auto"}


def _check_landscape(store: Store, recipe: Recipe, land: Any, vectors: Mapping[str, np.ndarray]) -> None:
    """Notes the values at the first vectors, or refuses a landscape whose values are others than those noted."""
    path = store.folder / "barriers.json"
    noted: dict[str, Any] = read_json(path) if path.exists() else {}
    what = "".join(f" {value}" for value in recipe.options.values()).strip()
    values = noted.setdefault(what, {})
    for name, array in vectors.items():
        value = float(land.values(array[:1])[0])
        before = values.setdefault(sha256(array), value)
        if abs(value - before) > SAME * max(abs(value), abs(before)):
            raise ValueError(
                f"{store.folder} holds barriers of {what} from when it was {before:.6g} at the first vector of {name}; "
                f"it is {value:.6g} now: name another folder"
            )
    write_json(path, noted)


def _tasks(
    recipe: Recipe,
    vectors: Mapping[str, np.ndarray],
    paths: Mapping[str, dict[str, Any]],
    pairs: int,
    seed: int,
    store: Store,
) -> tuple[list[Task], dict[str, tuple[str, str]]]:
    """All tasks, and the set and the search of each path by its id; the vectors are put into the store."""
    tasks: list[Task] = []
    labels: dict[str, tuple[str, str]] = {}
    for name, array in vectors.items():
        short = re.sub(r"[^\w-]+", "-", Path(name).stem) or "set"
        of_set = set_task(short, sha256(array))
        if store.read(of_set) is None:
            store.write(of_set, ({"vectors": array}, {}), 0.0)
        tasks.append(of_set)
        chosen = draw_pairs(len(array), pairs, "random", np.random.default_rng([seed, int(sha256(array)[:8], 16)]))
        for search, path in paths.items():
            for k, pair in enumerate(chosen):
                task = pair_task(f"{short}-{search}-pair{k:04d}", of_set, pair, path, recipe)
                tasks.append(task)
                labels[task.id] = name, search
    return tasks, labels


def _row(task: Task, label: tuple[str, str], store: Store) -> dict[str, Any] | None:
    result = store.read(task)
    if result is None:
        return None
    facts = result[1]
    (i, j), (value_i, value_j) = task.options["pair"], facts["height_ends"]
    maximum, counts = facts["dense_height"], facts["evaluations"]
    numbers = [*label, i, j, value_i, value_j, facts["height"], maximum, maximum - max(value_i, value_j)]
    numbers += [facts["height_linear"], facts["length"], facts["distance"], facts["steps"]]
    numbers += [counts["gradients"], counts["values"], facts["converged"], str(facts["reason"])]
    return dict(zip(COLUMNS, numbers, strict=True))


def _write(found: Barriers, names: Sequence[str], folder: Path) -> None:
    """The table and the histograms."""
    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    table.writeheader()
    table.writerows(found.rows)
    write_atomic(folder / "barriers.csv", text.getvalue().encode())
    if found.rows:
        from .figures.barriers import barriers_figure
        from .figures.files import draw

        for kind, content in draw(barriers_figure(found, names), "barriers").items():
            write_atomic(folder / f"barriers.{kind}", content)
