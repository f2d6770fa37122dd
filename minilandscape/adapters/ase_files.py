"""Structures of a file: what ASE's readers make of it, and what it says that they leave out or guess."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers, chemical_symbols
from ase.io import read
from ase.io.formats import filetype, open_with_compression
from ase.utils import string2index

#: By how much the mass of an atom may differ from that of the element it is taken for, u.
MASS = 0.3
#: Charges that the old column of an MDL molfile stands for; 4 is a radical.
OF_COLUMN = {1: 3, 2: 2, 3: 1, 5: -1, 6: -2, 7: -3}
#: Names of atoms that begin like an element of one letter and are hardly ever that.
HALOGENS = ("CL", "BR")
#: What names of atoms and residues have beside letters.
DIGITS = "0123456789+-"


class UnclearStructure(ValueError):
    """A file of which ASE's reader makes another structure than it says, or guesses what it does not say."""


def read_structures(file: str, index: int | str = -1) -> tuple[Any, list[str]]:
    """Read structures of a file with ASE, and what its format says that ASE's reader leaves out.

    Periodic boundaries are those of the format: .con of EON has them; no box of a .gro and the cell of 1 Å of PDB
    files stand for none. Charge and multiplicity of the whole are in ``info["charge"]`` and ``info["multiplicity"]``,
    where they are not 0 and 1: of MDL molfiles, and of inputs and outputs of Gaussian and ORCA. All records of an SDF
    file are read, and all jobs of an output of Gaussian.

    Parameters
    ----------
    index
        A number or a slice, in ASE's words: ``-1`` for the last, ``":"`` for all.

    Returns
    -------
    tuple
        One `ase.Atoms`, or a list of them for a slice; and remarks.

    Raises
    ------
    UnclearStructure
        If the elements are not those of the file: PDB files without their column of elements, .gro files with names of
        ions or halogens, dumps and data files of LAMMPS with types alone or masses of no element. If the atoms are not:
        PDB files with alternate locations or the asymmetric unit of a crystal, molfiles V3000, and files of Turbomole
        in other units than bohr or with a lattice. If a file of several parts holds no structure.
    Exception
        Whatever ASE's readers raise.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from minilandscape.adapters.ase import read_structures
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "hydroxide.mol"
    ...     atoms = ["  0.0  0.0  0.0 O", "  1.0  0.0  0.0 H"]
    ...     lines = ["", "", "", "  2  0  0", *atoms, "M  CHG  1   1  -1", "M  END"]
    ...     _ = file.write_text("\\n".join(lines))
    ...     structure, remarks = read_structures(str(file))
    >>> str(structure.symbols), structure.info["charge"], remarks
    ('OH', -1, [])
    """
    kind = _format(file)
    if kind in PARTS:
        parts = list(PARTS[kind](file, _text(file)))
        if not parts:
            raise UnclearStructure(f"{file} holds no structure; expected one at least")
        chosen: Any = string2index(str(index))
        return parts[chosen], []
    found: Any = read(file, index=index, format=kind)
    structures = found if isinstance(found, list) else [found]
    return found, LEFT_OUT[kind](file, structures) if kind in LEFT_OUT else []


def _format(file: str) -> str:
    """ASE's name of a format; a data file of LAMMPS is no input of RuNNer, which it takes every .data for."""
    kind = str(filetype(file))
    return "lammps-data" if kind == "runnerdata" and re.search(r"^\s*\d+\s+atom types", _text(file), re.M) else kind


def _text(file: str) -> str:
    """A file's text; letters of other encodings than UTF-8, as in the comments of some programs, are replaced."""
    with open_with_compression(file, "rb") as opened:
        return bytes(opened.read()).decode(errors="replace").replace("\r\n", "\n")


def _molfiles(file: str, text: str) -> Iterator[Atoms]:
    """The structures of the records of an SDF file, or the one of a molfile, with the charge of the whole."""
    for record in re.split(r"^\$\$\$\$.*\n?", text, flags=re.M):
        if record.strip():
            if re.search(r"V3000\s*$", "".join(record.splitlines()[3:4])):
                raise UnclearStructure(f"{file} is a molfile V3000, of which ASE reads no atoms; expected V2000")
            atoms: Any = read(StringIO(record), format="sdf")
            _say(atoms, _charge_of_molfile(record, len(atoms)))
            yield atoms


def _charge_of_molfile(record: str, n_atoms: int) -> int:
    """The sum of the charges in lines M  CHG; where there is no such line, in the column of old files."""
    named = re.findall(r"^M  CHG(.*)$", record, re.M)
    if named:
        return sum(int(charge) for line in named for charge in line.split()[2::2])
    columns = [line[36:39].strip() for line in record.splitlines()[4 : 4 + n_atoms]]
    return sum(OF_COLUMN.get(int(column), 0) for column in columns if column.isdigit())


