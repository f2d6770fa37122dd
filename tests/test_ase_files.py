"""Structures of files: what ASE's readers leave out or guess is read, or refused by name."""

from __future__ import annotations

import doctest
import json
from pathlib import Path

import numpy as np
import pytest
from command_line import run

ase = pytest.importorskip("ase")

from ase import Atoms  # noqa: E402
from ase.build import add_adsorbate, fcc100, molecule  # noqa: E402
from ase.constraints import FixAtoms  # noqa: E402
from ase.io import write  # noqa: E402

from minilandscape.adapters import ase_files  # noqa: E402
from minilandscape.adapters.ase_files import UnclearStructure, read_structures  # noqa: E402

MOLFILE = """ion


  2  1  0  0  0  0  0  0  0  0999 V2000
    0.0000    0.0000    0.0000 O   0  {column}  0  0  0  0  0  0  0  0  0  0
    1.0000    0.0000    0.0000 H   0  0  0  0  0  0  0  0  0  0  0  0
  1  2  1  0
{properties}M  END
"""
GAUSSIAN_INPUT = """#p b3lyp/6-31g*

title

-1 3
O 0.0 0.0 0.0
H 1.0 0.0 0.0

"""
GAUSSIAN_OUTPUT = """ Entering Gaussian System, Link 0=g16
 Charge = -1 Multiplicity = 3
                          Input orientation:
 ---------------------------------------------------------------------
 Center     Atomic      Atomic             Coordinates (Angstroms)
 Number     Number       Type             X           Y           Z
 ---------------------------------------------------------------------
      1          8           0        0.000000    0.000000    0.000000
      2          1           0        1.000000    0.000000    0.000000
 ---------------------------------------------------------------------
 SCF Done:  E(RB3LYP) =  -75.0     A.U. after   10 cycles
"""
ORCA_OUTPUT = """                                 * O   R   C   A *
 Total Charge           Charge          ....   -1
 Multiplicity           Mult            ....    3
Number of atoms                         ....      2
---------------------------------
CARTESIAN COORDINATES (ANGSTROEM)
---------------------------------
  O     0.000000    0.000000    0.000000
  H     1.000000    0.000000    0.000000

FINAL SINGLE POINT ENERGY       -75.0
                             ****ORCA TERMINATED NORMALLY****
"""
#: Files of O and H, with the charge and multiplicity that they say.
SAYING = {
    "line.mol": (MOLFILE.format(column=0, properties="M  CHG  1   1  -1\n"), -1, None),
    "two_lines.mol": (MOLFILE.format(column=0, properties="M  CHG  1   1  -1\nM  CHG  2   1   3   2  -1\n"), 1, None),
    "column.mol": (MOLFILE.format(column=5, properties=""), -1, None),
    "line_before_column.mol": (MOLFILE.format(column=3, properties="M  CHG  1   1  -1\n"), -1, None),
    "neutral.mol": (MOLFILE.format(column=0, properties=""), None, None),
    "zwitterion.mol": (MOLFILE.format(column=0, properties="M  CHG  2   1  -1   2   1\n"), None, None),
    "a.gjf": (GAUSSIAN_INPUT, -1, 3),
    "a.log": (GAUSSIAN_OUTPUT, -1, 3),
    "two_charges.log": (GAUSSIAN_OUTPUT + " Charge =  1 Multiplicity = 3\n", None, None),
    "a.out": (ORCA_OUTPUT, -1, 3),
}


@pytest.mark.parametrize("name", SAYING)
def test_charge_and_multiplicity_are_what_the_file_says(name: str, tmp_path: Path) -> None:
    text, charge, multiplicity = SAYING[name]
    for file, lines in ((tmp_path / name, text), (tmp_path / f"crlf_{name}", text.replace("\n", "\r\n"))):
        file.write_bytes(lines.encode())
        atoms, remarks = read_structures(str(file))
        assert str(atoms.symbols) == "OH"
        assert (atoms.info.get("charge"), atoms.info.get("multiplicity"), remarks) == (charge, multiplicity, [])


