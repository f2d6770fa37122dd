"""The command surface: values on a plane."""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from minilandscape.display import Row, count

from .inputs import Vector, read_path
from .landscapes import Where, on_landscape
from .lines import print_lines
from .options import ANALYSIS, OUTPUT, Json, UsageError, refuse_given
from .output import check_outputs, check_pictures, note, print_json, progress_bar, save_figure, wrote

#: Points of a plane at most.
MOST_POINTS = 3


@on_landscape()
def surface(
    context: typer.Context,
    where: Where,
    files: Annotated[
        list[str] | None,
        typer.Argument(
            help="Up to three points: A.npy, SET.npy:ROW, or checkpoints. With --trajectory all checkpoints of a run.",
            metavar="FILE",
        ),
    ] = None,
    path: Annotated[
        Path | None,
        typer.Option(
            help="A path of connect, drawn too; its endpoints stand in for points that are not given.",
            metavar="PATH.npz",
            rich_help_panel=ANALYSIS,
        ),
    ] = None,
    trajectory: Annotated[
        bool,
        typer.Option(
            "--trajectory",
            help="The FILEs are the checkpoints of one training run in their order, drawn as a line; the plane is that "
            "of their first two principal components, or of --path.",
            rich_help_panel=ANALYSIS,
        ),
    ] = False,
    n: Annotated[
        int, typer.Option("--n", min=2, help="Grid points along each axis.", metavar="N", rich_help_panel=ANALYSIS)
    ] = 51,
    margin: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Margin around points or a path, as a fraction of the plane's extent. Default: 0.25.",
            metavar="X",
            rich_help_panel=ANALYSIS,
        ),
    ] = None,
    radius: Annotated[
        float | None,
        typer.Option(
            help="Around one point: in lengths of its weights on a network, else a distance. Default: 1.",
            metavar="X",
            rich_help_panel=ANALYSIS,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Of random directions, where the plane has some. Default: 0.",
            metavar="N",
            rich_help_panel=ANALYSIS,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the values here.", metavar="SURFACE.npz", rich_help_panel=OUTPUT)
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the values here.", metavar="SURFACE.png", rich_help_panel=OUTPUT)
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option(
            help="Write an interactive page in three dimensions here, which works offline.",
            metavar="SURFACE.html",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Evaluate a plane through up to three points, through a path or a training run, or around one point.

    Directions that the points leave open are those in which a path bends, or random.
    """
    files = files or []
    where.check(context)
    plane = _Plane(files, path, trajectory, n, margin, radius, seed)
    plane.check(context)
    inputs = (*files, path, where.data)
    check_outputs(out, inputs=inputs, suffix=".npz")
    check_outputs(page, inputs=inputs, suffix=".html")
    check_pictures(plot, inputs=inputs)
    found, metadata = plane.measured(context, where, out)
    if out is not None:
        found.save(out)
    if plot is not None:
        save_figure(found.plot().figure, plot)
    if page is not None:
        found.save_page(page, title=page.stem)
    if as_json:
        print_json(_document(found, metadata))
        return
    print_lines([*_lines(found), *wrote(out, plot, page)])
    if out is None and plot is None and page is None:
        note("nothing was written; --plot SURFACE.png draws the plane, --out SURFACE.npz keeps it")


#: Values at a path's endpoints are alike within this part of them, and of their range along the path.
ALIKE = 0.01


@dataclass(frozen=True)
class _Plane:
    """What the plane goes through, and its grid."""

    files: list[str]
    path: Path | None
    trajectory: bool
    n: int
    margin: float | None
    radius: float | None
    seed: int | None

    def check(self, context: typer.Context) -> None:
        """Refuses points that span no plane, and options that would change nothing."""
        if not self.files and self.path is None:
            raise UsageError("there is nothing to lay a plane through; give one to three vectors, or --path")
        if len(self.files) > MOST_POINTS and not self.trajectory:
            raise UsageError(
                f"a plane goes through three points at most; {len(self.files)} were given. Of the checkpoints of one "
                "training run, --trajectory makes the plane of their principal components"
            )
        if self.radius is not None and not 0 < self.radius < inf:
            raise UsageError(f"--radius is {self.radius}; expected a finite number above 0")
        if self.margin is not None and not self.margin < inf:
            raise UsageError(f"--margin is {self.margin}; expected a finite number of at least 0")
        if self.path is not None or self.trajectory or len(self.files) > 1:
            refuse_given(context, ("radius",), "the size of a plane around one point alone")
        else:
            refuse_given(
                context, ("margin",), "has no effect around one point, where --radius is the size of the plane"
            )
        if len(self.files) == MOST_POINTS and not self.trajectory:
            refuse_given(context, ("seed",), "of random directions, which a plane through three points does not have")

    def _check_run(self, n: int) -> None:
        """Refuses a run that is too short to be drawn, or to span a plane."""
        least = 3 if self.path is None else 2
        if n < least:
            why = "a plane" if self.path is None else "a line"
            raise UsageError(f"--trajectory: {count(n, 'checkpoint')} in FILE; {why} takes {least} or more")

    def measured(self, context: typer.Context, where: Where, out: Path | None) -> tuple[Any, dict[str, Any]]:
        """The surface, and what is known of its landscape; rows of an interrupted one are read from ``out``."""
        from minilandscape.analysis.surface import SurfaceInterrupted, has_random_directions, surface

        curve, on_path = None, []
        if self.path is not None:
            curve = read_path(self.path)
            known = curve.metadata.get("data", {}).get("variant")
            on_path = [Vector(str(self.path), None, end, known, str(self.path)) for end in (curve.start, curve.end)]
        land, metadata, vectors = where.open(self.files, on_path, single=not self.trajectory)
        if self.trajectory:
            self._check_run(len(vectors))
        given = np.stack([vector.values for vector in vectors]) if vectors else None
        points, run = (None, given) if self.trajectory else (given, None)
        principal = self.trajectory and curve is None
        if principal or not has_random_directions(land, points, curve):
            refuse_given(context, ("seed",), "of random directions, which this plane does not have")
        begun = _begun(out, metadata)
        try:
            with progress_bar("surface", self.n) as advance:

                def show(rows: int, _: int) -> None:
                    advance(rows, "rows")

                size: dict[str, Any] = {"n": self.n, "margin": self.margin, "radius": self.radius, "resume": begun}
                found = surface(land, points, path=curve, trajectory=run, seed=self.seed, callback=show, **size)
        except SurfaceInterrupted as stopped:
            stopped.best.metadata["data"] = metadata
            _keep(stopped.best, out)
            raise
        except ValueError as error:
            if begun is not None:
                error.add_note(f"{out} holds the rows of an interrupted surface; remove it to start anew")
            raise
        if curve is not None:
            _compare_values(land, curve, self.path)
        found.metadata["data"] = metadata
        return found, metadata


def _compare_values(land: Any, curve: Any, file: Any) -> None:
    """Says on standard error where the path has other values than the landscape at its endpoints."""
    from minilandscape.landscape import LandscapeError, as_landscape

    try:
        here = as_landscape(land, curve.start.size).values(np.stack([curve.start, curve.end]))
    except LandscapeError:  # which the surface leaves out
        return
    there = curve.values[[0, -1]]
    if not np.allclose(here, there, rtol=ALIKE, atol=ALIKE * float(np.ptp(curve.values))):
        listed = [" and ".join(f"{value:.5g}" for value in values) for values in (there, here)]
        note(
            f"{file} has {listed[0]} at its endpoints, the landscape {listed[1]}: its data or buffers are not those of "
            "the path"
        )


def _begun(out: Path | None, metadata: dict[str, Any]) -> Any:
    """The interrupted surface in the file that is to be written; None where there is none."""
    from minilandscape.analysis.surface import ROWS, load_surface

    if out is None or not out.exists():
        return None
    try:
        found = load_surface(out)
    except ValueError:  # another file, which is written over
        return None
    if ROWS not in found.metadata:
        return None
    if found.metadata["data"] != json.loads(json.dumps(metadata)):
        raise ValueError(f"{out} holds the rows of an interrupted surface of other data; remove it to start anew")
    note(f"{found.metadata[ROWS]} of {count(len(found.y), 'row')} are in {out}")
    return found


def _keep(best: Any, out: Path | None) -> None:
    """Writes the rows of an interrupted surface; says on standard error where they are, or that they are lost."""
    from minilandscape.analysis.surface import ROWS

    if out is None:
        note("no row is kept, since --out names no file")
        return
    best.save(out)
    note(f"{best.metadata[ROWS]} of {count(len(best.y), 'row')} are kept in {out}; the same command resumes")


def _document(found: Any, metadata: dict[str, Any]) -> dict[str, Any]:
    """What ``--json`` says of a surface."""
    run, names = found.trajectory, ("points", "values", "variance")
    return {
        **{name: getattr(found, name).tolist() for name in ("x", "y", "values", "marks")},
        "min": float(np.nanmin(found.values)),
        "max": float(np.nanmax(found.values)),
        "not_evaluated": int(np.isnan(found.values).sum()),
        "curve": found.curve.tolist(),
        "curve_distance": found.curve_distance,
        "filter_normalised": found.metadata["filter_normalised"],
        "data": metadata,
        **({} if run is None else {"trajectory": {name: getattr(run, name).tolist() for name in names}}),
    }


def _lines(found: Any) -> list[Row]:
    """Describes a surface in rows of text."""
    from minilandscape.analysis.shown_surface import surface_rows

    rows = surface_rows(found)
    y, x = np.unravel_index(np.nanargmin(found.values), found.values.shape)
    rows.append(("lowest", f"at ({found.x[x]:.4g}, {found.y[y]:.4g})", ""))
    places = zip("ABC", found.marks, strict=False)
    return [*rows, *((f"point {name}", f"at ({a:.4g}, {b:.4g})", "") for name, (a, b) in places)]