def _jobs_of_gaussian(file: str, text: str) -> Iterator[Atoms]:
    """The structures of all jobs of an output; ASE's reader ends with the first job."""
    for job in re.split(r"^ *Normal termination of Gaussian.*\n?", text, flags=re.M):
        if "orientation:" in job:
            structures: Any = read(StringIO(job), index=":", format="gaussian-out")
            _say_of_output(job, structures, r"Charge =\s*(-?\d+)\s+Multiplicity", r"Multiplicity =\s*(\d+)")
            yield from structures


def _say(atoms: Atoms, charge: int, multiplicity: int = 1) -> None:
    """Note charge and multiplicity of the whole where they are not those that are taken if nothing is said."""
    if charge:
        atoms.info["charge"] = charge
    if multiplicity != 1:
        atoms.info["multiplicity"] = multiplicity


def _periodic(file: str, structures: list[Atoms]) -> list[str]:
    if any(atoms.pbc.any() for atoms in structures):
        return []
    for atoms in structures:
        atoms.pbc = True
    return [f"{file} is taken as periodic along all three cell vectors, as its format is"]


def _of_gaussian_input(file: str, structures: list[Atoms]) -> list[str]:
    again: Any = read(file, format="gaussian-in", attach_calculator=True)
    for atoms in structures:
        _say(atoms, again.calc.parameters["charge"], again.calc.parameters["mult"])
    return []


def _of_orca_output(file: str, structures: list[Atoms]) -> list[str]:
    charge, multiplicity = r"Total Charge\s+Charge\s+\.+\s+(-?\d+)", r"Multiplicity\s+Mult\s+\.+\s+(\d+)"
    _say_of_output(_text(file), structures, charge, multiplicity)
    return []


def _say_of_output(text: str, structures: list[Atoms], *patterns: str) -> None:
    """Note charge and multiplicity, found by patterns; outputs that name several say nothing of the whole."""
    found = [{int(number) for number in re.findall(pattern, text)} for pattern in patterns]
    if all(len(numbers) == 1 for numbers in found):
        for atoms in structures:
            _say(atoms, *(min(numbers) for numbers in found))


def _without_box(file: str, structures: list[Atoms], says: str) -> list[str]:
    """Remarks on structures that are taken as clusters, since the file's cell stands for none."""
    for atoms in structures:
        atoms.cell, atoms.pbc = None, False
    return [f"{file} is taken as a cluster: {says}"]


def _of_pdb(file: str, structures: list[Atoms]) -> list[str]:
    """Refuse what ASE's reader takes for whole structures; a cell of 1 Å is the format's word for none."""
    text = _text(file)
    places = sorted({line[16] for line in text.splitlines() if line.startswith(("ATOM", "HETATM"))} - {" "})
    if len(places) > 1:
        raise UnclearStructure(
            f"{file} has alternate locations {', '.join(places)} of atoms, all of which ASE reads; expected one of each"
        )
    _refuse_elements_of_pdb(file, text, structures[0])
    crystal = re.search(r"^CRYST1.*$", text, re.M)
    if crystal is None:
        return []
    if np.allclose(structures[0].cell.lengths(), 1):
        return _without_box(file, structures, "CRYST1 is 1 Å, which stands for no cell")
    if (group := crystal[0][55:66].strip()) not in ("", "P 1", "P1", "1"):
        raise UnclearStructure(
            f"{file} is of space group {group}, of which ASE reads one asymmetric unit in a periodic cell; expected "
            "all atoms, as in P 1, or none of CRYST1"
        )
    return []


def _guessed(file: str, guess: str, where: str = "", expected: str = "") -> UnclearStructure:
    """The error of a file without elements, with what ASE takes its atoms for."""
    return UnclearStructure(
        f"{file} names no elements{where}: ASE takes {guess}; expected {expected}a file with elements, such as .xyz"
    )


def _refuse_elements_of_pdb(file: str, text: str, atoms: Atoms) -> None:
    """Refuse atoms without an element in columns 77 and 78 whose name ASE reads as another than its columns say.

    Some programs align names to the left, which makes C-alpha calcium: elements of two letters are taken of halogens,
    and of ions, which are named as their residue.
    """
    taken = dict(zip(atoms.arrays["atomtypes"], atoms.symbols, strict=True))
    for line in text.splitlines():
        if not line.startswith(("ATOM", "HETATM")) or line[76:78].strip():
            continue
        name, residue, symbol = line[12:16].strip(), line[17:20].strip(), taken.get(line[12:16].strip())
        if symbol is None:
            continue
        sure = len(symbol) == 1 or name.startswith(HALOGENS) or name == residue
        if not sure or symbol != _element_of_pdb(line[12:16]) or _is_another_ion(name, residue, symbol):
            raise _guessed(file, f"its atom {name} of {residue} for {symbol}", where=" in columns 77 and 78")


