"""Barriers within sets of parameter vectors or configurations: random pairs connected by two searches, resumable."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .analysis.permutation import Comparison, compare_runs
from .display import as_html, count, number, svg_of, text_table
from .files import read_json, read_vectors, sha256, write_atomic, write_json
from .landscape import LandscapeError, as_landscape
from .pairs import GivenRecipe, NamedRecipe, NetworkRecipe, Recipe, disjoint, draw_pairs
from .pairs.connect import pair_task, set_task
from .paths import Fourier
from .tasks import Store, Summary, Task, run_tasks

#: The searches: Algorithm 2 of the paper, and a search that runs to convergence.
SEARCHES = ("adam", "converged")
#: Adam's iterations, as published.
STEPS = 100
#: Values of one landscape at a point differ by no more than this part of their size, where that is below the values'
#: range; that of their size, since a float32 has no more digits; and that of the range, where their size is 0.
SAME = 1e-3, 1e-5, 1e-9
#: Where a landscape is compared with the one of an earlier call: from the first point of a set to its second.
COMPARED = (0.0, 0.3)
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
#: The columns that sets are compared by.
NUMBERS = COLUMNS[COLUMNS.index("value_i") : COLUMNS.index("reason")]


@dataclass(frozen=True, repr=False)
class Barriers:
    """Barriers of paths between pairs of points of some sets.

    Returned by :func:`barriers`.

    Attributes
    ----------
    rows
        One for each path, a dictionary with the keys :data:`COLUMNS`: the set, the search, the indices i and j of the
        pair in the set, their values, the path's height (Eq. 5), maximum over t and barrier (maximum minus the value of
        the higher endpoint), the height of the straight line, lengths, cost, and whether the search converged.
    searches
        Search to its description.
    tasks
        The names of finished, failed and remaining tasks.
    sets
        The names of the sets, in their order.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> import minilandscape as ml
    >>> from concurrent.futures import ThreadPoolExecutor
    >>> well = lambda x: ((x[0] ** 2 - 1) ** 2 + x[1] ** 2, np.array([4 * x[0] * (x[0] ** 2 - 1), 2 * x[1]]))
    >>> with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as threads:
    ...     found = ml.barriers(well, {"minima": [[-1.0, 0.0], [1.0, 0.0]]}, folder, executor=threads)
    >>> [row["search"] for row in found.of("minima", "converged")]
    ['converged']
    """

    rows: list[dict[str, Any]]
    searches: dict[str, str]
    tasks: Summary
    sets: list[str]

    def __repr__(self) -> str:
        """One line: the paths, the sets, and what failed."""
        failed = f", {len(self.tasks.failed)} failed" if self.tasks.failed else ""
        return f"<Barriers: {count(len(self.rows), 'path')} in {count(len(self.sets), 'set')}{failed}>"

    def of(self, name: str, search: str) -> list[dict[str, Any]]:
        """Select the paths of a set by a search.

        Raises
        ------
        ValueError
            If there is no such set or search.
        """
        _check_known("set", name, self.sets)
        _check_known("search", search, self.searches)
        return [row for row in self.rows if (row["set"], row["search"]) == (name, search)]

    def compare(self, a: str, b: str, search: str, what: str = "barrier") -> Comparison | None:
        """Compare the means of two sets by a permutation test of paths without a common endpoint; None if too few.

        Raises
        ------
        ValueError
            If there is no such set, search or number, or a and b are one set.
        """
        _check_known("number", what, NUMBERS)
        if a == b:
            raise ValueError(f"{a} is compared with itself; expected two of the sets {', '.join(self.sets)}")

        def independent(name: str) -> list[float]:
            rows = self.of(name, search)
            return [rows[k][what] for k in disjoint([(row["i"], row["j"]) for row in rows])]

        first, second = independent(a), independent(b)
        return compare_runs(first, second) if min(len(first), len(second)) > 1 else None

    def summary(self) -> str:
        """Tabulate the barriers of each set and search: median, smallest and largest."""
        return text_table(self._table())

    def _repr_html_(self) -> str:
        names, *rows = self._table()
        cells = [
            (f"{row[0]}, {row[1]}", row[3], "; ".join(f"{a} {b}" for a, b in zip(names[2:], row[2:], strict=True)))
            for row in rows
        ]
        return as_html("Barriers", cells, svg_of(self.plot()[0]) if self.rows else "")

    def _table(self) -> list[tuple[str, ...]]:
        rows: list[tuple[str, ...]] = [("set", "search", "paths", "median barrier", "smallest", "largest", "converged")]
        for name in self.sets:
            for search in self.searches:
                paths = self.of(name, search)
                if paths:
                    found = np.array([path["barrier"] for path in paths])
                    numbers = [number(float(f(found)), 4) for f in (np.median, np.min, np.max)]
                    converged = str(sum(bool(path["converged"]) for path in paths))
                    rows.append((name, search, str(len(paths)), *numbers, converged))
        return rows

    def plot(self) -> Any:
        """Draw histograms of height, maximum and barrier, a row for each search and a colour for each set.

        Returns
        -------
        list of matplotlib.axes.Axes
        """
        from .figures.barriers import barriers_figure

        return barriers_figure(self).axes


def barriers(
    landscape: Any,
    sets: Mapping[str, Any] | Sequence[str | os.PathLike[str]],
    folder: str | os.PathLike[str],
    *,
    pairs: int = 10,
    seed: int = 0,
    searches: str | Sequence[str] = SEARCHES,
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
    r"""Connect random distinct pairs of points in each set, and measure the barriers between them.

    The barrier of a path ω(t) between the points a and b is

    .. math:: \max_t f(\omega(t)) - \max[f(a), f(b)] .

    Finished paths are kept in the folder: the same call resumes, and further pairs are added. The files are
    bit-identical however often a call was interrupted. ``barriers.csv`` is the table, ``barriers.png`` and
    ``barriers.svg`` are the histograms.

    Parameters
    ----------
    landscape
        Anything that :func:`~minilandscape.landscape.as_landscape` accepts; or a recipe of
        `minilandscape/pairs/recipes.py`, by which other processes make the landscape.
    sets
        Name to array (K, D), or files of such arrays.
    folder
        Folder of the results.
    pairs
        Number of pairs in each set; all pairs where there are fewer.
    seed
        Seed of the choice of pairs.
    searches
        ``"adam"``: Algorithm 2 of the paper, Adam on Σ f for ``steps`` iterations; ``"converged"``: a search that runs
        to convergence, on the paper's networks with more sample points where these miss the barrier, elsewhere with the
        landscape's default method.
    n_terms, n_points
        N_F and M of both searches; None: the landscape's defaults, 10 and 50 on the paper's networks.
    steps
        Iterations of ``"adam"``.
    name
        Name of a landscape that is no recipe; results are kept under it.
    executor, scheduler, workers, retry_failed
        As for :func:`minilandscape.tasks.run_tasks`. A landscape that cannot be sent to other processes requires an
        executor of threads.
    progress
        Called with each finished task, how it ended, and the number of finished tasks.

    Returns
    -------
    Barriers

    Raises
    ------
    ValueError
        If a set has fewer than two points, or two that are equal, two sets have the same name or points, a number is
        out of range, or the folder holds barriers of another landscape with the same name.

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
    for what, given, least in (("pairs", pairs, 1), ("seed", seed, 0), ("steps", steps, 1)):
        if not isinstance(given, (int, np.integer)) or given < least:
            raise ValueError(f"{what} is {given!r}; expected a whole number, at least {least}")
    searches = (searches,) if isinstance(searches, str) else searches
    if not searches or set(searches) - set(SEARCHES):
        raise ValueError(f"searches are {tuple(searches)}; expected some of {', '.join(SEARCHES)}")
    options = Fourier(n_terms=n_terms, n_points=n_points)
    is_recipe = isinstance(landscape, (NetworkRecipe, NamedRecipe, GivenRecipe))
    recipe: Recipe = landscape if is_recipe else GivenRecipe(landscape, name)
    vectors = _vectors(sets)
    store = Store(folder)
    land = as_landscape(recipe.landscape(), len(next(iter(vectors.values()))[0]))
    options = options.on(land)
    common = {"n_terms": options.n_terms, "n_points": options.n_points}
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
    found = Barriers(rows, {search: texts[search] for search in searches}, summary, list(vectors))
    _write(found, Path(folder))
    return found


