#!/usr/bin/env bash
# ASE reads lithium of a .gro file as iodine, zinc and sodium as nitrogen, chlorine as carbon, and TIP4P's site as tungsten.
#
# Versions: ASE 3.29.0, NumPy 2.4.6, SciPy 1.17.1, Python 3.11.
# Guess before the run: the format names atoms and no elements, so that C-alpha, CA, may come back as calcium; ions, whose
#   residue has the same name, come back as what they are.
# What happens: C-alpha is carbon. Names are compared with symbols in their own case, so that NA is no symbol, and then the
#   first letter is taken, or the last one if the first is none: NA is N, CL is C, BR is B, FE is F, ZN is N, LI is I, and
#   the massless site MW of four-point water is W. MG becomes the dummy X. Na and Cl, in mixed case, are read as they are.
#   Nothing warns.
# Why it matters: a box of salt water has become one of carbon, nitrogen and tungsten, and a potential that knows these
#   gives energies. Write .gro files anew with elements, such as .xyz, or set the symbols by the names of the residues.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet numpy==2.4.6 scipy==1.17.1 ase==3.29.0
cd "$dir"
OMP_NUM_THREADS=1 venv/bin/python -W error - <<'EOF'
import ase
from ase.io import read

print("ASE", ase.__version__)
expected = {
    ("ALA", "CA"): "C", ("SOL", "OW"): "O", ("NA", "NA"): "N", ("CL", "CL"): "C", ("LIG", "BR1"): "B", ("HEM", "FE"): "F",
    ("ZN", "ZN"): "N", ("LI", "LI"): "I", ("SOL", "MW"): "W", ("MG", "MG"): "X", ("Na", "Na"): "Na", ("Cl", "Cl"): "Cl",
}
rows = [f"{k:5d}{residue:<5}{name:>5}{k:5d}{0.5 * k:8.3f}{0:8.3f}{0:8.3f}" for k, (residue, name) in enumerate(expected, 1)]
with open("box.gro", "w") as file:
    file.write("\n".join(["a box", f"{len(rows):5d}", *rows, "  20.00000  20.00000  20.00000"]) + "\n")
found = read("box.gro")
for (residue, name), symbol, wanted in zip(expected, found.symbols, expected.values(), strict=True):
    print(f"{name} of {residue} is read as {symbol}")
    assert symbol == wanted, (name, symbol)
EOF