def test_all_records_of_an_sdf_file_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """ASE's own reader returns the first, whichever is asked for."""
    monkeypatch.chdir(tmp_path)
    first = MOLFILE.format(column=0, properties="")
    second = MOLFILE.format(column=0, properties="M  CHG  1   2   2\n").replace("1.0000", "1.5000")
    Path("two.sdf").write_text(f"{first}$$$$\n{second}>  <name>\nsecond\n\n$$$$\n")
    assert [atoms.positions[1, 0] for atoms in read_structures("two.sdf", ":")[0]] == [1.0, 1.5]
    for index, distance, charge in ((0, 1.0, None), (1, 1.5, 2), (-1, 1.5, 2)):
        atoms, _ = read_structures("two.sdf", index)
        assert (atoms.positions[1, 0], atoms.info.get("charge")) == (distance, charge)
    assert run("connect", "two.sdf@0", "two.sdf@2", "--calculator", "emt") == 1
    assert "two.sdf holds 2 structures, counted from 0; there is no @2" in capsys.readouterr().err


def test_all_jobs_of_an_output_of_gaussian_are_read(tmp_path: Path) -> None:
    """ASE's own reader ends with the first, at its archive."""
    archive = " 1\\1\\GINC-NODE\\FOpt\\RB3LYP\n Normal termination of Gaussian 16 at noon.\n"
    second = GAUSSIAN_OUTPUT.replace("1.000000", "1.500000").replace("Charge = -1", "Charge =  0")
    file = tmp_path / "two.log"
    file.write_text(GAUSSIAN_OUTPUT + archive + second.replace("Entering Gaussian System", "Link1:") + archive)
    for index, distance, charge in ((0, 1.0, -1), (1, 1.5, None), (-1, 1.5, None)):
        atoms, _ = read_structures(str(file), index)
        assert (atoms.positions[1, 0], atoms.info.get("charge"), atoms.info["multiplicity"]) == (distance, charge, 3)


def cryst1(length: float, group: str) -> str:
    return f"CRYST1{3 * f'{length:9.3f}'}{3 * f'{90:7.2f}'} {group:<11}{1:>4}\n"


def water(places: str = "   ") -> str:
    names = zip((" O  ", " H1 ", " H2 "), places, ((0, 0), (0.96, 0), (-0.24, 0.93)), "OHH", strict=True)
    rows = [
        f"ATOM  {k:>5} {name}{place}HOH A   1    {x:8.3f}{y:8.3f}{0:8.3f}  1.00  0.00          {element:>2}\n"
        for k, (name, place, (x, y), element) in enumerate(names, 1)
    ]
    return "".join(rows) + "END\n"


