"""Commands about paths: connect, compare and figure3."""

from __future__ import annotations

import itertools
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from minilandscape.paths.methods import METHODS

from .alignment import aligned_ends, check_alignment
from .inputs import read_path
from .landscapes import Where, measures, on_landscape
from .lines import print_lines
from .methods import MethodName, check_on, method_given, with_counts, with_method_options
from .options import OUTPUT, PATH, Json, UsageError, usage
from .output import check_outputs, check_pictures, note, print_json, progress_bar, save_figure, wrote
from .path_lines import (
    along_document,
    comparison_row,
    path_document,
    path_lines,
    print_along,
    print_comparison,
    segment_lines,
)
from .saddles import Saddle, SaddleSearch, Tolerance, check_saddle
from .structures import (
    CalculatorName,
    CalculatorOptions,
    Fmax,
    Images,
    Irc,
    Match,
    Relax,
    Structures,
    Temperature,
    check_structures,
)

Plot = Annotated[
    Path | None, typer.Option(help="Draw the values along the path.", metavar="PATH.png", rich_help_panel=OUTPUT)
]


@with_method_options
@on_landscape()
def connect(
    context: typer.Context,
    start: Annotated[
        str,
        typer.Argument(
            help="Where the path starts (t = 0): A.npy or SET.npy:ROW; with --landscape a checkpoint of your own "
            "module, A.pt, too; with --calculator a structure, FILE or FILE@INDEX.",
            metavar="A",
        ),
    ],
    end: Annotated[str, typer.Argument(help="Where it ends (t = 1).", metavar="B")],
    where: Where,
    method: MethodName = "fourier",
    steps: Annotated[
        str | None,
        typer.Option(
            help="Number of steps, or auto: run to convergence. Default: 100 Adam steps on the paper's networks, else "
            "auto.",
            metavar="N|auto",
            rich_help_panel=PATH,
        ),
    ] = None,
    target_barrier: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="End at a path whose barrier is at most this. Default: search on.",
            metavar="VALUE",
            rich_help_panel=PATH,
        ),
    ] = None,
    initial: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="Resume from this path, such as that of an interrupted search, of any method.",
            metavar="PATH.npz",
            rich_help_panel=PATH,
        ),
    ] = None,
    align: Annotated[
        bool,
        typer.Option(
            "--align",
            help="First bring B near to A by its symmetries: hidden units, or like atoms.",
            rich_help_panel=PATH,
        ),
    ] = False,
    split_at_minima: Annotated[
        bool,
        typer.Option(
            "--split-at-minima",
            help="Split the path where it passes through minima; refine and verify every saddle.",
            rich_help_panel=PATH,
        ),
    ] = False,
    saddle: Saddle = False,
    tolerance: Tolerance = None,
    calculator: CalculatorName = None,
    calculator_options: CalculatorOptions = None,
    fmax: Fmax = 0.05,
    relax: Relax = True,
    match: Match = True,
    images: Images = None,
    irc: Irc = False,
    temperature: Temperature = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Write the path here, PATH.npz; of structures the prefix of PREFIX_path and PREFIX_saddle, .traj and "
            ".extxyz.",
            metavar="PATH.npz",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    plot: Plot = None,
    as_json: Json = False,
    **options: Any,
) -> None:
    """Connect two points by a path of low maximum value, and print the barrier.

    On the loss of a network over images, or on any energy of your own (--landscape). With --saddle, and between two
    structures (--calculator), the saddle is searched and verified.
    """
    if check_structures(context):
        assert calculator is not None
        options_of_calculator = calculator_options or []
        structures = Structures(
            start, end, calculator, options_of_calculator, fmax, relax, match, images, irc, temperature
        )
        structures.connect(out, plot, as_json)
        return
    where.check(context)
    if check_saddle(context):
        SaddleSearch(start, end, where, align, initial, tolerance).connect(out, plot, as_json)
        return
    asked, total = method_given(context, method, options), _number_of_steps(steps)
    inputs = (start, end, where.data)  # a resumed path may replace the one before, which is never better
    check_outputs(out, inputs=inputs, suffix=".npz")
    check_pictures(plot, inputs=(*inputs, initial))
    before = None if initial is None else read_path(initial)
    land, metadata, (a, b) = where.open((start, end))
    check_on(land, asked)
    ends = a.values, b.values
    if align:
        land, ends = aligned_ends(land, metadata, a, b)
    if before is not None:
        check_alignment(before, ends, align, initial)
    search = {"method": asked, "steps": steps if total is None else total, "target_barrier": target_barrier}
    path = _searched(land, ends, {**search, "initial": before}, metadata, out)
    segments = _split(land, path, search, out) if split_at_minima else None
    measured = land.along(path) if measures(land, "along") else None
    if plot is not None:
        save_figure((path if measured is None else measured).plot().figure, plot)
    if as_json:
        extra: dict[str, Any] = {} if segments is None else {"pieces": segments}
        extra |= {} if measured is None else {"along": along_document(measured)}
        print_json({**path_document(path), "data": metadata, **extra})
        return
    print_lines([*path_lines(path, metadata), *segment_lines(segments or []), *wrote(out, plot)])
    if measured is not None:
        print_along(measured)


