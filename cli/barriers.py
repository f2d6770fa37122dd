"""The command barriers: random pairs of each set of vectors, connected by two searches."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from minilandscape.display import count
from minilandscape.paths.methods import Fourier

from .inputs import Vector, read_vector_file
from .landscapes import Where, of_module, on_landscape
from .lines import print_lines, print_table
from .methods import with_counts
from .options import (
    OUTPUT,
    PATH,
    RUN,
    Json,
    RetryFailed,
    Scheduler,
    UsageError,
    Workers,
    choice,
    file_and_row,
    refuse_given,
)
from .output import check_outputs, note, print_json, progress_bar, wrote

#: What a recipe of a network's landscape is made of.
OF_RECIPES = ("model", "variant", "split", "n_images")


@with_counts(Fourier)
@on_landscape()
def barriers(
    context: typer.Context,
    files: Annotated[
        list[str],
        typer.Argument(
            help="Sets of vectors, (K, D) each; checkpoints of a module of your own make one set.",
            metavar="FILE",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(help="Folder for results, table and histograms.", metavar="FOLDER", rich_help_panel=OUTPUT),
    ],
    where: Where,
    pairs: Annotated[
        int, typer.Option(min=1, help="Random distinct pairs of each set.", metavar="N", rich_help_panel=PATH)
    ] = 10,
    search: Annotated[
        str,
        typer.Option(
            help="adam is Algorithm 2 of the paper, in --steps steps; converged runs to convergence.",
            rich_help_panel=PATH,
            **choice("both", "adam", "converged"),
        ),
    ] = "both",
    steps: Annotated[int, typer.Option(min=1, help="Adam steps.", metavar="N", rich_help_panel=PATH)] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Of the choice of pairs.", metavar="N", rich_help_panel=RUN)] = 0,
    scheduler: Scheduler = None,
    workers: Workers = None,
    retry_failed: RetryFailed = False,
    as_json: Json = False,
    **options: Any,
) -> None:
    """Connect random pairs within each set of vectors, and print the barriers.

    On the loss of a network, or on any energy of your own (--landscape). The same command resumes; more --pairs are
    added to those that are there.
    """
    from minilandscape.set_barriers import SEARCHES
    from minilandscape.set_barriers import barriers as run

    where.check(context)
    if scheduler is not None:
        refuse_given(context, ("workers",), "of processes here, while --scheduler has workers of its own")
    if search == "converged":
        refuse_given(context, ("steps",), "of Adam, without effect on --search converged")
    check_outputs(out / "barriers.csv", inputs=(*files, where.data))
    if len(set(files)) < len(files):
        raise UsageError("a file is given twice; give each set once")
    sets, recipe, metadata = _opened(files, where)
    searches = SEARCHES if search == "both" else (search,)
    n_paths = sum(min(pairs, len(v) * (len(v) - 1) // 2) for v in sets.values()) * len(searches)
    processes = None if scheduler else _processes(workers, where.device)
    note(f"{count(n_paths, 'path')} on {f'the scheduler {scheduler}' if scheduler else _counted(processes or 1)}")
    placed: dict[str, Any] = {"scheduler": scheduler, "workers": processes, "retry_failed": retry_failed}
    try:
        with progress_bar("barriers", n_paths) as advance:

            def show(task: Any, how: str, done: int) -> None:
                advance(done, f"{task.name} {how}")

            found = run(
                recipe, sets, out, pairs=pairs, seed=seed, searches=searches, steps=steps, **options, **placed,
                progress=show,
            )  # fmt: skip
    except KeyboardInterrupt:
        _say_what_is_kept(out, context.obj)
        raise
    rows, tests = _rows(found, list(sets)), _tests(found, list(sets))
    if as_json:
        table = str(out / "barriers.csv")
        print_json({"sets": rows, "tests": tests, "rows": found.rows, "data": metadata, "table": table})
    else:
        _print(rows, tests, found.searches)
        print_lines(wrote(*(out / f"barriers.{ending}" for ending in ("csv", "png", "svg"))))
    if failed := found.tasks.failed:
        raise RuntimeError(
            f"{len(failed)} of {n_paths} paths failed, the first: {found.tasks.reasons[failed[0]]}; "
            "--retry-failed runs them again"
        )


def _processes(workers: int | None, device: str) -> int:
    """Processes here: those asked for, else one per core; one on a GPU."""
    from minilandscape.backend import thread_count

    return workers or (1 if device == "gpu" else thread_count())


def _counted(processes: int) -> str:
    return "1 process" if processes == 1 else f"{processes} processes"


def _say_what_is_kept(out: Path, arguments: list[str]) -> None:
    """Says on standard error what an interrupted command keeps, and how to resume it."""
    from minilandscape.tasks import Store

    kept = len(Store(out).ids("results"))
    command = shlex.join(["minilandscape", *arguments])
    note(f"{kept} results are finished and kept; the same command resumes: {command}")


def _opened(files: list[str], where: Where) -> tuple[dict[str, np.ndarray], Any, dict[str, Any]]:
    """The sets (K, D) by name, what makes their landscape in other processes, and what is known of it."""
    from minilandscape.data import WORDS
    from minilandscape.pairs import NamedRecipe, NetworkRecipe

    land = None if where.landscape is None else where.of_vectors([])[0]
    sets = _sets(files, land)
    for name, vectors in sets.items():
        if len(vectors) < 2:
            raise ValueError(f"{name} is one vector; expected a set of at least two, (K, D)")
    arrays = {name: np.stack([vector.values for vector in vectors]) for name, vectors in sets.items()}
    if where.landscape is not None:
        metadata: dict[str, Any] = {"landscape": where.landscape}
        return arrays, NamedRecipe(where.landscape, os.getcwd(), of_module), metadata
    _, metadata = where.of_vectors([vector for vectors in sets.values() for vector in vectors])
    place = where.data if where.data in WORDS else str(Path(where.data).expanduser().resolve())
    network = {name: metadata[name] for name in OF_RECIPES}
    recipe = NetworkRecipe(**network, data=place, data_key=metadata["key"], device=where.device, dtype=where.dtype)
    return arrays, recipe, metadata


def _sets(files: list[str], land: Any) -> dict[str, list[Vector]]:
    """The sets by name: each .npy file is one, and all files that a landscape of one's own reads itself make one."""
    if not hasattr(land, "read"):
        return {file: read_vector_file(file) for file in files}
    own = [file for file in files if not file_and_row(file)[0].endswith(".npy")]
    if own and getattr(land, "interpolates", False):
        raise ValueError(
            "the landscape interpolates buffers between two checkpoints, which barriers of many have not; choose "
            "buffers='recompute', or connect them two by two"
        )
    sets = {file: read_vector_file(file) for file in files if file not in own}
    if own:
        name = own[0] if len(own) == 1 else f"{own[0]} to {own[-1]}"
        sets[name] = [Vector(file, None, land.read(file)) for file in own]
    return sets