def _check_known(what: str, name: str, known: Iterable[str]) -> None:
    if name not in known:
        raise ValueError(f"there is no {what} {name!r}; expected one of {', '.join(known)}")


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
            raise ValueError(f"{name} has shape {array.shape}; expected at least two points to pair, (K, D)")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} holds numbers that are not finite")
        rows: dict[str, int] = {}
        for k, row in enumerate(array + 0.0):  # -0.0 is 0.0
            if (first := rows.setdefault(sha256(row), k)) != k:
                raise ValueError(
                    f"{name}: rows {first} and {k} are equal; expected different points, which "
                    "numpy.unique(set, axis=0) leaves"
                )
        if found and array.shape[1] != (size := next(iter(found.values())).shape[1]):
            raise ValueError(f"{name} holds points of {array.shape[1]} numbers, {next(iter(found))} of {size}")
        if (other := known.setdefault(sha256(array), name)) != name:
            raise ValueError(f"{name} and {other} hold the same points; expected each set once")
        found[name] = array
    return found


def _path_options(search: str, defaults: Mapping[str, Any], common: dict[str, Any], steps: int) -> dict[str, Any]:
    """The options of a search on a landscape with some defaults."""
    if search == "adam":
        return {**common, "objective": "sum", "solver": "adam", "steps": steps}
    if defaults.get("objective") == "sum" and defaults.get("lam") is not None:
        return {**common, "objective": "sum", "solver": "auto", "steps": "auto", "lam": float(defaults["lam"])}
    return {**common, "steps": "auto"}


