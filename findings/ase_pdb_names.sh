#!/usr/bin/env bash
# ASE takes C-alpha of a PDB file without elements for calcium, the oxygen of serine for oganesson, sulphur for seaborgium.
#
# Versions: ASE 3.29.0, NumPy 2.4.6, SciPy 1.17.1, Python 3.11.
# Guess before the run: where columns 77 and 78 are blank, as in many files of simulation programs, the element follows from
#   where the name stands in columns 13 to 16, which is what these columns are aligned for: " CA " is carbon, "CA  " calcium.
# What happens: blanks are stripped first, and two letters are taken where they are a symbol. " CA " is Ca, " CD " Cd, " CE " Ce,
#   " NE " Ne, " SG " Sg, " OG " of serine Og, "HG11" Hg, "HE21" He, "HO5'" Ho; only names whose first two letters are no symbol
#   (" CB ", " OD1") come out right. Nothing warns.
# Why it matters: a peptide of 12 atoms may hold eight heavy or noble elements, and a potential for all elements gives energies.
#   Fill columns 77 and 78 before anything is evaluated.
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
#: Names in columns 13 to 16, the element that they stand for, and that which is read.
names = {
    " CA ": ("C", "Ca"), " CD ": ("C", "Cd"), " CE ": ("C", "Ce"), " NE ": ("N", "Ne"), " SG ": ("S", "Sg"),
    "HG11": ("H", "Hg"), "HE21": ("H", "He"), "HO5'": ("H", "Ho"), " OG ": ("O", "Og"), " CB ": ("C", "C"), " OD1": ("O", "O"), "CA  ": ("Ca", "Ca"),
}


def row(k, name, element):
    return f"ATOM  {k:5d} {name} LIG A   1    {2 * k:8.3f}{0:8.3f}{0:8.3f}  1.00  0.00          {element:>2}\n"


for filled in (False, True):
    with open("some.pdb", "w") as file:
        file.writelines(row(k, name, meant if filled else "") for k, (name, (meant, _)) in enumerate(names.items(), 1))
        file.write("END\n")
    for (name, (meant, taken)), symbol in zip(names.items(), read("some.pdb").symbols, strict=True):
        print(f"{'with' if filled else 'without'} elements: {name!r} is read as {symbol}")
        assert symbol == (meant if filled else taken), (name, symbol)
EOF