def _rows(found: Any, files: list[str]) -> list[dict[str, Any]]:
    """What is said of each set and search: quartiles over its paths."""
    rows = []
    for file in files:
        for search, text in found.searches.items():
            paths = found.of(file, search)
            row: dict[str, Any] = {"file": file, "search": search, "meaning": text, "paths": len(paths)}
            for what in ("barrier", "height", "maximum", "height_linear"):
                quartiles = np.quantile([path[what] for path in paths], (0.25, 0.5, 0.75)).tolist() if paths else None
                row[what] = quartiles
            rows.append({**row, "converged": sum(path["converged"] for path in paths)})
    return rows


def _tests(found: Any, files: list[str]) -> list[dict[str, Any]]:
    """The comparison of two sets by each search."""
    if len(files) != 2:
        return []
    tests = {search: found.compare(*files, search) for search in found.searches}
    return [{"search": name, "what": "barrier", **vars(test)} for name, test in tests.items() if test is not None]


def _print(rows: list[dict[str, Any]], tests: list[dict[str, Any]], searches: dict[str, str]) -> None:
    """A row for each set and search, and the test between two sets."""
    print("medians over the paths of each set; barrier: the maximum above the higher endpoint, [quartiles];")
    print("height and straight line: the largest value at the sample points, between which it may be higher")
    table = [["set", "search", "barrier", "[quartiles]", "maximum", "height", "straight line", "converged"]]
    for row in rows:
        numbers = ["-"] * 5
        if row["paths"]:
            low, middle, high = row["barrier"]
            others = (f"{row[what][1]:.5g}" for what in ("maximum", "height", "height_linear"))
            quartiles = f"[{low:.4g}, {high:.4g}]" if row["paths"] > 1 else "-"
            numbers = [f"{middle:.4g}", quartiles, *others]
        converged = f"{row['converged']} of {row['paths']}" if row["paths"] else "no path is finished"
        table.append([row["file"], row["meaning"], *numbers, converged])
    print_table(table)
    for test in tests:
        n = " + ".join(map(str, test["n"]))
        print(
            f"{searches[test['search']]}: mean barriers {test['first']:.4g} and {test['second']:.4g}, "
            f"p = {test['p']:.2g} (permutation test of {n} paths that share no vector)"
        )