def _number_of_steps(steps: str | None) -> int | None:
    """The number of --steps; None where it is none."""
    if steps not in (None, "auto") and not str(steps).isdigit():
        raise UsageError(f"--steps is {steps!r}; expected a whole number or auto")
    return None if steps in (None, "auto") else int(str(steps))


def _searched(land: Any, ends: Any, search: dict[str, Any], metadata: dict[str, Any], out: Path | None) -> Any:
    """The path of a search, written where it is to be; of one that ends early, the best so far is."""
    from minilandscape.landscape import LandscapeError
    from minilandscape.paths import SearchInterrupted, find_path

    try:
        total = search["steps"] if isinstance(search["steps"], int) else None
        with progress_bar("path", total) as advance:

            def show(state: Any) -> None:
                step = f"step {state.step}, " if total is None else ""
                advance(state.step, f"{step}height {state.height:.5g}")

            path = find_path(land, *ends, progress=show, **search)
    except (SearchInterrupted, LandscapeError) as stopped:
        if (best := getattr(stopped, "best", None)) is not None:
            best.metadata["data"] = metadata
            _keep(best, out)
        raise
    path.metadata["data"] = metadata
    if out is not None:
        path.save(out)
    return path


def _split(land: Any, path: Any, search: dict[str, Any], out: Path | None) -> list[dict[str, Any]]:
    """The segments of a path, each with its saddle."""
    try:
        with progress_bar("saddles", None) as advance:
            return _verified(land, path, search, advance)
    except KeyboardInterrupt:
        _keep(path, out)
        raise


def _keep(best: Any, out: Path | None) -> None:
    """Writes what a search that ended early has found; says on standard error where it is, or that it is lost."""
    if out is None:
        note("no path is kept, since --out names no file")
        return
    best.save(out)
    note(f"the best path so far is in {out}; --from {shlex.quote(str(out))} resumes from it")


def _verified(land: Any, path: Any, search: dict[str, Any], advance: Any) -> list[dict[str, Any]]:
    """The segments of a path between the minima that it passes through, each with its saddle."""
    from minilandscape.connect import refine_saddle, split_at_minima
    from minilandscape.paths import find_path

    chain = split_at_minima(land, path)
    segments: list[dict[str, Any]] = []
    for k, (start, end) in enumerate(itertools.pairwise(chain)):
        advance(k, f"segment {k + 1} of {len(chain) - 1}")
        part = path if len(chain) == 2 else find_path(land, start, end, **search)
        saddle = refine_saddle(land, part)
        names = ("value", "value_error", "residual", "connects_ends", "converged", "reason")
        segment = {"height": part.maximum, "height_ends": list(part.height_ends)}
        segment |= {name: getattr(saddle, name) for name in names}
        segments.append({**segment, "eigenvalues": saddle.eigenvalues.tolist(), "point": saddle.point.tolist()})
    return segments


@with_counts(*METHODS.values())
@on_landscape()
def compare(
    context: typer.Context,
    start: Annotated[str, typer.Argument(help="A.npy, SET.npy:ROW, or a checkpoint.", metavar="A")],
    end: Annotated[str, typer.Argument(help="B.npy, SET.npy:ROW, or a checkpoint.", metavar="B")],
    where: Where,
    budget: Annotated[
        int,
        typer.Option(min=1, help="Function evaluations of each method.", metavar="N", rich_help_panel=PATH),
    ] = 5000,
    plot: Annotated[
        Path | None,
        typer.Option(
            help="Draw heights above the higher endpoint against function evaluations.",
            metavar="COMPARE.png",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    as_json: Json = False,
    **options: Any,
) -> None:
    """Compare all path methods on one pair: barrier against function evaluations."""
    from minilandscape import paths
    from minilandscape.paths.compare import ENTRIES, ComparisonInterrupted, planned

    where.check(context)
    check_pictures(plot, inputs=(start, end, where.data))
    land, metadata, (a, b) = where.open((start, end))
    with usage():
        methods = list(planned(land, budget, tuple(ENTRIES), options))
    interrupted = None
    try:
        with progress_bar("compare", budget * len(methods)) as advance:

            def show(label: str, state: Any) -> None:
                spent = min(state.evaluations.gradients + state.evaluations.values, budget)
                advance(budget * methods.index(label) + spent, f"{label}: step {state.step}, height {state.height:.5g}")

            result = paths.compare_methods(land, a.values, b.values, budget, progress=show, **options)
    except ComparisonInterrupted as early:
        result, interrupted = early.finished, early
    if plot is not None:
        save_figure(result.plot().figure, plot)
    if as_json:
        curves = {name: curve.tolist() for name, curve in result.curves.items()}
        rows = {name: comparison_row(result, name) for name in result.curves}
        print_json({"methods": rows, "curves": curves, "data": metadata, "budget": budget})
    else:
        print_comparison(result, budget)
        print_lines(wrote(plot))
    if interrupted is not None:
        raise interrupted
