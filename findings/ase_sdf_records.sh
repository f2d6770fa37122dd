#!/usr/bin/env bash
# ASE reads the first record of an SDF file whichever is asked for, drops charges, and takes a V3000 molfile for no atoms.
#
# Versions: ASE 3.29.0, NumPy 2.4.6, SciPy 1.17.1, Python 3.11.
# Guess before the run: records are images, so that index=":" returns all and index=-1 the last; the charges of M  CHG come
#   back as initial charges; a molfile of the newer dialect, V3000, is refused.
# What happens: index=":" returns a list of one and index=-1, the default, the first of two records. Charges are nowhere, so
#   that an ammonium ion comes back as a radical with one electron too many. The counts of a V3000 file are 0 on the line where
#   V2000 has them, and an empty structure is returned. Nothing warns or raises.
# Why it matters: reactant and product, or conformers, in one file are one structure twice. Split the file at $$$$, sum the
#   charges, and save as V2000, before anything is evaluated.
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


def record(central):
    places = [(central, 0, 0, 0), ("H", 0.6, 0.6, 0.6), ("H", -0.6, -0.6, 0.6), ("H", -0.6, 0.6, -0.6), ("H", 0.6, -0.6, -0.6)]
    atoms = "".join(f"{x:10.4f}{y:10.4f}{z:10.4f} {symbol:<3} 0  0  0  0  0\n" for symbol, x, y, z in places)
    bonds = "".join(f"  1  {k}  1  0\n" for k in range(2, 6))
    return f"ion\n\n\n  5  4  0  0  0  0  0  0  0  0999 V2000\n{atoms}{bonds}M  CHG  1   1   1\nM  END\n"


with open("two.sdf", "w") as file:
    file.write("".join(f"{record(central)}$$$$\n" for central in "NP"))
images, last = read("two.sdf", index=":"), read("two.sdf", index=-1)
print("two records:", [str(atoms.symbols) for atoms in images], "the last:", last.symbols)
assert [str(atoms.symbols) for atoms in images] == ["NH4"]
assert str(last.symbols) == "NH4"
print("charge +1:", last.get_initial_charges().sum(), last.info)
assert not last.get_initial_charges().any()
assert not last.info

lines = ["ion", "", "", "  0  0  0     0  0            999 V3000", "M  V30 BEGIN CTAB", "M  V30 COUNTS 2 1 0 0 0"]
lines += ["M  V30 BEGIN ATOM", "M  V30 1 O 0 0 0 0 CHG=-1", "M  V30 2 H 1 0 0 0", "M  V30 END ATOM", "M  V30 BEGIN BOND"]
lines += ["M  V30 1 1 1 2", "M  V30 END BOND", "M  V30 END CTAB", "M  END"]
with open("new.mol", "w") as file:
    file.write("\n".join(lines) + "\n")
print("V3000:", len(read("new.mol")), "atoms")
assert len(read("new.mol")) == 0
EOF
