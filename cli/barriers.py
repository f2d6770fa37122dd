"""The command barriers: random pairs of each set of vectors, connected by two searches."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from minilandscape.paths.methods import Fourier

from .inputs import Vector, read_vector_file
from .landscapes import Landscape, Limit, Split, Where, check_own, of_module
from .methods import with_counts
from .options import (
    Data,
    Device,
    Dtype,
    Json,
    Model,
    TrainSize,
    UsageError,
    Variant,
    file_and_row,
    one_of,
    refuse_given,
)
from .output import check_outputs, note, print_json, progress_bar


@with_counts(Fourier)
def barriers(
    context: typer.Context,
    files: Annotated[
        list[str],
        typer.Argument(
            help="Sets of vectors, (K, D) each; checkpoints of a module of your own make one set.",
            metavar="A.npy [B.npy …]",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for results, barriers.csv and barriers.png.")],
    pairs: Annotated[int, typer.Option(min=1, help="Random distinct pairs of each set.")] = 10,
    search: Annotated[
        str,
        typer.Option(
            help="adam (Algorithm 2 of the paper, --steps steps), converged (run to convergence), or both.",
            callback=one_of("both", "adam", "converged"),
        ),
    ] = "both",
    landscape: Landscape = None,
    steps: Annotated[int, typer.Option(min=1, help="Adam steps.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Of the choice of pairs.")] = 0,
    split: Split = "train",
    limit: Limit = None,
    model: Model = "auto",
    variant: Variant = None,
    data: Data = "auto",
    train_size: TrainSize = None,
    device: Device = "cpu",
    dtype: Dtype = "float32",
    scheduler: Annotated[str | None, typer.Option(help="A Dask scheduler, tcp://HOST:8786. Default: here.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Local processes. Default: one a core; with --device gpu, one.")
    ] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run tasks again that failed before.")] = False,
    as_json: Json = False,
    **options: Any,
) -> None:
    """Connect random pairs within each set of vectors, and print the barriers.

    On the loss of a network, or on any energy of your own (--landscape). The same command resumes; more --pairs are
    added to those that are there.
    """
    from minilandscape.backend import thread_count
    from minilandscape.data import WORDS
    from minilandscape.pairs import NamedRecipe, NetworkRecipe
    from minilandscape.set_barriers import SEARCHES
    from minilandscape.set_barriers import barriers as run
    from minilandscape.tasks import Store, Task

    check_own(context)
    if scheduler is not None:
        refuse_given(context, ("workers",), "of processes here, while --scheduler has workers of its own")
    if search == "converged":
        refuse_given(context, ("steps",), "of Adam, without effect on --search converged")
    check_outputs(out / "barriers.csv", inputs=(*files, data))
    if len(set(files)) < len(files):
        raise UsageError("a file is given twice; give each set once")
    where = Where(landscape, model, variant, data, train_size, split, limit, device, dtype)
    land = None if landscape is None else where.landscape([])[0]
    sets = _sets(files, land)
    for name, vectors in sets.items():
        if len(vectors) < 2:
            raise ValueError(f"{name} is one vector; expected a set of at least two, (K, D)")
    arrays = {name: np.stack([vector.values for vector in vectors]) for name, vectors in sets.items()}
    recipe: Any = None if landscape is None else NamedRecipe(landscape, os.getcwd(), of_module)
    facts: dict[str, Any] = {"landscape": landscape}
    if landscape is None:
        _, facts = where.landscape([vector for vectors in sets.values() for vector in vectors])
    if recipe is None:
        place = data if data in WORDS else str(Path(data).expanduser().resolve())
        names = ("model", "variant", "split", "n_images")
        recipe = NetworkRecipe(
            **{name: facts[name] for name in names}, data=place, data_key=facts["key"], device=device, dtype=dtype
        )
    if workers is None and scheduler is None and device == "gpu":
        workers = 1
    n_workers = workers or thread_count()
    searches = SEARCHES if search == "both" else (search,)
    n_paths = sum(min(pairs, len(v) * (len(v) - 1) // 2) for v in sets.values()) * len(searches)
    processes = f"{n_workers} process{'es' if n_workers > 1 else ''}"
    note(f"{n_paths} paths on {f'the scheduler {scheduler}' if scheduler else processes}")
    try:
        with progress_bar("barriers", None) as advance:

            def show(task: Task, how: str, done: int) -> None:
                advance(done, f"{task.name} {how}")

            found = run(
                recipe,
                arrays,
                out,
                pairs=pairs,
                seed=seed,
                searches=searches,
                steps=steps,
                **options,
                scheduler=scheduler,
                workers=None if scheduler else n_workers,
                retry_failed=retry_failed,
                progress=show,
            )
    except KeyboardInterrupt:
        kept = len(Store(out).ids("results"))
        command = shlex.join(["minilandscape", *context.obj])
        note(f"{kept} results are finished and kept; the same command resumes: {command}")
        raise
    _print(found, list(sets), facts, out, as_json)
    if failed := found.tasks.failed:
        raise RuntimeError(
            f"{len(failed)} of {n_paths} paths failed, the first: {found.tasks.reasons[failed[0]]}; "
            "--retry-failed runs them again"
        )


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


def _print(found: Any, files: list[str], facts: dict[str, Any], out: Path, as_json: bool) -> None:
    """A row for each set and search, and the test between two sets."""
    rows = []
    for file in files:
        for search, text in found.searches.items():
            paths = found.of(file, search)
            row: dict[str, Any] = {"file": file, "search": search, "meaning": text, "paths": len(paths)}
            for what in ("barrier", "height", "maximum", "height_linear"):
                quartiles = np.quantile([path[what] for path in paths], (0.25, 0.5, 0.75)).tolist() if paths else None
                row[what] = quartiles
            rows.append({**row, "converged": sum(path["converged"] for path in paths)})
    tests = []
    if len(files) == 2:
        for search in found.searches:
            if (test := found.compare(*files, search)) is not None:
                tests.append({"search": search, "what": "barrier", **vars(test)})
    if as_json:
        print_json(
            {"sets": rows, "tests": tests, "rows": found.rows, "data": facts, "table": str(out / "barriers.csv")}
        )
        return
    print("medians [quartiles] of the barrier, above the endpoint of higher value; medians of the rest")
    width = max(map(len, files))
    for row in rows:
        if not row["paths"]:
            print(f"{row['file']:<{width}}  {row['meaning']:<20} no path is finished")
            continue
        low, middle, high = row["barrier"]
        print(
            f"{row['file']:<{width}}  {row['meaning']:<20} barrier {middle:.4g} [{low:.4g}, {high:.4g}]  "
            f"height {row['height'][1]:.5g}  maximum {row['maximum'][1]:.5g}  "
            f"straight line {row['height_linear'][1]:.4g}  converged {row['converged']}/{row['paths']}"
        )
    for test in tests:
        n = " + ".join(map(str, test["n"]))
        print(
            f"{found.searches[test['search']]}: mean barriers {test['first']:.4g} and {test['second']:.4g}, "
            f"p = {test['p']:.2g} (permutation test of {n} paths that share no vector)"
        )
    print(f"wrote {out / 'barriers.csv'}, {out / 'barriers.png'}, {out / 'barriers.svg'}")