def _check_landscape(store: Store, recipe: Recipe, land: Any, vectors: Mapping[str, np.ndarray]) -> None:
    """Record values at the first point of each set and beside it; refuse a landscape whose values have changed.

    At the first point alone, which may be a minimum of value 0, many landscapes are equal.
    """
    path = store.folder / "barriers.json"
    recorded: dict[str, Any] = read_json(path) if path.exists() else {}
    what = "".join(f" {value}" for value in recipe.options.values()).strip()
    known = recorded.setdefault(what, {})
    for name, array in vectors.items():
        values = {
            t: value for t in COMPARED if (value := _value(land, array[0] + t * (array[1] - array[0]))) is not None
        }
        keys = {t: sha256(array) + (f" {t:g}" if t else "") for t in values}
        before = {t: known.setdefault(keys[t], value) for t, value in values.items()}
        reach = float(np.ptp([*values.values(), *before.values()])) if values else 0.0
        for t, value in values.items():
            size = max(abs(value), abs(before[t]))
            if abs(value - before[t]) > SAME[0] * min(size, reach) + SAME[1] * size + SAME[2] * reach:
                where = f"at the first point of {name}" + (f", moved by {t:g} of the way to the second" if t else "")
                raise ValueError(
                    f"{store.folder} holds barriers of {what} from when it was {before[t]:.6g} {where}; "
                    f"it is {value:.6g} now: name another folder"
                )
    write_json(path, recorded)


def _value(land: Any, point: np.ndarray) -> float | None:
    """The value at a point; None where there is none, as between two points across a wall."""
    try:
        value = float(land.values(point[None])[0])
    except LandscapeError:
        return None
    return value if np.isfinite(value) else None


def _tasks(
    recipe: Recipe,
    vectors: Mapping[str, np.ndarray],
    paths: Mapping[str, dict[str, Any]],
    pairs: int,
    seed: int,
    store: Store,
) -> tuple[list[Task], dict[str, tuple[str, str]]]:
    """All tasks, and set and search of each path by its id; the points are put into the store."""
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
    measured = result[1]
    (i, j), (value_i, value_j) = task.options["pair"], measured["height_ends"]
    maximum, counts = measured["dense_height"], measured["evaluations"]
    numbers = [*label, i, j, value_i, value_j, measured["height"], maximum, maximum - max(value_i, value_j)]
    numbers += [measured["height_linear"], measured["length"], measured["distance"], measured["steps"]]
    numbers += [counts["gradients"], counts["values"], measured["converged"], str(measured["reason"])]
    return dict(zip(COLUMNS, numbers, strict=True))


def _write(found: Barriers, folder: Path) -> None:
    """Write the table and the histograms."""
    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    table.writeheader()
    table.writerows(found.rows)
    write_atomic(folder / "barriers.csv", text.getvalue().encode())
    if found.rows:
        from .figures.barriers import barriers_figure
        from .figures.files import draw

        for kind, content in draw(barriers_figure(found), "barriers").items():
            write_atomic(folder / f"barriers.{kind}", content)
