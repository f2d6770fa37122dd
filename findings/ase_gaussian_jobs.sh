#!/usr/bin/env bash
# ASE reads a Gaussian output up to the end of its first job; "the last image" of two jobs is the first one's.
#
# Versions: ASE 3.29.0, NumPy 2.4.6, SciPy 1.17.1, Python 3.11.
# Guess before the run: index=-1 of an output of two jobs (--Link1--, as an optimisation that another one at a better level of
#   theory follows) is the last geometry of the file, and index=":" holds those of both.
# What happens: reading ends at the archive of the first job. Geometries and energies of all later jobs are missing, with index=":" and
#   index=-1 alike. Charge and multiplicity are in neither. Nothing warns.
# Why it matters: the endpoint of a path is that of the cheap first optimisation, with its energy. Split such outputs at
#   "Normal termination" and read the parts.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet numpy==2.4.6 scipy==1.17.1 ase==3.29.0
cd "$dir"
OMP_NUM_THREADS=1 venv/bin/python -W error - <<'EOF'
import ase
from ase.io import read
from ase.units import Hartree

print("ASE", ase.__version__)
RULE = " " + 69 * "-"


def job(first, method, length, energy):
    rows = [f"{1:7d}{8:11d}{0:12d}    {0:12.6f}{0:12.6f}{0:12.6f}", f"{2:7d}{1:11d}{0:12d}    {length:12.6f}{0:12.6f}{0:12.6f}"]
    titles = [" Center     Atomic      Atomic             Coordinates (Angstroms)", " Number     Number       Type             X           Y           Z"]
    archive = f" 1\\1\\GINC-NODE\\FOpt\\{method}\\STO-3G\\H1O1(1-)\\USER\\01-Jan-2026\\0\\\\# opt\\\\t\\\\-1,1\\O,0.,0.,0.\\H,{length},0.,0.\\\\@"
    return [first, " Charge = -1 Multiplicity = 1", "                          Input orientation:", RULE, *titles, RULE, *rows, RULE,
            f" SCF Done:  E({method}) =  {energy:.9f}     A.U. after   10 cycles", archive, " Normal termination of Gaussian 16 at noon."]


lines = job(" Entering Gaussian System, Link 0=g16", "RHF", 1.07, -74.0)
lines += job(" Link1:  Proceeding to internal job step number  2.", "RB3LYP", 0.99, -75.7)
with open("two.log", "w") as file:
    file.write("\n".join(lines) + "\n")
images, last = read("two.log", index=":"), read("two.log")
print(len(images), "geometry of two; the last has a bond of", last.get_distance(0, 1), "Å and", last.get_potential_energy() / Hartree, "hartree")
assert len(images) == 1
assert abs(last.get_distance(0, 1) - 1.07) < 1e-6
assert abs(last.get_potential_energy() / Hartree + 74.0) < 1e-6
print("charge -1:", last.info, last.get_initial_charges())
assert "charge" not in last.info
assert not last.get_initial_charges().any()
EOF