def _element_of_pdb(name: str) -> str:
    """The element of columns 13 to 16: right-justified in the first two, but for names of hydrogens of four letters."""
    letters = name[:2].strip(" 0123456789")
    if len(name.strip()) == 4 and letters.startswith("H"):
        return "H"
    return letters.title() if letters.title() in atomic_numbers else letters[:1]


def _is_another_ion(name: str, residue: str, symbol: str) -> bool:
    """Whether an atom that is named as its residue has a name that is not the symbol, as SOD or POT of CHARMM."""
    return name.strip(DIGITS) == residue.strip(DIGITS) and name.strip(DIGITS).title() != symbol


def _of_gro(file: str, structures: list[Atoms]) -> list[str]:
    """Refuse names that ASE reads by another letter than the first, halogens, and ions, named as their residue."""
    for atoms in structures:
        named = zip(atoms.arrays["atomtypes"], atoms.arrays["residuenames"], atoms.symbols, strict=True)
        for name, residue, symbol in named:
            letters = name.strip(DIGITS)
            right = letters[:2] == symbol or (letters[:1] == symbol and letters[:2] not in HALOGENS)
            if not right or _is_another_ion(name, residue, symbol):
                raise _guessed(file, f"its atom {name} of {residue} for {symbol}")
    if not structures[0].cell.rank:
        return _without_box(file, structures, "it has no box")
    return []


def _of_turbomole(file: str, structures: list[Atoms]) -> list[str]:
    """Refuse other units than bohr, and lattices: ASE's reader passes over both."""
    text = _text(file)
    units = re.search(r"^\$coord\s+(frac|angs)", text, re.M)
    lattice = re.search(r"^\$(lattice|cell)\b", text, re.M)
    for word in (units, lattice):
        if word is not None:
            raise UnclearStructure(
                f"{file} says {word[0]}, which ASE passes over; expected a file such as .xyz or POSCAR"
            )
    return []


def _elements_of_dump(file: str, structures: list[Atoms]) -> list[str]:
    """Refuse a dump of types alone, and one of masses that are no element's; ASE's reader leaves the masses out."""
    masses: set[float] = set()
    for step in re.split(r"^ITEM: ATOMS", _text(file), flags=re.M)[1:]:
        columns, *rows = step.partition("ITEM:")[0].strip().splitlines()
        names = columns.split()
        if "element" in names:
            continue
        if "mass" not in names:
            column = "a column of elements (dump_modify … element), or "
            raise _guessed(file, "types 1, 2, … for H, He, …", expected=column)
        masses |= {float(row.split()[names.index("mass")]) for row in rows}
    _refuse_other_masses(file, masses)
    return []


def _elements_of_data(file: str, structures: list[Atoms]) -> list[str]:
    if not re.search(r"^\s*(Masses|Atom Type Labels)\b", _text(file), re.M):
        raise _guessed(file, "types 1, 2, … for H, He, …", where=" and has no masses")
    for atoms in structures:
        _refuse_other_masses(file, set(atoms.get_masses()))
    return []


def _refuse_other_masses(file: str, masses: set[float]) -> None:
    """Refuse masses far from that of any element, of which ASE takes the nearest."""
    for mass in sorted(masses):
        number = int(np.abs(atomic_masses - mass).argmin())
        if abs(atomic_masses[number] - mass) > MASS:
            element = f"{chemical_symbols[number]}, whose mass is {atomic_masses[number]:g}"
            raise _guessed(file, f"its atoms of mass {mass:g} for {element}")


#: Formats, as ASE names them, whose files are read in parts.
PARTS: dict[str, Callable[[str, str], Iterator[Atoms]]] = {
    "sdf": _molfiles,
    "mol": _molfiles,
    "gaussian-out": _jobs_of_gaussian,
}
#: What is done about the structures of other formats; it returns remarks.
LEFT_OUT: dict[str, Callable[[str, list[Atoms]], list[str]]] = {
    "eon": _periodic,
    "gaussian-in": _of_gaussian_input,
    "orca-output": _of_orca_output,
    "proteindatabank": _of_pdb,
    "gromacs": _of_gro,
    "lammps-dump-text": _elements_of_dump,
    "lammps-data": _elements_of_data,
    "turbomole": _of_turbomole,
}
