"""Commands about paths: connect, compare and figure3."""

from __future__ import annotations

import itertools
import shlex
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from minilandscape.paths.methods import METHODS

from .inputs import Vector, read_path
from .landscapes import Landscape, Limit, Split, Where, check_own
from .methods import MethodName, check_on, method_given, with_counts, with_method_options
from .options import Data, Device, Dtype, Json, Model, TrainSize, UsageError, Variant, usage
from .output import check_outputs, check_pictures, note, print_json, progress_bar, save_figure
from .path_lines import (
    along_document,
    comparison_row,
    path_document,
    print_along,
    print_comparison,
    print_path,
    print_pieces,
)
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


@with_method_options
def connect(
    context: typer.Context,
    start: Annotated[
        str,
        typer.Argument(
            help="Where the path starts (t = 0): A.npy, SET.npy:ROW, a checkpoint of your own module (--landscape), "
            "or a structure, FILE or FILE@INDEX (--calculator).",
            metavar="A.npy",
        ),
    ],
    end: Annotated[str, typer.Argument(help="Where it ends (t = 1).", metavar="B.npy")],
    landscape: Landscape = None,
    method: MethodName = "fourier",
    steps: Annotated[
        str | None,
        typer.Option(help="Steps, or auto: run to convergence. Default: 100 Adam steps on networks, else auto."),
    ] = None,
    initial: Annotated[
        Path | None,
        typer.Option(
            "--from", help="Resume from this path (.npz), such as that of an interrupted search, of any method."
        ),
    ] = None,
    align: Annotated[
        bool, typer.Option("--align", help="First bring B near to A by its symmetries: hidden units, or like atoms.")
    ] = False,
    split_at_minima: Annotated[
        bool,
        typer.Option(
            "--split-at-minima", help="Split the path where it passes through minima; refine and verify every saddle."
        ),
    ] = False,
    split: Split = "train",
    limit: Limit = None,
    model: Model = "auto",
    variant: Variant = None,
    data: Data = "auto",
    train_size: TrainSize = None,
    device: Device = "cpu",
    dtype: Dtype = "float32",
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
        ),
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the values along the path, PATH.png.")] = None,
    as_json: Json = False,
    **options: Any,
) -> None:
    """Connect two points by a path of low maximum value, and print the barrier.

    On the loss of a network over images, or on any energy of your own (--landscape). Between two structures
    (--calculator) the saddle is searched and verified.
    """
    if check_structures(context):
        assert calculator is not None
        options_of_calculator = calculator_options or []
        structures = Structures(
            start, end, calculator, options_of_calculator, fmax, relax, match, images, irc, temperature
        )
        structures.connect(out, plot, as_json)
        return
    check_own(context)
    asked, total = method_given(context, method, options), _number_of_steps(steps)
    inputs = (start, end, data)  # a path that is resumed may take the place of the one before, which is never better
    check_outputs(out, inputs=inputs, suffix=".npz")
    check_pictures(plot, inputs=(*inputs, initial))
    where = Where(landscape, model, variant, data, train_size, split, limit, device, dtype)
    before = None if initial is None else read_path(initial)
    land, facts, (a, b) = where.open((start, end))
    check_on(land, asked)
    ends = a.values, b.values
    if align:
        land, ends = _aligned(land, facts, a, b)
    search = {"method": asked, "steps": steps if total is None else total}
    path = _searched(land, ends, {**search, "initial": before}, facts, out)
    pieces = _split(land, path, search, out) if split_at_minima else []
    measured = land.along(path) if hasattr(land, "along") else None
    if plot is not None:
        save_figure((path if measured is None else measured).plot().figure, plot)
    if as_json:
        extra: dict[str, Any] = {"pieces": pieces} if split_at_minima else {}
        extra |= {} if measured is None else {"along": along_document(measured)}
        print_json({**path_document(path), "data": facts, **extra})
        return
    print_path(path, facts)
    if measured is not None:
        print_along(measured)
    print_pieces(pieces)
    if written := [str(file) for file in (out, plot) if file is not None]:
        print(f"wrote        {', '.join(written)}")


def _number_of_steps(steps: str | None) -> int | None:
    """The number of --steps; None where it is none."""
    if steps not in (None, "auto") and not str(steps).isdigit():
        raise UsageError(f"--steps is {steps!r}; expected a whole number or auto")
    return None if steps in (None, "auto") else int(str(steps))


def _searched(land: Any, ends: Any, search: dict[str, Any], facts: dict[str, Any], out: Path | None) -> Any:
    """The path of a search, written where it is to be; of one that ends early, the best so far is."""
    from minilandscape.landscape import LandscapeError
    from minilandscape.paths import SearchInterrupted, find_path

    try:
        with progress_bar("path", search["steps"] if isinstance(search["steps"], int) else None) as advance:

            def show(state: Any) -> None:
                advance(state.step, f"step {state.step}, height {state.height:.5g}")

            path = find_path(land, *ends, progress=show, **search)
    except (SearchInterrupted, LandscapeError) as stopped:
        if (best := getattr(stopped, "best", None)) is not None:
            best.metadata["data"] = facts
            _keep(best, out)
        raise
    path.metadata["data"] = facts
    if out is not None:
        path.save(out)
    return path


