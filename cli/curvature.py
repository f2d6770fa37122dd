"""The command curvature: eigenvalues, trace and spectral density of the Hessian."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Annotated, Any

import typer

from minilandscape.display import Row

from .inputs import Vector
from .landscapes import Where, alone, buffers_row, on_landscape
from .lines import print_lines
from .options import ANALYSIS, OUTPUT, RUN, Json, UsageError, refuse_given, usage, vector_name
from .output import check_pictures, note, print_json, progress_bar, save_figure, wrote

#: Random vectors of the spectral density, and Lanczos iterations of each: the defaults of spectral_density.
PROBES, ITERATIONS = 8, 60
#: What a document says of a point as it was measured.
MEASURED = (
    *("value", "gradient_norm", "trace", "trace_error", "step", "converged", "reason", "exact", "products"),
    *("piecewise", "block", "zero_modes"),
)


@on_landscape(dtype="float64")
def curvature(
    context: typer.Context,
    files: Annotated[list[str], typer.Argument(help="A.npy, a set, SET.npy:ROW, or checkpoints.", metavar="FILE")],
    where: Where,
    eigenvalues: Annotated[
        int,
        typer.Option(min=1, help="How many at each end of the spectrum.", metavar="N", rich_help_panel=ANALYSIS),
    ] = 5,
    probes: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Random vectors for the trace, where not all of the spectrum is computed. Default: 20.",
            metavar="N",
            rich_help_panel=ANALYSIS,
        ),
    ] = None,
    step: Annotated[
        float | None,
        typer.Option(
            help="Finite-difference step of the gradients. Default: exact products where the landscape has some, else "
            "what suits the gradients' measured noise, and less beside kinks.",
            metavar="X",
            rich_help_panel=ANALYSIS,
        ),
    ] = None,
    block: Annotated[
        str | None,
        typer.Option(
            help="A part of the vector, or a pattern such as conv1.*: its block of the Hessian.",
            metavar="NAME",
            rich_help_panel=ANALYSIS,
        ),
    ] = None,
    density: Annotated[
        bool,
        typer.Option(
            "--density",
            help="The density of all eigenvalues as well, which --plot draws.",
            rich_help_panel=ANALYSIS,
        ),
    ] = False,
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="Of the random vectors. Default: 0.", metavar="N", rich_help_panel=RUN),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            help="Draw the eigenvalues, or the density, of one vector.", metavar="SPECTRUM.png", rich_help_panel=OUTPUT
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Compute the Hessian's highest and lowest eigenvalues, its trace and spectral density.

    From exact Hessian-vector products where the landscape has some, as PyTorch modules have. Elsewhere from finite
    differences of gradients, which require double precision: a network's Hessian takes some thousand of them.
    """
    where.check(context)
    if step is not None and not 0 < step < inf:
        raise UsageError(f"--step is {step}; expected a finite number above 0")
    if plot is not None:
        check_pictures(plot, inputs=(*files, where.data))
    land, metadata, vectors = where.open(files, single=False, each=True)
    if plot is not None and len(vectors) > 1:
        raise UsageError(f"--plot draws one vector; {len(vectors)} were given")
    measure = _Measure(land, eigenvalues, probes, step, block, density, seed)
    points: list[dict[str, Any]] = []
    try:
        for vector in vectors:
            found, spectrum = measure.at(vector, context)
            points.append(_document(vector, found, spectrum))
            if plot is not None:
                save_figure((found if spectrum is None else spectrum).plot().figure, plot)
            if not as_json:
                print(vector_name(vector.file, vector.row))
                _print(found, spectrum, buffers_row(land, [vector.file]), plot)
                _warn(found, single=where.landscape is None and where.dtype == "float32")
    finally:  # an interrupt keeps the points so far
        if as_json and points:
            print_json({"points": points, "data": metadata})


@dataclass(frozen=True)
class _Measure:
    """What is measured at each point."""

    land: Any
    eigenvalues: int
    probes: int | None
    step: float | None
    block: str | None
    density: bool
    seed: int | None

    def at(self, vector: Vector, context: typer.Context) -> tuple[Any, Any]:
        """The curvature at a point, and the spectral density or None; UsageError where options have no effect."""
        from minilandscape.analysis.blocks import coordinates_of
        from minilandscape.analysis.curvature import curvature, whole_spectrum
        from minilandscape.analysis.density import spectral_density

        with usage():
            part = vector.values if self.block is None else vector.values[coordinates_of(self.land, self.block)]
        whole = whole_spectrum(self.land, part, self.eigenvalues, self.block is None)
        if whole and not self.density:
            why = "of random vectors; all of this spectrum is computed without them"
            refuse_given(context, ("probes", "seed"), why)
        here = alone(self.land, vector.file)
        common: dict[str, Any] = {"step": self.step, "block": self.block}
        random: dict[str, Any] = {} if whole else {"probes": self.probes, "seed": self.seed}
        with progress_bar(f"{vector.file}, eigenvalues", None) as advance:
            common["callback"] = lambda products: advance(products, f"{products} Hessian-vector products")
            found = curvature(here, vector.values, self.eigenvalues, **common, **random)
        if not self.density:
            return found, None
        with progress_bar(f"{vector.file}, density", PROBES * min(ITERATIONS, part.size)) as advance:
            common["callback"] = lambda products: advance(products, "Hessian-vector products")
            seeded: dict[str, Any] = {"seed": self.seed or 0}
            return found, spectral_density(here, vector.values, probes=PROBES, steps=ITERATIONS, **seeded, **common)


def _document(vector: Vector, found: Any, spectrum: Any) -> dict[str, Any]:
    """What ``--json`` says of a point."""
    row: dict[str, Any] = {"file": vector.file, "row": vector.row}
    row |= {name: getattr(found, name) for name in MEASURED}
    for name in ("lowest", "lowest_residuals", "highest", "highest_residuals"):
        row[name] = getattr(found, name).tolist()
    if spectrum is not None:
        row["density"] = {
            **{name: getattr(spectrum, name) for name in ("lowest", "highest", "size", "products")},
            "moments": [spectrum.moment(k) for k in (1, 2, 3, 4)],
            "nodes": spectrum.nodes.tolist(),
            "weights": spectrum.weights.tolist(),
        }
    return {**row, "evaluations": vars(found.evaluations).copy()}


def _print(found: Any, spectrum: Any, buffers: list[Row], plot: Path | None) -> None:
    """Prints the curvature at a point, a line for each number."""
    from minilandscape.analysis.shown_spectra import curvature_rows, density_rows

    print_lines([*curvature_rows(found), *buffers, *(wrote(plot) if spectrum is None else [])])
    if spectrum is not None:
        print("spectral density")
        print_lines([*density_rows(spectrum), *wrote(plot)])


def _warn(found: Any, single: bool) -> None:
    """Says on standard error how far eigenvalues may be off."""
    if not found.converged:
        worst = max([*found.highest_residuals, *found.lowest_residuals], default=float("nan"))
        better = "; --dtype float64 is more exact than float32" if single else ""
        note(f"not converged: an eigenvalue may be off by {worst:.2g}{better}")
