"""The barrier between two structures, by an ASE calculator: options of connect, and what it prints."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from minilandscape.display import nearest

from .hints import CHECKPOINTS, TREES, file_is_missing
from .lines import print_lines
from .options import STRUCTURES, UsageError, file_and_row, refuse_given
from .output import check_outputs, check_pictures, note, print_json, progress_bar, save_figure, wrote
from .saddles import check_found

#: Names of files that hold vectors or checkpoints, as opposed to structures.
VECTORS = (".npy", ".npz", *CHECKPOINTS, *TREES)
#: Formats, as ASE names them, whose structures are always periodic along all three cell vectors.
PERIODIC = ("eon",)

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
        found = self._found(out)
        written = [] if out is None else found.write(out)
        drawn = plot if found.images else None
        if drawn is not None:
            save_figure(found.plot().figure, drawn)
            written.append(str(drawn))
        if as_json:
            data: dict[str, Any] = {"start": self.start, "end": self.end, "calculator": self.calculator}
            data |= {"calculator_options": self.options}
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
        inputs = [_file_and_index(name)[0] for name in (self.start, self.end, self._band) if name is not None]
        if out is not None:
            check_outputs(*(Path(file) for file in files_of(out, self.irc)), inputs=inputs)
        check_pictures(plot, inputs=inputs)
        if self.start == self.end:
            file = _file_and_index(self.start)[0]
            n = _number_of_structures(file)
            frames = f"; {file} holds {n} structures: {file}@0 to {file}@{n - 1}" if n > 1 else ""
            raise UsageError(f"{self.start} is given for both endpoints{frames}")

    def _found(self, out: Path | None) -> Any:
        """Reads the structures and searches; Ctrl-C keeps the ends, relaxed and matched."""
        from minilandscape.adapters.ase import barrier
        from minilandscape.adapters.ase_barrier import BarrierInterrupted
        from minilandscape.adapters.ase_calculators import named_calculator, options_of
        from minilandscape.adapters.ase_start import KINDS
        from minilandscape.landscape import LandscapeError

        start, end = read_structure(self.start), read_structure(self.end)
        initial = self.images if self._band is None else read_images(self._band, KINDS)
        try:
            # Standard output is the result's alone; some calculators print.
            with redirect_stdout(sys.stderr), progress_bar("barrier", None) as advance:
                return barrier(
                    start,
                    end,
                    named_calculator(self.calculator, options_of(self.options)),
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
            given = f"; --calculator-options are {' '.join(self.options)}" if self.options else ""
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
        name = _file_and_index(file)[0]
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


def read_structure(name: str) -> Any:
    """The one structure of FILE (its last) or FILE@INDEX."""
    from ase import Atoms

    found = _read(name, -1)
    if not isinstance(found, Atoms):
        raise ValueError(f"{name} names {len(found)} structures; expected one, as {_file_and_index(name)[0]}@0")
    return found


def read_images(name: str, kinds: Sequence[str]) -> list[Any]:
    """The structures of FILE, all of them, or FILE@SLICE; a word that is no file may have been meant for a kind."""
    if not Path(name).suffix and "@" not in name and not Path(name).exists():
        raise ValueError(
            f"--images is {name!r}{nearest(name, kinds)}; expected a file that ASE reads, or {', '.join(kinds)}"
        )
    found = _read(name, ":")
    return list(found) if isinstance(found, list) else [found]


def _read(name: str, default: Any) -> Any:
    """What ASE reads of a file, periodic where the format is; ValueError in one line where it cannot."""
    from ase.io import read
    from ase.io.formats import UnknownFileTypeError

    file, index = _file_and_index(name)
    _check_file(file)
    try:
        return _periodic(file, read(file, index=default if index is None else index))
    except UnknownFileTypeError:
        raise ValueError(
            f"ASE does not know the format of {file}; expected a name that says it, such as .xyz, .traj, .cif or POSCAR"
        ) from None
    except Exception as error:  # the readers of a hundred formats raise anything
        if index is not None and (n := _number_of_structures(file)):
            raise ValueError(
                f"{file} holds {n} structure{'s' * (n > 1)}, counted from 0; there is no @{index}"
            ) from None
        why = " ".join(str(error).split())
        raise ValueError(f"{file} cannot be read by ASE: {type(error).__name__}{': ' * bool(why)}{why}") from error


def _periodic(file: str, found: Any) -> Any:
    """Structures of a file with the periodic boundaries that its format has and ASE's reader leaves out."""
    from ase.io.formats import filetype

    structures = found if isinstance(found, list) else [found]
    if filetype(file) in PERIODIC and not any(atoms.pbc.any() for atoms in structures):
        for atoms in structures:
            atoms.pbc = True
        note(f"{file} is taken as periodic along all three cell vectors, as its format is")
    return found


def _check_file(file: str) -> None:
    """That there is such a file, which holds something; an @ that is followed by no index is named."""
    path, (head, _, tail) = Path(file), file.rpartition("@")
    if head and not path.exists() and Path(head).is_file():
        raise ValueError(f"{file}: {tail!r} is no index; expected a number, as {head}@0, or a slice, as {head}@-7:")
    if path.is_dir():
        raise ValueError(f"{file} is a folder; expected a file that ASE reads")
    if not path.exists():
        raise file_is_missing(file)
    if not path.stat().st_size:
        raise ValueError(f"{file} is empty; expected a file that ASE reads")


def _number_of_structures(file: str) -> int:
    """How many a file holds; 0 where it cannot be read."""
    from ase.io import read

    try:
        return len(read(file, index=":"))
    except Exception:
        return 0


def _file_and_index(name: str) -> tuple[str, str | None]:
    """FILE and INDEX of FILE@INDEX; a file whose own name looks like that comes first."""
    file, at, index = name.rpartition("@")
    if not at or Path(name).exists() or not index or set(index) - set("-:0123456789"):
        return name, None
    return file, index


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
