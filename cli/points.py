"""Commands about the surroundings of points: curvature and surface."""

from __future__ import annotations

from math import inf, isnan
from pathlib import Path
from typing import Annotated, Any

import typer

from .inputs import Vector, read_path
from .landscapes import Landscape, Limit, Split, Where, check_own
from .options import Data, Device, Dtype, Json, Model, TrainSize, UsageError, Variant, refuse_given, usage
from .output import check_outputs, check_pictures, print_json, progress_bar, save_figure


def curvature(
    context: typer.Context,
    files: Annotated[list[str], typer.Argument(help="A.npy, a set, SET.npy:ROW, or checkpoints.", metavar="FILE…")],
    landscape: Landscape = None,
    eigenvalues: Annotated[int, typer.Option(min=1, help="How many at each end of the spectrum.")] = 5,
    probes: Annotated[
        int | None,
        typer.Option(
            min=0, help="Random vectors for the trace, where not all of the spectrum is computed. Default: 20."
        ),
    ] = None,
    step: Annotated[
        float | None,
        typer.Option(
            help="Finite-difference step of the gradients. Default: exact products where the landscape has some, else "
            "what suits the gradients' measured noise, and less beside kinks."
        ),
    ] = None,
    block: Annotated[
        str | None, typer.Option(help="A part of the vector, or a pattern such as conv1.*: its block of the Hessian.")
    ] = None,
    density: Annotated[
        bool, typer.Option("--density", help="The density of all eigenvalues as well, which --plot draws.")
    ] = False,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the random vectors. Default: 0.")] = None,
    split: Split = "train",
    limit: Limit = None,
    model: Model = "auto",
    variant: Variant = None,
    data: Data = "auto",
    train_size: TrainSize = None,
    device: Device = "cpu",
    dtype: Dtype = "float64",
    plot: Annotated[Path | None, typer.Option(help="Draw the eigenvalues here; one vector.")] = None,
    as_json: Json = False,
) -> None:
    """The Hessian's highest and lowest eigenvalues, its trace and spectral density, at points of a landscape.

    From exact Hessian-vector products where the landscape has some, as PyTorch modules have. Elsewhere from finite
    differences of gradients, which require double precision: a network's Hessian takes some thousand of them.
    """
    from minilandscape.analysis.blocks import coordinates_of
    from minilandscape.analysis.curvature import curvature as measure
    from minilandscape.analysis.curvature import whole_spectrum
    from minilandscape.analysis.density import spectral_density

    check_own(context)
    if step is not None and not 0 < step < inf:
        raise UsageError(f"--step is {step}; expected a finite number above 0")
    where = Where(landscape, model, variant, data, train_size, split, limit, device, dtype)
    if plot is not None:
        check_pictures(plot, inputs=(*files, data))
    land, facts, vectors = where.open(files, single=False)
    if plot is not None and len(vectors) > 1:
        raise UsageError(f"--plot draws one vector; {len(vectors)} were given")
    rows: list[dict[str, Any]] = []
    row: dict[str, Any]
    for vector in vectors:
        with usage():
            part = vector.values if block is None else vector.values[coordinates_of(land, block)]
        if not density and whole_spectrum(land, part, eigenvalues, block is None):
            refuse_given(
                context, ("probes", "seed"), "of random vectors; all of this spectrum is computed without them"
            )
        with progress_bar(vector.file, None) as advance:

            def show(products: int, advance: Any = advance) -> None:
                advance(products, f"{products} products")

            whole = whole_spectrum(land, part, eigenvalues, block is None)
            random: dict[str, Any] = {} if whole else {"probes": probes, "seed": seed}
            # At one of several states between which buffers are interpolated the landscape has a kink.
            here = land.between(vector.file) if getattr(land, "interpolates", False) else land
            found = measure(here, vector.values, eigenvalues, step=step, block=block, callback=show, **random)
            spectrum = None
            if density:
                spectrum = spectral_density(here, vector.values, seed=seed or 0, step=step, block=block, callback=show)
        row = {"file": vector.file, "row": vector.row}
        row |= {
            name: getattr(found, name)
            for name in (
                "value",
                "gradient_norm",
                "trace",
                "trace_error",
                "step",
                "converged",
                "reason",
                "exact",
                "products",
                "piecewise",
                "block",
            )
        }
        for name in ("lowest", "lowest_residuals", "highest", "highest_residuals"):
            row[name] = getattr(found, name).tolist()
        if spectrum is not None:
            names = ("lowest", "highest", "size", "products")
            row["density"] = {
                **{name: getattr(spectrum, name) for name in names},
                "moments": [spectrum.moment(k) for k in (1, 2, 3, 4)],
                "nodes": spectrum.nodes.tolist(),
                "weights": spectrum.weights.tolist(),
            }
        rows.append({**row, "zero_modes": found.zero_modes, "evaluations": vars(found.evaluations).copy()})
        if not as_json:
            _print_curvature(rows[-1], single=landscape is None and dtype == "float32")
    if plot is not None:
        save_figure((found if spectrum is None else spectrum).plot().figure, plot)
    if as_json:
        print_json({"points": rows, "data": facts})