ANGSTROMS = "$coord angs\n 0.0 0.0 0.0 o\n 0.96 0.0 0.0 h\n$end\n"
#: Files that ASE reads as other structures: the text, and what is said.
OTHERS = {
    "places.pdb": (water(" AB"), "places.pdb has alternate locations A, B of atoms"),
    "crystal.pdb": (cryst1(5, "P 21 21 21") + water(), "crystal.pdb is of space group P 21 21 21"),
    "new.mol": ("\n\n\n  0  0  0     0  0            999 V3000\nM  END\n", "new.mol is a molfile V3000"),
    "started.log": (GAUSSIAN_OUTPUT.partition(" Charge")[0], "started.log holds no structure"),
    "units.tmol": (ANGSTROMS, "units.tmol says $coord angs"),
    "coord": (ANGSTROMS.replace("angs", "frac"), "coord says $coord frac"),
    "lattice.tmol": (ANGSTROMS.replace(" angs", "").replace("$end", "$lattice\n5 0 0\n$end"), "says $lattice"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_files_that_are_read_as_other_structures_are_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    text, said = OTHERS[name]
    Path(name).write_text(text)
    assert run("connect", name, "other.xyz", "--calculator", "lj") == 1
    error = capsys.readouterr().err
    assert said in error
    assert "expected" in error


@pytest.mark.parametrize(
    ("name", "text", "cell", "said"),
    [
        ("molecule.pdb", cryst1(1, "P 1") + water(), [], "taken as a cluster: CRYST1 is 1 Å"),
        ("box.pdb", cryst1(9, "P 1") + water(), [9.0, 9.0, 9.0], None),
        ("none.pdb", water(" AA"), [], None),
        ("box.gro", "one\n    1\n    1SOL     OW    1   0.000   0.000   0.000\n 0.9 0.9 0.9\n", [9.0, 9.0, 9.0], None),
        ("none.gro", "one\n    1\n    1SOL     OW    1   0.000   0.000   0.000\n 0.0 0.0 0.0\n", [], "it has no box"),
    ],
)
def test_a_cell_that_stands_for_none_is_none(
    name: str, text: str, cell: list[float], said: str | None, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)
    atoms, remarks = read_structures(str(tmp_path / name))
    assert atoms.pbc.all() == atoms.pbc.any() == bool(cell)
    assert atoms.cell.lengths() == pytest.approx(cell or [0.0, 0.0, 0.0])
    assert len(remarks) == (said is not None)
    assert all(str(said) in remark for remark in remarks)


def pdb(name: str, element: str = "", residue: str = "LIG") -> str:
    return f"HETATM    1 {name} {residue:>3} A   1       0.000   0.000   0.000  1.00  0.00          {element:>2}\nEND\n"


def gro(residue: str, name: str) -> str:
    return f"one\n    1\n    1{residue:<5}{name:>5}    1   0.000   0.000   0.000\n   1.00000   1.00000   1.00000\n"


def dump(columns: str, row: str) -> str:
    box = "ITEM: BOX BOUNDS pp pp pp\n" + 3 * "0 10\n"
    return f"ITEM: TIMESTEP\n0\nITEM: NUMBER OF ATOMS\n1\n{box}ITEM: ATOMS {columns}\n{row}\n"


def data(masses: str) -> str:
    box = "".join(f"0 10 {x}lo {x}hi\n" for x in "xyz")
    return f"one\n\n1 atoms\n1 atom types\n{box}\n{masses}Atoms # atomic\n\n1 1 0 0 0\n"


#: Files of one atom by name: the text, and the element that it names; None where that is not known.
ELEMENTS = {
    "element.pdb": (pdb(" CA ", "C"), "C"),
    "calcium.pdb": (pdb("CA  ", "CA"), "Ca"),
    "alpha.pdb": (pdb(" CA "), None),
    "sulphur.pdb": (pdb(" SG "), None),
    "hydrogen.pdb": (pdb("HG11"), None),
    "oxygen.pdb": (pdb(" O1 "), "O"),
    "chlorine.pdb": (pdb("CL1 "), "Cl"),
    "left.pdb": (pdb("CA  "), None),
    "ion.pdb": (pdb("CA  ", residue="CA"), "Ca"),
    "polonium.pdb": (pdb("POT ", residue="POT"), None),
    "sulphur_ion.pdb": (pdb("SOD ", residue="SOD"), None),
    "sulphur_ion.gro": (gro("SOD", "SOD"), None),
    "alpha.gro": (gro("ALA", "CA"), "C"),
    "water.gro": (gro("SOL", "OW"), "O"),
    "numbered.gro": (gro("ALA", "1HB"), "H"),
    "site.gro": (gro("SOL", "MW"), None),
    "sodium.gro": (gro("NA", "NA"), None),
    "cation.gro": (gro("NA+", "NA+"), None),
    "zinc.gro": (gro("ZN", "ZN"), None),
    "lithium.gro": (gro("LI", "LI"), None),
    "chlorine.gro": (gro("LIG", "CL1"), None),
    "potassium.gro": (gro("K", "K"), "K"),
    "types.dump": (dump("id type x y z", "1 1 0 0 0"), None),
    "element.dump": (dump("id type element x y z", "1 1 Cl 0 0 0"), "Cl"),
    "mass.dump": (dump("id type mass x y z", "1 1 35.45 0 0 0"), "Cl"),
    "bead.dump": (dump("id type mass x y z", "1 1 15.035 0 0 0"), None),
    "types.data": (data(""), None),
    "masses.data": (data("Masses\n\n1 35.45\n\n"), "Cl"),
    "heavy_hydrogen.data": (data("Masses\n\n1 3.024\n\n"), None),
}


@pytest.mark.parametrize("name", ELEMENTS)
def test_elements_are_those_that_the_file_names_or_it_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    text, element = ELEMENTS[name]
    Path(name).write_text(text)
    if element is not None:
        assert read_structures(name)[0].get_chemical_symbols() == [element]
        return
    with pytest.raises(UnclearStructure, match=rf"{name} names no elements.*: ASE takes .* expected"):
        read_structures(name)
    assert run("connect", name, "other.xyz", "--calculator", "lj") == 1
    assert f"minilandscape: {name} names no elements" in capsys.readouterr().err


SALT = Atoms("NaClZnLiMgBrCaFeHKSi", np.arange(33).reshape(11, 3) / 2, cell=[20, 20, 20], pbc=True)


@pytest.mark.parametrize(
    "atoms", [molecule("CH3CONH2"), molecule("SiH3", vacuum=5), SALT], ids=lambda a: str(a.symbols)
)
@pytest.mark.parametrize(
    "kind", ["xyz", "extxyz", "pdb", "gro", "sdf", "mol", "cif", "vasp", "gen", "xsf", "lammps-data"]
)
def test_what_ase_writes_is_read_with_its_elements_or_refused(kind: str, atoms: Atoms, tmp_path: Path) -> None:
    file = str(tmp_path / f"a.{kind.removeprefix('lammps-')}")
    if kind in ("cif", "gro", "vasp", "lammps-data") and not atoms.cell:
        atoms = atoms.copy()
        atoms.cell = [10.0, 11.0, 12.0]
    write(file, atoms, format={"pdb": "proteindatabank", "gro": "gromacs"}.get(kind, kind))
    try:
        found, _ = read_structures(file)
    except UnclearStructure:
        assert kind in ("gro", "lammps-data")
        return
    assert sorted(found.get_chemical_symbols()) == sorted(atoms.get_chemical_symbols())


def test_names_of_atoms_that_are_no_elements_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("C1", "6", "D"):
        Path("a.xyz").write_text(f"1\n\n{name} 0.0 0.0 0.0\n")
        assert run("connect", "a.xyz", "b.xyz", "--calculator", "lj") == 1
        assert f"a.xyz names an atom '{name}'; expected symbols of elements" in capsys.readouterr().err


CHARGED = """
from ase.calculators.emt import EMT


class Charged(EMT):
    default_parameters = {**EMT.default_parameters, "charge": None, "multiplicity": None}
"""


def test_a_calculator_is_given_the_charge_that_the_files_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where it has an option for it, and --calculator-options give none."""
    monkeypatch.chdir(tmp_path)
    Path("charged_emt.py").write_text(CHARGED)
    slab = fcc100("Al", (2, 2, 1), vacuum=5.0)
    slab.set_constraint(FixAtoms(range(4)))
    add_adsorbate(slab, "Al", 1.7, "hollow")
    for name, shift in (("a", 0.0), ("b", slab.cell[0, 0] / 2)):
        atoms = slab.copy()
        atoms.info = {"charge": -1, "multiplicity": 2}
        atoms.positions[-1, 0] += shift
        write(f"{name}.xyz", atoms)
    common = ("connect", "a.xyz", "b.xyz", "--json", "--calculator")
    for calculator, given, used in (
        ("charged_emt:Charged", [], ["charge=-1", "multiplicity=2"]),
        ("charged_emt:Charged", ["charge=0"], ["charge=0", "multiplicity=2"]),
        ("emt", [], []),
    ):
        options = ["--calculator-options", *given] if given else []
        assert run(*common, calculator, *options) == 0
        printed, said = capsys.readouterr()
        assert json.loads(printed)["data"]["calculator_options"] == used
        assert not any("which Charged does not read" in remark for remark in json.loads(printed)["remarks"])
        new = [word for word in used if word not in given]
        assert (f"the files say {' '.join(new)}, which the calculator is given" in said) == bool(new)


def test_the_example_runs() -> None:
    found = doctest.testmod(ase_files)
    assert found.attempted
    assert not found.failed
