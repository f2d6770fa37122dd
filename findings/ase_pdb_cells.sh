#!/usr/bin/env bash
# ASE puts a molecule of a PDB file with the placeholder CRYST1 into a periodic cell of 1 Å, and reads all alternate locations.
#
# Versions: ASE 3.29.0, NumPy 2.4.6, SciPy 1.17.1, Python 3.11.
# Guess before the run: the format says of structures that are no crystals a = b = c = 1 Å and P 1, so that such a file is read
#   without a cell; of alternate locations the first is taken, or that of highest occupancy; of another space group than P 1
#   the whole cell is made, as from CIF files, or a warning says that it is not.
# What happens: the placeholder becomes a cell of 1 Å with pbc=True, where water meets its own copies: forces of 7e19 eV/Å
#   by a Lennard-Jones potential, under which it has 49 alone. An oxygen with locations A and B is two atoms 0.3 Å apart. A cell of P 21 21 21 holds the asymmetric
#   unit, a quarter of its atoms, with pbc=True. Nothing warns.
# Why it matters: energies and relaxations of all three are of a system that nobody meant. Remove the cell, choose one
#   location, and make the other copies before anything is evaluated.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet numpy==2.4.6 scipy==1.17.1 ase==3.29.0
cd "$dir"
OMP_NUM_THREADS=1 venv/bin/python -W error - <<'EOF'
import ase
from ase.calculators.lj import LennardJones
from ase.io import read

print("ASE", ase.__version__)


def again(head, atoms):
    rows = [
        f"ATOM  {k:5d}  {name:<3}{place}HOH A   1    {x:8.3f}{y:8.3f}{0:8.3f}{share:6.2f}  0.00           {name[0]}\n"
        for k, (name, place, x, y, share) in enumerate(atoms, 1)
    ]
    with open("some.pdb", "w") as file:
        file.write(head + "".join(rows) + "END\n")
    return read("some.pdb")


def force(atoms):
    atoms.calc = LennardJones(sigma=1.0)
    return abs(atoms.get_forces()).max()


water = [("O", " ", 0.0, 0.0, 1.0), ("H1", " ", 0.96, 0.0, 1.0), ("H2", " ", -0.24, 0.93, 1.0)]
alone = again("", water)
placed = again("CRYST1    1.000    1.000    1.000  90.00  90.00  90.00 P 1           1\n", water)
print(f"placeholder: cell {placed.cell.lengths()}, pbc {placed.pbc}, force {force(placed):.1e}; alone {force(alone):.1e} eV/Å")
assert placed.pbc.all()
assert not alone.pbc.any()
assert list(placed.cell.lengths()) == [1, 1, 1]
assert force(placed) > 100 * force(alone)

both = again("", [("O", "A", 0.0, 0.0, 0.6), ("O", "B", 0.3, 0.0, 0.4), *water[1:]])
print("locations A and B of an oxygen:", both.symbols, "at", both.get_distance(0, 1), "Å")
assert str(both.symbols) == "O2H2"

crystal = again("CRYST1    5.000    6.000    7.000  90.00  90.00  90.00 P 21 21 21    4\n", water)
print("P 21 21 21, four copies in a cell:", crystal.symbols, "pbc", crystal.pbc)
assert len(crystal) == 3
assert crystal.pbc.all()
EOF