def _print_curvature(row: dict[str, Any], single: bool) -> None:
    print(f"{row['file']}{'' if row['row'] is None else ':' + str(row['row'])}")
    print(f"value         {row['value']:.6g}, gradient {row['gradient_norm']:.3g}")
    for name in ("highest", "lowest"):
        print(f"{name:<13} " + ", ".join(f"{value:.5g}" for value in row[name]))
    if not isnan(row["trace"]):
        error = f" ± {row['trace_error']:.2g}" if row["trace_error"] > 0 else ""  # one probe has none
        print(f"trace         {row['trace']:.5g}{error}")
    if row["exact"]:
        print(
            f"products      {row['products']}, exact"
            + (", of the smooth piece around the point" if row["piecewise"] else "")
        )
    else:
        print(f"step          {row['step']:.3g} of the finite differences of gradients")
    if "density" in row:
        (mean, error), found = row["density"]["moments"][0], row["density"]
        print(f"density       mean eigenvalue {mean:.4g} ± {error:.2g} of {found['size']:,}; --plot draws it")
    if row["zero_modes"]:
        print(f"zero modes    {row['zero_modes']}, left out")
    if not row["converged"]:
        worst = max(row["highest_residuals"] + row["lowest_residuals"], default=float("nan"))
        print(f"not converged: an eigenvalue may be off by {worst:.2g}; {row['reason']}")
        if single:
            print("--dtype float64 is more exact than float32")


def surface(
    context: typer.Context,
    files: Annotated[
        list[str] | None,
        typer.Argument(help="Up to three points: A.npy, SET.npy:ROW, or checkpoints.", metavar="[FILE…]"),
    ] = None,
    path: Annotated[
        Path | None,
        typer.Option(help="A path of connect (.npz), drawn too; its ends stand in for points that are not given."),
    ] = None,
    landscape: Landscape = None,
    n: Annotated[int, typer.Option("--n", min=2, help="Grid points along each axis.")] = 51,
    margin: Annotated[
        float | None,
        typer.Option(min=0, help="Room around points or a path, as a part of the plane's extent. Default: 0.25."),
    ] = None,
    radius: Annotated[
        float | None,
        typer.Option(help="Around one point: in lengths of its weights on a network, else a distance. Default: 1."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of random directions, where the plane has some. Default: 0.")
    ] = None,
    split: Split = "train",
    limit: Limit = None,
    model: Model = "auto",
    variant: Variant = None,
    data: Data = "auto",
    train_size: TrainSize = None,
    device: Device = "cpu",
    dtype: Dtype = "float32",
    out: Annotated[Path | None, typer.Option(help="Write the values here, SURFACE.npz.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw them here, SURFACE.png.")] = None,
    as_json: Json = False,
) -> None:
    """Values on a plane through up to three points, or through a path, or around one point."""
    import numpy as np

    from minilandscape.analysis.surface import has_random_directions
    from minilandscape.analysis.surface import surface as measure

    check_own(context)
    if not files and path is None:
        raise UsageError("there is nothing to lay a plane through; give one to three vectors, or --path")
    if files and len(files) > 3:
        raise UsageError(f"a plane goes through three points at most; {len(files)} were given")
    if radius is not None and not 0 < radius < inf:
        raise UsageError(f"--radius is {radius}; expected a finite number above 0")
    if margin is not None and not margin < inf:
        raise UsageError(f"--margin is {margin}; expected a finite number from 0 on")
    if path is not None or len(files or ()) > 1:
        refuse_given(context, ("radius",), "the size of a plane around one point alone")
    else:
        refuse_given(context, ("margin",), "room that a plane around one point has not, whose size is --radius")
    inputs = (*(files or ()), path, data)
    check_outputs(out, inputs=inputs, suffix=".npz")
    check_pictures(plot, inputs=inputs)
    if len(files or ()) == 3:
        refuse_given(context, ("seed",), "of random directions, which a plane through three points has not")
    where = Where(landscape, model, variant, data, train_size, split, limit, device, dtype)
    curve = None if path is None else read_path(path)
    on_path = []
    if curve is not None:
        known = curve.metadata.get("data", {}).get("variant")
        on_path = [Vector(str(path), None, end, known, str(path)) for end in (curve.start, curve.end)]
    land, facts, vectors = where.open(files or (), on_path)
    points = np.stack([vector.values for vector in vectors]) if vectors else None
    if not has_random_directions(land, points, curve):
        refuse_given(context, ("seed",), "of random directions, which this plane does not have")
    with progress_bar("surface", n) as advance:
        found = measure(
            land, points, path=curve, n=n, margin=margin, radius=radius,
            seed=seed, callback=lambda row, _: advance(row, "rows"),
        )  # fmt: skip
    found.metadata["data"] = facts
    if out is not None:
        found.save(out)
    if plot is not None:
        save_figure(found.plot().figure, plot)
    marks = found.marks.tolist()
    low, high = float(np.nanmin(found.values)), float(np.nanmax(found.values))
    missing = int(np.isnan(found.values).sum())
    if as_json:
        grid = {"x": found.x.tolist(), "y": found.y.tolist(), "values": found.values.tolist(), "marks": marks}
        print_json(
            {
                **grid, "min": low, "max": high, "not_evaluated": missing, "curve": found.curve.tolist(),
                "curve_distance": found.curve_distance, "filter_normalised": found.metadata["filter_normalised"],
                "data": facts,
            }
        )  # fmt: skip
        return
    ((y, x),) = np.argwhere(found.values == low)[:1]
    print(f"values        {low:.6g} at ({found.x[x]:.4g}, {found.y[y]:.4g}) to {high:.6g}")
    for name, (a, b) in zip("ABC", marks, strict=False):
        print(f"{name}             ({a:.4g}, {b:.4g})")
    if found.metadata["filter_normalised"] is not None:
        how = "filter-normalised (Li et al., 2018)" if found.metadata["filter_normalised"] else "of length 1"
        print(f"directions    random where points are missing, {how}")
    if curve is not None:
        print(f"path          leaves the plane by at most {found.curve_distance:.3g}")
    if missing:
        print(f"left out      {missing} of {found.values.size} points, which could not be evaluated")
    if out is None and plot is None:
        print("nothing was written; --plot SURFACE.png draws the plane, --out SURFACE.npz keeps it")