def _split(land: Any, path: Any, search: dict[str, Any], out: Path | None) -> list[dict[str, Any]]:
    """The segments of a path, each with its saddle."""
    try:
        with progress_bar("saddles", None):
            return _certified(land, path, search)
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


def _aligned(land: Any, facts: dict[str, Any], a: Vector, b: Vector) -> tuple[Any, tuple[Any, Any]]:
    """The landscape, a, and b near to a; says on standard error how far it came."""
    from minilandscape.analysis.symmetry import align, align_atoms
    from minilandscape.potentials import LennardJones

    start, end = a.values, b.values
    if "model" in facts:
        nearer = align(facts["model"], start, end)
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
    note(f"aligned: {np.linalg.norm(nearer - start):.5g} apart, {np.linalg.norm(end - start):.5g} before")
    facts["aligned"] = True
    return land, (start, nearer)


def _certified(land: Any, path: Any, search: dict[str, Any]) -> list[dict[str, Any]]:
    """The pieces of a path between the minima that it passes through, each with its saddle's certificate."""
    from minilandscape.connect import refine_saddle, split_at_minima
    from minilandscape.paths import find_path

    chain = split_at_minima(land, path)
    pieces = []
    for start, end in itertools.pairwise(chain):
        part = path if len(chain) == 2 else find_path(land, start, end, **search)
        saddle = refine_saddle(land, part)
        names = ("value", "residual", "connects_ends", "converged", "reason")
        piece = {"height": part.maximum, "height_ends": list(part.height_ends)}
        piece |= {name: getattr(saddle, name) for name in names}
        pieces.append({**piece, "eigenvalues": saddle.eigenvalues.tolist(), "point": saddle.point.tolist()})
    return pieces


@with_counts(*METHODS.values())
def compare(
    context: typer.Context,
    start: Annotated[str, typer.Argument(help="A.npy, or SET.npy:ROW.", metavar="A.npy")],
    end: Annotated[str, typer.Argument(help="B.npy, or SET.npy:ROW.", metavar="B.npy")],
    budget: Annotated[int, typer.Option(min=1, help="Points that each method may evaluate.")] = 5000,
    landscape: Landscape = None,
    split: Split = "train",
    limit: Limit = None,
    model: Model = "auto",
    variant: Variant = None,
    data: Data = "auto",
    train_size: TrainSize = None,
    device: Device = "cpu",
    dtype: Dtype = "float32",
    plot: Annotated[Path | None, typer.Option(help="Draw height against cost, PATH.png.")] = None,
    as_json: Json = False,
    **options: Any,
) -> None:
    """Every path method on one pair: height against the points evaluated."""
    from minilandscape import paths
    from minilandscape.paths.compare import ENTRIES, ComparisonInterrupted, planned

    check_own(context)
    check_pictures(plot, inputs=(start, end, data))
    where = Where(landscape, model, variant, data, train_size, split, limit, device, dtype)
    land, facts, (a, b) = where.open((start, end))
    with usage():
        methods = planned(land, budget, tuple(ENTRIES), options)
    interrupted = None
    try:
        with progress_bar("comparing", len(methods)) as advance:

            def show(label: str, state: Any) -> None:
                advance(list(methods).index(label), f"{label}: step {state.step}, height {state.height:.5g}")

            result = paths.compare_methods(land, a.values, b.values, budget, progress=show, **options)
    except ComparisonInterrupted as early:
        result, interrupted = early.finished, early
    if plot is not None:
        save_figure(result.plot().figure, plot)
    if as_json:
        curves = {name: curve.tolist() for name, curve in result.curves.items()}
        rows = {name: comparison_row(result, name) for name in result.curves}
        print_json({"methods": rows, "curves": curves, "data": facts, "budget": budget})
    else:
        print_comparison(result)
    if interrupted is not None:
        raise interrupted


def figure3(
    power: Annotated[
        float,
        typer.Option(
            help="Power of f in the sum that the paths minimise. The paper's printed heights come from 2, which its "
            "authors' code uses; 1, as Eq. (4) reads, gives higher paths (about 0.68 to 0.73)."
        ),
    ] = 2.0,
    steps: Annotated[int, typer.Option(min=1, help="Adam steps at a learning rate of 0.01.")] = 2000,
    out: Annotated[Path | None, typer.Option(help="Draw Fig. 3a and 3b into this file (.png, .svg, .pdf).")] = None,
    as_json: Json = False,
) -> None:
    """The paper's Fig. 3: low paths on a two-dimensional landscape for three values of lambda."""
    from minilandscape.figures.figure3 import figure3 as compute
    from minilandscape.figures.figure3 import plot_figure3

    check_pictures(out)
    with progress_bar("figure 3", None):
        result = compute(power, steps)
    heights = {str(lam): path.height for lam, path in result.paths.items()}
    if out is not None:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(11, 4.6), layout="constrained")
        plot_figure3(result, figure.subplots(1, 2))
        save_figure(figure, out)
    if as_json:
        print_json({"height_linear": result.linear.height, "heights": heights, "power": power, "steps": steps})
        return
    print(f"straight line   H0 = {result.linear.height:.3f}   (paper 1.102)")
    for k, (lam, paper) in enumerate(((10, 0.646), (100, 0.640), (1000, 0.652)), 1):
        print(f"lambda {lam:<8} H{k} = {result.paths[lam].height:.3f}   (paper {paper:.3f})")
    if out is not None:
        print(f"wrote {out}")
