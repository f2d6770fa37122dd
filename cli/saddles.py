"""The option --saddle of connect: the verified saddle between two minima."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Annotated, Any

import typer

from .alignment import aligned_ends
from .inputs import read_path
from .landscapes import OF_NETWORKS, Where
from .lines import print_lines
from .options import SADDLE, UsageError, refuse_given
from .output import check_outputs, check_pictures, note, print_json, progress_bar, save_figure, wrote

Saddle = Annotated[
    bool,
    typer.Option(
        "--saddle",
        help="Search the saddle between two minima and verify it, at the fewest evaluations; no path is optimised.",
        rich_help_panel=SADDLE,
    ),
]
Tolerance = Annotated[
    float | None,
    typer.Option(
        help="Convergence threshold for the largest gradient component, in the landscape's units. Default: 1e-3 / "
        "sqrt(D) of the barrier over the distance of the endpoints, and no less than the gradient's noise.",
        metavar="X",
        rich_help_panel=SADDLE,
    ),
]
#: Options that the search of a saddle shares with that of a path.
SHARED = ("start", "end", "landscape", *OF_NETWORKS, "align", "initial", "out", "plot", "as_json")
#: Numbers of a saddle that ``--json`` shows.
OF_SADDLE = ("value", "value_error", "residual", "tolerance", "zero_modes", "connects_ends", "converged", "reason")


def check_saddle(context: typer.Context) -> bool:
    """Whether the saddle is searched; refuses options that would then, or else, have no effect."""
    if not context.params["saddle"]:
        refuse_given(context, ("tolerance",), "of the search of a saddle, without effect where no --saddle is given")
        return False
    others = [name for name in context.params if name not in ("saddle", "tolerance", *SHARED)]
    refuse_given(context, others, "of the search of a path, without effect on --saddle")
    tolerance = context.params["tolerance"]
    if tolerance is not None and not 0 < tolerance < inf:
        raise UsageError(f"--tolerance is {tolerance}; expected a finite number above 0")
    return True


def check_found(saddle: Any, not_drawn: Path | None) -> None:
    """Ends the command as failed, after all it prints and writes, where there is no saddle."""
    if saddle is None:
        drawn = "" if not_drawn is None else f"; without a path, {not_drawn} was not drawn"
        raise ValueError(f"no saddle was found{drawn}")


@dataclass(frozen=True)
class SaddleSearch:
    """What connect was given for the saddle between two minima."""

    start: str
    end: str
    where: Where
    align: bool
    initial: Path | None
    tolerance: float | None

    def connect(self, out: Path | None, plot: Path | None, as_json: bool) -> None:
        """Finds the saddle, prints it, and writes what was asked for."""
        inputs = (self.start, self.end, self.where.data)
        check_outputs(out, inputs=inputs, suffix=".npz")
        check_pictures(plot, inputs=(*inputs, self.initial))
        initial = None if self.initial is None else read_path(self.initial, chains=True)
        land, metadata, (a, b) = self.where.open((self.start, self.end))
        ends = a.values, b.values
        if self.align:
            land, ends = aligned_ends(land, metadata, a, b)
        found = self._found(land, ends, initial, out)
        if out is not None:
            found.save(out)
        drawn = plot if found.path is not None else None
        if drawn is not None:
            save_figure(found.plot().figure, drawn)
        if as_json:
            print_json({**saddle_document(found), "data": metadata})
        else:
            print(found.summary())
            print_lines(wrote(out, drawn))
        check_found(found.saddle, None if drawn is not None else plot)

    def _found(self, land: Any, ends: Any, initial: Any, out: Path | None) -> Any:
        """The chain of minima and saddles; of an interrupted search, what it has is written."""
        from minilandscape.connect import ConnectionInterrupted, find_saddle

        try:
            with progress_bar("saddle", None) as advance:
                return find_saddle(
                    land,
                    *ends,
                    tolerance=self.tolerance,
                    initial=initial,
                    progress=lambda line: advance(0, line),
                )
        except ConnectionInterrupted as stopped:
            _keep(stopped.best, out)
            raise


def _keep(best: Any, out: Path | None) -> None:
    """Writes what an interrupted search has; says on standard error where it is, or that nothing is kept."""
    if out is None:
        note("nothing is kept, since --out names no file")
        return
    best.save(out)
    resumes = "" if best.path is None else f"; --from {shlex.quote(str(out))} begins from its path"
    note(f"the chain so far is in {out}{resumes}")


def saddle_document(found: Any) -> dict[str, Any]:
    """What ``connect --saddle --json`` says."""
    saddle = found.saddle
    highest: dict[str, Any] | None = None
    if saddle is not None:
        highest = {name: getattr(saddle, name) for name in OF_SADDLE}
        highest |= {"eigenvalues": saddle.eigenvalues.tolist(), "point": saddle.point.tolist()}
    return {
        "barrier_forward": found.barrier_forward,
        "barrier_reverse": found.barrier_reverse,
        "saddle": highest,
        "saddle_values": [each.value for each in found.saddles],
        "minima": found.minima.tolist(),
        "minima_values": found.minima_values.tolist(),
        "calls": found.calls,
        "rounds": found.rounds,
        "converged": found.converged,
        "reason": found.reason,
    }
