"""Commands about paths: connect, compare and figure3."""

from __future__ import annotations

import itertools
import shlex
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from .inputs import one_vector, read_path
from .landscapes import Landscape, Limit, Split, Where, check_own
from .options import Data, Device, Dtype, Json, Model, TrainSize, UsageError, Variant, one_of, refuse_given
from .output import check_outputs, check_pictures, note, print_json, progress_bar, save_figure


def connect(
    context: typer.Context,
    start: Annotated[
        str, typer.Argument(help="Where the path starts (t = 0): A.npy, or SET.npy:ROW.", metavar="A.npy")
    ],
    end: Annotated[str, typer.Argument(help="Where it ends (t = 1).", metavar="B.npy")],
    landscape: Landscape = None,
    method: Annotated[
        str,
        typer.Option(
            help="fourier, linear (the straight line), bezier, polyline, neb or autoneb.",
            callback=one_of("fourier", "linear", "bezier", "polyline", "neb", "autoneb"),
        ),
    ] = "fourier",
    objective: Annotated[
        str | None,
        typer.Option(
            help="sum (Eq. 4; the default on networks), maxflux (the default elsewhere) or smoothmax.",
            callback=one_of("sum", "maxflux", "smoothmax"),
        ),
    ] = None,
    power: Annotated[float, typer.Option(help="The path minimises the sum of (f - offset)^power.")] = 1.0,
    offset: Annotated[float, typer.Option(help="See --power; not above the lowest value on the straight line.")] = 0.0,
    solver: Annotated[
        str | None,
        typer.Option(
            help="adam (Algorithm 2; the default for the objective sum), lbfgs-gss, or auto (the fewest evaluations; "
            "the default elsewhere).",
            callback=one_of("adam", "lbfgs-gss", "auto"),
        ),
    ] = None,
    terms: Annotated[int, typer.Option(min=0, help="Sine terms, N_F; control points, or vertices.")] = 10,
    points: Annotated[int, typer.Option(min=3, help="Sample points on the path, M, both endpoints included.")] = 50,
    lam: Annotated[
        float | None,
        typer.Option(help="Weight of the squared steps. Default: 1e-4 on networks, else from the straight line."),
    ] = None,
    steps: Annotated[
        str | None,
        typer.Option(help="Steps, or auto: run to convergence. Default: 100 Adam steps on networks, else auto."),
    ] = None,
    lr: Annotated[
        float | None, typer.Option(help="Adam's learning rate. Default: 1e-3 on networks, else |B - A|/(100 sqrt(D)).")
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
    out: Annotated[Path | None, typer.Option(help="Write the path here, PATH.npz.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the values along the path, PATH.png.")] = None,
    as_json: Json = False,
) -> None:
    """Connect two points by a path of low maximum value, and print the barrier.

    On the loss of a network over images, or on any energy of your own (--landscape).
    """
    from minilandscape.landscape import LandscapeDefaults, LandscapeError
    from minilandscape.paths import FourierPathFinder, SearchInterrupted, find_path
    from minilandscape.paths.search import METHODS

    check_own(context)
    without_effect = tuple(name.removeprefix("n_") for name in METHODS[method].without_effect)
    refuse_given(context, without_effect, f"without effect on the method {method}")
    if steps not in (None, "auto") and not str(steps).isdigit():
        raise UsageError(f"--steps is {steps!r}; expected a whole number or auto")
    try:
        # A network's own default is the sum; another landscape may have its own as well, which is seen to later.
        by_default = objective or ("sum" if landscape is None else None)
        options: dict[str, Any] = {"lam": lam, "lr": lr, "power": power, "offset": offset, "solver": solver}
        FourierPathFinder(LandscapeDefaults(), terms, points, objective=by_default, **options)
    except ValueError as error:
        raise UsageError(str(error)) from None
    inputs = (start, end, data)  # a path that is resumed may take the place of the one before, which is never better
    check_outputs(out, inputs=inputs, suffix=".npz")
    check_pictures(plot, inputs=(*inputs, initial))
    where = Where(landscape, model, variant, data, train_size, split, limit, device, dtype)
    a, b = one_vector(start), one_vector(end)
    before = None if initial is None else read_path(initial)
    land, facts = where.landscape([a, b])
    ends = a.values, b.values
    if align:
        ends = ends[0], _aligned(land, facts, *ends)
    total = int(steps) if steps not in (None, "auto") else None
    settings: dict[str, Any] = {
        "n_terms": terms,
        "n_points": points,
        "lam": lam,
        "steps": int(steps) if steps not in (None, "auto") else steps,
        "lr": lr,
        "objective": objective,
        "power": power,
        "offset": offset,
        "solver": solver,
    }
    pieces: list[dict[str, Any]] = []
    try:
        with progress_bar("path", total) as advance:

            def show(state: Any) -> None:
                advance(state.step, f"step {state.step}, height {state.height:.5g}")

            path = find_path(land, *ends, method, progress=show, initial=before, **settings)
    except (SearchInterrupted, LandscapeError) as stopped:
        if (best := getattr(stopped, "best", None)) is not None:
            best.metadata["data"] = facts
            _keep(best, out)
        raise
    path.metadata["data"] = facts
    if out is not None:
        path.save(out)
    if split_at_minima:
        try:
            with progress_bar("saddles", None):
                pieces = _certified(land, path, method, settings)
        except KeyboardInterrupt:
            _keep(path, out)
            raise
    if plot is not None:
        save_figure(path.plot().figure, plot)
    if as_json:
        print_json(
            {
                "height": path.height,
                "height_linear": path.height_linear,
                "height_ends": list(path.height_ends),
                "length": path.length,
                "losses": path.values.tolist(),
                "history": {name: values.tolist() for name, values in path.history.items()},
                "maximum": path.maximum,
                "maximum_t": path.maximum_t,
                "barrier": path.barrier,
                "barrier_forward": path.barrier_forward,
                "barrier_reverse": path.barrier_reverse,
                "under_resolved": path.under_resolved,
                "best_step": path.best_step,
                "evaluations": {"values": path.evaluations.values, "gradients": path.evaluations.gradients},
                "converged": path.converged,
                "reason": path.reason,
                "data": facts,
                **({"pieces": pieces} if split_at_minima else {}),
            }
        )
        return
    _print_path(path, facts)
    for k, piece in enumerate(pieces):
        place = "between its endpoints" if piece["connects_ends"] else "not between its endpoints"
        what = f"verified saddle {piece['value']:.8g}, {place}"
        if not piece["converged"]:
            what = f"saddle not verified: {piece['reason']}"
        print(f"segment {k + 1:<4} {piece['height_ends'][0]:.6g} to {piece['height_ends'][1]:.6g}: {what}")
    if written := [str(file) for file in (out, plot) if file is not None]:
        print(f"wrote        {', '.join(written)}")


def _print_path(path: Any, facts: dict[str, Any]) -> None:
    """What a person wants to know of a path, a line each."""
    from minilandscape.paths import Ending

    higher, counts, steps = max(path.height_ends), path.evaluations, len(path.history["height"]) - 1
    place = "" if np.isnan(path.maximum_t) else f"   at t = {path.maximum_t:.3f}"
    line = float(np.linalg.norm(path.end.astype(np.float64) - path.start))
    print(
        f"barrier      {path.barrier:.5g}   above the higher endpoint (straight line {path.height_linear - higher:.5g})"
    )
    print(f"maximum      {path.maximum:.6g}{place}")
    print(
        f"height       {path.height:.6g}   at the {len(path.t)} sample points (straight line {path.height_linear:.6g})"
    )
    print(f"endpoints    {path.height_ends[0]:.6g}, {path.height_ends[1]:.6g}")
    print(f"path length  {path.length:.4g}   (straight line {line:.4g})")
    if path.converged:
        why = "" if path.reason is Ending.CONVERGED else f": {path.reason.meaning}"
        print(f"converged    yes   in {steps} steps{why}")
    else:
        why = (
            f"stopped after {steps} steps" if path.reason is Ending.STEPS else f"{path.reason.meaning} ({steps} steps)"
        )
        print(f"converged    no    {why}: the barrier is an upper bound;")
        print(f"                   {_advice(path)}")
    print(f"cost         {counts.gradients} gradient and {counts.values} value evaluations")
    if "n_images" in facts:
        print(f"images       {_images(facts)}")
    if walls := path.metadata.get("walls"):
        note(
            f"{walls} trial points could not be evaluated, and were gone around; the last: {path.metadata['last_wall']}"
        )


def _advice(path: Any) -> str:
    """How to go on from a path that is not converged."""
    from minilandscape.paths import Ending

    if path.reason is Ending.STEPS and path.metadata.get("solver") == "adam" and path.metadata.get("steps") != "auto":
        return "--solver auto runs to convergence"
    if path.reason in (Ending.STEPS, Ending.STAGES):
        return "write it with --out, and resume --from it"
    if path.reason is Ending.UNDER_RESOLVED:
        return f"give more --points than {len(path.t)}; --from resumes from a path that was written"
    if path.reason is Ending.NOT_STATIONARY:
        return "give more --terms and --points; --split-at-minima goes on to the saddle"
    return str(path.reason.advice)


def _images(facts: dict[str, Any]) -> str:
    """How many images the losses come from."""
    kind = "training" if facts["split"] == "train" else "test"
    n, of = facts["n_images"], facts.get("n_images_of_split", facts["n_images"])
    if n == of:
        return f"all {n:,} {kind} images"
    return f"the first {n:,} of {of:,} {kind} images: on all of them the barrier may differ"


def _keep(best: Any, out: Path | None) -> None:
    """Writes what a search that ended early has found; says on standard error where it is, or that it is lost."""
    if out is None:
        note("no path is kept, since --out names no file")
        return
    best.save(out)
    note(f"the best path so far is in {out}; --from {shlex.quote(str(out))} resumes from it")


def _aligned(land: Any, facts: dict[str, Any], a: Any, b: Any) -> Any:
    """b near to a; says on standard error how far it came."""
    from minilandscape.analysis.symmetry import align, align_atoms
    from minilandscape.potentials import LennardJones

    if "model" in facts:
        nearer = align(facts["model"], a, b)
    elif hasattr(land, "align"):
        nearer = land.align(a, b)
    elif isinstance(land, LennardJones):
        nearer = align_atoms(a, b)
    else:
        raise ValueError("--align: the landscape has no method align(a, b), which says what its symmetries are")
    note(f"aligned: {np.linalg.norm(nearer - a):.5g} apart, {np.linalg.norm(b - a):.5g} before")
    facts["aligned"] = True
    return nearer


def compare(
    context: typer.Context,
    start: Annotated[str, typer.Argument(help="A.npy, or SET.npy:ROW.", metavar="A.npy")],
    end: Annotated[str, typer.Argument(help="B.npy, or SET.npy:ROW.", metavar="B.npy")],
    budget: Annotated[int, typer.Option(min=1, help="Points that each method may evaluate.")] = 5000,
    landscape: Landscape = None,
    terms: Annotated[int, typer.Option(min=1, help="Sine terms, control points, or vertices.")] = 10,
    points: Annotated[int, typer.Option(min=3, help="Sample points on the curves, both endpoints included.")] = 50,
    images: Annotated[int, typer.Option(min=3, help="Images of the bands, both endpoints included.")] = 13,
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
) -> None:
    """Every path method on one pair: height against the points evaluated."""
    from minilandscape.paths import compare_methods

    check_own(context)
    if budget < points:
        raise UsageError(f"--budget is {budget} points; expected at least the {points} of one path")
    check_pictures(plot, inputs=(start, end, data))
    where = Where(landscape, model, variant, data, train_size, split, limit, device, dtype)
    a, b = one_vector(start), one_vector(end)
    land, facts = where.landscape([a, b])
    ends = a.values, b.values
    with progress_bar("comparing", None):
        result = compare_methods(land, *ends, budget, n_terms=terms, n_points=points, n_images=images)
    if plot is not None:
        save_figure(result.plot().figure, plot)
    rows: dict[str, dict[str, Any]] = {
        name: {
            "height": path.height,
            "maximum": path.maximum,
            "length": path.length,
            "steps": len(path.history["height"]) - 1,
            "evaluations": vars(path.evaluations).copy(),
            "converged": path.converged,
            "reason": path.reason,
        }
        for name, path in result.paths.items()
    }
    if as_json:
        curves = {name: curve.tolist() for name, curve in result.curves.items()}
        print_json({"methods": rows, "curves": curves, "data": facts, "budget": budget})
        return
    print(f"{'method':<20} {'maximum':>14} {'steps':>6} {'gradients':>10} {'values':>8}  {'converged':9}  ended")
    for name, row in rows.items():
        counts = row["evaluations"]
        print(
            f"{name:<20} {row['maximum']:>14.6g} {row['steps']:>6} {counts['gradients']:>10} "
            f"{counts['values']:>8}  {'yes' if row['converged'] else 'no':9}  {row['reason']}"
        )


def _certified(land: Any, path: Any, method: str, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """The pieces of a path between the minima that it passes through, each with its saddle's certificate."""
    from minilandscape.paths import find_path, refine_saddle, split_at_minima

    chain = split_at_minima(land, path)
    pieces = []
    for start, end in itertools.pairwise(chain):
        part = path if len(chain) == 2 else find_path(land, start, end, method, **settings)
        saddle = refine_saddle(land, part)
        names = ("value", "residual", "connects_ends", "converged", "reason")
        piece = {"height": part.maximum, "height_ends": list(part.height_ends)}
        piece |= {name: getattr(saddle, name) for name in names}
        pieces.append({**piece, "eigenvalues": saddle.eigenvalues.tolist(), "point": saddle.point.tolist()})
    return pieces


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
