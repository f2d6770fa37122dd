#!/usr/bin/env bash
# ASE reads every coord file of Turbomole in bohr and without a lattice, whatever its first line and $lattice say.
#
# Versions: ASE 3.29.0, NumPy 2.4.6, SciPy 1.17.1, Python 3.11.
# Guess before the run: `$coord angs` and `$coord frac` are read in these units, and $periodic with $lattice or $cell, which
#   Turbomole's riper and xtb write, give the cell and pbc.
# What happens: water in ångströms comes back with bonds of 0.51 Å; silicon in fractions of its cell has its two atoms 0.23 Å
#   apart; both kinds of lattice are gone and pbc is False. Nothing warns.
# Why it matters: relaxations start from collapsed molecules and end somewhere, and crystals are molecules of two atoms.
#   Convert such files with another program before anything is evaluated.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet numpy==2.4.6 scipy==1.17.1 ase==3.29.0
cd "$dir"
OMP_NUM_THREADS=1 venv/bin/python -W error - <<'EOF'
import ase
from ase.io import read
from ase.units import Bohr

print("ASE", ase.__version__)


def again(*lines):
    with open("coord", "w") as file:
        file.write("\n".join([*lines, "$end"]) + "\n")
    return read("coord")


angstroms = again("$coord angs", " 0.0 0.0 0.0 o", " 0.96 0.0 0.0 h", " -0.24 0.93 0.0 h")
print(f"0.96 Å in $coord angs is read as {angstroms.get_distance(0, 1):.3f} Å")
assert abs(angstroms.get_distance(0, 1) - 0.96 * Bohr) < 1e-6
lattice = ["$periodic 3", "$lattice", " 0.0 5.13 5.13", " 5.13 0.0 5.13", " 5.13 5.13 0.0"]
fractions = again("$coord frac", " 0.0 0.0 0.0 si", " 0.25 0.25 0.25 si", *lattice)
print(f"silicon in $coord frac: {fractions.get_distance(0, 1):.3f} Å apart, pbc {fractions.pbc}, cell {fractions.cell.lengths()}")
assert fractions.get_distance(0, 1) < 0.3
cell = again("$coord", " 0.0 0.0 0.0 na", " 5.3 5.3 5.3 cl", "$periodic 3", "$cell", " 10.6 10.6 10.6 90.0 90.0 90.0")
print(f"$cell: pbc {cell.pbc}, cell {cell.cell.lengths()}")
for found in (fractions, cell):
    assert not found.pbc.any()
    assert found.cell.rank == 0
EOF
