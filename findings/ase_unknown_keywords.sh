#!/usr/bin/env bash
# ASE's calculators keep a misspelt keyword without a word, and so does tblite's.
#
# Versions: ASE 3.29.0, tblite 0.8.0, NumPy 2.4.6, SciPy 1.17.1, Python 3.11.
# Guess before the run: EMT(speed=9), LennardJones(sgima=3) and TBLite(chrage=1) raise a TypeError or ValueError that
#   names the keyword, as Python functions do.
# What happens: all three are made, the word stands among `calc.parameters`, and the energies are those without it: water
#   with "chrage=1" has the energy of the neutral molecule, 18 eV below that of the cation.
# Why it matters: a charge, a spin or a cutoff that was misspelt is not used, and nothing in a log or a result says so.
#   Compare `calc.parameters` with `calc.default_parameters` before a long run.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet numpy==2.4.6 scipy==1.17.1 ase==3.29.0 tblite==0.8.0
cd "$dir"
OMP_NUM_THREADS=1 venv/bin/python - <<'PYTHON'
import warnings
from importlib.metadata import version

from ase import Atoms
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from tblite.ase import TBLite

print("ASE", version("ase"), "tblite", version("tblite"))
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    made = {"speed": EMT(speed=9), "sgima": LennardJones(sgima=3), "chrage": TBLite(chrage=1, verbosity=0)}
    for word, calculator in made.items():
        print(type(calculator).__name__, "has", word, "=", calculator.parameters[word])
        assert word not in calculator.default_parameters
    energies = {}
    for name, options in (("neutral", {}), ("chrage=1", {"chrage": 1}), ("charge=1", {"charge": 1})):
        water = Atoms("OH2", [[0, 0, 0], [0.76, 0.59, 0], [-0.76, 0.59, 0]])
        water.calc = TBLite(method="GFN2-xTB", verbosity=0, **options)
        energies[name] = water.get_potential_energy()
print(energies, "warnings:", [str(warning.message) for warning in caught])
assert not caught
assert energies["chrage=1"] == energies["neutral"]
assert energies["charge=1"] > energies["neutral"] + 10
PYTHON
