"""The barrier between two structures, by an ASE calculator: options of connect, and what it prints."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from .hints import CHECKPOINTS, TREES
from .lines import print_lines
from .options import STRUCTURES, UsageError, file_and_row, refuse_given
from .output import check_outputs, check_pictures, note, print_json, progress_bar, save_figure, wrote
from .saddles import check_found
from .structure_files import file_and_index, number_of_structures, read_images, read_structure

#: Names of files that hold vectors or checkpoints, as opposed to structures.
VECTORS = (".npy", ".npz", *CHECKPOINTS, *TREES)

CalculatorName = Annotated[
    str | None,
    typer.Option(
        "--calculator",
        help="Of two structures that ASE reads: emt, lj, gfn1-xtb, gfn2-xtb, or MODULE:CLASS of ASE's convention, as "
        "tblite.ase:TBLite.",
        metavar="NAME",
        rich_help_panel=STRUCTURES,
    ),
]
CalculatorOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--calculator-options",
        help="Passed to the calculator, as charge=1 multiplicity=2; as many as follow.",
        metavar="K=V…",
        rich_help_panel=STRUCTURES,
    ),
]
Fmax = Annotated[
    float,
    typer.Option(
        help="Convergence threshold for the largest force at the saddle, eV/Å; endpoints are relaxed to a fifth of it.",
        metavar="X",
        rich_help_panel=STRUCTURES,
    ),
]
Relax = Annotated[bool, typer.Option(help="Relax both endpoints first.", rich_help_panel=STRUCTURES)]
Match = Annotated[
    bool,
    typer.Option(
        help="Match like atoms of the end with the start's, and move the end onto the start.",
        rich_help_panel=STRUCTURES,
    ),
]
Images = Annotated[
    str | None,
    typer.Option(
        help="Initial path: the NEB images, both endpoints included, as neb.traj@-7: for the last seven; or straight, "
        "idpp, geodesic (the package geodesic-interpolate). Default: the cheapest without a clash.",
        metavar="FILE",
        rich_help_panel=STRUCTURES,
    ),
]
Irc = Annotated[
    bool,
    typer.Option(
        "--irc",
        help="Follow the intrinsic reaction coordinate down from the saddle on both sides.",
        rich_help_panel=STRUCTURES,
    ),
]
Temperature = Annotated[
    float | None,
    typer.Option(
        help="Compute all frequencies at the saddle and both ends, zero-point energies, and the harmonic rate at this "
        "temperature, K.",
        metavar="KELVIN",
        rich_help_panel=STRUCTURES,
    ),
]
#: Options of structures alone, and those that searches between structures and all others share.
OF_STRUCTURES = ("calculator_options", "fmax", "relax", "match", "images", "irc", "temperature")
SHARED = ("start", "end", "calculator", "out", "plot", "as_json")
#: The rates that --json shows: whether from the end, and whether of quantum vibrations.
RATES = {
    "forward": (False, True),
    "reverse": (True, True),
    "forward_classical": (False, False),
    "reverse_classical": (True, False),
}


@dataclass(frozen=True)
class Structures:
    """What connect was given for two structures."""

    start: str
    end: str
    calculator: str
    options: list[str]
    fmax: float
    relax: bool
    match: bool
    images: str | None
    irc: bool
    temperature: float | None

    def connect(self, out: Path | None, plot: Path | None, as_json: bool) -> None:
        """Finds the barrier, prints it, and writes what was asked for."""
        try:
            from minilandscape.adapters.ase_barrier import barrier_rows
        except ModuleNotFoundError as error:
            raise ValueError(f"--calculator requires ASE ({error}); pip install ase") from None

        self._check(out, plot)
        start, end = read_structure(self.start), read_structure(self.end)
        options = self._calculator_options(start, end)
        found = self._found(start, end, options, out)
        written = [] if out is None else found.write(out)
        drawn = plot if found.images else None
        if drawn is not None:
            save_figure(found.plot().figure, drawn)
            written.append(str(drawn))
        if as_json:
            data: dict[str, Any] = {"start": self.start, "end": self.end, "calculator": self.calculator}
            data |= {"calculator_options": options}
            rates = None if self.temperature is None else _rates(found, self.temperature)
            print_json({**found.document(), "rates": rates, "data": data, "wrote": written})
        else:
            rows = barrier_rows(found)
            if self.temperature is not None:
                rows.append(("rate", _rates_text(found, self.temperature), ""))
            if written and found.images and found.irc is None:
                rows.append(("path", "not relaxed between saddle and minima; --irc follows the reaction path", ""))
            print_lines([*rows, *wrote(*written)])
        check_found(found.connection.saddle, None if drawn is not None else plot)

    @property
    def _band(self) -> str | None:
        """The file of images to begin from, where --images names one."""
        from minilandscape.adapters.ase_start import KINDS

        return None if self.images in KINDS else self.images

    def _check(self, out: Path | None, plot: Path | None) -> None:
        """Refuses wrong numbers, results in the place of inputs, and one structure given twice."""
        from minilandscape.adapters.ase_barrier import files_of

        if not self.fmax > 0:
            raise UsageError(f"--fmax is {self.fmax}; expected a force above 0, in eV/Å")
        if self.temperature is not None and not self.temperature > 0:
            raise UsageError(f"--temperature is {self.temperature}; expected a number above 0, in K")
        inputs = [file_and_index(name)[0] for name in (self.start, self.end, self._band) if name is not None]
        if out is not None:
            check_outputs(*(Path(file) for file in files_of(out, self.irc)), inputs=inputs)
        check_pictures(plot, inputs=inputs)
        if self.start == self.end:
            file = file_and_index(self.start)[0]
            n = number_of_structures(file)
            frames = f"; {file} holds {n} structures: {file}@0 to {file}@{n - 1}" if n > 1 else ""
            raise UsageError(f"{self.start} is given for both endpoints{frames}")

    def _calculator_options(self, start: Any, end: Any) -> list[str]:
        """The options given, and what the files say of charge and multiplicity where the calculator has an option."""
        from minilandscape.adapters.ase_calculators import options_of, options_of_files

        said = options_of_files(self.calculator, options_of(self.options), start, end)
        words = [f"{name}={value}" for name, value in said.items()]
        if words:
            note(f"the files say {' '.join(words)}, which the calculator is given; --calculator-options gives another")
        return [*self.options, *words]

    def _found(self, start: Any, end: Any, options: list[str], out: Path | None) -> Any:
        """Searches; Ctrl-C keeps the ends, relaxed and matched."""
        from minilandscape.adapters.ase import barrier
        from minilandscape.adapters.ase_barrier import BarrierInterrupted
        from minilandscape.adapters.ase_calculators import named_calculator, options_of
        from minilandscape.adapters.ase_start import KINDS
        from minilandscape.landscape import LandscapeError

        initial = self.images if self._band is None else read_images(self._band, KINDS)
        try:
            # Standard output is the result's alone; some calculators print.
            with redirect_stdout(sys.stderr), progress_bar("barrier", None) as advance:
                return barrier(
                    start,
                    end,
                    named_calculator(self.calculator, options_of(options)),
                    fmax=self.fmax,
                    relax=self.relax,
                    match=self.match,
                    initial=initial,
                    vibrations=self.temperature is not None,
                    irc=self.irc,
                    progress=lambda line: advance(0, line),
                    notify=note,
                )
        except BarrierInterrupted as stopped:
            _keep(stopped.ends, out)
            raise
        except LandscapeError as failed:
            given = f"; --calculator-options are {' '.join(options)}" if options else ""
            raise ValueError(f"{failed}{given}") from failed


def check_structures(context: typer.Context) -> bool:
    """Whether the command is given two structures; refuses options that would then, or else, have no effect."""
    given = context.params
    if given["calculator"] is not None:
        for file in (given["start"], given["end"]):
            if Path(file_and_row(file)[0]).suffix.lower() in VECTORS:
                raise UsageError(
                    f"{file} is no structure, which --calculator takes; remove --calculator, or name a file that ASE "
                    "reads"
                )
        others = [name for name in given if name not in (*OF_STRUCTURES, *SHARED)]
        refuse_given(context, others, "without effect on structures with --calculator")
        return True
    if (given["images"] or "").isdigit():
        raise UsageError("--images is of structures, with --calculator; the number of images of a band is --points")
    refuse_given(context, OF_STRUCTURES, "of structures, without effect where no --calculator is given")
    for file in (given["start"], given["end"]):
        name = file_and_index(file)[0]
        if given["landscape"] is None and Path(name).suffix.lower() not in (*VECTORS, "") and Path(name).is_file():
            raise UsageError(
                f"{name} is no .npy file: to connect two structures add --calculator emt, lj, gfn1-xtb, gfn2-xtb or "
                "MODULE:CLASS, such as tblite.ase:TBLite; to connect files of your own add --landscape MODULE:NAME"
            )
    return False


def _keep(ends: Any, out: Path | None) -> None:
    """Writes the ends of a search that was interrupted, and says how to resume from them."""
    from ase.io import write

    if out is None:
        note("nothing is kept, since --out names no files")
        return
    file = f"{out}_ends.traj"
    out.parent.mkdir(parents=True, exist_ok=True)
    write(file, list(ends))
    note(f"both ends, relaxed and matched, are in {file}: connect {file}@0 {file}@1 --no-relax resumes from them")


def _rates(found: Any, temperature: float) -> dict[str, Any]:
    """The harmonic rates (1/s) both ways by name, with zero-point energies and without; None where there is none.

    And why there is none, and the ends that are not stationary with their largest forces (eV/Å).
    """
    rates: dict[str, Any] = {"temperature": temperature, **dict.fromkeys(RATES)}
    reasons = []
    for name, (reverse, quantum) in RATES.items():
        try:
            rates[name] = found.rate(temperature, reverse=reverse, quantum=quantum)
        except ValueError as error:
            reasons.append(str(error))
    if reasons:
        rates["reason"] = "; ".join(dict.fromkeys(reasons))
    return {**rates, "not_stationary": found.not_stationary}


def _rates_text(found: Any, temperature: float) -> str:
    """The same as a line."""
    rates = _rates(found, temperature)
    ways = [way for way in ("forward", "reverse") if rates[way] is not None]
    if not ways:
        return f"none: {rates['reason']}"
    numbers = ", ".join(f"{rates[way]:.3g} s⁻¹ {way}" for way in ways)
    classical = " and ".join(f"{rates[f'{way}_classical']:.3g}" for way in ways)
    without = (
        f"; none {'reverse' if ways == ['forward'] else 'forward'}: {rates['reason']}" if "reason" in rates else ""
    )
    ends = " and ".join(f"the {name} ({force:.2g} eV/Å)" for name, force in rates["not_stationary"].items())
    warned = f"; not stationary, though a rate assumes it: {ends}" if ends else ""
    return f"{numbers} at {temperature:g} K (harmonic; {classical} with classical vibrations){warned}{without}"
