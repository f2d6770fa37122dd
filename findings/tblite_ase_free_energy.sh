#!/usr/bin/env bash
# The xTB calculator of tblite computes the free energy, and ASE cannot ask for it.
#
# Versions: tblite 0.8.0, ASE 3.29.0, NumPy 2.4.6, Python 3.11.
# Guess before the run: `get_potential_energy(force_consistent=True)` returns the energy whose gradient the forces are.
# What happens: the calculator fills `results["free_energy"]`, but its `implemented_properties` leave the name out. ASE
#   reads that list first and raises PropertyNotImplementedError, although the number lies in the results.
# Why it matters: with electronic smearing the forces belong to the free energy. Path and saddle searches that compare
#   energies with forces ask for this energy first. A wrapper has to fall back on `results`, not on the error alone.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet numpy==2.4.6 ase==3.29.0 tblite==0.8.0
cd "$dir"
OMP_NUM_THREADS=1 venv/bin/python - <<'EOF'
from importlib.metadata import version

from ase.build import molecule
from ase.calculators.calculator import PropertyNotImplementedError
from tblite.ase import TBLite

print(*(f"{name} {version(name)}" for name in ("tblite", "ase", "numpy")))
atoms = molecule("H2CO")
atoms.calc = TBLite(method="GFN2-xTB", verbosity=0)
print("energy", atoms.get_potential_energy(), "eV; free energy in results", atoms.calc.results["free_energy"], "eV")
assert "free_energy" not in atoms.calc.implemented_properties
try:
    atoms.get_potential_energy(force_consistent=True)
except PropertyNotImplementedError as error:
    print("force_consistent=True raises:", error)
else:
    raise SystemExit("force_consistent=True returned an energy")
EOF
